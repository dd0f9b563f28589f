"""The stretches of constant offset, against the zone database's own files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from reconciler.model.enums import Dst
from reconciler.schedule.expression import parse
from reconciler.schedule.zones import EARLIEST, EPOCH, LATEST, history
from tests.schedule.zonefiles import all_zones_once, written_changes, zone_bytes

SINCE = int(datetime(1972, 1, 2, tzinfo=UTC).timestamp())
YEAR = 366 * 86_400


def test_every_change_that_the_zone_files_write_down_is_found():
    checked = 0
    for name in all_zones_once():
        clock = history(ZoneInfo(name))
        for written in written_changes(zone_bytes(name)):
            # each year's changes are of one kind; every third zone-year is plenty
            if written[0] >= SINCE and (written[0] // YEAR + len(name)) % 3 == 0:
                assert written in [tuple(change) for change in clock.changes(written[0], written[0] + 1)], (
                    name
                )
                checked += 1
    assert checked > 1500


def test_stretches_follow_each_other_without_a_hole_and_say_the_right_offset():
    for name in (
        "Europe/Berlin",
        "Africa/Casablanca",
        "Antarctica/Troll",
        "Pacific/Apia",
        "America/St_Johns",
    ):
        zone = ZoneInfo(name)
        clock = history(zone)
        at = int(datetime(2008, 1, 1, tzinfo=UTC).timestamp())
        while at < int(datetime(2031, 1, 1, tzinfo=UTC).timestamp()):
            stretch = clock.stretch(at)
            assert stretch.start == at or at % YEAR
            for inside in (stretch.start, (stretch.start + stretch.end) // 2, stretch.end - 1):
                offset = (EPOCH + timedelta(seconds=inside)).astimezone(zone).utcoffset()
                assert offset == timedelta(seconds=stretch.offset), name
                assert clock.stretch(inside) == stretch
            assert stretch.end > at
            at = stretch.end


def test_a_zone_of_half_a_minute_is_followed_to_the_second():
    # Liberia went from -0:44:30 to 0 on 1972-01-07 at 00:44:30 UTC
    zone = ZoneInfo("Africa/Monrovia")
    slots = list(
        parse("30 0 * * *", "t@s").between(
            datetime(1972, 1, 6, tzinfo=UTC), datetime(1972, 1, 9, tzinfo=UTC), zone, Dst.CRON
        )
    )
    assert [f"{slot:%d %H:%M:%S}" for slot in slots] == ["06 01:14:30", "07 00:44:30", "08 00:30:00"]


def test_the_search_ends_at_both_ends_of_the_calendar():
    schedule = parse("30 2 * * *", "t@s")
    last = datetime(9999, 12, 31, 12, tzinfo=UTC)
    first = datetime(1, 1, 1, 12, tzinfo=UTC)
    for name in ("UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"):
        zone = ZoneInfo(name)
        for rule in Dst:
            assert schedule.next_after(last, zone, rule) is None
            assert schedule.previous_before(first, zone, rule) is None
            assert schedule.previous_before(last, zone, rule) == max(
                schedule.between(last - timedelta(days=9), last, zone, rule)
            )
            assert schedule.next_after(first, zone, rule) == min(
                schedule.between(first, first + timedelta(days=9), zone, rule)
            )
            assert list(schedule.between(last - timedelta(days=1), last, zone, rule)) == []
    assert parse("@every 1s", "t@s").next_after(last, zone, Dst.CRON) is None
    assert parse("@every 1s", "t@s").previous_before(first, zone, Dst.CRON) is None
    assert EARLIEST < 0 < LATEST


def test_a_schedule_that_matches_once_in_decades_is_found_from_far_away():
    zone = ZoneInfo("Europe/Berlin")
    # 29 February on a Sunday: 2032, then 2060; across 2100, which is no leap year, even rarer
    schedule = parse("0 12 29 2 */7", "t@s")
    sundays = [datetime(year, 2, 29, 11, tzinfo=UTC) for year in (2032, 2060, 2088, 2128)]
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for sunday in sundays:
        at = schedule.next_after(at, zone, Dst.CRON)
        assert at == sunday
    for sunday in sundays[-2::-1]:
        at = schedule.previous_before(at, zone, Dst.CRON)
        assert at == sunday


def test_a_rare_slot_in_a_repeated_hour_runs_the_second_time_too():
    # the search must not leap over the night's second hour to the match of the next year
    zone = ZoneInfo("Europe/Berlin")
    schedule = parse("30 2 25 10 *", "t@s")
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert schedule.next_after(first, zone, Dst.BOTH) == first + timedelta(hours=1)
    assert schedule.next_after(first, zone, Dst.CRON) == datetime(2027, 10, 25, 0, 30, tzinfo=UTC)
    assert schedule.previous_before(first + timedelta(hours=1), zone, Dst.BOTH) == first
