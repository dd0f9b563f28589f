"""A plan's rows into the database, in the order that keeps every key unique and every reference whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.apply.reschedule import NEVER, first_time, reschedule
from reconciler.model.enums import Kind
from reconciler.model.state import DesiredServer, DesiredTask, ObservedState
from reconciler.plan.changes import Action, Change, Drift, Plan
from reconciler.store import objects
from reconciler.store.engine import Connection
from reconciler.store.ids import ExecutionIds
from reconciler.store.objects import Placed, Rewritten, Stamp
from reconciler.store.rescheduling import Place, Timed, close_waiting, lock_timed, places, read_timed

_TIMING = {"spec.schedule", "spec.timezone", "spec.dst", "spec.jitter", "spec.enabled"}
"""Fields that move a task's next slot; of a server only ``spec.enabled`` is one."""


@dataclass(slots=True)
class _Touched:
    """Ids of rows whose tasks' timing may change; ``closed`` are servers that end now."""

    tasks: set[int] = field(default_factory=set)
    servers: set[int] = field(default_factory=set)
    closed: set[int] = field(default_factory=set)


def write_plan(
    connection: Connection,
    plan: Plan,
    observed: ObservedState,
    stamp: Stamp,
    ids: ExecutionIds,
    *,
    keep_drift: bool = False,
) -> None:
    """Make the plan's objects true; the caller's transaction makes it all or nothing."""
    writes = _rewrites(plan, keep_drift)
    touched = _touched(writes, plan)
    before = lock_timed(connection, touched.tasks, touched.servers)

    server_ids = {name: row.id for name, row in observed.servers.items()}
    server_ids |= _write_servers(connection, plan, writes, stamp)
    _write_tasks(connection, plan, writes, stamp, server_ids)
    objects.delete_tasks(connection, stamp, _deleted(plan, Kind.TASK))
    objects.delete_servers(connection, stamp, _deleted(plan, Kind.SERVER))

    after = read_timed(connection, [task.task_id for task in before])
    drifted = {
        write.row.id for write in writes if write.kind is Kind.TASK and write.row and write.row.drifted
    }
    reschedule(connection, before, after, drifted, ids, stamp.at)
    objects.after_holds_from(connection, _after_anew(writes, before, after), stamp.at)
    stopped = _stopped(before, after) | set(_deleted(plan, Kind.TASK))
    close_waiting(connection, stopped, touched.closed, stamp.at)


def _after_anew(
    writes: Sequence[Change | Drift], before: Sequence[Timed], after: Sequence[Timed]
) -> set[int]:
    """Tasks whose ``after`` holds from now on: it changed, or the task did not run here until now.

    A success from before that would start it at once, which is a replay like any other.
    """
    changed = {
        write.row.id
        for write in writes
        if write.kind is Kind.TASK and write.row is not None and "spec.after" in write.fields
    }
    here = {
        new.task_id
        for old, new in zip(before, after, strict=True)
        if (new.runnable and not old.runnable) or new.server_id != old.server_id
    }
    return changed | here


def _stopped(before: Sequence[Timed], after: Sequence[Timed]) -> set[int]:
    return {old.task_id for old, new in zip(before, after, strict=True) if old.runnable and not new.runnable}


def _rewrites(plan: Plan, keep_drift: bool) -> list[Change | Drift]:
    """Existing rows that get new content: what git changes, and what was changed by hand."""
    changed: list[Change | Drift] = [
        change
        for change in plan.changes
        if change.kind is not Kind.PROJECT and change.row is not None and change.desired is not None
    ]
    return changed if keep_drift else [*changed, *plan.drift]


