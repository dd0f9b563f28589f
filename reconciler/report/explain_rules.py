"""Which slot answers for a moment, and which slots are beside it. Pure: rows and moments are arguments.

A slot answers from its nominal instant until it is settled: until its last attempt has ended, and at least
until it could still have been on time. What nobody claimed, and what has not ended, is never settled. Between
two settled slots nothing was due.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from reconciler.model.execution import State, Status, Trigger
from reconciler.report.timing import Timing
from reconciler.schedule.base import GAP, Note
from reconciler.store.views import ExecutionView, TaskView

TICK = timedelta(microseconds=1)
_LONGEST_GAP = timedelta(hours=3)
_OF_THE_SCHEDULE = (Trigger.SCHEDULE, Trigger.CATCH_UP, Trigger.RETRY)


@dataclass(frozen=True, slots=True)
class Question:
    """A task and a moment. ``asked``: somebody named the moment; else it is now, and means the newest slot.

    ``before`` are its rows for ``scheduled_for <= at``, newest slot and attempt first, ``after`` those that
    follow, oldest first; both are cut at some length.
    """

    task: TaskView
    timing: Timing | None
    at: datetime
    asked: bool
    now: datetime
    late_after: timedelta
    before: tuple[ExecutionView, ...] = ()
    after: tuple[ExecutionView, ...] = ()

    @property
    def coming(self) -> bool:
        return self.at > self.now

    @property
    def rules_apply(self) -> bool:
        """Whether the present spec was, is or will be in force at the moment, and slots arise from it."""
        return self.task.runnable and self.timing is not None and self.at > self.task.runnable_since


@dataclass(frozen=True, slots=True)
class Found:
    """A slot: its nominal and due instants and its rows, newest attempt first.

    ``folded``: it has no row of its own, the one row here stands for it and others. Without rows the ledger
    knows nothing of it; ``claimed`` is then whether a scheduler has passed it by.
    """

    slot: datetime
    due_at: datetime
    rows: tuple[ExecutionView, ...] = ()
    folded: bool = False
    claimed: bool = True

    @property
    def last(self) -> ExecutionView | None:
        return self.rows[0] if self.rows else None

    @property
    def scheduled(self) -> bool:
        """Whether the schedule made it, and not a person or another task."""
        return not self.rows or self.rows[-1].trigger in _OF_THE_SCHEDULE


def answering(question: Question) -> Found | None:
    """The slot that answers for the question's moment, None where nothing was due."""
    if question.coming:
        return _coming(question)
    found = candidates(question)
    for slot in found:
        until = settled_at(slot, question.late_after)
        if until is None or question.at <= until:
            return slot
    if question.asked or not found:
        return None
    return next((slot for slot in found if slot.scheduled), found[0])


def candidates(question: Question) -> list[Found]:
    """The slots at or before the moment, newest first: those of the ledger, and the one that should be."""
    found = list(_recorded(question.before))
    expected = _expected(question)
    if expected is not None and all(item.slot != expected.slot for item in found):
        found.append(expected)
        found.sort(key=lambda item: item.slot, reverse=True)
    elif expected is None and found and not question.rules_apply:
        found[0] = _stretch(found[0], question.at)
    return found


def settled_at(found: Found, late_after: timedelta) -> datetime | None:
    """When nothing more was to become of a slot; None while something is."""
    last, in_time = found.last, found.due_at + late_after
    if last is None:
        return in_time if found.claimed else None
    if last.status == Status.OPEN:
        return None
    if last.finished_at is None or found.folded:
        return in_time
    if last.status == Status.SKIPPED and last.created_at >= last.finished_at:
        # recorded as skipped from the beginning, however late that was; others waited until they were closed
        return in_time
    return max(last.finished_at, in_time)


def previous_slot(question: Question) -> datetime | None:
    """The last slot before the moment: the ledger's, and the schedule's where the present spec applied."""
    at, timing, task = question.at, question.timing, question.task
    recorded = next(
        (run.scheduled_for for run in question.before if _beside(run) and run.scheduled_for < at), None
    )
    if timing is None or not task.runnable:
        return recorded
    ruled = timing.previous_before(at)
    if task.next_slot is not None and task.next_slot < at:
        ruled = max(ruled or task.next_slot, task.next_slot)
    if recorded is None or ruled is None:
        return recorded or ruled
    return max(recorded, ruled) if ruled > task.runnable_since else recorded


