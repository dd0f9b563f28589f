"""What expressions mean: fields, day rules, aliases, ``H`` and ``@every``."""

from __future__ import annotations

import calendar
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from reconciler.model.enums import Dst
from reconciler.schedule.days import DaySet
from reconciler.schedule.expand import expand_item
from reconciler.schedule.expression import parse
from reconciler.schedule.stable import jitter_offset

UTC_ZONE = ZoneInfo("UTC")
START = datetime(2026, 1, 1, tzinfo=UTC)


def fires(expression: str, days: int, key: str = "t@s", start: datetime = START) -> list[datetime]:
    return list(parse(expression, key).between(start, start + timedelta(days=days), UTC_ZONE, Dst.CRON))


def dates(expression: str, days: int = 365) -> list[date]:
    return [slot.date() for slot in fires(expression, days)]


SAME = [
    ("0 0 1 jan *", "0 0 1 1 *"),
    ("0 0 * * MON-fri", "0 0 * * 1-5"),
    ("0 0 * * 7", "0 0 * * 0"),
    ("0 0 * * fri-sun", "0 0 * * 5,6,0"),
    ("0 0 * * 5-7", "0 0 * * 0,5,6"),
    ("0 0 * * 0-7", "0 0 * * *"),
    ("0 0 ? * 1", "0 0 * * 1"),
    ("0 0 1 * ?", "0 0 1 * *"),
    ("5/20 * * * *", "5,25,45 * * * *"),
    ("59/15 * * * *", "59 * * * *"),
    ("7-7 * * * *", "7 * * * *"),
    ("0 0 1-1/3 * *", "0 0 1 * *"),
    ("0 0 * * 3-3", "0 0 * * 3"),
    ("*/90 * * * *", "0 * * * *"),
    ("05 02 * * *", "5 2 * * *"),
    ("0\t0   * *  *", "0 0 * * *"),
    ("  0 0 * * *  ", "0 0 * * *"),
    ("0 0 15-L * *", "0 0 15-31 * *"),
    ("0 0 * * mon-wed#1", "0 0 * * 1#1,2#1,3#1"),
    ("0 0 * * 7#2", "0 0 * * sun#2"),
    ("0 0 * * L7", "0 0 * * L0"),
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@Annually", "0 0 1 1 *"),
    ("@every 1h30m", "@every 5400s"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_two_ways_to_write_one_schedule(one, other):
    assert fires(one, 400) == fires(other, 400)
    assert fires(one, 400)


def test_cron_joins_the_two_day_fields_by_or_unless_one_begins_with_a_star():
    either = dates("0 0 13 * fri")
    assert either == [d for d in year() if d.day == 13 or d.isoweekday() == 5]
    assert dates("0 0 */10 * fri") == [d for d in year() if d.day in (1, 11, 21, 31) and d.isoweekday() == 5]
    assert dates("0 0 13 * */2") == [d for d in year() if d.day == 13 and d.isoweekday() % 7 in (0, 2, 4, 6)]
    assert dates("0 0 1-31 * fri") == list(year())
    assert dates("0 0 *,13 * fri") == [d for d in year() if d.isoweekday() == 5]
    assert dates("0 0 ? * fri") == dates("0 0 * * fri")


def test_last_days_and_numbered_weekdays():
    length = {month: calendar.monthrange(2026, month)[1] for month in range(1, 13)}
    assert dates("0 0 L * *") == [d for d in year() if d.day == length[d.month]]
    assert dates("0 0 1,L * *") == [d for d in year() if d.day in (1, length[d.month])]
    assert dates("0 0 * * L5") == [d for d in year() if d.isoweekday() == 5 and d.day > length[d.month] - 7]
    assert dates("0 0 * * 5#2") == [d for d in year() if d.isoweekday() == 5 and 8 <= d.day <= 14]
    assert dates("0 0 * * mon#5") == [d for d in year() if d.isoweekday() == 1 and d.day >= 29]
    assert dates("0 0 * * 1#1,3") == [
        d for d in year() if d.isoweekday() == 3 or (d.isoweekday() == 1 and d.day < 8)
    ]
    assert dates("0 0 15 * L1") == [
        d for d in year() if d.day == 15 or (d.isoweekday() == 1 and d.day > length[d.month] - 7)
    ]
    assert dates("0 0 29 2 *", 1461) == [date(2028, 2, 29)]
    assert dates("0 0 L 2 *", 1461) == [
        date(2026, 2, 28),
        date(2027, 2, 28),
        date(2028, 2, 29),
        date(2029, 2, 28),
    ]


def year() -> list[date]:
    return [date(2026, 1, 1) + timedelta(days=number) for number in range(365)]


BOUNDS = [(0, 0, 59), (1, 0, 23), (2, 1, 31), (3, 1, 12), (4, 0, 7)]


@pytest.mark.parametrize(("index", "low", "high"), BOUNDS)
def test_every_range_and_step_expands_to_the_values_that_cron_counts(index, low, high):
    stride = 7 if index < 2 else 1
    for first in range(low, high + 1, 2):
        for last in range(first, high + 1, stride):
            for step in (1, 2, 3, 5, 7, 11):
                text = f"{first}-{last}/{step}"
                expression = " ".join(text if index == place else "*" for place in range(5))
                minute, hour, day, month, weekday = parse(expression, "t@s").resolved.split()
                found = expand_item(index, (minute, hour, day, month, weekday)[index]).bits
                want = {value % 7 if index == 4 else value for value in range(first, last + 1, step)}
                assert found == sum(1 << value for value in want), text


def test_a_set_of_days_counts_and_walks_the_same_over_the_whole_calendar():
    days = parse("0 0 13,L 2-11/3 5#2,L1", "t@s").days
    plain = DaySet(days.fields, every=False)
    for start, end in ((0, 0), (5, 5), (10, 9), (0, 5000), (1020, 1030), (-3000, 9000), (20_000, 20_001)):
        walked = list(plain.each(start, end))
        assert len(walked) == plain.count(start, end)
        assert walked == [day for day in range(start, end) if day in plain]
    assert plain.at_or_after(10**7) is None
    assert plain.at_or_before(-(10**7)) is None


def test_h_is_stable_within_the_field_and_its_own_for_each_task():
    first, again = parse("H H * * *", "backup@db-1"), parse("H H * * *", "backup@db-1")
    assert first is again
    # written down: a change would move every H task of every fleet at the next upgrade
    assert parse("H H H H H", "backup@db-1").resolved == "2 1 22 2 5"
    assert parse("H/15 H(9-17) * * *", "backup@db-1").resolved == "0-59/15 9 * * *"
    assert {parse("H * * * *", f"backup@db-{number}").resolved for number in range(9)} != {first.resolved}


def test_h_spreads_tasks_evenly_and_minute_and_hour_apart():
    names = [f"task-{number}@server-{number % 50}" for number in range(6000)]
    schedules = [parse("H H H H H", name).resolved.split() for name in names]
    for index, (low, high) in enumerate([(0, 59), (0, 23), (1, 28), (1, 12), (0, 6)]):
        counts = Counter(int(fields[index]) for fields in schedules)
        assert set(counts) == set(range(low, high + 1))
        mean = len(names) / (high - low + 1)
        # five standard deviations of a fair draw
        assert all(abs(count - mean) < 5 * mean**0.5 for count in counts.values())
    pairs = Counter((fields[0], fields[1]) for fields in schedules)
    assert len(pairs) > 1370  # of 1440; 6000 fair draws leave about 22 empty


def test_h_in_ranges_lists_and_steps_stays_inside_them():
    for number in range(300):
        key = f"t@{number}"
        minute, _, day, *_ = parse("H(10-19),50 H(8-18)/4 H * *", key).resolved.split()
        assert 10 <= int(minute.removesuffix(",50")) <= 19
        hours = {slot.hour for slot in fires("0 H(8-18)/4 * * *", 1, key)}
        first = min(hours)
        assert 8 <= first < 12
        assert hours == set(range(first, 19, 4))
        assert 1 <= int(day) <= 28
        minutes = {slot.minute for slot in fires("H/15 * * * *", 1, key)}
        assert minutes == set(range(min(minutes), 60, 15))
        assert len(minutes) == 4
        assert len(fires("H/90 0 * * *", 1, key)) == 1
        assert len(fires("0 0 * * H(5-7)", 7, key)) == 1


def test_aliases_and_words_with_an_h_in_them_are_never_hashed():
    for expression in ("@hourly", "@monthly", "0 0 * MAR thu", "@every 1h"):
        assert parse(expression, "a@b") is parse(expression, "c@d")


def test_expressions_that_come_to_the_same_fields_share_one_schedule():
    assert parse("@daily", "a@b") is parse("0 0 * * *", "c@d")
    minute = parse("H 0 * * *", "a@b").resolved.split()[0]
    assert parse("H 0 * * *", "a@b") is parse(f"{minute} 0 * * *", "c@d")


@pytest.mark.parametrize("seconds", [1, 7, 10, 90, 5400, 86_400, 31 * 86_400])
def test_every_is_aligned_to_the_epoch_and_counted_without_walking(seconds):
    schedule = parse(f"@every {seconds}s", "t@s")
    zone = ZoneInfo("Europe/Berlin")
    for instant in (START, START + timedelta(microseconds=1), datetime(1969, 7, 20, 20, 17, 40, tzinfo=UTC)):
        after = schedule.next_after(instant, zone, Dst.CRON)
        before = schedule.previous_before(instant, zone, Dst.CRON)
        assert after.timestamp() % seconds == 0
        assert timedelta(0) < after - instant <= timedelta(seconds=seconds)
        assert timedelta(0) < instant - before <= timedelta(seconds=seconds)
        end = instant + timedelta(seconds=seconds * 5, microseconds=3)
        slots = list(schedule.between(instant, end, zone, Dst.CRON))
        assert slots == [s for s in slots if instant <= s < end]
        assert schedule.count_between(instant, end, zone, Dst.CRON) == len(slots)
        assert len(slots) in (5, 6)
    century = datetime(2126, 1, 1, tzinfo=UTC)
    assert schedule.count_between(START, century, zone, Dst.CRON) == pytest.approx(
        (century - START).total_seconds() / seconds, abs=1
    )
    assert schedule.count_between(century, START, zone, Dst.CRON) == 0
    assert schedule.note(START, zone, Dst.CRON) is None
    assert schedule.dst_events(START, century, zone, Dst.CRON) == []


def test_any_offset_may_be_given_and_utc_comes_back():
    local = START.astimezone(ZoneInfo("America/New_York"))
    schedule = parse("*/7 * * * *", "t@s")
    assert schedule.next_after(local, UTC_ZONE, Dst.CRON) == schedule.next_after(START, UTC_ZONE, Dst.CRON)
    assert schedule.next_after(local, UTC_ZONE, Dst.CRON).tzinfo is UTC
    assert schedule.next_after(START, UTC_ZONE, "cron") == START + timedelta(minutes=7)


def test_jitter_is_stable_inside_its_bounds_and_spread():
    assert jitter_offset("backup@db-1", 0) == timedelta(0)
    assert jitter_offset("backup@db-1", 300) == jitter_offset("backup@db-1", 300)
    assert jitter_offset("backup@db-1", 300) == timedelta(seconds=67, milliseconds=100)
    offsets = [jitter_offset(f"t@{number}", 300) for number in range(5000)]
    assert all(timedelta(0) <= offset < timedelta(seconds=300) for offset in offsets)
    assert all(offset % timedelta(milliseconds=1) == timedelta(0) for offset in offsets)
    tenths = Counter(offset // timedelta(seconds=30) for offset in offsets)
    assert all(400 < tenths[tenth] < 600 for tenth in range(10))
    assert len({jitter_offset(f"t@{number}", 1) for number in range(50)}) > 40