def _touched(writes: Sequence[Change | Drift], plan: Plan) -> _Touched:
    """Rather one too many: a task whose timing comes out the same keeps its next slot."""
    touched = _Touched()
    for write in writes:
        row = write.row
        assert row is not None
        # a server's name is part of every H and jitter on it; a hand may have changed what now is declared
        moved = isinstance(write, Change) and write.action in (Action.RENAME, Action.RESTORE)
        if moved or row.drifted or _TIMING & write.fields.keys():
            (touched.tasks if write.kind is Kind.TASK else touched.servers).add(row.id)
        if write.kind is Kind.SERVER and _closes(write):
            touched.closed.add(row.id)
    for change in plan.changes:
        if change.action is Action.DELETE and change.row is not None:
            (touched.tasks if change.kind is Kind.TASK else touched.servers).add(change.row.id)
            if change.kind is Kind.SERVER:
                touched.closed.add(change.row.id)
    return touched


def _closes(write: Change | Drift) -> bool:
    enabled = write.fields.get("spec.enabled")
    return enabled is not None and enabled.after is False


def _write_servers(
    connection: Connection, plan: Plan, writes: Sequence[Change | Drift], stamp: Stamp
) -> dict[str, int]:
    """Servers inserted and rewritten; the ids that their (new) names have now."""
    rewritten = [_rewritten(write, None) for write in writes if write.kind is Kind.SERVER]
    objects.rewrite_servers(connection, stamp, rewritten)
    new = [_placed(change.desired, None) for change in _created(plan, Kind.SERVER)]
    ids = objects.insert_servers(connection, stamp, new)
    return ids | {row.placed.name: row.row_id for row in rewritten}


def _write_tasks(
    connection: Connection,
    plan: Plan,
    writes: Sequence[Change | Drift],
    stamp: Stamp,
    server_ids: Mapping[str, int],
) -> None:
    tasks = [write for write in writes if write.kind is Kind.TASK]
    objects.rewrite_tasks(
        connection, stamp, [_rewritten(write, server_ids[str(write.server)]) for write in tasks]
    )
    created = list(_created(plan, Kind.TASK))
    on = places(connection, {server_ids[str(change.server)] for change in created})
    objects.insert_tasks(
        connection,
        stamp,
        [_new_task(change, server_ids[str(change.server)], on, stamp) for change in created],
    )


def _new_task(change: Change, server_id: int, on: Mapping[int, Place], stamp: Stamp) -> Placed:
    desired = change.desired
    assert isinstance(desired, DesiredTask)
    document, server = desired.definition.document, on[server_id]
    runnable = server.open and document["spec"].get("enabled", True)
    following = first_time(document, f"{desired.name}@{server.name}", stamp.at) if runnable else NEVER
    return Placed(
        desired.name,
        desired.definition,
        desired.origin,
        _said(desired),
        server_id,
        following.next_slot,
        following.next_run,
    )


def _created(plan: Plan, kind: Kind) -> Iterator[Change]:
    return (change for change in plan.changes if change.action is Action.CREATE and change.kind is kind)


def _deleted(plan: Plan, kind: Kind) -> list[int]:
    return [
        change.row.id
        for change in plan.changes
        if change.action is Action.DELETE and change.kind is kind and change.row is not None
    ]


def _rewritten(write: Change | Drift, server_id: int | None) -> Rewritten:
    row = write.row
    assert row is not None
    grows = isinstance(write, Change) and write.git_changed
    moved = isinstance(write, Change) and write.action is Action.RENAME
    return Rewritten(row.id, _placed(write.desired, server_id), row.generation + int(grows), moved)


def _placed(desired: DesiredServer | DesiredTask | None, server_id: int | None) -> Placed:
    """The object as its row shall hold it; its ``formerly`` is remembered for as long as it is declared."""
    assert desired is not None
    return Placed(
        name=desired.name,
        definition=desired.definition,
        origin=desired.origin,
        formerly=_said(desired),
        server_id=server_id,
    )


def _said(desired: DesiredServer | DesiredTask) -> str | None:
    """``formerly`` as it was written."""
    if isinstance(desired, DesiredTask) and desired.formerly_server is not None:
        return f"{desired.formerly}@{desired.formerly_server}"
    return desired.formerly
