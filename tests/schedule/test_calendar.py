"""Calendars: which instants they forbid, minute by minute, also where the clock jumps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from reconciler.model.calendar import WEEKDAYS, Calendar, CalendarSpec, Window
from reconciler.schedule.calendar import denied
from reconciler.schedule.forbidden import Forbidden

MINUTE = timedelta(minutes=1)


def calendar(*deny: dict[str, Any], zone: str = "UTC", allow: list[dict[str, Any]] | None = None) -> Calendar:
    return Calendar.model_validate({"name": "c", "timezone": zone, "deny": list(deny), "allow": allow or []})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ranges(found: Calendar, start: str, end: str) -> list[tuple[str, str]]:
    return [
        (f"{item.since:%m-%dT%H:%M}", f"{item.until:%m-%dT%H:%M}")
        for item in denied([found], at(start), at(end))
    ]


@pytest.mark.parametrize(
    ("deny", "expected"),
    [
        ({"dates": ["2026-12-24"]}, [("12-24T00:00", "12-25T00:00")]),
        ({"dates": ["2026-12-24", "2026-12-25"]}, [("12-24T00:00", "12-26T00:00")]),
        ({"dates": ["2026-12-24"], "from": "18:00", "until": "24:00"}, [("12-24T18:00", "12-25T00:00")]),
        ({"dates": ["2026-12-24"], "from": "22:00", "until": "06:00"}, [("12-24T22:00", "12-25T06:00")]),
        ({"dates": ["2026-12-24"], "from": "06:00", "until": "06:00"}, [("12-24T06:00", "12-25T06:00")]),
        ({"from": "2026-12-24", "until": "2026-12-27"}, [("12-24T00:00", "12-27T00:00")]),
        ({"from": "2026-12-24T18:00", "until": "2026-12-24T19:30"}, [("12-24T18:00", "12-24T19:30")]),
        ({"from": "2020-01-01", "until": "2030-01-01"}, [("12-20T00:00", "12-28T00:00")]),
        # 2026-12-20 is a Sunday; a window that began on the Saturday before reaches into the range
        ({"weekdays": ["Sat", "sunday"]}, [("12-20T00:00", "12-21T00:00"), ("12-26T00:00", "12-28T00:00")]),
        (
            {"weekdays": ["sat"], "from": "22:00", "until": "06:00"},
            [("12-20T00:00", "12-20T06:00"), ("12-26T22:00", "12-27T06:00")],
        ),
        ({"dates": ["2027-01-01"]}, []),
    ],
)
def test_what_a_window_forbids(deny: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert ranges(calendar(deny), "2026-12-20", "2026-12-28") == expected


def test_allow_wins_over_deny() -> None:
    found = calendar(
        {"weekdays": list(WEEKDAYS)},
        allow=[{"weekdays": ["mon"], "from": "09:00", "until": "17:00"}, {"dates": ["2026-12-22"]}],
    )
    assert ranges(found, "2026-12-21", "2026-12-24") == [
        ("12-21T00:00", "12-21T09:00"),
        ("12-21T17:00", "12-22T00:00"),
        ("12-23T00:00", "12-24T00:00"),
    ]


def test_windows_are_local_times_of_the_calendars_zone_whatever_the_clock_does() -> None:
    night = calendar({"weekdays": list(WEEKDAYS), "from": "01:00", "until": "05:00"}, zone="Europe/Berlin")
    # an hour less in spring, an hour more in autumn
    assert ranges(night, "2026-03-28T12:00", "2026-03-29T12:00") == [("03-29T00:00", "03-29T03:00")]
    assert ranges(night, "2026-10-24T12:00", "2026-10-25T12:00") == [("10-24T23:00", "10-25T04:00")]
    # ends that the clock skips or shows twice: the first showing of the start, the last of the end
    odd = calendar({"weekdays": ["sun"], "from": "02:15", "until": "02:45"}, zone="Europe/Berlin")
    assert ranges(odd, "2026-10-25", "2026-10-26") == [("10-25T00:15", "10-25T01:45")]
    assert ranges(odd, "2026-03-29", "2026-03-30") == []
    into = calendar({"weekdays": ["sun"], "from": "01:00", "until": "02:30"}, zone="Europe/Berlin")
    assert ranges(into, "2026-03-29", "2026-03-30") == [("03-29T00:00", "03-29T01:00")]
    out_of = calendar({"weekdays": ["sun"], "from": "02:30", "until": "04:00"}, zone="Europe/Berlin")
    assert ranges(out_of, "2026-03-29", "2026-03-30") == [("03-29T01:00", "03-29T02:00")]


def test_of_several_calendars_the_first_is_named() -> None:
    one = calendar({"dates": ["2026-12-24"]})
    two = Calendar.model_validate(
        {"name": "d", "deny": [{"from": "2026-12-24T12:00", "until": "2026-12-26"}]}
    )
    found = denied([one, two], at("2026-12-23"), at("2026-12-28"))
    assert [(item.name, item.since.day, item.until.day) for item in found] == [("c", 24, 25), ("d", 25, 26)]
    assert Forbidden([one, two]).at(at("2026-12-25T12:00")) == found[1]
    assert Forbidden([one, two]).at(at("2026-12-26")) is None


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ({}, "needs weekdays, dates, or from and until"),
        ({"from": "2026-12-24"}, "go together"),
        ({"weekdays": ["mon"], "dates": ["2026-12-24"]}, "exclude each other"),
        ({"weekdays": ["moonday"]}, "is not a weekday"),
        ({"weekdays": []}, "at least 1"),
        ({"dates": ["24.12.2026"]}, "is not a date"),
        ({"dates": ["2026-02-30"]}, "is not a date"),
        ({"weekdays": ["mon"], "from": "9:00", "until": "17:00"}, "'9:00' is not a time of day"),
        ({"weekdays": ["mon"], "from": "22:00", "until": "25:00"}, "is not a time of day"),
        ({"from": "22:00", "until": "06:00"}, "'22:00' is not a date"),
        ({"from": "2026-12-27", "until": "2026-12-24"}, "ends before it begins"),
        ({"from": "2026-12-24T18:00:00Z", "until": "2026-12-27"}, "is not a date"),
    ],
)
def test_what_is_no_window_is_refused(window: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Window.model_validate(window)


def test_one_window_has_one_form() -> None:
    one = CalendarSpec.model_validate({"deny": [{"weekdays": ["Sunday", "mon", "SAT", "mon"]}]})
    assert one.deny[0].weekdays == ("mon", "sat", "sun")


# -- against a look at each minute ---------------------------------------------------------------

ZONES = ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Asia/Kathmandu"]
times = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 15, 30, 45]))
daily = st.fixed_dictionaries(
    {"weekdays": st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=3), "from": times, "until": times}
)
windows = st.one_of(
    daily,
    st.fixed_dictionaries({"weekdays": st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=2)}),
    st.fixed_dictionaries({"dates": st.lists(st.sampled_from(["2026-06-02", "2026-06-04"]), min_size=1)}),
)


def shown(window: Window, local: datetime) -> bool:
    """Whether a wall clock without changes that shows ``local`` is inside the window."""
    for back in (0, 1):
        day = (local - timedelta(days=back)).date()
        begins = window.weekdays is not None and WEEKDAYS[day.weekday()] in window.weekdays
        if not begins and not (window.dates is not None and day.isoformat() in window.dates):
            continue
        low, high = window.from_ or "00:00", window.until or "24:00"
        minute = local.hour * 60 + local.minute + back * 1440
        first, last = (int(text[:2]) * 60 + int(text[3:]) for text in (low, high))
        last = last if last > first else last + 1440
        if first <= minute < last:
            return True
    return False


@settings(max_examples=60, deadline=None)
@given(st.lists(windows, max_size=3), st.lists(windows, max_size=2), st.sampled_from(ZONES))
def test_every_minute_of_a_week_without_clock_changes(
    deny: list[dict[str, Any]], allow: list[dict[str, Any]], zone: str
) -> None:
    found = calendar(*deny, zone=zone, allow=allow)
    start = at("2026-06-01")
    forbidden = denied([found], start, start + timedelta(days=5))
    instant = start
    while instant < start + timedelta(days=5):
        local = instant.astimezone(found_zone(zone))
        expected = any(shown(w, local) for w in found.deny) and not any(shown(w, local) for w in found.allow)
        assert any(item.since <= instant < item.until for item in forbidden) is expected, instant
        instant += 15 * MINUTE


def found_zone(name: str) -> Any:
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)
