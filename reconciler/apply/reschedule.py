"""When touched tasks run next, and what becomes of slots that had passed unclaimed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from reconciler.model.enums import Dst
from reconciler.model.execution import Reason, Trigger
from reconciler.model.task import zone
from reconciler.schedule.base import Schedule
from reconciler.schedule.expression import parse
from reconciler.schedule.policy import SkippedSlot, closed_slots, first_slot
from reconciler.schedule.stable import jitter_offset
from reconciler.store.claims import NewExecution, advance, insert_executions
from reconciler.store.engine import Connection
from reconciler.store.ids import ExecutionIds
from reconciler.store.rescheduling import Timed
from reconciler.store.specs import SpecSpoilt, scheduling_spec

_Timing = tuple[Schedule, ZoneInfo, Dst, timedelta]


def close_past(
    connection: Connection,
    before: Iterable[Timed],
    reasons: Mapping[int, Reason],
    ids: ExecutionIds,
    now: datetime,
) -> None:
    """Record the slots that had passed unclaimed under the old spec, each skipped for its task's reason."""
    rows = [
        _row(task, slot, ids)
        for task in before
        for slot in _closed(task, reasons.get(task.task_id, Reason.SUPERSEDED), now)
    ]
    if rows:
        insert_executions(connection, rows, now)


def set_next_slots(connection: Connection, after: Iterable[Timed], now: datetime) -> None:
    """Compute next_slot and next_run of these tasks from now on; both are NULL of what must not run."""
    times: list[tuple[int, datetime | None, datetime | None]] = []
    for task in after:
        timing = _timing(task) if task.runnable else None
        if timing is None:
            times.append((task.task_id, None, None))
        else:
            following = first_slot(*timing, now)
            times.append((task.task_id, following.next_slot, following.next_run))
    if times:
        advance(connection, times)


def _timing(task: Timed) -> _Timing | None:
    """How the task's slots are found; None without a schedule, or where the row was spoilt by hand."""
    if task.schedule is None:
        return None
    key = f"{task.name}@{task.server}"
    try:
        spec = scheduling_spec(task.schedule, task.timezone, task.rest)
        return parse(task.schedule, key), zone(spec.timezone), spec.dst, jitter_offset(key, spec.jitter)
    except (SpecSpoilt, ValueError):
        return None


def _closed(task: Timed, reason: Reason, now: datetime) -> Iterator[SkippedSlot]:
    timing = _timing(task)
    if timing is not None:
        yield from closed_slots(*timing, task.next_slot, now, reason)


def _row(task: Timed, slot: SkippedSlot, ids: ExecutionIds) -> NewExecution:
    return NewExecution(
        id=ids.one(),
        task_id=task.task_id,
        server_id=task.server_id,
        trigger=Trigger.SCHEDULE,
        scheduled_for=slot.scheduled_for,
        due_at=slot.due_at,
        generation=task.generation,
        revision_id=task.revision_id,
        path=task.path,
        line=task.line,
        reason=slot.reason,
        count=slot.count,
    )
