"""What Debian's own cron was seen to do, and nights of zones with odd clocks."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from reconciler.model.enums import Dst
from reconciler.schedule.expression import parse


def wall_times(expression: str, zone_name: str, day: str, rule: str = "cron", days: int = 1) -> list[str]:
    """Local times with their offset, of the slots between two local midnights."""
    zone = ZoneInfo(zone_name)
    start = datetime.fromisoformat(day)
    slots = parse(expression, "t@s").between(
        start.replace(tzinfo=zone), (start + timedelta(days=days)).replace(tzinfo=zone), zone, Dst(rule)
    )
    return [f"{slot.astimezone(zone):%d %H:%M%z}" for slot in slots]


DEBIAN = [
    ("30 2 * * *", "2026-03-29", ["29 03:00+0200"]),
    ("0 */2 * * *", "2026-03-29", ["29 00:00+0100", "29 04:00+0200", "29 06:00+0200"]),
    ("30 * * * *", "2026-03-29", ["29 00:30+0100", "29 01:30+0100", "29 03:30+0200"]),
    ("30 2 * * *", "2026-10-25", ["25 02:30+0200"]),
    ("30 * * * *", "2026-10-25", ["25 00:30+0200", "25 01:30+0200", "25 02:30+0200", "25 02:30+0100"]),
    ("0 */2 * * *", "2026-10-25", ["25 00:00+0200", "25 02:00+0200", "25 02:00+0100", "25 04:00+0100"]),
]


@pytest.mark.parametrize(("expression", "day", "beginning"), DEBIAN)
def test_berlin_runs_as_debian_cron_was_seen_to_run(expression, day, beginning):
    assert wall_times(expression, "Europe/Berlin", day)[: len(beginning)] == beginning


ODD_CLOCKS = [
    # 30 minutes, at 02:00
    ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", ["04 02:30+1100"]),
    ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05", ["05 01:45+1100"]),
    ("45 * * * *", "Australia/Lord_Howe", "2026-04-05", ["05 00:45+1100", "05 01:45+1100", "05 01:45+1030"]),
    # 2 hours, at 01:00 UTC
    ("30 1,2 * * *", "Antarctica/Troll", "2026-03-29", ["29 03:00+0200"]),
    ("30 1 * * *", "Antarctica/Troll", "2026-10-25", ["25 01:30+0200"]),
    ("30 1-2 * * *", "Antarctica/Troll", "2026-10-25", ["25 01:30+0200", "25 02:30+0200"]),
    # midnight is skipped
    ("0 0 * * *", "Africa/Cairo", "2026-04-24", ["24 01:00+0300"]),
    ("30 0 * * *", "America/Asuncion", "2023-10-01", ["01 01:00-0300"]),
    ("0 0 * * *", "Asia/Beirut", "2026-03-29", ["29 01:00+0300"]),
    ("0 0 29 3 *", "Asia/Beirut", "2026-03-29", ["29 01:00+0300"]),
    # St. John's once changed its clock at one minute past midnight
    ("30 0 * * *", "America/St_Johns", "2010-03-14", ["14 01:01-0230"]),
    ("1 0 * * *", "America/St_Johns", "2010-03-14", ["14 01:01-0230"]),
    ("0 0 * * *", "America/St_Johns", "2010-03-14", ["14 00:00-0330"]),
    # Morocco leaves summer time for Ramadan
    ("30 2 * * *", "Africa/Casablanca", "2026-02-15", ["15 02:30+0100"]),
    ("30 2 * * *", "Africa/Casablanca", "2026-03-22", ["22 03:00+0100"]),
    # the gap ends on the next day
    ("30 23 28 3 *", "America/Nuuk", "2026-03-28", ["29 00:00-0100"]),
]


@pytest.mark.parametrize(("expression", "zone", "day", "beginning"), ODD_CLOCKS)
def test_odd_clocks_obey_the_same_rules(expression, zone, day, beginning):
    assert wall_times(expression, zone, day, days=2)[: len(beginning)] == beginning


def test_the_day_that_samoa_skipped_runs_nothing_under_any_rule():
    for rule in Dst:
        found = wall_times("30 2 * * *", "Pacific/Apia", "2011-12-29", rule, days=3)
        assert found == ["29 02:30-1000", "31 02:30+1400"]
        assert wall_times("30 2 30 12 *", "Pacific/Apia", "2011-12-01", rule, days=60) == []


def test_a_clock_put_back_three_hours_is_still_a_clock_change_and_more_is_not():
    # Casey went from +11 to +08 on 2010-03-05 at 02:00
    assert wall_times("30 0 * * *", "Antarctica/Casey", "2010-03-05") == ["05 00:30+1100"]
    assert wall_times("30 * * * *", "Antarctica/Casey", "2010-03-05")[:3] == [
        "05 00:30+1100",
        "05 01:30+1100",
        "04 23:30+0800",
    ]


RULES = [
    ("30 2 * * *", "2026-03-29", {"cron": ["03:00"], "once": ["03:00"], "both": [], "skip": []}),
    (
        "30 1-3 * * *",
        "2026-03-29",
        {
            "cron": ["01:30", "03:00", "03:30"],
            "once": ["01:30", "03:00", "03:30"],
            "both": ["01:30", "03:30"],
            "skip": ["01:30", "03:30"],
        },
    ),
    (
        "30 * 29 3 *",
        "2026-03-29",
        {
            "cron": ["00:30", "01:30", "03:30", "04:30"],
            "once": ["00:30", "01:30", "03:00", "03:30"],
            "both": ["00:30", "01:30", "03:30", "04:30"],
            "skip": ["00:30", "01:30", "03:30", "04:30"],
        },
    ),
    # several skipped times, and the regular one of 03:00, are one slot
    (
        "*/15 2,3 * * *",
        "2026-03-29",
        {"cron": ["03:00", "03:15"], "once": ["03:00", "03:15"], "skip": ["03:00", "03:15"]},
    ),
    ("0,20,40 2 * * *", "2026-03-29", {"cron": ["03:00"], "once": ["03:00"], "both": [], "skip": []}),
    (
        "30 2 * * *",
        "2026-10-25",
        {"cron": ["02:30"], "once": ["02:30"], "both": ["02:30", "02:30"], "skip": ["02:30"]},
    ),
    (
        "30 * 25 10 *",
        "2026-10-25",
        {
            "cron": ["00:30", "01:30", "02:30", "02:30", "03:30"],
            "once": ["00:30", "01:30", "02:30", "03:30"],
            "both": ["00:30", "01:30", "02:30", "02:30", "03:30"],
            "skip": ["00:30", "01:30", "02:30", "03:30"],
        },
    ),
]


@pytest.mark.parametrize(("expression", "day", "by_rule"), RULES)
def test_each_rule_treats_skipped_and_repeated_times_as_it_says(expression, day, by_rule):
    for rule, beginning in by_rule.items():
        found = [text[3:8] for text in wall_times(expression, "Europe/Berlin", day, rule)]
        assert found[: len(beginning)] == beginning, rule
        if not beginning:
            assert found == [], rule


def test_every_is_blind_to_the_clock_change():
    found = wall_times("@every 30m", "Europe/Berlin", "2026-03-29")
    assert len(found) == 46
    assert found[2:6] == ["29 01:00+0100", "29 01:30+0100", "29 03:00+0200", "29 03:30+0200"]
