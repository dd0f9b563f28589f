"""What calendars forbid, asked again and again: may it run now, until when not, what runs next."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import count
from zoneinfo import ZoneInfo

from reconciler.model.calendar import Calendar
from reconciler.model.enums import Dst
from reconciler.model.zone import zone
from reconciler.schedule.base import Schedule
from reconciler.schedule.calendar import Denied, Range, denied
from reconciler.schedule.zones import EPOCH

FAR = timedelta(days=3653)
"""How far the end of a forbidden time is looked for."""

PATIENCE = 370
"""More than the nights of a year."""

_BLOCK = timedelta(days=32)
_TICK = timedelta(microseconds=1)


class Forbidden:
    """The forbidden times of some calendars, worked out a month at a time when they are first asked for.

    ``forbidden_by`` gives all who have the same calendars the same object.
    """

    def __init__(self, calendars: Sequence[Calendar]) -> None:
        self._calendars = tuple(calendars)
        self._zones = {calendar.name: calendar.timezone for calendar in calendars}
        self._blocks: dict[int, tuple[list[Denied], list[datetime]]] = {}

    def between(self, start: datetime, end: datetime) -> list[Denied]:
        """The forbidden times in ``start <= at < end``, cut to these, in order, none overlapping another."""
        found: list[Denied] = []
        for item in self._from(start):
            if item.since >= end:
                break
            low, high = max(item.since, start), min(item.until, end)
            if found and found[-1].until == low and found[-1].name == item.name:
                found[-1] = replace(found[-1], until=high)
            elif low < high:
                found.append(Denied(low, high, item.name))
            if item.until >= end:
                break
        return found

    def at(self, instant: datetime) -> Denied | None:
        """What forbids ``instant``, to its very end (as far as ``FAR``); None if nothing does."""
        found: Denied | None = None
        for item in self._from(instant):
            if found is None:
                if not item.since <= instant < item.until:
                    return None
                found = item
            elif item.since == found.until and item.name == found.name and item.since < instant + FAR:
                found = replace(found, until=item.until)
            else:
                break
        return found

    def open_between(self, start: datetime, end: datetime) -> Iterator[Range]:
        """The times in between that are not forbidden, in order; each month worked out when it is reached."""
        at = start
        for number in count(_block(start)):
            begins = EPOCH + number * _BLOCK
            if begins >= end:
                break
            for item in self._of(number)[0]:
                if item.since > at:
                    yield at, min(item.since, end)
                at = max(at, item.until)
                if at >= end:
                    return
            edge = min(begins + _BLOCK, end)
            if at < edge:
                yield at, edge
                at = edge

    def words(self, found: Denied) -> str:
        """``calendar holidays forbids runs until 2026-12-27 00:00 Europe/Berlin``."""
        if found.until - found.since >= FAR:
            return f"calendar {found.name} forbids all runs of the next ten years"
        name = self._zones[found.name]
        until = found.until.astimezone(zone(name))
        return f"calendar {found.name} forbids runs until {until:%Y-%m-%d %H:%M} {name}"

    def _from(self, start: datetime) -> Iterator[Denied]:
        """From the one that ends after ``start`` on, cut at the edges of months; looks ``FAR`` ahead."""
        first = _block(start)
        items, ends = self._of(first)
        yield from items[bisect_right(ends, start) :]
        for number in range(first + 1, _block(start + FAR) + 2):
            yield from self._of(number)[0]

    def _of(self, number: int) -> tuple[list[Denied], list[datetime]]:
        """A month's forbidden times, and their ends."""
        found = self._blocks.get(number)
        if found is None:
            begins = EPOCH + number * _BLOCK
            items = denied(self._calendars, begins, begins + _BLOCK)
            found = self._blocks[number] = items, [item.until for item in items]
        return found


@lru_cache(maxsize=1024)
def forbidden_by(calendars: tuple[Calendar, ...]) -> Forbidden | None:
    """What these forbid; None where there is nothing that could."""
    return Forbidden(calendars) if any(calendar.deny for calendar in calendars) else None


def allowed_slots(
    schedule: Schedule,
    place: ZoneInfo,
    dst: Dst,
    jitter: timedelta,
    forbidden: Forbidden,
    after: datetime,
    until: datetime,
) -> Iterator[datetime]:
    """The slots after ``after`` that are due before ``until`` and not in a forbidden time, oldest first.

    Gives up after ``PATIENCE`` forbidden times in a row that have slots: so long nothing runs anyway.
    """
    at, refused = after, 0
    while refused < PATIENCE:
        slot = schedule.next_after(at, place, dst)
        if slot is None or slot + jitter >= until:
            return
        found = forbidden.at(slot + jitter)
        if found is None:
            yield slot
            at, refused = slot, 0
        else:
            at, refused = max(slot, found.until - jitter - _TICK), refused + 1


def _block(instant: datetime) -> int:
    return (instant - EPOCH) // _BLOCK
