"""A zone's history as stretches of constant offset, looked up once and then only compared.

``zoneinfo`` answers "which offset at this instant" but does not tell when it changes next, and asking it
for every candidate minute is what makes other engines slow. So each page of about a year is
probed day by day once, and what was found is kept.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from reconciler.schedule.days import FIRST_DAY, LAST_DAY

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = 86_400

EARLIEST = (FIRST_DAY + 3) * DAY
LATEST = (LAST_DAY - 2) * DAY
"""Between these instants (seconds) every local time fits in a ``datetime``, whatever the offset."""

_PAGE = 25
"""Pages of 2**25 s, about 388 days: one or two pairs of clock changes in most zones."""

_LONGEST_SHIFT = 2 * DAY
"""No zone ever moved further at once than over the date line, 24 h."""


class Stretch(NamedTuple):
    """``start <= instant < end`` (epoch seconds) in which local time is instant + ``offset`` seconds.

    ``jump`` says what the clock did at ``start``: > 0, it was put forward by so many seconds and the
    local times ``[start + offset - jump, start + offset)`` never were; < 0, it was put back, and the
    whole stretch shows local times a second time (the next stretch begins where that ends); 0, nothing.
    """

    start: int
    end: int
    offset: int
    jump: int


class Change(NamedTuple):
    """At instant ``at`` (epoch seconds) the offset went from ``before`` to ``after`` seconds."""

    at: int
    before: int
    after: int


class ZoneHistory:
    """The stretches of one zone. ``recent`` is the last one found: nearly always the next one needed."""

    __slots__ = ("_pages", "_zone", "recent")

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._pages: dict[int, tuple[list[int], list[Stretch], list[Change]]] = {}
        self.recent = Stretch(0, 0, 0, 0)

    def stretch(self, instant: int) -> Stretch:
        """The stretch that holds ``instant`` (epoch seconds)."""
        starts, stretches, _ = self._page(instant >> _PAGE)
        found = stretches[bisect_right(starts, instant) - 1]
        self.recent = found
        return found

    def changes(self, start: int, end: int) -> list[Change]:
        """The clock changes at ``start <= instant < end``, in order."""
        pages = range(start >> _PAGE, ((end - 1) >> _PAGE) + 1) if start < end else range(0)
        return [c for page in pages for c in self._page(page)[2] if start <= c.at < end]

    def _page(self, number: int) -> tuple[list[int], list[Stretch], list[Change]]:
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = self._build(number << _PAGE, min((number + 1) << _PAGE, LATEST))
        return page

    def _build(self, start: int, end: int) -> tuple[list[int], list[Stretch], list[Change]]:
        # a change shortly before the page may still be repeating local times inside it
        changes = self._probe(start - _LONGEST_SHIFT, end)
        marks = [Stretch(start - _LONGEST_SHIFT, end, self._offset(start - _LONGEST_SHIFT), 0)]
        for change in changes:
            jump = change.after - change.before
            marks = [mark._replace(end=min(mark.end, change.at)) for mark in marks]
            if jump > 0:
                marks.append(Stretch(change.at, end, change.after, jump))
            else:
                marks.append(Stretch(change.at, change.at - jump, change.after, jump))
                marks.append(Stretch(change.at - jump, end, change.after, 0))
        stretches = [
            _cut(mark, start, end)
            for mark in marks
            if mark.start < mark.end and mark.end > start and mark.start < end
        ]
        return [s.start for s in stretches], stretches, [c for c in changes if c.at >= start]

    def _probe(self, start: int, end: int) -> list[Change]:
        changes = []
        low, before = start, self._offset(start)
        while low < end:
            high = min(low + DAY, end)
            # up to the page's last second: the change itself may be there
            after = self._offset(high - 1) if high == end else self._offset(high)
            if after != before:
                at = self._bisect(low, high, before)
                changes.append(Change(at, before, self._offset(at)))
                before = self._offset(at)
                low = at
            else:
                low = high
        return changes

    def _bisect(self, low: int, high: int, before: int) -> int:
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle) == before:
                low = middle
            else:
                high = middle
        return high

    def _offset(self, instant: int) -> int:
        moment = EPOCH + timedelta(seconds=min(max(instant, EARLIEST), LATEST))
        offset = moment.astimezone(self._zone).utcoffset()
        assert offset is not None
        return offset.days * DAY + offset.seconds


def _cut(mark: Stretch, start: int, end: int) -> Stretch:
    """The part of a stretch on one page; what its clock skipped belongs to the page where it happened."""
    jump = 0 if mark.jump > 0 and mark.start < start else mark.jump
    return Stretch(max(mark.start, start), min(mark.end, end), mark.offset, jump)


@lru_cache(maxsize=1024)
def history(zone: ZoneInfo) -> ZoneHistory:
    """The zone's stretches, shared by every schedule (there are about 600 zones)."""
    return ZoneHistory(zone)
