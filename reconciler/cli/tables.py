"""Tables and colours of a console: what a style of a report looks like on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reconciler.cli.console import BOLD, CYAN, DIM, GREEN, RED, YELLOW, Console, paint
from reconciler.report.json_text import items_json
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


def print_items(
    console: Console, head: Mapping[str, Any], name: str, items: Sequence[Any], tail: Mapping[str, Any]
) -> None:
    """``{head…, name: [items], tail…}`` as JSON; see ``items_json``."""
    for piece in items_json(head, name, items, tail):
        console.out.write(piece)


def print_table(
    console: Console, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], noun: str
) -> None:
    """A table; an empty one is a word on standard error instead, so that scripts count no head line."""
    if rows:
        print_lines(console, table(columns, rows, painter(console)))
    else:
        console.note(f"no {noun} found")
