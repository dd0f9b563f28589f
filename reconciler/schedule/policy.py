"""Which slots are due, which of them run, and what is recorded of the others.

The rules of lateness, catch-up, suspension and schedule edits. Every function works on ranges of nominal
time and counts by arithmetic, so its cost is that of the rows it gives back, even after a year of
missed ``@every 1s``. What happens when a due slot meets an unfinished one is in ``concurrency``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice
from zoneinfo import ZoneInfo

from reconciler.model.enums import CatchUp, Dst
from reconciler.model.execution import Reason, Trigger
from reconciler.model.value import value
from reconciler.schedule.base import Schedule

ROW_CAP = 100
"""Of more skipped slots than this the newest 99 have a row each, and the oldest row counts all the others."""

RUN_LIMIT = 1000
"""Runs decided in one call, so that no claim is a transaction without bound; the rest follows in the next."""

_TICK = timedelta(microseconds=1)


@value
class Slot:
    """A slot that is to run: nominal instant, due instant (slot + jitter) and what made it run."""

    scheduled_for: datetime
    due_at: datetime
    trigger: Trigger


@value
class SkippedSlot:
    """A slot that is only recorded. ``count`` > 1: this row stands for so many slots, itself the oldest."""

    scheduled_for: datetime
    due_at: datetime
    count: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class NextSlot:
    """What a task's row holds: the next nominal instant and when it is due; None when nothing comes."""

    next_slot: datetime | None
    next_run: datetime | None


@value
class SlotDecisions:
    """What a claim writes: runs (oldest first), skipped rows (oldest first), and the task's new next slot.

    No two of the rows have the same ``scheduled_for``. When ``next_run`` is not after now, more than
    ``RUN_LIMIT`` slots were to run and the next claim goes on from there.
    """

    runs: tuple[Slot, ...]
    skipped: tuple[SkippedSlot, ...]
    next_slot: datetime | None
    next_run: datetime | None


@dataclass(frozen=True, slots=True)
class Suspension:
    """A time in which no slot runs: ``since <= due instant < until``; ``until`` None is for good.

    ``why`` is what a skipped row says of it.
    """

    since: datetime
    until: datetime | None
    why: str = ""

    def covers(self, instant: datetime) -> bool:
        """Whether nothing runs that is due at ``instant``."""
        return self.since <= instant and (self.until is None or instant < self.until)


def first_slot(schedule: Schedule, zone: ZoneInfo, dst: Dst, jitter: timedelta, now: datetime) -> NextSlot:
    """The next slot of a task that was created, edited, enabled or restored at ``now``.

    Its nominal time is after ``now``: a slot whose time has passed but whose jitter has not is over too, or
    an edit of the jitter would run it twice. ``closed_slots`` accounts for it by the same line.
    """
    return _next(schedule.next_after(now, zone, dst), jitter)


def closed_slots(
    schedule: Schedule,
    zone: ZoneInfo,
    dst: Dst,
    jitter: timedelta,
    next_slot: datetime | None,
    now: datetime,
    reason: Reason = Reason.SUPERSEDED,
) -> tuple[SkippedSlot, ...]:
    """The rows that close what had passed unclaimed (nominal time up to ``now``) before an edit takes effect.

    Everything is of the spec that was in force: the old schedule, zone, rule, jitter and ``next_slot``.
    """
    if next_slot is None or next_slot > now:
        return ()
    line = _Line(schedule, zone, dst, jitter, next_slot)
    return line.fold([(next_slot, now + _TICK)], reason)


def due_slots(
    schedule: Schedule,
    zone: ZoneInfo,
    dst: Dst,
    jitter: timedelta,
    next_slot: datetime,
    now: datetime,
    late_after: timedelta,
    catch_up: CatchUp,
    window: timedelta,
    suspensions: Sequence[Suspension] = (),
    run_limit: int = RUN_LIMIT,
) -> SlotDecisions:
    """Every slot from ``next_slot`` that is due at ``now``, decided.

    A slot is due at its nominal time + ``jitter`` (the task's own offset, ``jitter_offset``). At most
    ``late_after`` past that it is on time and runs. Later ones are missed, and ``catch_up`` says which of
    those due at most ``window`` ago still run: none, the newest, or all. The others are skipped as
    ``missed``. A slot due while suspended is skipped as ``suspended`` whenever it is claimed, and never
    caught up. ``next_slot`` is taken as a slot even when a new zone database no longer has it: it was
    promised.
    """
    cutoff = now - jitter  # the last nominal time that is due
    if next_slot > cutoff:
        return SlotDecisions((), (), next_slot, next_slot + jitter)
    following = schedule.next_after(next_slot, zone, dst)
    if (following is None or following > cutoff) and next_slot + late_after >= cutoff and not suspensions:
        due_at = next_slot + jitter
        run = Slot(next_slot, due_at, Trigger.SCHEDULE)
        return SlotDecisions((run,), (), following, None if following is None else following + jitter)
    line = _Line(schedule, zone, dst, jitter, next_slot)
    return _decide(line, cutoff, late_after, catch_up, window, suspensions, run_limit)


