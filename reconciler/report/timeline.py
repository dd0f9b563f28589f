"""What will run when, or, of the past, what the present state would have done: linear and bounded in memory.

Nothing is collected: each runnable task has one entry in a heap, its next due instant, however many follow.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.model.instant import rfc3339
from reconciler.model.zone import zone
from reconciler.report.times import local_rfc3339
from reconciler.report.timing import Timing, timing_of
from reconciler.schedule.base import Note
from reconciler.store.views import SuspensionView, TaskView

HOUR = timedelta(hours=1)
_TICK = timedelta(microseconds=1)
_FOREVER = datetime(9998, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Fire:
    """One run to be: due ``at``, of the slot ``scheduled_for``; ``note`` is ``dst-gap`` or ``dst-repeat``."""

    task: TaskView
    at: datetime
    scheduled_for: datetime
    note: Note | None


@dataclass(frozen=True, slots=True)
class Planned:
    """A runnable task and how its slots arise; in ``suspensions`` and forbidden times none runs."""

    task: TaskView
    timing: Timing
    suspensions: tuple[SuspensionView, ...] = ()

    @property
    def jitter(self) -> timedelta:
        return self.timing.jitter

    def next_after(self, slot: datetime) -> datetime | None:
        return self.timing.next_after(slot)

    def first_due(self, start: datetime) -> datetime | None:
        """The first slot that is due at ``start`` or later."""
        return self.next_after(start - self.jitter - timedelta(microseconds=1))

    def count(self, start: datetime, end: datetime) -> int:
        """How many are due in ``start <= at < end``, by arithmetic."""
        total = self.timing.count_due(start, end)
        for since, until in self._gaps(start, end):
            total -= self.timing.count_due(since, until)
        return total

    def is_suspended_in(self, start: datetime, end: datetime) -> bool:
        """Whether a suspension takes a part of the range away."""
        return any(
            item.since < end and (item.until is None or item.until > start) for item in self.suspensions
        )

    def _gaps(self, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
        """The suspended and forbidden parts of a range, in order, none overlapping another."""
        parts = [(item.since, item.until or end) for item in self.suspensions]
        if self.timing.forbidden is not None:
            parts += [(item.since, item.until) for item in self.timing.forbidden.between(start, end)]
        gaps: list[tuple[datetime, datetime]] = []
        for begins, ends in sorted(parts):
            since = max(begins, start, gaps[-1][1] if gaps else start)
            until = min(ends, end)
            if since < until:
                gaps.append((since, until))
        return gaps

    def fires(self, start: datetime, end: datetime) -> Iterator[Fire]:
        """Those due in ``start <= at < end``, in order."""
        slot = self.first_due(start)
        while slot is not None and slot + self.jitter < end:
            lifted = self.resumed(slot + self.jitter)
            if lifted is None:
                yield self.fire(slot)
            slot = self.next_after(slot) if lifted is None else self.first_due(min(lifted, end))

    def fire(self, slot: datetime) -> Fire:
        return Fire(self.task, slot + self.jitter, slot, self.timing.note(slot))

    def resumed(self, at: datetime) -> datetime | None:
        """When what forbids ``at`` ends (far off where it has no end); None where nothing does."""
        for item in self.suspensions:
            if item.since <= at and (item.until is None or at < item.until):
                return item.until or _FOREVER
        found = None if self.timing.forbidden is None else self.timing.forbidden.at(at)
        return None if found is None else found.until


def plan_of(task: TaskView, suspensions: Sequence[SuspensionView] = ()) -> Planned | None:
    """How a task's slots arise; None for one that is not runnable or has no (readable) schedule."""
    timing = timing_of(task) if task.runnable else None
    if timing is None:
        return None
    return Planned(task, timing, tuple(suspensions))


@dataclass(frozen=True, slots=True)
class Held:
    """What forbids a task's next slot, and when the first run after it is due; None: none in ten years."""

    words: str
    next_run: datetime | None


def held(task: TaskView) -> Held | None:
    """Whether calendars forbid the next slot of a task; None where they do not."""
    if task.next_run is None or not task.document["spec"].get("calendars"):
        return None
    plan = plan_of(task)
    forbidden = None if plan is None else plan.timing.forbidden
    found = None if forbidden is None else forbidden.at(task.next_run)
    if plan is None or forbidden is None or found is None:
        return None
    from reconciler.schedule.forbidden import FAR, allowed_slots

    timing = plan.timing
    slots = allowed_slots(
        timing.schedule,
        timing.zone,
        timing.dst,
        timing.jitter,
        forbidden,
        found.until - timing.jitter - _TICK,
        task.next_run + FAR,
    )
    slot = next(slots, None)
    return Held(forbidden.words(found), None if slot is None else slot + timing.jitter)


def timeline(planned: Iterable[Planned], start: datetime, end: datetime) -> Iterator[Fire]:
    """Every run due in ``start <= at < end``, by due time, project, task and server."""
    heap: list[tuple[datetime, tuple[str, str, str], datetime, Planned]] = []
    for item in planned:
        slot = item.first_due(start)
        if slot is not None and slot + item.jitter < end:
            heap.append((slot + item.jitter, _order(item), slot, item))
    heapq.heapify(heap)
    while heap:
        at, order, slot, item = heap[0]
        lifted = item.resumed(at)
        if lifted is None:
            yield item.fire(slot)
        following = item.next_after(slot) if lifted is None else item.first_due(min(lifted, end))
        if following is not None and following + item.jitter < end:
            heapq.heapreplace(heap, (following + item.jitter, order, following, item))
        else:
            heapq.heappop(heap)


def _order(item: Planned) -> tuple[str, str, str]:
    return item.task.project, item.task.name, item.task.server


def fire_json(fire: Fire) -> dict[str, Any]:
    """An item of ``schedule``. ``localTime`` is the due time on the wall of the task's zone."""
    task = fire.task
    return {
        "task": task.name,
        "server": task.server,
        "project": task.project,
        "at": rfc3339(fire.at),
        "scheduledFor": rfc3339(fire.scheduled_for),
        "timezone": task.timezone,
        "localTime": local_rfc3339(fire.at, zone(task.timezone)),
        "note": fire.note,
    }


class Load:
    """Runs per server and stretch of time: a counter each, filled while a timeline passes by."""

    def __init__(self, start: datetime, size: timedelta = HOUR) -> None:
        self.start = start.replace(minute=0, second=0, microsecond=0)
        self.size = size
        self._runs: dict[tuple[str, int], int] = defaultdict(int)

    def add(self, server: str, at: datetime, runs: int = 1) -> None:
        self._runs[server, (at - self.start) // self.size] += runs

    def add_planned(self, item: Planned, start: datetime, end: datetime) -> int:
        """All of a task's runs in the range, by arithmetic where they are many; how many they are."""
        total = 0
        edge = start
        while edge < end:
            until = min(self.start + ((edge - self.start) // self.size + 1) * self.size, end)
            runs = item.count(edge, until)
            if runs:
                self.add(item.task.server, edge, runs)
                total += runs
            edge = until
        return total

    def servers(self) -> dict[str, dict[int, int]]:
        """Server → number of the stretch → runs, busy servers and stretches only, by name."""
        found: dict[str, dict[int, int]] = defaultdict(dict)
        for (server, number), runs in sorted(self._runs.items()):
            found[server][number] = runs
        return found

    def json(self) -> list[dict[str, Any]]:
        """One entry for each server and hour in which anything runs, by server and hour."""
        return [
            {"server": server, "hour": rfc3339(self.start + number * self.size), "runs": runs}
            for (server, number), runs in sorted(self._runs.items())
        ]
