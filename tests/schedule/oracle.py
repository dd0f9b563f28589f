"""Slow, plain, independent answers: minute after minute, as cron itself lives through a night.

Nothing here uses the room under test. ``debian`` plays the main loop of Debian's cron: its virtual
clock and its four kinds of wake-up. ``plain`` applies the sentences of docs/adr/0002-dst-rules.md to
each minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (wall-clock labels have no zone)
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def values(field: str, index: int) -> set[int]:
    """The numbers of a field of ``*``, ``a``, ``a-b``, steps and lists."""
    low, high = RANGES[index]
    found: set[int] = set()
    for item in field.split(","):
        body, _, step = item.partition("/")
        first, dash, last = body.partition("-")
        if body == "*":
            bounds = range(low, (6 if index == 4 else high) + 1)
        elif dash:
            bounds = range(int(first), int(last) + 1)
        else:
            bounds = range(int(first), int(first) + 1)
        found.update(bounds[:: int(step or 1)])
    return {value % 7 for value in found} if index == 4 else found


class Entry:
    """A crontab line, by the letter of crontab(5)."""

    def __init__(self, text: str) -> None:
        fields = text.split()
        self.text = text
        self.parts = tuple(values(field, index) for index, field in enumerate(fields))
        self.star = fields[2][0] == "*" or fields[4][0] == "*"
        self.wild = fields[0][0] == "*" or fields[1][0] == "*"
        self.memo: dict[int, bool] = {}

    def matches(self, label: int) -> bool:
        """Whether the entry names the wall-clock minute ``label`` (minutes since 1970 on that clock)."""
        known = self.memo.get(label)
        if known is None:
            known = self.memo[label] = self._matches(label)
        return known

    def _matches(self, label: int) -> bool:
        minute, hour, day, month, weekday = self.parts
        if label % 60 not in minute or label // 60 % 24 not in hour:
            return False
        at = NAIVE_EPOCH + label * MINUTE
        if at.month not in month:
            return False
        by_date, by_weekday = at.day in day, at.isoweekday() % 7 in weekday
        return by_date and by_weekday if self.star else by_date or by_weekday


def clock(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[tuple[datetime, int]]:
    """Every minute of real time with what the wall clock shows in it."""
    at = start
    while at < end:
        yield at, (at.astimezone(zone).replace(tzinfo=None) - NAIVE_EPOCH) // MINUTE
        at += MINUTE


def debian(entry: Entry, minutes: list[tuple[datetime, int]]) -> list[datetime]:
    """When Debian's cron starts the entry; the first minute only sets its virtual clock."""
    runs = []
    virtual = minutes[0][1]
    for at, running in minutes[1:]:
        difference = running - virtual
        if difference == 1 or not -180 < difference <= 180:
            hit, virtual = entry.matches(running), running
        elif difference > 5:
            missed = any(entry.matches(label) for label in range(virtual + 1, running + 1))
            hit, virtual = (entry.matches(running) if entry.wild else missed), running
        else:
            assert difference <= 0, "no zone jumps by less than five minutes"
            hit = entry.wild and entry.matches(running)
        if hit:
            runs.append(at)
    return runs


def plain(entry: Entry, rule: str, minutes: list[tuple[datetime, int]]) -> list[datetime]:
    """``skip``, ``once`` and ``both``; the first minute only says where the clock stood."""
    runs = []
    shown = minutes[0][1]
    again_until = None
    for at, label in minutes[1:]:
        hit = entry.matches(label)
        if label > shown + 1 and rule == "once" and label - shown - 1 < 180:
            hit = hit or any(entry.matches(skipped) for skipped in range(shown + 1, label))
        if label < shown and shown + 1 - label <= 180:
            again_until = shown
        if again_until is not None:
            if label > again_until:
                again_until = None
            elif rule != "both":
                hit = False
        shown = label
        if hit:
            runs.append(at)
    return runs


def expected(entry: Entry, rule: str, minutes: list[tuple[datetime, int]]) -> list[datetime]:
    """The slots of one rule."""
    return debian(entry, minutes) if rule == "cron" else plain(entry, rule, minutes)


def utc(text: str) -> datetime:
    """``2026-03-29T01:00Z``, or with any other offset, in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)
