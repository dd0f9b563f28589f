"""What calendars forbid, asked many times: the same as worked out at once, to its end, and what is left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.calendar import WEEKDAYS, Calendar
from reconciler.model.enums import CatchUp, Dst
from reconciler.model.execution import Reason
from reconciler.model.zone import zone
from reconciler.schedule.calendar import denied
from reconciler.schedule.expression import parse
from reconciler.schedule.forbidden import FAR, Forbidden, allowed_slots, forbidden_by
from reconciler.schedule.policy import Suspension, due_slots

TICK = timedelta(microseconds=1)
ZERO = timedelta(0)
START = datetime(2026, 1, 1, tzinfo=UTC)


def calendar(*deny: dict[str, Any], name: str = "c", zone: str = "UTC", **more: Any) -> Calendar:
    return Calendar.model_validate({"name": name, "timezone": zone, "deny": list(deny), **more})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NIGHTS = calendar({"weekdays": list(WEEKDAYS), "from": "22:00", "until": "06:00"}, zone="Europe/Berlin")
ALWAYS = calendar({"weekdays": list(WEEKDAYS)})
YEAR = calendar({"from": "2026-01-15", "until": "2027-03-01"}, name="freeze")


def test_a_long_time_is_one_time_wherever_it_is_asked_about() -> None:
    found = Forbidden([YEAR]).at(at("2026-05-01T00:00"))
    assert found is not None
    assert found.until == at("2027-03-01T00:00")
    assert Forbidden([YEAR]).words(found) == "calendar freeze forbids runs until 2027-03-01 00:00 UTC"
    assert len(Forbidden([YEAR]).between(START, at("2028-01-01T00:00"))) == 1


def test_what_never_ends_is_said_to_be_far() -> None:
    always = Forbidden([ALWAYS])
    found = always.at(START)
    assert found is not None
    assert found.until - START >= FAR
    assert always.words(found) == "calendar c forbids all runs of the next ten years"
    assert list(always.open_between(START, START + FAR)) == []


def test_words_are_in_the_calendars_own_zone() -> None:
    nights = Forbidden([NIGHTS])
    found = nights.at(at("2026-07-01T23:00"))
    assert found is not None
    assert nights.words(found) == "calendar c forbids runs until 2026-07-02 06:00 Europe/Berlin"


def test_calendars_that_forbid_nothing_are_none() -> None:
    assert forbidden_by((calendar(),)) is None
    assert forbidden_by(()) is None
    same = calendar({"weekdays": ["sun"]})
    assert forbidden_by((same,)) is forbidden_by((calendar({"weekdays": ["sun"]}),))


def test_the_next_slots_are_those_that_run_whatever_the_jitter() -> None:
    schedule = parse("0 21-23 * * *", "t@s")
    for minutes, hours in ((0, [21]), (59, [21]), (61, [])):
        jitter = timedelta(minutes=minutes)
        slots = allowed_slots(
            schedule, zone("Europe/Berlin"), Dst.CRON, jitter, Forbidden([NIGHTS]), START, START + FAR
        )
        found = {slot.astimezone(zone("Europe/Berlin")).hour for slot in islice(slots, 50)}
        assert sorted(found) == hours


windows = st.one_of(
    st.fixed_dictionaries(
        {
            "weekdays": st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=7),
            "from": st.sampled_from(["00:00", "02:30", "22:00"]),
            "until": st.sampled_from(["03:15", "06:00", "24:00"]),
        }
    ),
    st.fixed_dictionaries({"weekdays": st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=7)}),
    st.fixed_dictionaries({"dates": st.lists(st.sampled_from(["2026-02-01", "2026-03-29"]), min_size=1)}),
    st.just({"from": "2026-01-20", "until": "2026-03-05T12:00"}),
)
many = st.lists(
    st.builds(
        lambda deny, allow, place: calendar(*deny, zone=place, allow=allow),
        st.lists(windows, max_size=3),
        st.lists(windows, max_size=1),
        st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"]),
    ),
    min_size=1,
    max_size=2,
).map(lambda found: [item.model_copy(update={"name": f"c{index}"}) for index, item in enumerate(found)])
moments = st.integers(0, 120 * 24 * 60).map(lambda minutes: START + timedelta(minutes=minutes))


@settings(max_examples=100, deadline=None)
@given(many, moments, st.integers(1, 60 * 24 * 70))
def test_asking_month_by_month_is_asking_at_once(
    calendars: list[Calendar], start: datetime, minutes: int
) -> None:
    end = start + timedelta(minutes=minutes)
    forbidden, expected = Forbidden(calendars), denied(calendars, start, end)
    assert forbidden.between(start, end) == expected
    left, edge = [], start
    for item in expected:
        if edge < item.since:
            left.append((edge, item.since))
        edge = item.until
    if edge < end:
        left.append((edge, end))
    joined: list[tuple[datetime, datetime]] = []
    for low, high in forbidden.open_between(start, end):
        if joined and joined[-1][1] == low:
            low = joined.pop()[0]
        joined.append((low, high))
    assert joined == left
    found = forbidden.at(start)
    assert (found is None) == (not expected or expected[0].since > start)
    if found is not None:
        assert found.name == expected[0].name
        assert found.until >= expected[0].until


@settings(max_examples=60, deadline=None)
@given(
    many,
    moments,
    st.integers(0, 60 * 24 * 20),
    st.sampled_from(["*/17 * * * *", "0 2 * * *", "@every 7m", "30 */5 * * *"]),
    st.integers(0, 3600).map(lambda seconds: timedelta(seconds=seconds)),
    st.sampled_from(list(CatchUp)),
)
def test_nothing_runs_in_a_forbidden_time_and_every_slot_of_it_is_counted(
    calendars: list[Calendar],
    start: datetime,
    minutes: int,
    expression: str,
    jitter: timedelta,
    catch_up: CatchUp,
) -> None:
    """The claim's way: forbidden ranges go in as suspensions, however late the claim is."""
    schedule, place = parse(expression, "t@s"), zone("Europe/Berlin")
    forbidden = Forbidden(calendars)
    first = schedule.next_after(start, place, Dst.CRON)
    assert first is not None
    now = first + jitter + timedelta(minutes=minutes)
    ranges = forbidden.between(first + jitter, now + TICK)
    decided = due_slots(
        schedule, place, Dst.CRON, jitter, first, now, timedelta(minutes=1), catch_up, timedelta(days=2),
        [Suspension(item.since, item.until) for item in ranges],
    )  # fmt: skip
    assert all(forbidden.at(run.due_at) is None for run in decided.runs)
    due = list(schedule.between(first, now - jitter + TICK, place, Dst.CRON))
    refused = sum(forbidden.at(slot + jitter) is not None for slot in due)
    skipped = [row for row in decided.skipped if row.reason is Reason.SUSPENDED]
    assert sum(row.count for row in skipped) == refused
    assert all(forbidden.at(row.due_at) is not None for row in skipped)
    assert sum(row.count for row in decided.skipped) + len(decided.runs) == len(due)
