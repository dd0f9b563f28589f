"""The worst failure there is: a run that should have been, and nothing says why it was not. Pure.

Three ways to find it, each from the task's own row or from its schedule, never from what a process claims of
itself: a due slot that nobody claimed, a claimed one that nobody started, and a row whose next slot is empty
or further off than its schedule says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.model.execution import State
from reconciler.report.timeline import Planned, plan_of
from reconciler.report.times import moment_text, stamp
from reconciler.report.timing import Timing, timing_of
from reconciler.store.views import RunView, SuspensionView, TaskView

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Overdue:
    """A slot that did not run: nominal and due instant, and since when (due + lateness) it is overdue."""

    reason: str
    slot: datetime
    due_at: datetime
    since: datetime
    execution: int | None = None

    def message(self, task: TaskView) -> str:
        """One sentence: what should have happened when, and what to look at."""
        at = moment_text(self.slot, task.timezone)
        if self.due_at != self.slot:
            at += f", due at {stamp(self.due_at)},"
        tail = {
            "NotClaimed": "was not claimed by any scheduler; is a controller running?",
            "NotStarted": f"is claimed as execution {self.execution} and still waits; is a worker running, "
            "is there room on the server, and does its host answer?",
            "NotScheduled": "has no entry in the ledger, and the row's next run is not what its schedule "
            "says; an apply recomputes it",
        }[self.reason]
        return f"the slot of {at} {tail}"


def find_overdue(
    task: TaskView,
    open_runs: Sequence[RunView],
    suspensions: Sequence[SuspensionView],
    now: datetime,
    late_after: timedelta,
) -> Overdue | None:
    """A slot that is later than ``late_after`` and not claimed, or claimed and not started."""
    if not task.runnable:
        return None
    late = now - late_after
    unclaimed = _unclaimed(task, suspensions, late)
    if unclaimed is not None:
        slot, due = unclaimed
        return Overdue("NotClaimed", slot, due, due + late_after)
    if not open_runs:
        return None
    if any(run.state is State.RUNNING for run in open_runs):
        # a waiting one waits for its turn
        return None
    waiting = min((run for run in open_runs if run.due_at < late), key=lambda run: run.due_at, default=None)
    if waiting is not None:
        since = waiting.due_at + late_after
        return Overdue("NotStarted", waiting.scheduled_for, waiting.due_at, since, waiting.id)
    return None


class Coming:
    """The first slot after one moment, looked for once for all tasks that share a timing."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._found: dict[int, tuple[Timing, datetime | None]] = {}

    def of(self, timing: Timing) -> datetime | None:
        """The first slot after ``now``; None if there is none."""
        known = self._found.get(id(timing))
        if known is None:
            # held here, so that its id stays its own
            known = self._found[id(timing)] = timing, timing.next_after(self.now)
        return known[1]


def suspect_slot(
    task: TaskView, suspensions: Sequence[SuspensionView], coming_slots: Coming, late_after: timedelta
) -> Overdue | None:
    """The slot to look for in the ledger, of a row whose next slot is empty or too far off; else None.

    A row that is right holds a slot that is not after the first one after now: only then is it sure to be
    claimed in time, and every slot before it has a row, because claims write both in one transaction.
    """
    if not task.runnable or task.schedule is None:
        return None
    timing, now = timing_of(task), coming_slots.now
    if timing is None:
        return None
    if task.next_slot is not None and task.next_run is not None:
        coming = coming_slots.of(timing)
        if coming is None or (task.next_slot <= coming and task.next_run <= coming + timing.jitter):
            return None
    slot = timing.previous_before(now - late_after - timing.jitter + _TICK)
    if slot is None or slot <= task.runnable_since:
        return None
    due = slot + timing.jitter
    if Planned(task, timing, tuple(suspensions)).resumed(due) is not None:
        return None
    return Overdue("NotScheduled", slot, due, due + late_after)


def _unclaimed(
    task: TaskView, suspensions: Sequence[SuspensionView], late: datetime
) -> tuple[datetime, datetime] | None:
    """Nominal and due instant of the first slot from the row's next one on that is due before ``late`` and
    would have run: what is suspended or forbidden then is no run that fails to come."""
    due, slot = task.next_run, task.next_slot
    if due is None or due >= late:
        return None
    plan = plan_of(task, suspensions)
    if plan is None or plan.resumed(due) is None:
        return slot or due, due
    fire = next(plan.fires(due, late), None)
    return None if fire is None else (fire.scheduled_for, fire.at)
