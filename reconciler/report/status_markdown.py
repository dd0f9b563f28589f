"""The status report for a pull request or a wiki page: at most 65,000 characters, the rest counted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from reconciler.model.condition import Health
from reconciler.model.enums import Kind
from reconciler.report.layout import printable
from reconciler.report.status import ObjectStatus, StatusReport
from reconciler.report.status_text import (
    attention,
    counts_line,
    headline,
    healthy_rows,
    name_of,
    next_words,
    place_of,
    project_lines,
    reasons,
)
from reconciler.report.times import stamp

LIMIT = 65_000
"""What the forges take as one comment, less a margin."""
_RESERVE = 2_000
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~])")


def status_markdown(report: StatusReport) -> str:
    """The report as one text that ends in a newline."""
    page = _Page()
    page.add(f"## {_escape(headline(report))}", "", _escape(counts_line(report)), "")
    for line in project_lines(report):
        page.add(f"- {_escape(line)}")
    page.add(f"- as of {stamp(report.generated_at)}", "")
    left = page.add_all(_block(item, report) for item in attention(report))
    if left:
        page.force(f"… and {left} more that need attention", "")
    tasks = report.of(Kind.TASK)
    for title, items in (
        ("Suspended", [item for item in tasks if item.health is Health.SUSPENDED]),
        ("Healthy", [item for item in tasks if item.health is Health.HEALTHY]),
        ("Not run yet", [item for item in tasks if item.health is Health.UNKNOWN and item.last is None]),
    ):
        if items:
            _folded(page, f"{title} ({len(items)})", items, report)
    return page.text()


class _Page:
    """Lines up to a limit of characters."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._room = LIMIT - _RESERVE

    def add(self, *lines: str) -> bool:
        """All of these lines, or none of them where they do not fit."""
        size = sum(len(line) + 1 for line in lines)
        if size > self._room:
            return False
        self._room -= size
        self._lines += lines
        return True

    def add_all(self, blocks: Iterable[Sequence[str]]) -> int:
        """As many blocks as fit, in order; how many did not."""
        left = 0
        for block in blocks:
            if left or not self.add(*block):
                left += 1
        return left

    def force(self, *lines: str) -> None:
        """A short line that must not be lost; the reserve pays for it."""
        self._lines += lines

    def text(self) -> str:
        return "\n".join(self._lines).rstrip() + "\n"


def _block(item: ObjectStatus, report: StatusReport) -> list[str]:
    lines = [f"### {item.health}: {_code(name_of(item, report))}"]
    place = place_of(item)
    if place:
        lines.append(f"declared at {_code(place)}")
    lines += ["", *(f"- {_escape(reason)}" for reason in reasons(item, report.generated_at))]
    tail = next_words(item, report.generated_at)
    if tail:
        lines.append(f"- {_escape(tail)}")
    if item.error_lines:
        fence = "`" * max(3, *(_longest_run(line) + 1 for line in item.error_lines))
        lines += ["", f"{fence}text", *item.error_lines, fence]
    return [*lines, ""]


def _folded(page: _Page, title: str, items: Sequence[ObjectStatus], report: StatusReport) -> None:
    head = (
        "<details>",
        f"<summary>{title}</summary>",
        "",
        "| task | last run | took | next run |",
        "|---|--:|--:|--:|",
    )
    if not page.add(*head):
        page.force(f"{title}: not shown", "")
        return
    rows = healthy_rows(items, report)
    left = page.add_all([_row([_text(cell) for cell in row])] for row in rows)
    if left:
        page.force("", f"… and {left} more")
    page.force("", "</details>", "")


def _row(cells: Sequence[str]) -> str:
    name, *others = cells
    # a code span: `name@server` must not call upon somebody called server
    return f"| {_code(name).replace('|', chr(92) + '|')} | {' | '.join(map(_escape, others))} |"


def _text(cell: str | tuple[str, object]) -> str:
    return cell if isinstance(cell, str) else cell[0]


def _escape(text: str) -> str:
    """Text that Markdown and HTML leave alone."""
    return _SPECIAL.sub(_escaped, text.replace("&", "&amp;"))


def _escaped(found: re.Match[str]) -> str:
    return {"<": "&lt;", ">": "&gt;"}.get(found[0], "\\" + found[0])


def _code(text: str) -> str:
    text = printable(text)
    fence = "`" * (_longest_run(text) + 1)
    return f"{fence}{text}{fence}" if "`" not in text else f"{fence} {text} {fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)
