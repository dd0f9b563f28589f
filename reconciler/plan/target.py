"""``--target KIND/NAME``: the part of a plan that was asked for, with what it cannot do without."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from reconciler.errors import NotFound, UsageError
from reconciler.model.canonical import Document
from reconciler.model.enums import Kind
from reconciler.model.names import normalise_name
from reconciler.model.state import DesiredState, DesiredTask, ObservedState
from reconciler.plan.changes import Action, Change, Drift, address
from reconciler.plan.contradictions import did_you_mean
from reconciler.plan.servers import jump_of

_FORMS = "write Server/NAME, Task/NAME, Task/NAME@SERVER or Project/NAME"
_APPEARS = (Action.CREATE, Action.RESTORE, Action.RENAME)


@dataclass(frozen=True, slots=True)
class Target:
    """One object, or with ``server`` None all rows of a task. Both its former and its new name will do."""

    kind: Kind
    name: str
    server: str | None = None

    @classmethod
    def parse(cls, text: str) -> Target:
        """``Task/nightly@db-1``; the kind in any case. Raises UsageError."""
        word, slash, rest = text.partition("/")
        kind = {one.value.casefold(): one for one in Kind}.get(word.strip().casefold())
        if not slash or kind is None:
            raise UsageError(f"{text!r} is not a target", hint=_FORMS)
        name, at, server = rest.partition("@")
        if at and kind is not Kind.TASK:
            raise UsageError(f"{text!r} is not a target: only a task is on a server", hint=_FORMS)
        try:
            return cls(kind, normalise_name(name), normalise_name(server) if at else None)
        except ValueError as error:
            raise UsageError(f"{text!r} is not a target: {error}", hint=_FORMS) from error

    def __str__(self) -> str:
        return f"{self.kind.value}/{address(self.name, self.server)}"


@dataclass(frozen=True, slots=True)
class Selected:
    """What remains of a plan's changes and drift, in their order; ``left_out`` counts the rest."""

    changes: tuple[Change, ...]
    drift: tuple[Drift, ...]
    left_out: int


def select(
    targets: Sequence[Target],
    changes: Sequence[Change],
    drift: Sequence[Drift],
    desired: DesiredState,
    observed: ObservedState,
) -> Selected:
    """The changes of the targets and those they need, which say so in their reason.

    A rename of the project always comes along: everything belongs to it. Raises NotFound for targets that are
    neither declared nor stored.
    """
    _check_known(targets, desired, observed)
    wanted = set(targets)
    asked = [index for index, change in enumerate(changes) if _matches(change, wanted)]
    asked += [
        index
        for index, change in enumerate(changes)
        if change.kind is Kind.PROJECT and change.action is Action.RENAME
    ]
    needed = _Needs(changes).closure(asked)
    kept = tuple(
        change if because is None else _with_reason(change, because)
        for index, change in enumerate(changes)
        if index in needed
        for because in (needed[index],)
    )
    put_back = tuple(one for one in drift if _matches(one, wanted))
    return Selected(kept, put_back, len(changes) + len(drift) - len(kept) - len(put_back))


def _matches(one: Change | Drift, wanted: set[Target]) -> bool:
    places = {(one.name, one.server)}
    if one.row is not None:
        places.add((one.row.name, getattr(one.row, "server", None)))
    return any(
        Target(one.kind, name, server) in wanted or Target(one.kind, name) in wanted
        for name, server in places
    )


def _with_reason(change: Change, because: str) -> Change:
    reason = f"needed by {because}"
    return replace(change, reason=f"{change.reason}; {reason}" if change.reason else reason)


