"""A plan's changes as lines; what the terminal and a pull request have in common."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from reconciler.model.enums import Kind
from reconciler.plan.changes import Action, Change, Drift, FieldChange, Plan
from reconciler.plan.effects import labels_width, notes
from reconciler.plan.groups import CALENDARS, Group
from reconciler.plan.words import (
    INLINE,
    count,
    difference,
    is_text,
    lines_of,
    pad,
    printable,
    short,
    some,
    value,
    width,
)

BOLD, DIM, RED, GREEN, YELLOW = "1", "2", "31", "32", "33"
_STYLES = {
    Action.CREATE: ("+", GREEN),
    Action.UPDATE: ("~", YELLOW),
    Action.RENAME: (">", "36"),
    Action.DELETE: ("-", RED),
    Action.RESTORE: ("↻", GREEN),
    None: ("!", "35"),
}
_TITLES = {Kind.PROJECT: "Project", Kind.SERVER: "Servers", Kind.TASK: "Tasks"}
DELETIONS = "Deletions"
_MOST_TITLE = 64
"""Columns of a title up to which the places stand below each other."""
_COLUMNS = 80
_INDENT = 6
_AFTER_COMMA = re.compile("(?<=[,;]) ")
_GLUE = "\u00a0"
"""Not a space to textwrap, and nothing that a note has of its own."""
_MOST_SERVERS = 8
_MOST_NEW_LINES = 40
"""Lines of a new text that are shown; the file beside the change has them all."""


class Pen:
    """Styles text, or leaves it as it is."""

    def __init__(self, on: bool) -> None:
        self._on = on

    def __call__(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._on and text else text


def sections(plan: Plan) -> Iterator[tuple[str, list[Change]]]:
    """The plan's changes in the order of doing, by what a reviewer looks for."""
    parts: dict[str, list[Change]] = {}
    for change in plan.changes:
        title = DELETIONS if change.action is Action.DELETE else _TITLES[change.kind]
        parts.setdefault(title, []).append(change)
    yield from parts.items()


def entry_lines(groups: Sequence[Group], pen: Pen) -> Iterator[str]:
    titles = [_title(group) for group in groups]
    column = max((width(title) for title in titles if width(title) <= _MOST_TITLE), default=0)
    for group, title in zip(groups, titles, strict=True):
        style = _STYLES[group.action][1]
        yield f"  {pen(title, style)}{' ' * max(0, column - width(title))}  {pen(group.place, DIM)}".rstrip()
        yield from (f"{' ' * _INDENT}{line}" for line in _body(group, pen))


def _title(group: Group) -> str:
    word = group.action.value if group.action is not None else "drift"
    return f"{_STYLES[group.action][0]} {word:<7} {group.title}"


def _body(group: Group, pen: Pen) -> Iterator[str]:
    if group.several_tasks:
        yield pen(some(group.addresses, _MOST_SERVERS), DIM)
    elif len(group.members) > 1:
        yield pen(f"on {some(group.servers, _MOST_SERVERS)}", DIM)
    if group.reason:
        yield from (pen(line, DIM) for line in wrapped(printable(group.reason), _COLUMNS - _INDENT))
    yield from _fields(group, pen)
    found = list(notes(group))
    column = labels_width(found)
    for note in found:
        for number, line in enumerate(wrapped(note.text, _COLUMNS - _INDENT - column - 2)):
            label = pad("" if number else note.label, column)
            yield f"{pen(label, DIM)}  {pen(line, YELLOW) if note.warns else line}"


def wrapped(text: str, room: int) -> list[str]:
    """Lines of at most so many columns where the words allow it, broken behind a comma if possible."""
    parts = _AFTER_COMMA.split(text)
    glued = " ".join(part if len(part) > room else part.replace(" ", _GLUE) for part in parts)
    lines = textwrap.wrap(glued, max(room, 1), break_long_words=False, break_on_hyphens=False)
    return [line.replace(_GLUE, " ") for line in lines] or [""]


def _fields(group: Group, pen: Pen) -> Iterator[str]:
    fields = group.fields
    one = group.first
    if isinstance(one, Drift) and not fields:
        yield pen(_wordless(one), DIM)
    plain = {name: change for name, change in fields.items() if name != CALENDARS and not _is_long(change)}
    column = max((width(short(name)) for name in plain), default=0)
    for name, change in fields.items():
        if name in plain:
            yield f"{pad(short(name), column)}  {_inline(group, change, pen)}"
        else:
            yield f"{short(name)}:"
            yield from (f"  {line}" for line in _text(change, pen))


def _wordless(drift: Drift) -> str:
    """Why a drift has no fields to show."""
    desired, row = drift.desired, drift.row
    if desired is not None and row is not None and desired.definition.hash != row.applied_hash:
        return "git changes it too, and the stored hash does not tell which fields a hand changed"
    return "the same values, written otherwise than they were applied"


def _inline(group: Group, change: FieldChange, pen: Pen) -> str:
    if group.action is Action.CREATE:
        return value(change.after)
    return f"{pen(value(change.before), RED)} → {pen(value(change.after), GREEN)}"


def _is_long(change: FieldChange) -> bool:
    """Whether two values are better read one below the other."""
    before, after = change.before, change.after
    if is_text(before) or is_text(after):
        return True
    if before is None and not isinstance(after, (list, tuple)):
        return False
    return width(value(before)) + width(value(after)) > INLINE and _is_many(before, after)


def _is_many(before: Any, after: Any) -> bool:
    if isinstance(before, (list, tuple)) or isinstance(after, (list, tuple)):
        return len(lines_of(before)) + len(lines_of(after)) > 1
    return before is not None and after is not None


def _text(change: FieldChange, pen: Pen) -> Iterator[str]:
    """A text or a list: a new one from its beginning, of a changed one what changed and its neighbours."""
    found = list(difference(change.before, change.after))
    if change.before is None and len(found) > _MOST_NEW_LINES:
        rest = len(found) - _MOST_NEW_LINES
        found = [*found[:_MOST_NEW_LINES], ("…", f"{count(rest, 'more line')}")]
    for sign, line in found:
        style = {"+": GREEN, "-": RED}.get(sign, DIM)
        yield pen(f"{sign} {line}".rstrip(), style)
