"""Text in columns of a terminal: widths of any script, cutting, padding, tables."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Style(StrEnum):
    """What a piece of text means; the terminal's colours are chosen by who prints."""

    PLAIN = "plain"
    BOLD = "bold"
    DIM = "dim"
    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    INFO = "info"


Paint = Callable[[str, Style], str]
"""Puts a style on a text, or leaves it as it is."""

Cell = str | tuple[str, Style]


def plain(text: str, style: Style) -> str:
    """A Paint without colours."""
    return text


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")


def printable(text: str) -> str:
    """The text on one line, safe for a terminal: control characters, and those that turn the direction of
    writing, are shown as escapes, so that stored text can neither move the cursor nor disguise itself."""
    return _CONTROL.sub(lambda found: _escape(found[0]), text) if _CONTROL.search(text) else text


def _escape(character: str) -> str:
    known = {"\n": "⏎", "\t": " ", "\r": ""}.get(character)
    if known is not None:
        return known
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def width(text: str) -> int:
    """Columns on a terminal: 2 for a wide character, 0 for a combining one."""
    if text.isascii():
        return len(text)
    # loaded only for text that needs it: the tables of Unicode cost more than most commands
    from wcwidth import wcswidth

    columns = wcswidth(text)
    return columns if columns >= 0 else sum(1 for c in text if not unicodedata.combining(c))


def cut(text: str, columns: int) -> str:
    """At most so many columns, the last one ``…`` where something was left out."""
    if width(text) <= columns:
        return text
    if columns <= 0:
        return ""
    kept: list[str] = []
    room = columns - 1
    for character in text:
        room -= max(0, width(character))
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + "…"


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """Filled with spaces to so many columns; ``right``: spaces first, as for numbers."""
    fill = " " * max(0, columns - width(text))
    return fill + text if right else text + fill


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its title, whether it is aligned to the right, and the most it may take."""

    title: str
    right: bool = False
    most: int = 60


def table(
    columns: Sequence[Column], rows: Iterable[Sequence[Cell]], paint: Paint = plain, *, indent: str = ""
) -> list[str]:
    """Lines of a table, no line wrapped and none ending in spaces; the head is the first line.

    Columns that are empty in every row are left out.
    """
    lines = [[_parts(cell, column.most) for cell, column in zip(row, columns, strict=True)] for row in rows]
    shown = [index for index in range(len(columns)) if any(line[index][0] for line in lines)]
    head = [(column.title, Style.DIM) for column in columns]
    every = [head, *lines]
    sizes = {index: max(width(line[index][0]) for line in every) for index in shown}
    return [indent + _line(line, shown, sizes, columns, paint) for line in every]


def _parts(cell: Cell, most: int) -> tuple[str, Style]:
    text, style = (cell, Style.PLAIN) if isinstance(cell, str) else cell
    return cut(printable(text), most), style


def _line(
    line: Sequence[tuple[str, Style]],
    shown: Sequence[int],
    sizes: dict[int, int],
    columns: Sequence[Column],
    paint: Paint,
) -> str:
    cells = []
    for index in shown:
        text, style = line[index]
        last = index == shown[-1]
        padded = (
            text if last and not columns[index].right else pad(text, sizes[index], right=columns[index].right)
        )
        # the spaces stay outside of the style: an underlined or inverted theme must not show them
        cells.append(padded.replace(text, paint(text, style), 1) if text else padded)
    return "  ".join(cells).rstrip()
