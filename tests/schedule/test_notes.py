"""What is told about clock changes: the note of a slot, and the events of a year."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from reconciler.model.enums import Dst
from reconciler.schedule.expression import parse
from tests.schedule.oracle import utc

BERLIN = ZoneInfo("Europe/Berlin")
GAP, SECOND_2_30 = "2026-03-29T01:00Z", "2026-10-25T01:30Z"
FIRST_2_30 = "2026-10-25T00:30Z"

NOTES = [
    # expression, rule, instant, note
    ("30 2 * * *", "cron", GAP, "dst-gap"),
    ("30 2 * * *", "skip", GAP, "dst-gap"),  # nothing runs there, and this is why
    ("30 2 * * *", "cron", "2026-03-30T00:30Z", None),
    ("30 2 * * *", "cron", "2026-03-29T01:01Z", None),
    ("0 2,3 * * *", "cron", GAP, "dst-gap"),  # 02:00 landed on the regular 03:00
    ("0 * * * *", "cron", GAP, None),  # 03:00 runs as ever; the skipped 02:00 did not move
    ("30 3 * * *", "cron", GAP, None),
    ("30 2 * * *", "cron", FIRST_2_30, "dst-repeat"),
    ("30 2 * * *", "cron", SECOND_2_30, "dst-repeat"),  # it does not run again, and this is why
    ("30 * * * *", "cron", FIRST_2_30, "dst-repeat"),
    ("30 * * * *", "cron", SECOND_2_30, "dst-repeat"),
    ("30 * * * *", "cron", "2026-10-24T23:30Z", None),
    ("30 * * * *", "cron", "2026-10-25T02:30Z", None),
    ("30 * * * *", "cron", "2026-10-25T01:31Z", None),
    ("30 2 * * *", "cron", "2026-10-25T00:30:00.000001Z", None),
    ("30 2 * * *", "cron", "0001-01-01T00:00Z", None),
]


@pytest.mark.parametrize(("expression", "rule", "instant", "note"), NOTES)
def test_a_note_says_what_the_clock_change_has_to_do_with_the_instant(expression, rule, instant, note):
    assert parse(expression, "t@s").note(utc(instant), BERLIN, Dst(rule)) == note


YEAR = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
EVENTS = [
    ("30 2 * * *", "Europe/Berlin", [(GAP, "dst-gap"), (FIRST_2_30, "dst-repeat")]),
    ("*/5 * * * *", "Europe/Berlin", [(GAP, "dst-gap"), ("2026-10-25T00:00Z", "dst-repeat")]),
    ("0 12 * * *", "Europe/Berlin", []),
    ("30 2 * 6 *", "Europe/Berlin", []),
    ("30 2 * * *", "Asia/Tokyo", []),
    ("0 0 * * *", "Asia/Beirut", [("2026-03-28T22:00Z", "dst-gap")]),
    ("@every 10m", "Europe/Berlin", []),
]


@pytest.mark.parametrize(("expression", "zone", "events"), EVENTS)
def test_a_year_has_one_event_for_each_clock_change_that_touches_the_schedule(expression, zone, events):
    schedule = parse(expression, "t@s")
    for rule in Dst:
        found = schedule.dst_events(*YEAR, ZoneInfo(zone), rule)
        assert found == [(utc(at), note) for at, note in events]


def test_events_lie_in_the_asked_time_by_their_own_instant():
    schedule = parse("30 2 * * *", "t@s")
    first, change = utc(FIRST_2_30), utc("2026-10-25T01:00Z")
    events = [(first, "dst-repeat")]
    assert schedule.dst_events(first, change, BERLIN, Dst.CRON) == events
    assert schedule.dst_events(first, first + timedelta(seconds=1), BERLIN, Dst.CRON) == events
    assert schedule.dst_events(first + timedelta(seconds=1), YEAR[1], BERLIN, Dst.CRON) == []
    assert schedule.dst_events(YEAR[0], first, BERLIN, Dst.CRON) == [(utc(GAP), "dst-gap")]


def test_the_lost_day_of_samoa_is_told():
    start = datetime(2011, 12, 1, tzinfo=UTC)
    events = parse("30 2 * * *", "t@s").dst_events(
        start, start + timedelta(days=60), ZoneInfo("Pacific/Apia"), Dst.CRON
    )
    assert events == [(utc("2011-12-30T10:00Z"), "dst-gap")]
