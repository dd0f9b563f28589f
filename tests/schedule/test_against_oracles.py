"""Nothing lost, nothing doubled: against a minute-by-minute life of the clock, in every zone there is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.enums import Dst
from reconciler.schedule.expression import parse
from reconciler.schedule.zones import EPOCH, Change, history
from tests.schedule.oracle import MINUTE, Entry, clock, expected
from tests.schedule.zonefiles import all_zones_once

# Fixed and wildcard entries, hours that zones skip and repeat, day rules across midnight.
ENTRIES = [
    Entry(text)
    for text in (
        "30 2 * * *",
        "30 * * * *",
        "0 */2 * * *",
        "*/10 2 * * *",
        "0,15,59 0-3,23 * * *",
        "30 0,23 * * 0,6",
        "7 1-4 13-19 * 5",
        "45 23,1 */2 * *",
        "* * * * *",
    )
]
HOURS = timedelta(hours=6)
DAYS = timedelta(hours=50)
TEN_YEARS = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))

# The oracle counts whole minutes, so only changes to and from whole minutes (all since 1972).
FAMOUS = [
    ("Pacific/Apia", "2011-12-30T10:00Z"),
    ("Pacific/Kwajalein", "1993-08-21T12:00Z"),
    ("Pacific/Kiritimati", "1994-12-31T10:00Z"),
    ("Antarctica/Casey", "2010-03-04T15:00Z"),
    ("Antarctica/Casey", "2009-10-17T18:00Z"),
    ("America/Caracas", "2016-05-01T07:00Z"),
    ("Asia/Pyongyang", "2015-08-14T15:00Z"),
    ("Asia/Kathmandu", "1985-12-31T18:30Z"),
    ("America/St_Johns", "2010-03-14T03:31Z"),
    ("America/St_Johns", "2010-11-07T02:31Z"),
    ("Antarctica/Troll", "2019-03-31T01:00Z"),
    ("Europe/Lisbon", "1992-03-29T01:00Z"),
    ("America/Asuncion", "2023-10-01T04:00Z"),
    ("Asia/Gaza", "2023-04-29T00:00Z"),
    ("Africa/Cairo", "2026-04-23T22:00Z"),
    ("Asia/Beirut", "2026-03-28T22:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00Z"),
]


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def disagreements(zone_name: str, change: Change, entries: list[Entry], window: timedelta) -> list[str]:
    """What the room says differently from the oracles around one change."""
    zone = ZoneInfo(zone_name)
    at = EPOCH + timedelta(seconds=change.at // 60 * 60)
    start, end = at - window + MINUTE, at + window
    minutes = list(clock(zone, at - window, end))
    wrong = []
    for entry in entries:
        schedule = parse(entry.text, "t@s")
        for rule in Dst:
            want = expected(entry, rule, minutes)
            where = f"{entry.text} {rule} {zone_name} {at}"
            if list(schedule.between(start, end, zone, rule)) != want:
                wrong.append(f"between: {where}")
            if schedule.count_between(start, end, zone, rule) != len(want):
                wrong.append(f"count: {where}")
            step, forward = start - MINUTE / 2, []
            while (slot := schedule.next_after(step, zone, rule)) and slot < end:
                forward.append(slot)
                step = slot
            if forward != want:
                wrong.append(f"next: {where}")
            step, back = end, []
            while (slot := schedule.previous_before(step, zone, rule)) and slot >= start:
                back.append(slot)
                step = slot
            if back[::-1] != want:
                wrong.append(f"previous: {where}")
    return wrong


def test_every_zone_agrees_with_the_oracles_over_ten_years_of_clock_changes():
    start, end = (int(at.timestamp()) for at in TEN_YEARS)
    wrong, changes, seen = [], 0, set()
    for zone in all_zones_once():
        for change in history(ZoneInfo(zone)).changes(start, end):
            changes += 1
            if change in seen:
                continue  # another zone with the very same change has been through it
            seen.add(change)
            picked = [ENTRIES[(len(seen) + offset) % len(ENTRIES)] for offset in (0, 2, 5)]
            wrong += disagreements(zone, change, picked, HOURS)
    assert wrong == []
    assert len(seen) > 200
    assert changes > 1000


@pytest.mark.parametrize(("zone", "instant"), FAMOUS)
def test_famous_nights_agree_with_the_oracles_for_every_entry(zone, instant):
    (change,) = history(ZoneInfo(zone)).changes(seconds(instant), seconds(instant) + 1)
    assert disagreements(zone, change, ENTRIES, DAYS) == []


def test_every_name_of_a_zone_has_a_history_and_a_next_slot():
    schedule = parse("30 2 * * *", "t@s")
    start = datetime(2026, 3, 1, tzinfo=UTC)
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        slots = list(schedule.between(start, start + timedelta(days=60), zone, Dst.CRON))
        assert len(slots) in (59, 60, 61), name
        local = [slot.astimezone(zone) for slot in slots]
        assert sum((at.hour, at.minute) == (2, 30) for at in local) >= len(slots) - 1, name


def field(low: int, high: int) -> st.SearchStrategy[str]:
    numbers = st.integers(low, high)
    steps = st.integers(1, high)
    item = st.one_of(
        numbers.map(str),
        st.tuples(numbers, numbers).map(lambda pair: "{}-{}".format(*sorted(pair))),
        st.tuples(numbers, numbers, steps).map(
            lambda three: "{}-{}/{}".format(*sorted(three[:2]), three[2]),
        ),
    )
    star = st.one_of(st.just("*"), steps.map(lambda step: f"*/{step}"))
    return st.one_of(st.just("*"), star, st.lists(item, min_size=1, max_size=2).map(",".join))


expressions = st.tuples(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 7)).map(" ".join)
zones = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "Australia/Lord_Howe",
        "America/St_Johns",
        "Antarctica/Troll",
        "Africa/Casablanca",
        "Africa/Cairo",
        "America/Asuncion",
        "Asia/Beirut",
        "Pacific/Apia",
        "Asia/Kathmandu",
        "America/Nuuk",
    ]
)
rules = st.sampled_from(list(Dst))
instants = st.datetimes(datetime(1973, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@settings(max_examples=150, deadline=None)
@given(text=expressions, zone=zones, rule=rules, where=instants, near=st.booleans())
def test_any_expression_agrees_with_the_oracles_on_any_two_days(text, zone, rule, where, near):
    if len(text) > 50:
        return
    place = ZoneInfo(zone)
    if near:  # pull the days to a clock change, where the trouble is
        at = int(where.timestamp())
        for change in history(place).changes(at, at + 400 * 86_400)[:1]:
            where = EPOCH + timedelta(seconds=change.at, days=-1)
    start = where.replace(second=0, microsecond=0)
    end = start + timedelta(days=2)
    if any(
        start - timedelta(hours=3) < EPOCH + timedelta(seconds=c.at) <= start
        for c in near_changes(place, start)
    ):
        start += timedelta(hours=4)  # the oracle has to begin before the change, or well after it
        end += timedelta(hours=4)
    want = expected(Entry(text), rule, list(clock(place, start - MINUTE, end)))
    schedule = parse(text, "t@s")
    assert list(schedule.between(start, end, place, rule)) == want
    assert schedule.count_between(start, end, place, rule) == len(want)


def near_changes(zone: ZoneInfo, at: datetime) -> list[Change]:
    middle = int(at.timestamp())
    return history(zone).changes(middle - 86_400, middle + 86_400)


@settings(max_examples=200, deadline=None)
@given(text=expressions, zone=zones, rule=rules, where=instants)
def test_slots_strictly_increase_and_previous_is_the_inverse_of_next(text, zone, rule, where):
    if len(text) > 50:
        return
    place, schedule = ZoneInfo(zone), parse(text, "t@s")
    slots = [where]
    for _ in range(6):
        following = schedule.next_after(slots[-1], place, rule)
        assert following is not None
        slots.append(following)
    assert all(early < late for early, late in pairwise(slots))
    assert all(slot.tzinfo is UTC and slot.microsecond == 0 and slot.second == 0 for slot in slots[1:])
    for early, late in pairwise(slots[1:]):
        assert schedule.previous_before(late, place, rule) == early
        assert schedule.previous_before(early + timedelta(microseconds=1), place, rule) == early
        assert schedule.next_after(late - timedelta(microseconds=1), place, rule) == late
    assert list(schedule.between(slots[1], slots[-1], place, rule)) == slots[1:-1]
    assert schedule.count_between(slots[1], slots[-1], place, rule) == len(slots) - 2
