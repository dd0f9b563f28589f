"""What every schedule answers, whatever it was written as."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from reconciler.model.enums import Dst
from reconciler.schedule.zones import DAY, EPOCH

Note = Literal["dst-gap", "dst-repeat"]
GAP: Note = "dst-gap"
REPEAT: Note = "dst-repeat"


class Schedule(ABC):
    """A parsed schedule: frozen, shared between tasks, without a zone of its own.

    Every instant that goes in is aware; every slot that comes out is aware, UTC and on a whole second.
    Slots exist from January of the year 1 to December 9999.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def resolved(self) -> str:
        """The canonical text, names as numbers and ``H`` as what it came to: ``17 3 * * 1-5``."""

    @abstractmethod
    def next_after(self, instant: datetime, zone: ZoneInfo, dst: Dst) -> datetime | None:
        """The first slot strictly after ``instant``; None when there is none before the year 10000."""

    @abstractmethod
    def previous_before(self, instant: datetime, zone: ZoneInfo, dst: Dst) -> datetime | None:
        """The last slot strictly before ``instant``; None when there is none."""

    @abstractmethod
    def between(self, start: datetime, end: datetime, zone: ZoneInfo, dst: Dst) -> Iterator[datetime]:
        """The slots in ``start <= slot < end``, oldest first."""

    @abstractmethod
    def count_between(self, start: datetime, end: datetime, zone: ZoneInfo, dst: Dst) -> int:
        """How many slots ``between`` gives, by arithmetic instead of by walking them."""

    @abstractmethod
    def note(self, instant: datetime, zone: ZoneInfo, dst: Dst) -> Note | None:
        """What a clock change has to do with this schedule at ``instant``.

        ``dst-gap``: the clock was just put forward over a time of this schedule, which runs here instead
        or (by its rule) does not run at all. ``dst-repeat``: the local time shown here is one of this
        schedule's, and the clock shows it twice on this day; both showings have the note, whichever of
        them runs. None otherwise.
        """

    @abstractmethod
    def dst_events(
        self, start: datetime, end: datetime, zone: ZoneInfo, dst: Dst
    ) -> list[tuple[datetime, Note]]:
        """The clock changes in ``start <= at < end`` that touch this schedule, one entry each, in order.

        For a gap ``at`` is the first instant after it, for a repeat the first slot whose local time comes
        again. However many times of a schedule one night touches, it is one event: a plan is read by people.
        """

    @abstractmethod
    def times_run(self, note: Note, dst: Dst) -> int:
        """How often a local time of this schedule runs that a clock change skips or repeats."""


def floor_seconds(instant: datetime) -> int:
    """Epoch seconds, cut down. An integer slot is after ``instant`` exactly when it is after this."""
    since = instant - EPOCH
    return since.days * DAY + since.seconds


def ceil_seconds(instant: datetime) -> int:
    """Epoch seconds, rounded up. An integer slot is before ``instant`` exactly when it is before this."""
    since = instant - EPOCH
    return since.days * DAY + since.seconds + (1 if since.microseconds else 0)
