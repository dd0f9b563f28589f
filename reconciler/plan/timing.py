"""When documents run: from a canonical document to a schedule, and answers about it, each worked out once."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from zoneinfo import ZoneInfo

from reconciler.model.calendar import read_calendars
from reconciler.model.canonical import Document
from reconciler.model.enums import Concurrency, Dst
from reconciler.model.quantity import parse_duration
from reconciler.model.task import TaskSpec
from reconciler.model.zone import zone
from reconciler.plan.changes import Times
from reconciler.schedule.base import Schedule
from reconciler.schedule.every import EverySchedule
from reconciler.schedule.expression import parse
from reconciler.schedule.forbidden import FAR, Forbidden, allowed_slots, forbidden_by
from reconciler.schedule.stable import jitter_offset

FIRES = 5
"""Next due times that a plan shows."""

MINUTES = 24 * 60
"""The stretch in which the busiest minute is looked for."""

_UTC = ZoneInfo("UTC")
_CYCLE = datetime(2000, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
"""After 28 years weekdays and leap days repeat: a mean over them is the same whenever a plan is made."""
_CYCLE_DAYS = (_CYCLE[1] - _CYCLE[0]).days
_WEEK = datetime(2001, 1, 1, tzinfo=UTC), datetime(2001, 1, 8, tzinfo=UTC)
_WEEK_SECONDS = 7 * 86_400
_YEAR = timedelta(days=365)
_MANY = 5 * MINUTES
"""Slots in 24 hours above which minutes are counted instead of slots walked."""


_HASHED = re.compile(r"(?<![A-Za-z@])H(?![A-Za-z])", re.IGNORECASE | re.ASCII)
"""An ``H`` that is no part of a name."""


_Windows = tuple[Forbidden, str, Dst, timedelta] | None


@dataclass(frozen=True, slots=True)
class Timing:
    """When one task on one server runs. ``key`` is ``name@server``."""

    schedule: Schedule
    zone: ZoneInfo
    zone_name: str
    dst: Dst
    jitter: timedelta
    concurrency: Concurrency
    keyed: bool
    """Whether another name or server would give other times: an ``H`` in the schedule, or a jitter."""
    forbidden: Forbidden | None = None
    """What its calendars forbid."""

    @property
    def windows(self) -> _Windows:
        """What besides the schedule itself decides which of its slots run."""
        return None if self.forbidden is None else (self.forbidden, self.zone_name, self.dst, self.jitter)


@cache
def _default(name: str) -> str:
    # a duration's default is a number in the model; the document would say 0s
    value = TaskSpec.model_fields[name].default
    return "0s" if value == 0 else str(value)


def timing_of(document: Document, key: str) -> Timing | None:
    """None where nothing is scheduled, where the task is disabled, and for a row that a hand has spoilt."""
    spec = document["spec"]
    expression = spec.get("schedule")
    if expression is None or spec.get("enabled", True) is False:
        return None
    try:
        zone_name = spec.get("timezone", _default("timezone"))
        seconds = parse_duration(spec.get("jitter", _default("jitter")))
        return Timing(
            schedule=parse(expression, key),
            zone=zone(zone_name),
            zone_name=zone_name,
            dst=Dst(spec.get("dst", _default("dst"))),
            jitter=jitter_offset(key, seconds),
            concurrency=Concurrency(spec.get("concurrency", _default("concurrency"))),
            keyed=seconds > 0 or _HASHED.search(expression) is not None,
            forbidden=forbidden_by(read_calendars(spec.get("calendars"))),
        )
    except (ValueError, TypeError, AttributeError):
        return None


class Timetable:
    """Answers about timings as of one moment; equal schedules are asked once."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._minute = now.replace(second=0, microsecond=0)
        self._fires: dict[tuple[Schedule, str, Dst, _Windows], tuple[datetime, ...]] = {}
        self._open: dict[Forbidden, list[datetime]] = {}
        self._per_day: dict[tuple[Schedule, _Windows], float] = {}
        self._dst: dict[tuple[Schedule, str, Dst], tuple[tuple[datetime, str, int], ...]] = {}
        self._days: dict[tuple[Schedule, str, Dst, int, _Windows], tuple[tuple[int, int], ...]] = {}
        self._weeks: dict[tuple[Schedule, _Windows], tuple[int, ...]] = {}
        self._overlaps: dict[tuple[Schedule, _Windows, float, Concurrency], float] = {}

    def times(self, timing: Timing | None) -> Times:
        """Runs on an ordinary day and the next due times."""
        if timing is None:
            return Times()
        return Times(self.runs_per_day(timing), self.next_fires(timing), timing.zone_name)

    def next_fires(self, timing: Timing) -> tuple[datetime, ...]:
        """The first due times of a spec that begins now, as an apply computes them; no forbidden ones."""
        key = timing.schedule, timing.zone_name, timing.dst, timing.windows
        slots = self._fires.get(key)
        if slots is None:
            slots = self._fires[key] = self._slots(timing)
        return tuple(slot + timing.jitter for slot in slots) if timing.jitter else slots

    def runs_per_day(self, timing: Timing) -> float:
        """The mean over 28 years without clock changes, to three or more digits; less the share that
        calendars forbid in the coming year."""
        key = timing.schedule, timing.windows
        found = self._per_day.get(key)
        if found is None:
            schedule = timing.schedule
            if isinstance(schedule, EverySchedule):
                mean = 86_400 / schedule.seconds
            else:
                mean = schedule.count_between(*_CYCLE, _UTC, Dst.CRON) / _CYCLE_DAYS
            found = self._per_day[key] = rounded(mean * self._share(timing))
        return found

    def dst_events(self, timing: Timing) -> tuple[tuple[datetime, str, int], ...]:
        """The clock changes of the coming year that touch the schedule, as in `Effect.dst`."""
        key = timing.schedule, timing.zone_name, timing.dst
        found = self._dst.get(key)
        if found is None:
            events = timing.schedule.dst_events(self._now, self._now + _YEAR, timing.zone, timing.dst)
            found = self._dst[key] = tuple(
                (at, str(note), timing.schedule.times_run(note, timing.dst)) for at, note in events
            )
        return found

    def minutes(self, timing: Timing) -> tuple[tuple[int, int], ...]:
        """Minutes of the next 24 hours (0 is the present one) in which it is due, and how often in each."""
        shift = int(timing.jitter.total_seconds()) // 60
        key = timing.schedule, timing.zone_name, timing.dst, shift, timing.windows
        found = self._days.get(key)
        if found is None:
            found = self._days[key] = self._count_minutes(timing, shift)
        return found

    def at_minute(self, minute: int) -> datetime:
        """The instant at which a minute of ``minutes`` begins."""
        return self._minute + timedelta(minutes=minute)

    def overlap_per_day(self, timing: Timing, seconds: float) -> float:
        """How many runs a day come due while an earlier one is in progress, each taking ``seconds``.

        Counted over an ordinary week. A run that ``forbid`` skips does not keep others waiting; with
        ``queue`` one waits; with ``allow`` and ``replace`` each begins.
        """
        key = timing.schedule, timing.windows, seconds, timing.concurrency
        found = self._overlaps.get(key)
        if found is None:
            week = self._week(timing)
            found = self._overlaps[key] = rounded(overlaps(week, seconds, timing.concurrency) / 7)
        return found

    def _share(self, timing: Timing) -> float:
        """The part of the coming year's slots that no calendar forbids."""
        if timing.forbidden is None:
            return 1
        schedule, rule, shift = timing.schedule, (timing.zone, timing.dst), timing.jitter
        start, end = self._now - shift, self._now + _YEAR - shift
        total = schedule.count_between(start, end, *rule)
        edges = self._edges(timing.forbidden)
        if total <= 4 * len(edges):
            # an odd number of edges behind it: it lies between the beginning and the end of an open time
            left = sum(bisect_right(edges, slot + shift) % 2 for slot in schedule.between(start, end, *rule))
        else:
            left = sum(
                schedule.count_between(low - shift, high - shift, *rule)
                for low, high in zip(edges[::2], edges[1::2], strict=True)
            )
        return left / total if total else 1

    def _edges(self, forbidden: Forbidden) -> list[datetime]:
        """Beginning, end, beginning … of the times in the coming year that are not forbidden."""
        found = self._open.get(forbidden)
        if found is None:
            ranges = forbidden.open_between(self._now, self._now + _YEAR)
            found = self._open[forbidden] = [edge for both in ranges for edge in both]
        return found

    def _slots(self, timing: Timing) -> tuple[datetime, ...]:
        if timing.forbidden is not None:
            allowed = allowed_slots(
                timing.schedule,
                timing.zone,
                timing.dst,
                timing.jitter,
                timing.forbidden,
                self._now,
                self._now + FAR,
            )
            return tuple(islice(allowed, FIRES))
        slots: list[datetime] = []
        at: datetime | None = self._now
        while at is not None and len(slots) < FIRES:
            at = timing.schedule.next_after(at, timing.zone, timing.dst)
            if at is not None:
                slots.append(at)
        return tuple(slots)

    def _count_minutes(self, timing: Timing, shift: int) -> tuple[tuple[int, int], ...]:
        start = self._minute - timedelta(minutes=shift)
        end = start + timedelta(minutes=MINUTES)
        schedule, where, dst = timing.schedule, timing.zone, timing.dst
        counts: dict[int, int] = {}
        if schedule.count_between(start, end, where, dst) > _MANY:
            minute = timedelta(minutes=1)
            for index in range(MINUTES):
                begin = start + index * minute
                if timing.forbidden is not None and timing.forbidden.at(begin + timing.jitter) is not None:
                    continue
                counts[index] = schedule.count_between(begin, begin + minute, where, dst)
        else:
            for slot in schedule.between(start, end, where, dst):
                if timing.forbidden is not None and timing.forbidden.at(slot + timing.jitter) is not None:
                    continue
                index = int((slot - start).total_seconds()) // 60
                counts[index] = counts.get(index, 0) + 1
        return tuple(counts.items())

    def _week(self, timing: Timing) -> tuple[int, ...]:
        schedule, key = timing.schedule, (timing.schedule, timing.windows)
        found = self._weeks.get(key)
        if found is None:
            if timing.forbidden is not None:
                # in its own zone, because the windows have theirs
                found = tuple(
                    int((slot - _WEEK[0]).total_seconds())
                    for low, high in timing.forbidden.open_between(*_WEEK)
                    for slot in schedule.between(
                        low - timing.jitter, high - timing.jitter, timing.zone, timing.dst
                    )
                )
            elif isinstance(schedule, EverySchedule):
                found = tuple(range(0, _WEEK_SECONDS, schedule.seconds))
            else:
                slots = schedule.between(*_WEEK, _UTC, Dst.CRON)
                found = tuple(int((slot - _WEEK[0]).total_seconds()) for slot in slots)
            self._weeks[key] = found
        return found


def overlaps(week: tuple[int, ...], seconds: float, concurrency: Concurrency) -> int:
    """Slots of a week (seconds, sorted) that come due while an earlier run is in progress.

    The week before is run through first: what begins on Sunday may last into Monday.
    """
    if not week:
        return 0
    begins_anyway = concurrency in (Concurrency.ALLOW, Concurrency.REPLACE)
    busy_until = waiting_until = float("-inf")
    found = 0
    for round_ in (0, 1):
        for slot in week:
            at = slot + round_ * _WEEK_SECONDS
            late = at < busy_until
            found += late and round_ == 1
            if not late or begins_anyway:
                busy_until = at + seconds
            elif concurrency is Concurrency.QUEUE and at >= waiting_until:
                # it begins when the present one ends; until then no other can wait
                waiting_until, busy_until = busy_until, busy_until + seconds
    return found


def rounded(value: float) -> float:
    """To what a reader can use: whole from 1,000 on, three digits below; whole numbers without a fraction."""
    if value >= 1000:
        return round(value)
    number = float(f"{value:.3g}") if value < 1 else round(value, 2 if value < 10 else 1)
    return int(number) if number == int(number) else number