_Ranges = list[tuple[datetime, datetime]]
"""Half-open ranges of nominal time, in order, not overlapping."""


def _decide(
    line: _Line,
    cutoff: datetime,
    late_after: timedelta,
    catch_up: CatchUp,
    window: timedelta,
    suspensions: Sequence[Suspension],
    run_limit: int,
) -> SlotDecisions:
    due, suspended = _part(line, cutoff + _TICK, suspensions)
    on_time_from = cutoff - late_after
    late, on_time = _clip(due, None, on_time_from), _clip(due, on_time_from, None)
    missed, caught_up = _catch_up(line, late, cutoff - window, catch_up)

    slots = chain(
        ((at, Trigger.CATCH_UP) for at in line.each(caught_up)),
        ((at, Trigger.SCHEDULE) for at in line.each(on_time)),
    )
    chosen = list(islice(slots, run_limit + 1))
    if len(chosen) > run_limit:
        rest = chosen.pop()[0]
        following = NextSlot(rest, rest + line.jitter)
        suspended = _clip(suspended, None, rest)
    else:
        following = _next(line.schedule.next_after(cutoff, line.zone, line.dst), line.jitter)
    skipped = line.fold(missed, Reason.MISSED) + line.fold(suspended, Reason.SUSPENDED)
    return SlotDecisions(
        runs=tuple(Slot(at, at + line.jitter, trigger) for at, trigger in chosen),
        skipped=tuple(sorted(skipped, key=lambda row: row.scheduled_for)),
        next_slot=following.next_slot,
        next_run=following.next_run,
    )


def _part(line: _Line, end: datetime, suspensions: Sequence[Suspension]) -> tuple[_Ranges, _Ranges]:
    """What is due up to ``end``, parted into what may run and what is suspended; in one pass, for calendars
    forbid thousands of times where years were missed."""
    due: _Ranges = []
    suspended: _Ranges = []
    at = line.next_slot
    for pause in sorted(suspensions, key=lambda pause: pause.since):
        since = max(pause.since - line.jitter, at)
        until = end if pause.until is None else min(pause.until - line.jitter, end)
        if since < until:
            if at < since:
                due.append((at, since))
            suspended.append((since, until))
            at = until
    if at < end:
        due.append((at, end))
    return due, suspended


def _catch_up(
    line: _Line, late: _Ranges, window_from: datetime, catch_up: CatchUp
) -> tuple[_Ranges, _Ranges]:
    """The late slots, parted into those that stay missed and those that run after all."""
    if catch_up == CatchUp.NONE:
        return late, []
    inside = _clip(late, window_from, None)
    if catch_up == CatchUp.ALL:
        return _clip(late, None, window_from), inside
    newest = next(line.each_back(inside), None)
    if newest is None:
        return late, []
    return _clip(late, None, newest), [(newest, newest + _TICK)]


def _clip(ranges: _Ranges, low: datetime | None, high: datetime | None) -> _Ranges:
    cut = [
        (start if low is None else max(start, low), end if high is None else min(end, high))
        for start, end in ranges
    ]
    return [(start, end) for start, end in cut if start < end]


def _next(slot: datetime | None, jitter: timedelta) -> NextSlot:
    return NextSlot(slot, None if slot is None else slot + jitter)


@dataclass(frozen=True, slots=True)
class _Line:
    """A task's slots from ``next_slot`` on, which is one of them in any case."""

    schedule: Schedule
    zone: ZoneInfo
    dst: Dst
    jitter: timedelta
    next_slot: datetime

    def each(self, ranges: _Ranges) -> Iterator[datetime]:
        for start, end in ranges:
            if start <= self.next_slot < end:
                yield self.next_slot
            yield from self.schedule.between(self._after(start), end, self.zone, self.dst)

    def each_back(self, ranges: _Ranges) -> Iterator[datetime]:
        """The same slots, newest first, found one by one."""
        for start, end in reversed(ranges):
            low = self._after(start)
            at = self.schedule.previous_before(end, self.zone, self.dst)
            while at is not None and at >= low:
                yield at
                at = self.schedule.previous_before(at, self.zone, self.dst)
            if start <= self.next_slot < end:
                yield self.next_slot

    def count(self, ranges: _Ranges) -> int:
        return sum(
            self.schedule.count_between(self._after(start), end, self.zone, self.dst)
            + (start <= self.next_slot < end)
            for start, end in ranges
        )

    def fold(self, ranges: _Ranges, reason: Reason) -> tuple[SkippedSlot, ...]:
        """The rows of skipped slots: one each up to the cap, beyond it the oldest row counts the rest."""
        if not ranges:
            return ()
        total = self.count(ranges)
        if total <= ROW_CAP:
            return tuple(SkippedSlot(at, at + self.jitter, 1, reason) for at in self.each(ranges))
        oldest = next(self.each(ranges))
        newest = list(islice(self.each_back(ranges), ROW_CAP - 1))
        first = SkippedSlot(oldest, oldest + self.jitter, total - len(newest), reason)
        return (first, *(SkippedSlot(at, at + self.jitter, 1, reason) for at in reversed(newest)))

    def _after(self, start: datetime) -> datetime:
        return max(start, self.next_slot + _TICK)
