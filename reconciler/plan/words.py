"""Values, texts and moments as people read them: any script in its columns, nothing that moves a cursor."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

from reconciler.model.canonical import canonical_json
from reconciler.model.zone import zone
from reconciler.plan.changes import Times

CONTEXT = 2
"""Unchanged lines shown around a change of a text."""

INLINE = 72
"""Columns up to which two values stand beside each other."""

_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]"
)


def printable(text: str) -> str:
    """On one line and safe: control characters, and those that hide or turn text, are shown as escapes."""
    return _CONTROL.sub(_escape, text) if _CONTROL.search(text) else text


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    known = {9: "\\t", 10: "\\n", 13: "\\r"}.get(code)
    return known or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def width(text: str) -> int:
    """Columns on a terminal: 2 for a wide character, 0 for a combining one."""
    if text.isascii():
        return len(text)
    # loaded only for text that needs it: the tables of Unicode cost more than most commands
    from wcwidth import wcswidth

    columns = wcswidth(text)
    return columns if columns >= 0 else sum(1 for one in text if not unicodedata.combining(one))


def pad(text: str, columns: int) -> str:
    """Filled with spaces to so many columns."""
    return text + " " * max(0, columns - width(text))


def value(item: Any) -> str:
    """One value on one line, whole: what a reviewer cannot see, they cannot refuse."""
    if item is None:
        return "(none)"
    if not isinstance(item, str):
        return printable(canonical_json(item))
    return printable(item) if item and item == item.strip() and item != "(none)" else f'"{printable(item)}"'


def is_text(item: Any) -> bool:
    """Whether a value has several lines."""
    return isinstance(item, str) and "\n" in item.rstrip("\n")


def lines_of(item: Any) -> list[str]:
    """A value as lines: a text's own, a list's items, else the one."""
    if item is None:
        return []
    if isinstance(item, str):
        lines = item.split("\n")
        if lines[-1] == "":
            lines.pop()
        return [printable(line) for line in lines]
    if isinstance(item, (list, tuple)):
        return [value(one) for one in item]
    return [value(item)]


def difference(before: Any, after: Any) -> Iterator[tuple[str, str]]:
    """A unified diff as (sign, line): ``-``, ``+``, space, and ``…`` with what was folded away."""
    old, new = lines_of(before), lines_of(after)
    if isinstance(before, str) and isinstance(after, str) and before.endswith("\n") != after.endswith("\n"):
        # the only difference may be this one, and it must be seen
        lacking = new if before.endswith("\n") else old
        lacking[-1:] = [f"{line} (no line end)" for line in lacking[-1:]]
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=len(old) + len(new) > 2000)
    shown = 0
    for group in matcher.get_grouped_opcodes(CONTEXT):
        yield from _folded(group[0][1] - shown)
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                yield from ((" ", line) for line in old[old_from:old_to])
            else:
                yield from (("-", line) for line in old[old_from:old_to])
                yield from (("+", line) for line in new[new_from:new_to])
        shown = group[-1][2]
    yield from _folded(len(old) - shown)


def _folded(count: int) -> Iterator[tuple[str, str]]:
    if count:
        yield "…", f"{count} unchanged line{'' if count == 1 else 's'}"


def short(field: str) -> str:
    """``spec.`` says nothing to a reader; ``metadata.labels.env`` is ``labels.env``."""
    return printable(field.removeprefix("spec.").removeprefix("metadata."))


def some(names: Sequence[str], limit: int) -> str:
    """The first few of many names."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"


def count(number: int, noun: str) -> str:
    """``1 change``, ``2,000 changes``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def number(amount: float) -> str:
    """``0.143``, ``24``, ``8,640``."""
    return f"{amount:,}"


def fires(times: Times) -> str:
    """Due times on the wall of their zone: ``Mon 2 Mar 02:00, Tue 3 Mar 02:00 (Europe/Berlin)``."""
    if not times.next_fires:
        return "never"
    where = zone_or_utc(times.timezone)
    words: list[str] = []
    previous: datetime | None = None
    for moment in times.next_fires:
        local = moment.astimezone(where)
        clock = clock_of(local)
        same_day = previous is not None and previous.date() == local.date()
        words.append(clock if same_day else f"{day_of(local, times.next_fires[0])} {clock}")
        if previous is not None and previous.utcoffset() != local.utcoffset():
            words[-1] += f" {local.tzname()}"
        previous = local
    return f"{', '.join(words)} ({times.timezone or 'UTC'})"


def day_of(local: datetime, first: datetime) -> str:
    """``Mon 2 Mar``, with the year where it is another than at ``first``."""
    year = f" {local.year}" if local.year != first.astimezone(local.tzinfo).year else ""
    return f"{local:%a} {local.day} {local:%b}{year}"


def clock_of(local: datetime) -> str:
    """``02:00``; seconds only where there are any."""
    return local.strftime("%H:%M:%S" if local.second else "%H:%M")


def zone_or_utc(name: str | None) -> tzinfo:
    """The zone of that name; UTC without one, and for one that a hand has spoilt."""
    try:
        return UTC if name is None else zone(name)
    except ValueError:
        return UTC
