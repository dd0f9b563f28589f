"""The tasks' part of a plan. A row is a task on a server; the server is known by its row's id,
so that a renamed server takes its tasks along."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.model.enums import Kind
from reconciler.model.state import DesiredState, DesiredTask, ObservedState, ObservedTask
from reconciler.plan.changes import Action, Change, Drift, FieldChange
from reconciler.plan.contradictions import Contradiction
from reconciler.plan.renames import resolve
from reconciler.plan.rows import compare
from reconciler.plan.servers import ServerPart

_Place = int | str
"""A server's row id, or the name of a server that is still to be created."""
_Key = tuple[str, _Place]


@dataclass(frozen=True, slots=True)
class TaskPart:
    """Changes in two halves (``kept``, then ``deleted``), drift, contradictions."""

    kept: tuple[Change, ...]
    deleted: tuple[Change, ...]
    drift: tuple[Drift, ...]
    unchanged: int
    problems: tuple[Contradiction, ...]


def compare_tasks(desired: DesiredState, observed: ObservedState, servers: ServerPart) -> TaskPart:
    """Compare every declared row with the stored one, and find the rows that left the tree."""
    rows: dict[_Key, ObservedTask] = {(row.name, row.server_id): row for row in observed.tasks.values()}
    problems: list[Contradiction] = []
    wanted: dict[_Key, DesiredTask] = {}
    names: dict[_Place, str] = {}
    for task in desired.tasks.values():
        place = _place(task, desired, observed, servers)
        if isinstance(place, Contradiction):
            problems.append(place)
            continue
        wanted[task.name, place] = task
        names[place] = task.server.rpartition("/")[2]

    live = {key for key, row in rows.items() if row.live}
    former = _former_keys(wanted, observed)
    done = {
        key: former[key] for key in former if key in live and rows[key].renamed_from == _said(wanted[key])
    }
    renames = resolve(former, wanted, live, done)
    problems += [_still_declared(wanted[key]) for key in renames.still_declared]

    kept: list[Change] = []
    drift: list[Drift] = []
    taken: set[int] = set()
    unchanged = 0
    for key, task in wanted.items():
        old = renames.active.get(key)
        row = rows.get(old or key)
        if old is not None and key in rows and key not in live:
            problems.append(_name_taken(task))
            continue
        if row is not None:
            taken.add(row.id)
        result = compare(Kind.TASK, names[key[1]], task, row, _moved(row, task, names[key[1]], old, key))
        if result is None:
            unchanged += 1
        elif isinstance(result, Drift):
            drift.append(result)
        else:
            kept.append(result)
    gone = [row for row in rows.values() if row.live and row.id not in taken]
    still = {name for name, _ in wanted}
    deleted = tuple(_deletion(row, row.name in still) for row in gone) if desired.spec.prune else ()
    if not desired.spec.prune:
        unchanged += len(gone)
    return TaskPart(tuple(kept), deleted, tuple(drift), unchanged, tuple(problems))


def _place(
    task: DesiredTask, desired: DesiredState, observed: ObservedState, servers: ServerPart
) -> _Place | Contradiction:
    """The server of a declared row: of this tree, or a live one of another project."""
    project, _, name = task.server.rpartition("/")
    if not project or project == desired.project:
        return servers.ids.get(name, name)
    row = observed.servers.get(name)
    if row is not None and row.live and row.project == project:
        return row.id
    return Contradiction(
        code="unknown-server",
        message=f"task {task.name!r} names server {task.server!r}, which is not there",
        origin=task.origin,
        field="spec.server",
        hint=f"apply project {project!r} first, or correct the name",
    )


def _former_keys(wanted: dict[_Key, DesiredTask], observed: ObservedState) -> dict[_Key, _Key]:
    """What each ``formerly`` points at, in terms of rows."""
    former: dict[_Key, _Key] = {}
    for key, task in wanted.items():
        if task.formerly is None:
            continue
        place: _Place = key[1]
        if task.formerly_server is not None:
            server = observed.servers.get(task.formerly_server)
            place = task.formerly_server if server is None else server.id
        former[key] = (task.formerly, place)
    return former


def _said(task: DesiredTask) -> str:
    """``formerly`` as it was written."""
    return f"{task.formerly}@{task.formerly_server}" if task.formerly_server else str(task.formerly)


def _moved(
    row: ObservedTask | None, task: DesiredTask, server: str, old: _Key | None, key: _Key
) -> dict[str, FieldChange]:
    """The fields of a rename: the name, the server or both."""
    if row is None or old is None:
        return {}
    fields = {}
    if old[0] != key[0]:
        fields["metadata.name"] = FieldChange(row.name, task.name)
    if old[1] != key[1]:
        fields["spec.server"] = FieldChange(row.server, server)
    return fields


def _deletion(row: ObservedTask, elsewhere: bool) -> Change:
    reason = f"no longer declared for server {row.server}" if elsewhere else "no longer declared in the tree"
    return Change(
        action=Action.DELETE,
        kind=Kind.TASK,
        name=row.name,
        server=row.server,
        origin=row.origin,
        reason=reason,
        row=row,
        git_changed=False,
    )


def _name_taken(task: DesiredTask) -> Contradiction:
    return Contradiction(
        code="name-held-by-deleted",
        message=f"task {task.formerly!r} cannot become {task.name!r}: a deleted task holds that name",
        origin=task.origin,
        field="metadata.formerly",
        hint="drop `formerly` to restore the deleted one, or choose another name",
    )


def _still_declared(task: DesiredTask) -> Contradiction:
    return Contradiction(
        code="formerly-still-declared",
        message=f"task {task.name!r} says it was {_said(task)!r}, which is still declared",
        origin=task.origin,
        field="metadata.formerly",
        hint="drop `formerly`, or the other declaration",
    )
