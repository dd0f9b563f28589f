"""What a claim writes for one due task: no database here, only values in and values out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from reconciler.model.execution import Reason, Trigger
from reconciler.model.task import TaskSpec
from reconciler.model.value import value
from reconciler.model.zone import zone
from reconciler.schedule.concurrency import OpenSlot, admit_all
from reconciler.schedule.expression import parse
from reconciler.schedule.forbidden import Forbidden, forbidden_by
from reconciler.schedule.policy import RUN_LIMIT, SlotDecisions, Suspension, due_slots
from reconciler.schedule.stable import jitter_offset

_TICK = timedelta(microseconds=1)


@value
class SlotRow:
    """A row for the ledger. ``reason`` None: it waits to be taken; else it is skipped for that reason.

    ``note`` says of a suspended slot who or what forbade it.
    """

    scheduled_for: datetime
    due_at: datetime
    trigger: Trigger
    reason: Reason | None
    count: int = 1
    note: str | None = None


@value
class TaskClaim:
    """Everything one due task becomes. ``supersede`` and ``cancel`` are ids of its earlier executions."""

    rows: tuple[SlotRow, ...]
    next_slot: datetime | None
    next_run: datetime | None
    supersede: tuple[int, ...] = ()
    cancel: tuple[int, ...] = ()


def decide(
    spec: TaskSpec,
    key: str,
    next_slot: datetime,
    now: datetime,
    late_after: timedelta,
    unfinished: Sequence[OpenSlot],
    suspensions: Sequence[Suspension] = (),
    run_limit: int = RUN_LIMIT,
) -> TaskClaim:
    """Decide a due task. ``key`` is ``name@server``, from which ``H`` and jitter are drawn.

    What the task's calendars forbid is suspended time as well. A task without a schedule has no slots: its
    times are cleared. Raises ScheduleInvalid or ValueError
    for a spec that was spoilt in the database.
    """
    if spec.schedule is None:
        return TaskClaim((), None, None)
    jitter = jitter_offset(key, spec.jitter)
    forbidden = forbidden_by(spec.calendars) if spec.calendars else None
    pauses = suspensions
    if forbidden is not None:
        denied = forbidden.between(next_slot + jitter, now + _TICK)
        pauses = [*suspensions, *(Suspension(item.since, item.until) for item in denied)]
    decided = due_slots(
        parse(spec.schedule, key),
        zone(spec.timezone),
        spec.dst,
        jitter,
        next_slot,
        now,
        late_after,
        spec.catch_up,
        timedelta(seconds=spec.catch_up_window),
        pauses,
        run_limit,
    )
    return _admit(spec, decided, unfinished, suspensions, forbidden)


def why_suspended(
    due_at: datetime, suspensions: Sequence[Suspension], forbidden: Forbidden | None
) -> str | None:
    """Who or what keeps a run due at this instant from running; None where nothing does."""
    for pause in suspensions:
        if pause.covers(due_at):
            return pause.why
    found = None if forbidden is None else forbidden.at(due_at)
    return None if forbidden is None or found is None else forbidden.words(found)


def _admit(
    spec: TaskSpec,
    decided: SlotDecisions,
    unfinished: Sequence[OpenSlot],
    suspensions: Sequence[Suspension],
    forbidden: Forbidden | None,
) -> TaskClaim:
    admissions = admit_all(spec.concurrency, spec.catch_up, decided.runs, unfinished)
    rows = [
        SlotRow(run.scheduled_for, run.due_at, run.trigger, skip)
        for run, skip in zip(decided.runs, admissions.skips, strict=True)
    ]
    if decided.skipped:
        rows += [
            SlotRow(
                slot.scheduled_for,
                slot.due_at,
                Trigger.SCHEDULE,
                slot.reason,
                slot.count,
                why_suspended(slot.due_at, suspensions, forbidden)
                if slot.reason is Reason.SUSPENDED
                else None,
            )
            for slot in decided.skipped
        ]
        rows.sort(key=lambda row: row.scheduled_for)
    return TaskClaim(
        tuple(rows), decided.next_slot, decided.next_run, admissions.supersede, admissions.cancel
    )
