"""The tasks' part of a plan. A row is a task on a server; the server is known by its row's id,
so that a renamed server takes its tasks along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.model.enums import Kind
from reconciler.model.state import DesiredState, DesiredTask, ObservedState, ObservedTask
from reconciler.plan.changes import Action, Change, Drift, FieldChange, address
from reconciler.plan.contradictions import Contradiction
from reconciler.plan.fields import Differences
from reconciler.plan.renames import resolve
from reconciler.plan.rows import compare
from reconciler.plan.servers import ServerPart, unknown_server

Place = int | str
"""A server's row id, or the name of a server that is still to be created."""
Key = tuple[str, Place]


@dataclass(frozen=True, slots=True)
class TaskPart:
    """Changes in two halves (``kept``, then ``deleted``), drift, contradictions.

    ``forget`` as of ``ServerPart``.
    """

    kept: tuple[Change, ...]
    deleted: tuple[Change, ...]
    drift: tuple[Drift, ...]
    unchanged: int
    problems: tuple[Contradiction, ...]
    forget: tuple[ObservedTask, ...]


def compare_tasks(
    desired: DesiredState, observed: ObservedState, servers: ServerPart, differences: Differences
) -> TaskPart:
    """Compare every declared row with the stored one, and find the rows that left the tree."""
    rows: dict[Key, ObservedTask] = {(row.name, row.server_id): row for row in observed.tasks.values()}
    places = _Places(desired, observed, servers)
    wanted: dict[Key, DesiredTask] = {}
    for task in desired.tasks.values():
        place = places.of(task)
        if place is not None:
            wanted[task.name, place] = task
    problems = places.problems
    active = _renames(wanted, rows, places, problems)
    leaving = set(active.values())

    kept: list[Change] = []
    drift: list[Drift] = []
    forget: list[ObservedTask] = []
    taken: set[int] = set()
    unchanged = 0
    for key, task in wanted.items():
        old = active.get(key) if active else None
        row = rows[old] if old is not None else None if key in leaving else rows.get(key)
        if row is not None:
            taken.add(row.id)
        server = places.names[key[1]]
        names = {} if old is None or row is None else _moved(row, task, server, old, key)
        result = compare(differences, Kind.TASK, server, task, row, names)
        if result is None:
            unchanged += 1
            if row is not None and row.renamed_from is not None and row.renamed_from != said(task):
                forget.append(row)
        elif isinstance(result, Drift):
            drift.append(result)
        else:
            kept.append(result)
    live = [row for row in rows.values() if row.deleted_at is None]
    gone = [row for row in live if row.id not in taken]
    still = {name for name, _ in wanted} if gone else set()
    deleted = tuple(_deletion(row, row.name in still) for row in gone) if desired.spec.prune else ()
    if not desired.spec.prune:
        unchanged += len(gone)
    return TaskPart(tuple(kept), deleted, tuple(drift), unchanged, tuple(problems), tuple(forget))


class _Places:
    """The server of each declared row: of this tree, or a live one of another project.

    ``names`` are the plain names, as they are after the change.
    """

    def __init__(self, desired: DesiredState, observed: ObservedState, servers: ServerPart) -> None:
        self._desired = desired
        self._observed = observed
        self._ids = servers.ids
        self._known: dict[str, Place | None] = {}
        self._wrong: dict[str, tuple[str, str]] = {}
        self.names: dict[Place, str] = {}
        self.problems: list[Contradiction] = []

    def of(self, task: DesiredTask) -> Place | None:
        """None, and a problem, where there is no such server."""
        reference = task.server
        if reference not in self._known:
            self._known[reference] = self._find(reference)
        place = self._known[reference]
        if place is None:
            self._report(task)
        return place

    def former(self, name: str) -> Place:
        """The server of ``formerly: task@name``: as it is called in the database, else in the tree."""
        row = self._observed.servers.get(name)
        return self._ids.get(name, name) if row is None else row.id

    def _find(self, reference: str) -> Place | None:
        project, _, name = reference.rpartition("/")
        place: Place
        if not project or (project == self._desired.project and name in self._desired.servers):
            place = self._ids.get(name, name)
        else:
            wrong = unknown_server(reference, self._desired, self._observed)
            if wrong is not None:
                self._wrong[reference] = wrong
                return None
            place = self._observed.servers[name].id
        self.names[place] = name
        return place

    def _report(self, task: DesiredTask) -> None:
        message, hint = self._wrong[task.server]
        problem = Contradiction(
            code="unknown-server",
            message=f"task {task.name!r} is to run on {task.server!r}: {message}",
            origin=task.origin,
            field="spec.server",
            hint=hint,
        )
        self.problems.append(problem)


def said(task: DesiredTask) -> str | None:
    """``formerly`` as it was written."""
    return f"{task.formerly}@{task.formerly_server}" if task.formerly_server else task.formerly


def _renames(
    wanted: Mapping[Key, DesiredTask],
    rows: Mapping[Key, ObservedTask],
    places: _Places,
    problems: list[Contradiction],
) -> Mapping[Key, Key]:
    former: dict[Key, Key] = {}
    for key, task in wanted.items():
        if task.formerly is not None:
            place = key[1] if task.formerly_server is None else places.former(task.formerly_server)
            former[key] = (task.formerly, place)
    if not former:
        return {}
    live = {key for key, row in rows.items() if row.live}
    done = {
        key
        for key in former
        if key in rows and (rows[key].renamed_from == said(wanted[key]) or rows[key].spoilt)
    }
    otherwise = {key for key in former if key in rows and rows[key].renamed_from and key not in done}
    deleted = {key for key in former if key in rows and key not in live}
    found = resolve(former, live, deleted, done, otherwise)
    problems += [_name_held(wanted[key], places.names[key[1]]) for key in found.held]
    problems += [
        _clash(wanted[key], wanted[other], places.names[other[1]]) for key, other in found.clashes.items()
    ]
    return found.active


def _moved(row: ObservedTask, task: DesiredTask, server: str, old: Key, key: Key) -> dict[str, FieldChange]:
    """The fields of a rename: the name, the server or both."""
    fields = {}
    if old[0] != key[0]:
        fields["metadata.name"] = FieldChange(row.name, task.name)
    if old[1] != key[1]:
        fields["spec.server"] = FieldChange(row.server, server)
    return fields


def _deletion(row: ObservedTask, elsewhere: bool) -> Change:
    reason = (
        "still declared, but no longer for this server" if elsewhere else "no longer declared in the tree"
    )
    return Change(
        action=Action.DELETE,
        kind=Kind.TASK,
        name=row.name,
        server=row.server,
        origin=row.origin,
        reason=reason,
        row=row,
        git_changed=False,
        scheduling_changed=True,
        drifted=row.drifted,
    )


def _name_held(task: DesiredTask, server: str) -> Contradiction:
    return Contradiction(
        code="name-held-by-deleted",
        message=f"task {said(task)!r} cannot become {address(task.name, server)!r}:"
        " a deleted task holds that name",
        origin=task.origin,
        field="metadata.formerly",
        hint="drop `formerly` to restore the deleted one, or choose another name",
    )


def _clash(task: DesiredTask, other: DesiredTask, server: str) -> Contradiction:
    return Contradiction(
        code="duplicate-formerly",
        message=f"task {task.name!r} says it was {said(task)!r}, and so does {address(other.name, server)!r}"
        f" at {other.origin.path}:{other.origin.line}",
        origin=task.origin,
        field="metadata.formerly",
        hint="remove `formerly` from one of the two: only one object can go on with a row",
    )
