"""A task's row to the schedule's own terms: what all questions about its slots begin with. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from reconciler.model.enums import Dst
from reconciler.model.quantity import parse_duration
from reconciler.model.zone import zone
from reconciler.schedule.base import Note, Schedule
from reconciler.schedule.expression import parse
from reconciler.schedule.invalid import ScheduleInvalid
from reconciler.schedule.stable import jitter_offset
from reconciler.store.views import TaskView

if TYPE_CHECKING:
    from reconciler.schedule.forbidden import Forbidden


@dataclass(frozen=True, slots=True)
class Timing:
    """How a task's slots arise: its schedule with zone and rule filled in, and its own part of the jitter."""

    schedule: Schedule
    zone: ZoneInfo
    dst: Dst
    jitter: timedelta
    forbidden: Forbidden | None = None
    """What its calendars forbid, by due instants; slots arise all the same, and are skipped."""

    def next_after(self, moment: datetime) -> datetime | None:
        return self.schedule.next_after(moment, self.zone, self.dst)

    def previous_before(self, moment: datetime) -> datetime | None:
        return self.schedule.previous_before(moment, self.zone, self.dst)

    def count_due(self, start: datetime, end: datetime) -> int:
        """How many slots are due in ``start <= at < end``, by arithmetic."""
        return self.schedule.count_between(start - self.jitter, end - self.jitter, self.zone, self.dst)

    def note(self, slot: datetime) -> Note | None:
        return self.schedule.note(slot, self.zone, self.dst)

    def dst_events(self, start: datetime, end: datetime) -> list[tuple[datetime, Note]]:
        return self.schedule.dst_events(start, end, self.zone, self.dst)


_CRON = Dst.CRON


@lru_cache(maxsize=4096)
def _shared(schedule: str, timezone: str, dst: str) -> Timing:
    """The timing of all tasks with these words and nothing of their own."""
    return Timing(parse(schedule, ""), zone(timezone), Dst(dst), timedelta(0))


def timing_of(task: TaskView) -> Timing | None:
    """The timing of a task that has a schedule; None without one, or where drift made it unreadable."""
    if task.schedule is None:
        return None
    spec = task.document["spec"]
    try:
        # an H, a jitter and calendars make a timing the task's own
        own = "jitter" in spec or "calendars" in spec
        if not own and "H" not in task.schedule.upper():
            return _shared(task.schedule, task.timezone, spec.get("dst", _CRON))
        place = zone(task.timezone)
        jitter = parse_duration(spec.get("jitter", "0s"))
        dst = Dst(spec.get("dst", _CRON))
        schedule, offset = parse(task.schedule, task.address), jitter_offset(task.address, jitter)
        return Timing(schedule, place, dst, offset, _forbidden_by(spec.get("calendars")))
    except (ScheduleInvalid, ValueError, TypeError):
        return None


def _forbidden_by(calendars: Any) -> Forbidden | None:
    """What a document's calendars forbid; raises ValueError for what a hand has spoilt."""
    if not calendars:
        return None
    # few tasks have calendars; without the models of manifests a report begins a quarter of a second sooner
    from reconciler.model.calendar import read_calendars
    from reconciler.schedule.forbidden import forbidden_by

    return forbidden_by(read_calendars(calendars))
