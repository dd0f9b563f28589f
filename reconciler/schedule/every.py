"""``@every N``: instants N seconds apart, counted from the epoch, blind to zones and clock changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from reconciler.model.enums import Dst
from reconciler.model.quantity import format_duration
from reconciler.schedule.base import Note, Schedule, ceil_seconds, floor_seconds
from reconciler.schedule.zones import EARLIEST, EPOCH, LATEST

SHORTEST = 1
LONGEST = 31 * 86_400


@dataclass(frozen=True, slots=True)
class EverySchedule(Schedule):
    """Slots at every multiple of ``seconds`` (1 to 31 days' worth) since 1970-01-01T00:00Z.

    Being aligned to the epoch and not to a start, all controllers agree without sharing anything.
    """

    seconds: int

    @property
    def resolved(self) -> str:
        return f"@every {format_duration(self.seconds)}"

    def next_after(self, instant: datetime, zone: ZoneInfo, dst: Dst) -> datetime | None:
        at = (floor_seconds(instant) // self.seconds + 1) * self.seconds
        return EPOCH + timedelta(0, at) if at <= LATEST else None

    def previous_before(self, instant: datetime, zone: ZoneInfo, dst: Dst) -> datetime | None:
        at = (ceil_seconds(instant) - 1) // self.seconds * self.seconds
        return EPOCH + timedelta(0, at) if at >= EARLIEST else None

    def between(self, start: datetime, end: datetime, zone: ZoneInfo, dst: Dst) -> Iterator[datetime]:
        for number in range(*self._numbers(start, end)):
            yield EPOCH + timedelta(0, number * self.seconds)

    def count_between(self, start: datetime, end: datetime, zone: ZoneInfo, dst: Dst) -> int:
        first, last = self._numbers(start, end)
        return max(0, last - first)

    def note(self, instant: datetime, zone: ZoneInfo, dst: Dst) -> Note | None:
        return None

    def dst_events(
        self, start: datetime, end: datetime, zone: ZoneInfo, dst: Dst
    ) -> list[tuple[datetime, Note]]:
        return []

    def times_run(self, note: Note, dst: Dst) -> int:
        # blind to clock changes: none is ever noted
        return 1

    def _numbers(self, start: datetime, end: datetime) -> tuple[int, int]:
        low = max(ceil_seconds(start), EARLIEST)
        high = min(ceil_seconds(end), LATEST + 1)
        return -(-low // self.seconds), -(-high // self.seconds)
