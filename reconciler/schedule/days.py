"""Which days a cron entry names: day of month, month and day of week as bit sets over the calendar.

A day is counted from 1970-01-01 (day 0) in the local calendar. Bits are kept in blocks of 1024 days (about 34
months), so the next matching day is a shift and the number of matching days between two dates a
bit count, however far apart they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

EPOCH_DAY = date(1970, 1, 1).toordinal()
FIRST_DAY = date.min.toordinal() - EPOCH_DAY
LAST_DAY = date.max.toordinal() - EPOCH_DAY

_BLOCK = 10
_IN_BLOCK = (1 << _BLOCK) - 1
_FIRST_BLOCK = FIRST_DAY >> _BLOCK
_LAST_BLOCK = LAST_DAY >> _BLOCK
_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_SUNDAY = 0b0000001_0000001_0000001_0000001_0000001_0000001
"""Every seventh of 42 bits: a weekday's column in a calendar sheet."""


def month_length(year: int, month: int) -> int:
    """Days in a month of the Gregorian calendar."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 29 if month == 2 and leap else _LENGTHS[month - 1]


@dataclass(frozen=True, slots=True)
class DayFields:
    """The three day fields of an expression, expanded.

    ``days`` has bits 1–31, ``months`` bits 1–12, ``weekdays`` bits 0–6 (0 is Sunday). ``nth`` holds
    ``(weekday, n)`` of ``5#2``, ``last_weekdays`` the bits of ``L5``, ``last_day`` is ``L``. ``both`` is
    cron's rule for the two day fields: True when either begins with ``*`` (or is ``?``), then both must
    hold; else one is enough.
    """

    days: int
    months: int
    weekdays: int
    nth: frozenset[tuple[int, int]] = frozenset()
    last_weekdays: int = 0
    last_day: bool = False
    both: bool = True

    def in_month(self, month: int, length: int, first_weekday: int) -> int:
        """Bits 1–31 of the days that match in a month of that length whose first day is that weekday."""
        if not self.months >> month & 1:
            return 0
        valid = (2 << length) - 2
        by_date = (self.days | (1 << length if self.last_day else 0)) & valid
        by_weekday = self._by_weekday(length, first_weekday) & valid
        return by_date & by_weekday if self.both else by_date | by_weekday

    def _by_weekday(self, length: int, first_weekday: int) -> int:
        found = 0
        for weekday in range(7):
            first = 1 + (weekday - first_weekday) % 7
            if self.weekdays >> weekday & 1:
                found |= _SUNDAY << first
            if self.last_weekdays >> weekday & 1:
                found |= 1 << first + (length - first) // 7 * 7
        for weekday, n in self.nth:
            found |= 1 << 1 + (weekday - first_weekday) % 7 + 7 * (n - 1)
        return found

    def possible(self) -> bool:
        """Whether any date ever matches: looks at each of the 14 calendars a year can have."""
        for leap in (False, True):
            for new_year in range(7):
                weekday = new_year
                for month in range(1, 13):
                    length = 29 if leap and month == 2 else _LENGTHS[month - 1]
                    if self.in_month(month, length, weekday):
                        return True
                    weekday = (weekday + length) % 7
        return False


@dataclass(frozen=True, slots=True)
class DaySet:
    """The matching days of the whole calendar, worked out block by block when first asked for."""

    fields: DayFields
    every: bool
    """True when every day matches: then nobody needs to ask."""
    _blocks: dict[int, int] = field(default_factory=dict, compare=False, repr=False)

    def __contains__(self, day: int) -> bool:
        return self.every or bool(self._block(day >> _BLOCK) >> (day & _IN_BLOCK) & 1)

    def at_or_after(self, day: int) -> int | None:
        """The first matching day from ``day`` on; None past the year 9999."""
        if day > LAST_DAY:
            return None
        if self.every:
            return day
        bits = self._block(day >> _BLOCK) >> (day & _IN_BLOCK)
        if bits:
            return day + (bits & -bits).bit_length() - 1
        for block in range((day >> _BLOCK) + 1, _LAST_BLOCK + 1):
            bits = self._block(block)
            if bits:
                return (block << _BLOCK) + (bits & -bits).bit_length() - 1
        return None

    def at_or_before(self, day: int) -> int | None:
        """The last matching day up to ``day``; None before the year 1."""
        if day < FIRST_DAY:
            return None
        if self.every:
            return day
        bits = self._block(day >> _BLOCK) & (2 << (day & _IN_BLOCK)) - 1
        if bits:
            return (day & ~_IN_BLOCK) + bits.bit_length() - 1
        for block in range((day >> _BLOCK) - 1, _FIRST_BLOCK - 1, -1):
            bits = self._block(block)
            if bits:
                return (block << _BLOCK) + bits.bit_length() - 1
        return None

    def count(self, start: int, end: int) -> int:
        """How many days match in ``start <= day < end``."""
        if end <= start:
            return 0
        if self.every:
            return end - start
        first, last = start >> _BLOCK, end >> _BLOCK
        before_end = self._block(last) & (1 << (end & _IN_BLOCK)) - 1
        if first == last:
            return (before_end >> (start & _IN_BLOCK)).bit_count()
        inner = sum(self._block(block).bit_count() for block in range(first + 1, last))
        return (self._block(first) >> (start & _IN_BLOCK)).bit_count() + inner + before_end.bit_count()

    def each(self, start: int, end: int) -> Iterator[int]:
        """The matching days in ``start <= day < end``, in order."""
        day = self.at_or_after(start)
        while day is not None and day < end:
            yield day
            day = self.at_or_after(day + 1)

    def _block(self, block: int) -> int:
        bits = self._blocks.get(block)
        if bits is None:
            bits = self._blocks[block] = self._build(block)
        return bits

    def _build(self, block: int) -> int:
        start = max(block << _BLOCK, FIRST_DAY)
        end = min((block + 1) << _BLOCK, LAST_DAY + 1)
        if start >= end:
            return 0
        first = date.fromordinal(start + EPOCH_DAY)
        year, month, day = first.year, first.month, start - first.day + 1
        bits = 0
        while day < end:
            length = month_length(year, month)
            # 1970-01-01 was a Thursday, weekday 4; bit 1 is the month's first day
            found = self.fields.in_month(month, length, (day + 4) % 7) >> 1
            offset = day - (block << _BLOCK)
            bits |= found << offset if offset >= 0 else found >> -offset
            day += length
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        return bits & (1 << _IN_BLOCK + 1) - 1
