"""The five cron fields as bit sets, and the search for slots among them.

The search works on integers: seconds of the local wall clock (counted from 1970-01-01T00:00 local), a day
set and the sorted times of day. Zones come in as stretches of constant offset (``zones``), and only at a
stretch's edge do the rules of ``dst`` matter; on any other day one comparison shows that there is no
edge.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from reconciler.model.enums import Dst
from reconciler.schedule.base import GAP, REPEAT, Note, Schedule, ceil_seconds, floor_seconds
from reconciler.schedule.days import DaySet
from reconciler.schedule.dst import Way, moves, runs_again, way_of
from reconciler.schedule.zones import DAY, EARLIEST, EPOCH, LATEST, Change, ZoneHistory, history

_MARGIN = 2 * DAY
"""More than any two local clocks differ (26 h) or one ever jumped (24 h)."""


@dataclass(frozen=True, slots=True)
class CronSchedule(Schedule):
    """An expanded cron expression. ``times`` are seconds of the day, sorted; see ``Schedule`` for the
    methods."""

    text: str
    """The canonical expression; two schedules are equal when it is."""
    times: tuple[int, ...] = field(compare=False, repr=False)
    days: DaySet = field(compare=False, repr=False)
    wildcard: bool = field(compare=False)
    """Whether the hour or the minute field begins with ``*``."""

    @property
    def resolved(self) -> str:
        return self.text

    def next_after(self, instant: datetime, zone: ZoneInfo, dst: Dst) -> datetime | None:
        since = instant - EPOCH
        after = since.days * DAY + since.seconds
        clock = history(zone)
        stretch = clock.recent
        if not stretch[0] <= after < stretch[1]:
            if not EARLIEST <= after < LATEST:
                return self._at(self._first(max(after + 1, EARLIEST), clock, dst))
            stretch = clock.stretch(after)
        _, end, offset, jump = stretch
        if jump >= 0:
            # the usual case, inlined: the answer lies in the same stretch
            day, second = divmod(after + offset, DAY)
            times = self.times
            index = bisect_right(times, second)
            if index == len(times) or not (self.days.every or day in self.days):
                index = 0
                following = self.days.at_or_after(day + 1)
                if following is None:
                    return None
                day = following
            at = day * DAY + times[index] - offset
            if at < end:
                return EPOCH + timedelta(0, at)
        return self._at(self._first(after + 1, clock, dst))

    def previous_before(self, instant: datetime, zone: ZoneInfo, dst: Dst) -> datetime | None:
        return self._at(self._last(ceil_seconds(instant), history(zone), dst))

    def between(self, start: datetime, end: datetime, zone: ZoneInfo, dst: Dst) -> Iterator[datetime]:
        clock, way = history(zone), way_of(dst, self.wildcard)
        at, stop = max(ceil_seconds(start), EARLIEST), min(ceil_seconds(end), LATEST)
        while at < stop:
            stretch = clock.stretch(at)
            until = min(stretch.end, stop)
            if stretch.jump >= 0 or runs_again(way, stretch.jump):
                offset = stretch.offset
                if self._lands(at, stretch.start, offset, stretch.jump, way):
                    yield EPOCH + timedelta(0, at)
                for local in self._locals(at + offset, until + offset):
                    yield EPOCH + timedelta(0, local - offset)
            at = until

    def count_between(self, start: datetime, end: datetime, zone: ZoneInfo, dst: Dst) -> int:
        clock, way = history(zone), way_of(dst, self.wildcard)
        at, stop = max(ceil_seconds(start), EARLIEST), min(ceil_seconds(end), LATEST)
        total = 0
        while at < stop:
            stretch = clock.stretch(at)
            until = min(stretch.end, stop)
            if stretch.jump >= 0 or runs_again(way, stretch.jump):
                total += self._count(at + stretch.offset, until + stretch.offset)
                total += self._lands(at, stretch.start, stretch.offset, stretch.jump, way)
            at = until
        return total

    def note(self, instant: datetime, zone: ZoneInfo, dst: Dst) -> Note | None:
        at = floor_seconds(instant)
        if instant.microsecond or not EARLIEST <= at < LATEST:
            return None
        clock = history(zone)
        stretch = clock.stretch(at)
        regular = self._matches(at + stretch.offset)
        if stretch.jump > 0 and at == stretch.start and self._skipped(at, stretch.offset, stretch.jump):
            moved = moves(way_of(dst, self.wildcard), stretch.jump)
            return GAP if moved or not regular else None
        if regular:
            for change in clock.changes(at - DAY, at + DAY + 1):
                if (
                    change.at - (change.before - change.after)
                    <= at
                    < change.at + change.before - change.after
                ):
                    return REPEAT
        return None

    def dst_events(
        self, start: datetime, end: datetime, zone: ZoneInfo, dst: Dst
    ) -> list[tuple[datetime, Note]]:
        low, high = max(ceil_seconds(start), EARLIEST), min(ceil_seconds(end), LATEST)
        found: list[tuple[int, Note]] = []
        for change in history(zone).changes(low, high + DAY):
            touched = self._touched(change)
            if touched is not None and low <= touched[0] < high:
                found.append(touched)
        return [(EPOCH + timedelta(0, at), note) for at, note in found]

    def times_run(self, note: Note, dst: Dst) -> int:
        way = way_of(dst, self.wildcard)
        if note == GAP:
            return 1 if way is Way.MOVE else 0
        return 2 if way is Way.FOLLOW else 1

    def _touched(self, change: Change) -> tuple[int, Note] | None:
        jump = change.after - change.before
        if jump > 0:
            return (change.at, GAP) if self._skipped(change.at, change.after, jump) else None
        first = self._local_from(change.at + change.after)
        return (
            (first - change.before, REPEAT)
            if first is not None and first < change.at + change.before
            else None
        )

    # -- instants (epoch seconds) ---------------------------------------------------------------

    def _first(self, start: int, clock: ZoneHistory, dst: Dst) -> int | None:
        """The first slot at ``start`` or later."""
        way = way_of(dst, self.wildcard)
        at = start
        while at < LATEST:
            low, end, offset, jump = clock.stretch(at)
            if jump < 0 and not runs_again(way, jump):
                at = end
                continue
            if self._lands(at, low, offset, jump, way):
                return at
            local = self._local_from(at + offset)
            if local is None:
                return None
            if local - offset < end:
                return local - offset
            # Local times before `local` do not match. Once the clocks near `start` are passed, which may show
            # earlier times again, everything up to there can be skipped.
            at = max(end, local - offset - _MARGIN) if end >= start + _MARGIN else end
        return None

    def _last(self, stop: int, clock: ZoneHistory, dst: Dst) -> int | None:
        """The last slot before ``stop``."""
        way = way_of(dst, self.wildcard)
        stop = before = min(stop, LATEST)
        while before > EARLIEST:
            low, _, offset, jump = clock.stretch(before - 1)
            if jump < 0 and not runs_again(way, jump):
                before = low
                continue
            local = self._local_before(before + offset)
            if local is not None and local - offset >= max(low, EARLIEST):
                return local - offset
            if self._lands(low, low, offset, jump, way):
                return low
            if local is None:
                return None
            before = min(low, local - offset + _MARGIN) if low <= stop - _MARGIN else low
        return None

    def _lands(self, at: int, low: int, offset: int, jump: int, way: Way) -> bool:
        """Whether a skipped time runs at ``at`` (the start ``low`` of its stretch) where none runs anyway."""
        return (
            at == low
            and moves(way, jump)
            and self._skipped(low, offset, jump)
            and not self._matches(low + offset)
        )

    def _skipped(self, at: int, offset: int, jump: int) -> bool:
        """Whether the clock, put forward ``jump`` seconds at ``at``, passed over a time of this schedule."""
        local = self._local_from(at + offset - jump)
        return local is not None and local < at + offset

    @staticmethod
    def _at(seconds: int | None) -> datetime | None:
        return None if seconds is None else EPOCH + timedelta(0, seconds)

    # -- local wall-clock seconds ---------------------------------------------------------------

    def _local_from(self, local: int) -> int | None:
        """The first matching local time at ``local`` or later."""
        day, second = divmod(local, DAY)
        if day in self.days:
            index = bisect_left(self.times, second)
            if index < len(self.times):
                return day * DAY + self.times[index]
        following = self.days.at_or_after(day + 1)
        return None if following is None else following * DAY + self.times[0]

    def _local_before(self, local: int) -> int | None:
        """The last matching local time before ``local``."""
        day, second = divmod(local, DAY)
        if day in self.days:
            index = bisect_left(self.times, second)
            if index:
                return day * DAY + self.times[index - 1]
        previous = self.days.at_or_before(day - 1)
        return None if previous is None else previous * DAY + self.times[-1]

    def _matches(self, local: int) -> bool:
        return self._local_from(local) == local

    def _locals(self, start: int, end: int) -> Iterator[int]:
        """The matching local times in ``start <= local < end``."""
        for day in self.days.each(start // DAY, -(-end // DAY)):
            midnight = day * DAY
            low = bisect_left(self.times, start - midnight) if midnight < start else 0
            high = bisect_left(self.times, end - midnight)
            for second in self.times[low:high]:
                yield midnight + second

    def _count(self, start: int, end: int) -> int:
        """How many local times match in ``start <= local < end``: whole days, then the rest of either end."""
        (first, from_second), (last, to_second) = divmod(start, DAY), divmod(end, DAY)
        total = self.days.count(first, last) * len(self.times)
        if from_second and first in self.days:
            total -= bisect_left(self.times, from_second)
        if to_second and last in self.days:
            total += bisect_left(self.times, to_second)
        return total