class _Needs:
    """What each change cannot be without: indexes over the changes alone, so the cost is theirs."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = changes
        self._appearing: dict[tuple[Kind, str, str | None], int] = {}
        self._leaving: dict[tuple[Kind, str, str | None], int] = {}
        self._on_server: dict[int, list[int]] = {}
        self._after: dict[tuple[str, int], list[int]] = {}
        for index, change in enumerate(changes):
            self._index(index, change)

    def closure(self, asked: Iterable[int]) -> dict[int, str | None]:
        """All changes that are needed: index → who needs it, None for those that were asked for."""
        found: dict[int, str | None] = dict.fromkeys(asked)
        waiting = list(found)
        while waiting:
            index = waiting.pop()
            change = self._changes[index]
            for other in self._needed_by(change):
                if other not in found:
                    found[other] = f"{change.kind.value} {address(change.name, change.server)}"
                    waiting.append(other)
        return found

    def _index(self, index: int, change: Change) -> None:
        if change.action in _APPEARS:
            self._appearing[change.kind, change.name, change.server] = index
        row = change.row
        if row is None or change.kind is Kind.PROJECT:
            return
        server_id: int | None = getattr(row, "server_id", None)
        if change.action is Action.RENAME:
            self._leaving[change.kind, row.name, getattr(row, "server", None)] = index
        if server_id is None:
            return
        if change.action is Action.DELETE or "spec.server" in change.fields:
            self._on_server.setdefault(server_id, []).append(index)
        for name in _after(row.definition.document):
            self._after.setdefault((name, server_id), []).append(index)

    def _needed_by(self, change: Change) -> Iterator[int]:
        if change.kind is Kind.SERVER:
            yield from self._of_server(change)
        elif change.kind is Kind.TASK:
            yield from self._of_task(change)
        # whoever has the name now must leave it first
        if change.action in (Action.CREATE, Action.RENAME):
            leaving = self._leaving.get((change.kind, change.name, change.server))
            if leaving is not None:
                yield leaving

    def _of_server(self, change: Change) -> Iterator[int]:
        if change.action is Action.DELETE and change.row is not None:
            yield from self._on_server.get(change.row.id, ())
        if change.desired is not None:
            yield from self._appears(Kind.SERVER, jump_of(change.desired.definition.document), None)

    def _of_task(self, change: Change) -> Iterator[int]:
        if change.server is not None and change.action is not Action.DELETE:
            yield from self._appears(Kind.SERVER, change.server, None)
        if change.desired is not None:
            for name in _after(change.desired.definition.document):
                yield from self._appears(Kind.TASK, name, change.server)
        if change.action is Action.DELETE and change.row is not None:
            # whoever ran after it no longer does, by a change of its own
            yield from self._after.get((change.row.name, getattr(change.row, "server_id", 0)), ())

    def _appears(self, kind: Kind, name: str, server: str | None) -> Iterator[int]:
        index = self._appearing.get((kind, name, server))
        if index is not None:
            yield index


def _after(document: Document) -> list[str]:
    """The tasks it runs after; a row may hold anything there."""
    after = document["spec"].get("after", ())
    return [name for name in after if isinstance(name, str)] if isinstance(after, (list, tuple)) else []


def _check_known(targets: Sequence[Target], desired: DesiredState, observed: ObservedState) -> None:
    servers = desired.servers.keys() | {row.name for row in observed.servers.values() if row.live}
    rows = {(task.name, _plain(task)) for task in desired.tasks.values()}
    rows |= {(row.name, row.server) for row in observed.tasks.values() if row.live}
    tasks = {name for name, _ in rows}
    projects = {desired.project} | ({observed.project.name} if observed.project else set())
    for target in targets:
        known = {Kind.PROJECT: projects, Kind.SERVER: servers, Kind.TASK: tasks}[target.kind]
        if target.name not in known:
            raise _unknown(target, did_you_mean(target.name, known))
        if target.server is not None and (target.name, target.server) not in rows:
            places = sorted(server for name, server in rows if name == target.name)
            raise _unknown(target, f"it is on {', '.join(places[:10])}{', …' if len(places) > 10 else ''}")


def _plain(task: DesiredTask) -> str:
    return task.server.rpartition("/")[2]


def _unknown(target: Target, hint: str | None) -> NotFound:
    return NotFound(f"{target} is neither in the tree nor in the database", hint=hint or _FORMS)
