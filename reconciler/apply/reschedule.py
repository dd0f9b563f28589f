"""When touched tasks run next, and what becomes of slots that had passed unclaimed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from reconciler.model.canonical import Document
from reconciler.model.enums import Dst
from reconciler.model.execution import Reason, Trigger
from reconciler.model.task import TaskSpec
from reconciler.model.zone import zone
from reconciler.schedule.base import Schedule
from reconciler.schedule.expression import parse
from reconciler.schedule.policy import NextSlot, SkippedSlot, closed_slots, first_slot
from reconciler.schedule.stable import jitter_offset
from reconciler.store.claims import NewExecution, advance, insert_executions
from reconciler.store.engine import Connection
from reconciler.store.ids import ExecutionIds
from reconciler.store.rescheduling import Timed
from reconciler.store.specs import scheduling_spec

NEVER = NextSlot(None, None)
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class _Timing:
    """All that a task's slots depend on."""

    schedule: Schedule
    zone: ZoneInfo
    dst: Dst
    jitter: timedelta

    @property
    def meaning(self) -> tuple[str, str, Dst, timedelta]:
        """Equal exactly when the slots are."""
        return (self.schedule.resolved, self.zone.key, self.dst, self.jitter)


def first_time(document: Document, key: str, now: datetime) -> NextSlot:
    """The next slot of a new task that is enabled on an open server; ``key`` is ``name@server``."""
    spec = document["spec"]
    timing = _of_spec(_only_timing(*(spec.get(field) for field in _TIMING)), key)
    return NEVER if timing is None else _after(timing, now)


_TIMING = ("schedule", "timezone", "dst", "jitter")


@lru_cache(maxsize=8192)
def _only_timing(*values: str | None) -> TaskSpec:
    """A spec of nothing but when; new tasks by the thousand share few of them."""
    given = zip(_TIMING, values, strict=True)
    return TaskSpec.model_validate({field: value for field, value in given if value is not None})


def reschedule(
    connection: Connection,
    before: Sequence[Timed],
    after: Sequence[Timed],
    drifted: Collection[int],
    ids: ExecutionIds,
    now: datetime,
) -> None:
    """Move the next slots of tasks whose timing differs, and close what had passed of the old one.

    ``before`` and ``after`` are the same rows in the same order. A task whose timing came out the same keeps
    its next slot, also one that is due this very moment. Of tasks that a hand changed (``drifted``, ids) the
    slot may be of the schedule before that.
    """
    times: list[tuple[int, datetime | None, datetime | None]] = []
    closed: list[NewExecution] = []
    for old, new in zip(before, after, strict=True):
        was, becomes = _of_row(old), _of_row(new) if new.runnable else None
        if _same(old, was, becomes) and (
            becomes is None or old.task_id not in drifted or _fits(old, becomes, now)
        ):
            continue
        closed += (_row(old, slot, ids) for slot in _passed(old, was, now))
        following = NEVER if becomes is None else _after(becomes, now)
        times.append((new.task_id, following.next_slot, following.next_run))
    insert_executions(connection, closed, now)
    if times:
        advance(connection, times)


def _same(old: Timed, was: _Timing | None, becomes: _Timing | None) -> bool:
    """Whether the row's next slot stays right."""
    if becomes is None:
        return old.next_slot is None
    return old.runnable and old.next_slot is not None and was is not None and was.meaning == becomes.meaning


def _fits(task: Timed, timing: _Timing, now: datetime) -> bool:
    """Whether the row's next slot is one of this schedule: the one that comes, or one that has passed."""
    slot = task.next_slot
    if slot is None:
        return False
    return timing.schedule.next_after(min(now, slot - _TICK), timing.zone, timing.dst) == slot


def _of_row(task: Timed) -> _Timing | None:
    """None without a schedule, or where the row was spoilt by hand."""
    try:
        return _of_spec(
            scheduling_spec(task.schedule, task.timezone, task.rest), f"{task.name}@{task.server}"
        )
    except ValueError:
        return None


def _of_spec(spec: TaskSpec, key: str) -> _Timing | None:
    if spec.schedule is None:
        return None
    return _Timing(parse(spec.schedule, key), zone(spec.timezone), spec.dst, jitter_offset(key, spec.jitter))


def _after(timing: _Timing, now: datetime) -> NextSlot:
    return first_slot(timing.schedule, timing.zone, timing.dst, timing.jitter, now)


def _passed(task: Timed, timing: _Timing | None, now: datetime) -> Iterator[SkippedSlot]:
    if timing is not None:
        yield from closed_slots(timing.schedule, timing.zone, timing.dst, timing.jitter, task.next_slot, now)
    elif task.next_slot is not None and task.next_slot <= now:
        # by which schedule it came nobody can tell any more; that it passed must not vanish
        yield SkippedSlot(task.next_slot, task.next_slot, 1, Reason.SUPERSEDED)


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
