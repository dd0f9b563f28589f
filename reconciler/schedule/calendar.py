"""When calendars forbid runs: their windows as ranges of instants.

A window covers all that the clock shows between its ends: it begins at the first showing of its start and
ends at the last showing of its end. What the clock jumps over is as if shown at the jump.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from reconciler.model.calendar import WEEKDAYS, Calendar, Window, moment
from reconciler.model.zone import zone
from reconciler.schedule.zones import EPOCH, history

_DAY = timedelta(days=1)
Range = tuple[datetime, datetime]
"""``start <= instant < end``, aware, UTC."""


@dataclass(frozen=True, slots=True)
class Denied:
    """A time in which nothing runs by itself, because the calendar ``name`` says so."""

    since: datetime
    until: datetime
    name: str


def denied(calendars: Sequence[Calendar], start: datetime, end: datetime) -> list[Denied]:
    """What the calendars forbid between ``start`` and ``end`` (aware), cut to these, by time.

    An instant that several forbid is the first's. Ranges of one calendar do not overlap.
    """
    found: list[Denied] = []
    for calendar in calendars:
        taken = [(item.since, item.until) for item in found]
        for low, high in _without(_forbidden(calendar, start, end), _merged(taken)):
            found.append(Denied(low, high, calendar.name))
    return sorted(found, key=lambda item: item.since)


def _forbidden(calendar: Calendar, start: datetime, end: datetime) -> list[Range]:
    place = zone(calendar.timezone)
    low, high = start.astimezone(UTC), end.astimezone(UTC)
    deny = _merged(_cut(_ranges(calendar.deny, place, low, high), low, high))
    if not deny:
        return []
    return _without(deny, _merged(_cut(_ranges(calendar.allow, place, low, high), low, high)))


def _ranges(windows: Iterable[Window], place: ZoneInfo, low: datetime, high: datetime) -> Iterator[Range]:
    """All ranges of the windows that may touch ``low`` to ``high``."""
    for window in windows:
        if window.weekdays is None and window.dates is None:
            assert window.from_ is not None
            assert window.until is not None
            yield _instant(moment(window.from_), place, 0), _instant(moment(window.until), place, 1)
            continue
        for day in _days(window, _local_day(low, place) - 2 * _DAY, _local_day(high, place) + _DAY):
            yield _on(day, window, place)


def _days(window: Window, first: date, last: date) -> Iterator[date]:
    """The days on which the window begins. Two days before the range, for one that lasts over midnight."""
    if window.dates is not None:
        yield from (day for day in map(date.fromisoformat, window.dates) if first <= day <= last)
        return
    assert window.weekdays is not None
    wanted = {WEEKDAYS.index(day) for day in window.weekdays}
    day = first
    while day <= last:
        if day.weekday() in wanted:
            yield day
        day += _DAY


@lru_cache(maxsize=4096)
def _on(day: date, window: Window, place: ZoneInfo) -> Range:
    begins, seconds = _time(window.from_ or "00:00"), _time(window.until or "24:00")
    ends = seconds if seconds > begins else seconds + _DAY
    midnight = datetime.combine(day, time())
    return _instant(midnight + begins, place, 0), _instant(midnight + ends, place, 1)


def _time(text: str) -> timedelta:
    hours, minutes = text.split(":")
    return timedelta(hours=int(hours), minutes=int(minutes))


def _instant(local: datetime, place: ZoneInfo, fold: int) -> datetime:
    """When the clock shows ``local``: the first time (``fold`` 0) or the last; else when it jumps over it."""
    first, last = (local.replace(tzinfo=place, fold=which).astimezone(UTC) for which in (0, 1))
    if first <= last:
        return last if fold else first
    # a local time in a gap, read with the offset before it and with the one after
    changes = history(place).changes(_seconds(last), _seconds(first) + 1)
    return EPOCH + timedelta(seconds=changes[0].at) if changes else first


def _seconds(instant: datetime) -> int:
    return int((instant - EPOCH).total_seconds())


def _local_day(instant: datetime, place: ZoneInfo) -> date:
    return instant.astimezone(place).date()


def _cut(ranges: Iterable[Range], low: datetime, high: datetime) -> list[Range]:
    cut = ((max(start, low), min(end, high)) for start, end in ranges)
    return [(start, end) for start, end in cut if start < end]


def _merged(ranges: Iterable[Range]) -> list[Range]:
    """In order, none touching another."""
    found: list[Range] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return found


def _without(ranges: Sequence[Range], holes: Sequence[Range]) -> list[Range]:
    """``ranges`` less ``holes``, both merged."""
    left: list[Range] = []
    for start, end in ranges:
        at = start
        for hole_start, hole_end in holes:
            if hole_end <= at or hole_start >= end:
                continue
            if hole_start > at:
                left.append((at, hole_start))
            at = max(at, hole_end)
        if at < end:
            left.append((at, end))
    return left
