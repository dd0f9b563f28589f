"""Changes that are the same on many servers, and what one calendar's edit does to many tasks, as one: a
reviewer reads a thing once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.model.calendar_words import calendar_lines
from reconciler.model.canonical import canonical_json
from reconciler.model.enums import Kind
from reconciler.plan.changes import Action, Change, Drift, Effect, FieldChange, Fields, address
from reconciler.plan.words import count, printable

CALENDARS = "spec.calendars"


@dataclass(frozen=True, slots=True)
class Group:
    """One or more equal changes of a task on several servers (``members``, in the plan's order), or of
    several tasks whose calendars alone change, and in the same way.

    ``fields`` are those to show; what the title says already is not among them.
    """

    members: tuple[Change | Drift, ...]
    fields: Fields

    @property
    def first(self) -> Change | Drift:
        return self.members[0]

    @property
    def action(self) -> Action | None:
        """None for drift."""
        return self.first.action if isinstance(self.first, Change) else None

    @property
    def reason(self) -> str | None:
        return self.first.reason if isinstance(self.first, Change) else None

    @property
    def place(self) -> str:
        """``file:line``; empty where nothing is declared, or each somewhere else."""
        if self.several_tasks:
            return ""
        origin = self.first.origin
        return f"{printable(origin.path)}:{origin.line}" if origin.path else ""

    @property
    def servers(self) -> list[str]:
        return [printable(member.server) for member in self.members if member.server is not None]

    @property
    def addresses(self) -> list[str]:
        return [printable(address(member.name, member.server)) for member in self.members]

    @property
    def several_tasks(self) -> bool:
        return any(member.name != self.first.name for member in self.members)

    @property
    def effects(self) -> list[Effect]:
        """Those that are known, in the order of the members."""
        return [member.effect for member in self.members if member.effect is not None]

    @property
    def title(self) -> str:
        """``Task backup@db-1``, ``Task old → new on 12 servers``, ``12 tasks``, ``Server a → b``."""
        one = self.first
        if self.several_tasks:
            return count(len(self.members), one.kind.value.lower())
        new = printable(one.name)
        if len(self.members) > 1:
            old = self._old_name()
            name = new if old == new else f"{old} → {new}"
            return f"{one.kind.value} {name} on {count(len(self.members), 'server')}"
        new = printable(address(one.name, one.server))
        old = self._old_address()
        return f"{one.kind.value} {new if old == new else f'{old} → {new}'}"

    def _old_name(self) -> str:
        moved = self.first.fields.get("metadata.name")
        return printable(str(moved.before) if moved is not None else self.first.name)

    def _old_address(self) -> str:
        moved = self.first.fields.get("spec.server")
        server = printable(str(moved.before)) if moved is not None else self.first.server
        return address(self._old_name(), None if server is None else printable(server))


def grouped(changes: Iterable[Change | Drift]) -> list[Group]:
    """Groups in the order of their first members."""
    found: dict[object, list[Change | Drift]] = {}
    texts: dict[int, str] = {}
    for one in changes:
        found.setdefault(_key(one, texts), []).append(one)
    return [Group(tuple(members), _shown(members[0])) for members in found.values()]


def _key(one: Change | Drift, texts: dict[int, str]) -> object:
    if one.kind is not Kind.TASK or "spec.server" in one.fields:
        return id(one)
    action, reason = (one.action, one.reason) if isinstance(one, Change) else (None, None)
    if action is Action.UPDATE and list(one.fields) == [CALENDARS]:
        return action, reason, _calendars_text(one.fields[CALENDARS], texts)
    return action, one.name, one.origin, reason, _text(one.fields, texts)


def _text(fields: Fields, texts: dict[int, str]) -> str:
    # changes of one declaration share the very mapping
    text = texts.get(id(fields))
    if text is None:
        text = texts[id(fields)] = canonical_json(
            {name: [change.before, change.after] for name, change in fields.items()}
        )
    return text


def _calendars_text(change: FieldChange, texts: dict[int, str]) -> str:
    text = texts.get(id(change))
    if text is None:
        said = calendars_in_words(change)
        text = texts[id(change)] = canonical_json([said.before, said.after])
    return text


def calendars_in_words(change: FieldChange) -> FieldChange:
    """A change of ``spec.calendars``: the lines of windows that come and go, by calendar.

    Those that stay are left out; where nothing but the order changes, all are there. Spoilt ones stay as
    they are.
    """
    before, after = (
        None if value is None else calendar_lines(value) for value in (change.before, change.after)
    )
    if (before is None and change.before is not None) or (after is None and change.after is not None):
        return change
    gone = [line for line in before or () if line not in (after or ())]
    new = [line for line in after or () if line not in (before or ())]
    return FieldChange(gone, new) if gone or new else FieldChange(before, after)


def _shown(one: Change | Drift) -> dict[str, FieldChange]:
    return {
        name: calendars_in_words(change) if name == CALENDARS else change
        for name, change in _told(one).items()
    }


def _told(one: Change | Drift) -> dict[str, FieldChange]:
    if isinstance(one, Change) and one.action is Action.RENAME:
        return {
            name: change
            for name, change in one.fields.items()
            if name not in ("metadata.name", "spec.server")
        }
    return dict(one.fields)
