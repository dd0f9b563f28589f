"""A plan's rows into the database, in the order that keeps every key unique and every reference whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from reconciler.apply.reschedule import close_past, set_next_slots
from reconciler.model.enums import Kind
from reconciler.model.execution import Reason
from reconciler.model.state import DesiredServer, DesiredTask, ObservedServer, ObservedState, ObservedTask
from reconciler.plan.changes import Action, Change, Drift, Plan
from reconciler.store import objects
from reconciler.store.engine import Connection
from reconciler.store.ids import ExecutionIds
from reconciler.store.objects import Placed, Rewritten, Stamp
from reconciler.store.rescheduling import Timed, close_waiting, lock_timed

_TIMING = {"spec.schedule", "spec.timezone", "spec.dst", "spec.jitter", "spec.enabled"}
"""Fields whose change recomputes a task's next slot."""


@dataclass(slots=True)
class _Touched:
    """Ids whose timing changes; waiting runs of what is ``stopped`` (disabled, deleted) are closed."""

    tasks: set[int] = field(default_factory=set)
    servers: set[int] = field(default_factory=set)
    stopped_tasks: set[int] = field(default_factory=set)
    stopped_servers: set[int] = field(default_factory=set)


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
    now = stamp.at
    before = list(lock_timed(connection, touched.tasks, touched.servers))
    _close(connection, before, touched, ids, now)

    server_ids = {name: row.id for name, row in observed.servers.items()}
    server_ids |= _write_servers(connection, plan, writes, stamp)
    created = _write_tasks(connection, plan, writes, stamp, server_ids)
    objects.delete_tasks(connection, stamp, _deleted(plan, Kind.TASK))
    objects.delete_servers(connection, stamp, _deleted(plan, Kind.SERVER))

    new_ids = _ids_of_new(connection, stamp, created)
    set_next_slots(connection, lock_timed(connection, touched.tasks | new_ids, touched.servers), now)


def _ids_of_new(connection: Connection, stamp: Stamp, created: int) -> set[int]:
    return set(objects.new_task_ids(connection, stamp)) if created else set()


def _rewrites(plan: Plan, keep_drift: bool) -> list[Change | Drift]:
    """Existing rows that get new content: what git changes, and what was changed by hand."""
    changed: list[Change | Drift] = [
        change
        for change in plan.changes
        if change.kind is not Kind.PROJECT and change.row is not None and change.desired is not None
    ]
    return changed if keep_drift else [*changed, *plan.drift]


def _touched(writes: Sequence[Change | Drift], plan: Plan) -> _Touched:
    touched = _Touched()
    for write in writes:
        timing = bool(_TIMING & write.fields.keys())
        moved = isinstance(write, Change) and write.action in (Action.RENAME, Action.RESTORE)
        if not timing and not moved:
            continue
        # a server's name is part of every H and jitter on it
        (touched.tasks if write.kind is Kind.TASK else touched.servers).add(write.row.id)  # type: ignore[union-attr]
        enabled = write.fields.get("spec.enabled")
        if enabled is not None and enabled.after is False:
            _stop(touched, write.kind, write.row.id)  # type: ignore[union-attr]
    for change in plan.changes:
        if change.action is Action.DELETE and change.row is not None:
            (touched.tasks if change.kind is Kind.TASK else touched.servers).add(change.row.id)
            _stop(touched, change.kind, change.row.id)
    return touched


def _stop(touched: _Touched, kind: Kind, row_id: int) -> None:
    (touched.stopped_tasks if kind is Kind.TASK else touched.stopped_servers).add(row_id)


def _close(
    connection: Connection, before: Sequence[Timed], touched: _Touched, ids: ExecutionIds, now: datetime
) -> None:
    """Slots that had passed unclaimed, and runs that wait on what is disabled or deleted now."""
    reasons = {
        task.task_id: Reason.DISABLED
        for task in before
        if task.task_id in touched.stopped_tasks or task.server_id in touched.stopped_servers
    }
    close_past(connection, before, reasons, ids, now)
    if touched.stopped_tasks or touched.stopped_servers:
        close_waiting(connection, touched.stopped_tasks, touched.stopped_servers, Reason.DISABLED.value, now)


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
) -> int:
    """Rows of tasks inserted and rewritten; how many are new."""
    tasks = [write for write in writes if write.kind is Kind.TASK]
    rewritten = [_rewritten(write, server_ids[str(write.server)]) for write in tasks]
    objects.rewrite_tasks(connection, stamp, rewritten)
    new = [_placed(change.desired, server_ids[str(change.server)]) for change in _created(plan, Kind.TASK)]
    objects.insert_tasks(connection, stamp, new)
    return len(new)


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
    return Rewritten(row.id, _placed(write.desired, server_id, row), row.generation + int(grows))


def _placed(
    desired: DesiredServer | DesiredTask | None,
    server_id: int | None,
    row: ObservedServer | ObservedTask | None = None,
) -> Placed:
    """The object as its row shall hold it; a ``formerly`` that was followed once is remembered."""
    assert desired is not None
    formerly = desired.formerly
    if isinstance(desired, DesiredTask) and desired.formerly_server is not None:
        formerly = f"{desired.formerly}@{desired.formerly_server}"
    return Placed(
        name=desired.name,
        definition=desired.definition,
        origin=desired.origin,
        formerly=formerly or (row.renamed_from if row is not None else None),
        server_id=server_id,
    )
