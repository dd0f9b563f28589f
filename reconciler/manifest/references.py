"""What documents say of each other: names used twice, servers and tasks that are absent, cycles, renames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from reconciler.manifest.construct import shorten
from reconciler.manifest.findings import Document, Findings, Loc
from reconciler.manifest.repair import is_stand_in
from reconciler.manifest.suggest import did_you_mean
from reconciler.manifest.text import Fault
from reconciler.manifest.validate import ServerEntry, TaskEntry
from reconciler.model.names import normalise_name
from reconciler.model.task import Selector

E = TypeVar("E")

MAX_ROWS = 1_000_000
"""Rows of one tree (a task on a server is one): ten times the largest fleet this is made for."""


@dataclass(slots=True)
class Entries(Generic[E]):
    """The objects of one kind: ``named`` by name (None where one is too wrong to say more than that it is
    there), ``all`` of them with those that have no name of their own."""

    kind: str
    named: dict[str, E | None] = field(default_factory=dict)
    all: list[E] = field(default_factory=list)
    _places: dict[str, Document] = field(default_factory=dict)

    def add(self, findings: Findings, document: Document, entry: E | None) -> None:
        """Take an object in; a name that is taken is a problem at its second place."""
        if entry is not None:
            self.all.append(entry)
        name = name_of(document) if document.entry is None else document.entry.name
        if name is None:
            return
        first = self._places.setdefault(name, document)
        if first is document:
            self.named[name] = entry
            return
        findings.at(
            document,
            ("metadata", "name"),
            Fault(
                "duplicate-name",
                f"the {self.kind.lower()} `{shorten(name)}` is already declared at {first.path}:{first.line}",
                "give one of the two another name",
            ),
        )

    def pairs(self) -> Iterator[tuple[str, E]]:
        """Name and object of those that can be looked up and are there."""
        return ((name, entry) for name, entry in self.named.items() if entry is not None)


def name_of(document: Document) -> str | None:
    """The normalised name a document declares, also where something else in it is wrong."""
    metadata = document.value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str):
        return None
    try:
        return normalise_name(name)
    except ValueError:
        return None


class References:
    """Checks a whole tree.

    ``is_unread`` tells whether a name occurs in what could not be read: then it may well be declared there.
    """

    def __init__(
        self,
        findings: Findings,
        project: str,
        servers: Entries[ServerEntry],
        tasks: Entries[TaskEntry],
        is_unread: Callable[[str], bool],
    ) -> None:
        self._findings = findings
        self._project = project
        self._servers = servers
        self._tasks = tasks
        self._is_unread = is_unread
        self._labels = {name: entry.labels for name, entry in servers.pairs()}
        self._labels_known = len(self._labels) == len(servers.named) and all(
            entry.labels_whole for entry in servers.all
        )
        self._selected: dict[str, tuple[str, ...]] = {}

    def check_servers(self) -> None:
        """Jump hosts: known, and not in a circle."""
        jumps: dict[str, tuple[str, ...]] = {}
        for entry in self._servers.all:
            if entry.jump is not None:
                target = self._known_server(entry.document, ("spec", "jump"), entry.jump)
                if target is not None and self._servers.named.get(entry.name) is entry:
                    jumps[entry.name] = (target,)
        for cycle in _cycles(jumps):
            entry = self._found(self._servers, cycle[0])
            fault = Fault(
                "jump-cycle",
                f"the jump hosts lead in a circle: {_circle(cycle)}",
                "one of them must be reached directly",
            )
            self._findings.at(entry.document, ("spec", "jump"), fault)

    def placements(self, entry: TaskEntry) -> tuple[str, ...]:
        """The servers that a task runs on; problems are reported."""
        document = entry.document
        if entry.selector is not None:
            return self._select(document, entry.selector)
        if entry.server is not None:
            found = self._known_server(document, ("spec", "server"), entry.server)
            return () if found is None else (found,)
        chosen: dict[str, int] = {}
        for index, reference in enumerate(entry.servers):
            loc: Loc = ("spec", "servers", index)
            name = self._known_server(document, loc, reference)
            if name is not None and chosen.setdefault(name, index) != index:
                message = f"the server `{name}` is already item {chosen[name] + 1} of this list"
                self._findings.at(document, loc, Fault("duplicate-server", message, "remove one of the two"))
        return tuple(chosen)

    def check_after(self, placements: Sequence[tuple[TaskEntry, tuple[str, ...]]]) -> None:
        """``after`` names tasks that exist on every server of the task, and never leads in a circle."""
        if not any(entry.after for entry in self._tasks.all):
            return
        servers = {
            entry.name: set(found)
            for entry, found in placements
            if self._tasks.named.get(entry.name) is entry
        }
        graph: dict[str, tuple[str, ...]] = {}
        for entry, found in placements:
            if entry.after:
                known = tuple(self._known_tasks(entry, found, servers))
                if self._tasks.named.get(entry.name) is entry:
                    graph[entry.name] = known
        for cycle in _cycles(graph):
            entry = self._found(self._tasks, cycle[0])
            index = entry.after.index(cycle[1 % len(cycle)])
            fault = Fault(
                "after-cycle",
                f"`after` leads in a circle: {_circle(cycle)}",
                "one of them must run without waiting",
            )
            self._findings.at(entry.document, ("spec", "after", index), fault)

    def _known_tasks(
        self, entry: TaskEntry, found: tuple[str, ...], servers: Mapping[str, set[str]]
    ) -> Iterator[str]:
        for index, other in enumerate(entry.after):
            loc: Loc = ("spec", "after", index)
            if other in self._tasks.named:
                lacking = [server for server in found if server not in servers.get(other, (server,))]
                if lacking and servers.get(other):
                    message = (
                        f"the task `{shorten(other)}` does not run on {_some(lacking)}, where this one does"
                    )
                    hint = "a task can only follow one that runs on all of its servers"
                    self._findings.at(entry.document, loc, Fault("after-elsewhere", message, hint))
                yield other
            elif not self._is_unread(other):
                hint = did_you_mean(other, self._tasks.named) or "declare it, or remove it here"
                message = f"there is no task `{shorten(other)}` in this tree"
                self._findings.at(entry.document, loc, Fault("unknown-task", message, hint))

    @staticmethod
    def _found(entries: Entries[E], name: str) -> E:
        entry = entries.named[name]
        assert entry is not None  # it has edges, so it was there when they were drawn
        return entry

    def _known_server(self, document: Document, loc: Loc, reference: str) -> str | None:
        """The server's name; another project's is left to `plan`. None, and a problem, if there is none."""
        if is_stand_in(reference):
            return None
        project, _, name = reference.rpartition("/")
        if project and project != self._project:
            return reference
        if name in self._servers.named:
            return name
        if not self._is_unread(name):
            hint = did_you_mean(name, self._servers.named)
            hint = hint or "declare it, or write project/name for the server of another project"
            self._findings.at(
                document,
                loc,
                Fault("unknown-server", f"there is no server `{shorten(name)}` in this tree", hint),
            )
        return None

    def _select(self, document: Document, selector: Selector) -> tuple[str, ...]:
        if is_stand_in(selector):
            return ()
        key = selector.model_dump_json()
        found = self._selected.get(key)
        if found is None:
            found = tuple(name for name, labels in self._labels.items() if selector.matches(labels))
            self._selected[key] = found
        if not found and self._labels_known:
            fault = Fault(
                "selector-matches-nothing",
                "no server of this tree matches this selector",
                self._near_labels(selector),
            )
            self._findings.at(document, ("spec", "selector"), fault)
        return found

    def _near_labels(self, selector: Selector) -> str:
        """What the labels of this tree offer instead."""
        present: dict[str, set[str]] = {}
        for labels in self._labels.values():
            for key, value in labels.items():
                present.setdefault(key, set()).add(value)
        wanted = [*selector.match_labels, *(item.key for item in selector.match_expressions)]
        for key in wanted:
            if key not in present:
                near = did_you_mean(key, present)
                return f"no server has the label `{key}`" + (f"; {near}" if near else "")
        for key, value in selector.match_labels.items():
            if value not in present[key]:
                return f"the label `{key}` has the values {_some(sorted(present[key]))}"
        return "each label occurs, but on no server all of them"


def _cycles(graph: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Each circle of the graph once, from its first node in the graph's order; chains may be long."""
    found: list[list[str]] = []
    done: set[str] = set()
    order = {name: index for index, name in enumerate(graph)}
    for start in graph:
        path: list[str] = []
        on_path: dict[str, int] = {}
        stack: list[tuple[str, bool]] = [(start, False)]
        while stack:
            name, leaving = stack.pop()
            if leaving:
                path.pop()
                del on_path[name]
                done.add(name)
            elif name in on_path:
                circle = path[on_path[name] :]
                first = min(range(len(circle)), key=lambda index: order[circle[index]])
                found.append(circle[first:] + circle[:first])
            elif name not in done and name in graph:
                on_path[name] = len(path)
                path.append(name)
                stack.append((name, True))
                stack.extend((following, False) for following in reversed(graph[name]))
    return found


def _circle(names: Sequence[str], limit: int = 8) -> str:
    shown = [shorten(name) for name in names[:limit]]
    return " → ".join([*shown, *(["…"] if len(names) > limit else []), names[0]])


def _some(names: Sequence[str], limit: int = 5) -> str:
    shown = ", ".join(f"`{shorten(name)}`" for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def former_names(
    findings: Findings, kind: str, rows: Iterable[tuple[Document, str, str | None, str | None, str | None]]
) -> None:
    """Renames: nobody was itself, and no two rows were the same one."""
    taken: dict[Any, Document] = {}
    for document, name, server, formerly, formerly_server in rows:
        if formerly is None:
            continue
        old = (formerly, formerly_server or server)
        loc: Loc = ("metadata", "formerly")
        if old == (name, server):
            findings.at(
                document,
                loc,
                Fault("formerly-itself", f"`{formerly}` is the present name", "remove `formerly`"),
            )
        elif taken.setdefault(old, document) is not document:
            first = taken[old]
            message = (
                f"`{formerly}` is already the former name of the {kind.lower()} at {first.path}:{first.line}"
            )
            hint = "remove `formerly` from one of the two: only one object can go on with a row"
            findings.at(document, loc, Fault("duplicate-formerly", message, hint))
