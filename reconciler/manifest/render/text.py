"""Problems for people: the place, the sentence, the line of YAML with the place marked, and the hint."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from reconciler.manifest.problem import Problem
from reconciler.manifest.render.report import Report, summary

_STYLES = {"error": "1;31", "warning": "1;33", "bold": "1", "hint": "36", "dim": "2", "fine": "32"}
# Characters that turn the direction of writing: shown as such, a line could look like another one
_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

Paint = Callable[[str, str], str]


def text(report: Report, *, colour: bool = False) -> str:
    """All problems and the summary; colour only if asked for."""

    def paint(words: str, style: str) -> str:
        return f"\x1b[{_STYLES[style]}m{words}\x1b[0m" if colour and words else words

    parts = [_problem(problem, paint) for problem in report.problems]
    worst = "fine"
    if report.problems:
        worst = "error" if any(problem.severity == "error" for problem in report.problems) else "warning"
    return "\n".join([*parts, paint(summary(report), worst)]) + "\n"


def _problem(problem: Problem, paint: Paint) -> str:
    place = paint(visible(problem.place), "bold")
    severity = paint(f"{problem.severity}:", problem.severity)
    code = paint(f"[{problem.code}]", "dim")
    lines = [f"{place}: {severity} {visible(problem.message)} {code}"]
    if problem.excerpt:
        lines += _excerpt(problem, problem.excerpt, paint)
    if problem.hint:
        lines.append(f"  {paint('hint:', 'hint')} {visible(problem.hint)}")
    return "\n".join(lines) + "\n"


def _excerpt(problem: Problem, excerpt: str, paint: Paint) -> list[str]:
    """The line with its number, and carets below the range; ``…`` where a long line is cut."""
    number = str(problem.line)
    cut = "…" if problem.excerpt_column > 1 else ""
    start = problem.column - problem.excerpt_column
    end = max(problem.end_column - problem.excerpt_column, start + 1)
    before = cut + visible(excerpt[:start])
    marked = visible(excerpt[start:end])
    after = visible(excerpt[end:])
    margin = paint(f"{number:>5} | ", "dim")
    empty = paint(f"{'':>5} | ", "dim")
    carets = "^" * max(width(marked), 1)
    shown = f"{margin}{before}{marked}{after}".rstrip()
    return [shown, f"{empty}{' ' * width(before)}{paint(carets, problem.severity)}"]


def visible(words: str) -> str:
    """The words without anything that a terminal would obey: control characters, turned directions."""
    if words.isprintable():
        return words
    return "".join(_visible(character) for character in words)


def _visible(character: str) -> str:
    if character == "\t":
        return " "
    category = unicodedata.category(character)
    if category in ("Cc", "Zl", "Zp", "Cs") or character in _TURNS:
        return "\N{REPLACEMENT CHARACTER}"
    return character


def width(words: str) -> int:
    """Columns on a terminal: two for wide characters of East Asia and emoji, none for combining ones."""
    return sum(_width(character) for character in words)


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
