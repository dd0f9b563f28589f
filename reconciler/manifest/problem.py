"""A mistake in a manifest tree: what, where, and what to do about it.

A ``Problem`` is a value; every form of output (``manifest.render``) is made from the same list of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reconciler.errors import ManifestsInvalid

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem at one place.

    ``line`` and ``column`` count from 1 in characters (code points); ``end_line`` and ``end_column`` are
    exclusive, as in SARIF: the end column is the one after the last character. ``path`` is relative
    to the tree. ``field`` is the dotted path inside the document (``spec.servers[1]``), ``code`` a stable
    kebab-case word. ``excerpt`` is the source line, or the part of a very long one that begins
    at column ``excerpt_column``; secrets in it are masked.
    """

    severity: Severity
    code: str
    message: str
    path: str
    line: int = 1
    column: int = 1
    end_line: int = 1
    end_column: int = 1
    field: str | None = None
    hint: str | None = None
    excerpt: str | None = None
    excerpt_column: int = 1

    @property
    def place(self) -> str:
        """``path:line:column``, which terminals and editors make clickable."""
        return f"{self.path}:{self.line}:{self.column}"


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """By path, line and column; the same problem once."""
    unique = {(p.path, p.line, p.column, p.severity, p.code, p.message): p for p in problems}
    return tuple(unique[key] for key in sorted(unique))


def problem_json(problem: Problem) -> dict[str, Any]:
    """The stable JSON shape; every field is always there, null where it has no value."""
    return {
        "severity": problem.severity,
        "code": problem.code,
        "message": problem.message,
        "path": problem.path,
        "line": problem.line,
        "column": problem.column,
        "endLine": problem.end_line,
        "endColumn": problem.end_column,
        "field": problem.field,
        "hint": problem.hint,
    }


def count(number: int, noun: str) -> str:
    """``1 problem``, ``2 problems``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def headline(problems: Sequence[Problem]) -> str:
    """``20 problems in 6 files``; warnings are counted apart."""
    errors = [problem for problem in problems if problem.severity == "error"]
    warnings = [problem for problem in problems if problem.severity == "warning"]
    parts = []
    if errors or not warnings:
        parts.append(f"{count(len(errors), 'problem')} in {count(len({p.path for p in errors}), 'file')}")
    if warnings:
        parts.append(f"{count(len(warnings), 'warning')} in {count(len({p.path for p in warnings}), 'file')}")
    return ", ".join(parts)


def manifests_invalid(problems: Sequence[Problem]) -> ManifestsInvalid:
    """The error of whoever needs a valid tree; ``details["problems"]`` has them in `validate`'s shape."""
    return ManifestsInvalid(
        f"the manifests have {headline(problems)}; nothing was done",
        hint="`reconciler validate` shows each with its line of YAML",
        details={"problems": [problem_json(problem) for problem in problems]},
    )
