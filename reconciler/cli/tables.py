"""Tables and colours of a console: what a style of a report looks like on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reconciler.cli.console import BOLD, CYAN, DIM, GREEN, RED, YELLOW, Console, paint
from reconciler.report.layout import Cell, Column, Paint, Style, table

_CODES = {
    Style.BOLD: BOLD,
    Style.DIM: DIM,
    Style.GOOD: GREEN,
    Style.BAD: RED,
    Style.WARN: YELLOW,
    Style.INFO: CYAN,
}


def painter(console: Console) -> Paint:
    """How styles are shown on standard output: ANSI colours on a terminal, nothing elsewhere."""

    def style(text: str, wanted: Style) -> str:
        code = _CODES.get(wanted)
        return text if code is None else paint(text, code, console.colour)

    return style


def print_lines(console: Console, lines: Iterable[str]) -> None:
    """The result, line by line."""
    for line in lines:
        console.print(line)


def print_table(
    console: Console, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], noun: str
) -> None:
    """A table; an empty one is a word on standard error instead, so that scripts count no head line."""
    if rows:
        print_lines(console, table(columns, rows, painter(console)))
    else:
        console.note(f"no {noun} found")