def next_slot(question: Question) -> datetime | None:
    """The first slot after the moment: the ledger's, and the schedule's where the present spec applies."""
    at, timing, task = question.at, question.timing, question.task
    recorded = next((run.scheduled_for for run in question.after if _beside(run)), None)
    if timing is None or not task.runnable:
        return recorded
    known = [] if recorded is None else [recorded]
    ruled = timing.next_after(at)
    if ruled is not None and (ruled > task.runnable_since or not known):
        known.append(ruled)
    if task.next_slot is not None and task.next_slot > at:
        known.append(task.next_slot)
    return min(known, default=None)


def forbidden_words(question: Question, due_at: datetime | None) -> str | None:
    """Which of the task's present calendars forbids a run due then, and until when; None if none does."""
    forbidden = None if question.timing is None else question.timing.forbidden
    found = None if forbidden is None or due_at is None else forbidden.at(due_at)
    return None if forbidden is None or found is None else forbidden.words(found)


def note_at(question: Question, found: Found | None) -> Note | None:
    """What a clock change has to do with the slot, or with the moment at which nothing was due."""
    if question.timing is None:
        return None
    if found is not None:
        return question.timing.note(found.slot) if found.scheduled else None
    return question.timing.note(question.at) or (GAP if gap_beside(question) else None)


def gap_beside(question: Question) -> datetime | None:
    """The end of a gap that swallowed times of the schedule, where the moment, written with the offset of
    either side of the change, may mean a time inside of it."""
    timing, at = question.timing, question.at
    if timing is None:
        return None
    for end, note in timing.dst_events(at - _LONGEST_GAP, at + _LONGEST_GAP):
        if note == GAP:
            after, before = (end - back for back in (timedelta(0), TICK))
            offsets = [
                moment.astimezone(timing.zone).utcoffset() or timedelta(0) for moment in (after, before)
            ]
            jump = offsets[0] - offsets[1]
            if end - jump <= at < end + jump:
                return end
    return None


def _coming(question: Question) -> Found | None:
    """The slot of the future that the moment lies on: from its nominal to its due instant."""
    timing = question.timing
    if timing is None or not question.task.runnable:
        return None
    slot = timing.previous_before(question.at + TICK)
    if slot is None or question.at > slot + timing.jitter or slot + timing.jitter <= question.now:
        return None
    return Found(slot, slot + timing.jitter, claimed=False)


def _recorded(rows: Sequence[ExecutionView]) -> Iterator[Found]:
    for slot, attempts in groupby(rows, key=lambda run: run.scheduled_for):
        of_slot = tuple(attempts)
        yield Found(slot, of_slot[-1].due_at, of_slot)


def _expected(question: Question) -> Found | None:
    """The newest slot that the task's row or its present schedule promised."""
    task, timing, at = question.task, question.timing, question.at
    if not task.runnable:
        return None
    jitter = timedelta(0) if timing is None else timing.jitter
    ruled = None if timing is None else timing.previous_before(at + TICK)
    if task.next_slot is not None and task.next_slot <= at:
        slot = max(ruled or task.next_slot, task.next_slot)
        # a row's own due time counts where it is the very slot: an edit of the jitter moves only later ones
        due = task.next_run if slot == task.next_slot and task.next_run is not None else slot + jitter
        return Found(slot, due, claimed=False)
    if timing is None or ruled is None or ruled <= task.runnable_since:
        return None
    standing = _standing_for(question.before, ruled, timing)
    rows = () if standing is None else (standing,)
    return Found(ruled, ruled + jitter, rows, folded=standing is not None)


def _standing_for(rows: Sequence[ExecutionView], slot: datetime, timing: Timing) -> ExecutionView | None:
    """The row that counts a slot among others: made after it, of the slot or an older one.

    Two reasons may have been folded in one claim; then arithmetic tells which row reaches as far.
    """
    standing = [run for run in rows if run.count > 1 and run.scheduled_for <= slot < run.created_at]
    for run in standing:
        slots = timing.schedule.count_between(run.scheduled_for, slot + TICK, timing.zone, timing.dst)
        if slots <= run.count:
            return run
    return standing[-1] if standing else None


def _stretch(found: Found, at: datetime) -> Found:
    """A row that stands for many slots of an earlier spec, seen from a moment among them."""
    last = found.last
    if last is None or last.count == 1 or not found.slot < at < last.created_at:
        return found
    return Found(at, at, found.rows, folded=True)


def _beside(run: ExecutionView) -> bool:
    return run.trigger in _OF_THE_SCHEDULE


def running(rows: Sequence[ExecutionView]) -> ExecutionView | None:
    """The newest row that has begun and not ended."""
    return next((run for run in rows if run.state is State.RUNNING), None)
