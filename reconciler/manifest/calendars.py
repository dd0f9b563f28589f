"""The calendars of a tree: named by the project and its tasks, and what each says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.manifest.construct import shorten
from reconciler.manifest.findings import Document, Findings, Loc
from reconciler.manifest.repair import is_stand_in
from reconciler.manifest.suggest import did_you_mean
from reconciler.manifest.text import Fault
from reconciler.model.calendar import CalendarDeclaration, calendar_document
from reconciler.model.canonical import Document as Canonical

LOC: Loc = ("spec", "calendars")


@dataclass(slots=True)
class CalendarEntry:
    """A calendar of the tree."""

    document: Document
    declaration: CalendarDeclaration


class Calendars:
    """Looks calendars up by name.

    ``named`` has None for one that is too wrong to say more than that it is there. ``is_unread`` tells
    whether a name occurs in what could not be read: then it may well be declared there.
    """

    def __init__(
        self, findings: Findings, named: Mapping[str, CalendarEntry | None], is_unread: Callable[[str], bool]
    ) -> None:
        self._findings = findings
        self._is_unread = is_unread
        self._said = {
            name: None if entry is None else calendar_document(entry.declaration)
            for name, entry in named.items()
        }
        self._project: tuple[str, ...] = ()

    def of_project(self, document: Document, names: Sequence[str]) -> None:
        """Those that the project names: they hold for every task from now on."""
        self._project = self._known(document, names)

    def of_task(self, document: Document, names: Sequence[str]) -> list[Canonical]:
        """What holds for a task: the project's calendars, then its own, none twice."""
        if not names and not self._project:
            return []
        wanted = dict.fromkeys((*self._project, *self._known(document, names)))
        return [said for name in wanted if (said := self._said[name]) is not None]

    def _known(self, document: Document, names: Sequence[str]) -> tuple[str, ...]:
        first: dict[str, int] = {}
        for index, name in enumerate(names):
            if is_stand_in(name):
                continue
            if first.setdefault(name, index) != index:
                message = f"the calendar `{shorten(name)}` is already item {first[name] + 1} of this list"
                fault = Fault("duplicate-calendar", message, "remove one of the two")
                self._findings.at(document, (*LOC, index), fault)
            elif name not in self._said and not self._is_unread(name):
                hint = did_you_mean(name, self._said) or "declare it (kind: Calendar), or remove it here"
                message = f"there is no calendar `{shorten(name)}` in this tree"
                self._findings.at(document, (*LOC, index), Fault("unknown-calendar", message, hint))
        return tuple(name for name in first if name in self._said)
