"""Lateness, catch-up, suspension and edits: a table of cases, and a plain model of the rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.enums import CatchUp, Dst
from reconciler.model.execution import Reason, Trigger
from reconciler.schedule.expression import parse
from reconciler.schedule.policy import SlotDecisions, Suspension, closed_slots, due_slots, first_slot

ZONE = ZoneInfo("UTC")
MIDNIGHT = datetime(2026, 5, 1, tzinfo=UTC)
LATE_AFTER = timedelta(seconds=60)


def clock(text: str) -> datetime:
    """``02:00`` or ``02:00:59.5`` on the first of May, ``3 02:00`` on the third."""
    day, _, time = text.rpartition(" ")
    hours, minutes, *seconds = time.split(":")
    offset = timedelta(hours=int(hours), minutes=int(minutes), seconds=float(seconds[0]) if seconds else 0)
    return MIDNIGHT + offset + timedelta(days=int(day or 1) - 1)


def decide(expression, next_slot, now, *, catch_up="latest", window="1h", jitter=0.0, pauses=(), limit=1000):
    return due_slots(
        parse(expression, "t@s"),
        ZONE,
        Dst.CRON,
        timedelta(seconds=jitter),
        clock(next_slot),
        clock(now),
        LATE_AFTER,
        CatchUp(catch_up),
        {"0": timedelta(0), "1h": timedelta(hours=1), "1d": timedelta(days=1)}[window],
        [Suspension(clock(since), until and clock(until)) for since, until in pauses],
        limit,
    )


def told(decisions: SlotDecisions) -> tuple[list[str], list[str], str]:
    """Runs with ``+`` for catch-up, skipped rows with their count, and the next slot."""

    def short(at: datetime) -> str:
        return f"{at:%H:%M:%S}".removesuffix(":00")

    runs = [short(run.scheduled_for) + "+" * (run.trigger == Trigger.CATCH_UP) for run in decisions.runs]
    marks = {Reason.MISSED: "", Reason.SUSPENDED: "s"}
    skipped = [
        short(row.scheduled_for) + marks[row.reason] + (f"x{row.count}" if row.count > 1 else "")
        for row in decisions.skipped
    ]
    return runs, skipped, short(decisions.next_slot)


CASES = {
    "not yet due": ("0 * * * *", "03:00", "02:59:59.999999", {}, [], [], "03:00"),
    "due to the microsecond": ("0 * * * *", "03:00", "03:00", {}, ["03:00"], [], "04:00"),
    "late, but not too late": ("0 * * * *", "03:00", "03:01", {}, ["03:00"], [], "04:00"),
    "a microsecond too late": ("0 * * * *", "03:00", "03:01:00.000001", {}, ["03:00+"], [], "04:00"),
    "too late, and no catching up": (
        "0 * * * *", "03:00", "03:02", {"catch_up": "none"}, [], ["03:00"], "04:00",
    ),
    "the end of the window": ("0 * * * *", "03:00", "04:00", {}, ["03:00+", "04:00"], [], "05:00"),
    "past the window": ("0 12 * * *", "12:00", "13:00:00.000001", {}, [], ["12:00"], "12:00"),
    "latest: only the newest runs": (
        "0 * * * *", "01:00", "04:30", {"window": "1d"}, ["04:00+"], ["01:00", "02:00", "03:00"], "05:00",
    ),
    "latest: the newest late one and those on time": (
        "*/20 * * * *", "01:00", "02:00:10", {}, ["01:40+", "02:00"], ["01:00", "01:20"], "02:20",
    ),
    "latest: nothing inside the window": (
        "0 1,2 * * *", "01:00", "05:00", {}, [], ["01:00", "02:00"], "01:00",
    ),
    "all: each inside the window, oldest first": (
        "*/20 * * * *", "01:00", "03:00:10", {"catch_up": "all"},
        ["02:20+", "02:40+", "03:00"], ["01:00", "01:20", "01:40", "02:00"], "03:20",
    ),
    "all with a window of nothing": (
        "*/20 * * * *", "02:00", "02:50", {"catch_up": "all", "window": "0"},
        [], ["02:00", "02:20", "02:40"], "03:00",
    ),
    "several on time at once": (
        "@every 20s", "01:00:00", "01:00:50", {}, ["01:00", "01:00:20", "01:00:40"], [], "01:01",
    ),
    "jitter: the time has passed, the due time has not": (
        "0 * * * *", "03:00", "03:04:59", {"jitter": 300}, [], [], "03:00",
    ),
    "jitter: lateness counts from the due time": (
        "0 * * * *", "03:00", "03:05:59", {"jitter": 300}, ["03:00"], [], "04:00",
    ),
    "jitter: longer than the distance of slots": (
        "@every 10s", "01:00:00", "01:00:25", {"jitter": 12.5}, ["01:00", "01:00:10"], [], "01:00:20",
    ),
    "suspended slots are skipped, late or not": (
        "*/20 * * * *", "01:00", "02:00:10", {"window": "1d", "pauses": [("01:10", "01:50")]},
        ["01:00+", "02:00"], ["01:20s", "01:40s"], "02:20",
    ),
    "suspended for good": (
        "0 * * * *", "03:00", "03:00:01", {"pauses": [("02:00", None)]}, [], ["03:00s"], "04:00",
    ),
    "resumed at the very instant": (
        "0 * * * *", "03:00", "03:00:01", {"pauses": [("02:00", "03:00")]}, ["03:00"], [], "04:00",
    ),
    "suspension counts by the due time": (
        "0 * * * *", "03:00", "03:05:01", {"jitter": 300, "pauses": [("03:02", "03:30")]},
        [], ["03:00s"], "04:00",
    ),
    "suspensions that overlap": (
        "*/20 * * * *", "01:00", "02:00:10",
        {"window": "1d", "pauses": [("01:10", "01:30"), ("01:15", "01:50")]},
        ["01:00+", "02:00"], ["01:20s", "01:40s"], "02:20",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_table_of_due_slots(case):
    expression, next_slot, now, options, runs, skipped, following = CASES[case]
    decisions = decide(expression, next_slot, now, **options)
    assert told(decisions) == (runs, skipped, following)
    jitter = timedelta(seconds=options.get("jitter", 0))
    for row in (*decisions.runs, *decisions.skipped):
        assert row.due_at == row.scheduled_for + jitter
    assert decisions.next_run == decisions.next_slot + jitter


@pytest.mark.parametrize(
    ("missed", "rows", "first"), [(99, 99, 1), (100, 100, 1), (101, 100, 2), (150, 100, 51)]
)
def test_of_more_than_a_hundred_missed_the_oldest_row_counts_the_rest(missed, rows, first):
    now = MIDNIGHT + timedelta(minutes=missed + 1, seconds=30)
    decisions = due_slots(
        parse("* * * * *", "t@s"), ZONE, Dst.CRON, timedelta(0), MIDNIGHT + timedelta(minutes=1), now,
        LATE_AFTER, CatchUp.NONE, timedelta(0),
    )  # fmt: skip
    assert len(decisions.runs) == 1
    assert [row.count for row in decisions.skipped] == [first] + [1] * (rows - 1)
    assert decisions.skipped[0].scheduled_for == MIDNIGHT + timedelta(minutes=1)
    newest = [row.scheduled_for for row in decisions.skipped[1:]]
    assert newest == [MIDNIGHT + timedelta(minutes=missed - rows + 2 + n) for n in range(rows - 1)]


def test_a_year_of_missed_seconds_is_a_hundred_rows_that_count_every_one():
    now = MIDNIGHT + timedelta(days=365, microseconds=7)
    for policy in CatchUp:
        decisions = due_slots(
            parse("@every 1s", "t@s"), ZONE, Dst.CRON, timedelta(0), MIDNIGHT, now,
            LATE_AFTER, policy, timedelta(minutes=5),
        )  # fmt: skip
        assert len(decisions.skipped) == 100
        assert sum(row.count for row in decisions.skipped) + len(decisions.runs) == 365 * 86_400 + 1
        assert len(decisions.runs) == {"none": 60, "latest": 61, "all": 300}[policy]
        assert unique(decisions)


def unique(decisions: SlotDecisions) -> bool:
    slots = [row.scheduled_for for row in (*decisions.runs, *decisions.skipped)]
    return len(set(slots)) == len(slots)


def test_more_runs_than_one_claim_takes_are_decided_in_the_next():
    schedule = parse("@every 1s", "t@s")
    at, now, runs, skipped = MIDNIGHT, MIDNIGHT + timedelta(minutes=10, microseconds=1), [], []
    pause = [Suspension(MIDNIGHT + timedelta(minutes=8), MIDNIGHT + timedelta(minutes=9))]
    claims = 0
    while at <= now:
        decisions = due_slots(
            schedule, ZONE, Dst.CRON, timedelta(0), at, now, LATE_AFTER, CatchUp.ALL,
            timedelta(minutes=6), pause, run_limit=50,
        )  # fmt: skip
        assert len(decisions.runs) <= 50
        runs += [run.scheduled_for for run in decisions.runs]
        skipped += decisions.skipped
        assert decisions.next_slot > at
        at = decisions.next_slot
        claims += 1
    seconds = [(run - MIDNIGHT) // timedelta(seconds=1) for run in runs]
    assert seconds == [*range(241, 480), *range(540, 601)]
    missed = sum(row.count for row in skipped if row.reason == Reason.MISSED)
    suspended = sum(row.count for row in skipped if row.reason == Reason.SUSPENDED)
    assert (missed, suspended) == (241, 60)
    assert claims == 6


def test_a_promised_slot_counts_even_when_new_zone_rules_do_not_have_it():
    decisions = decide("0 * * * *", "03:30", "04:00:05")
    assert told(decisions) == (["03:30+", "04:00"], [], "05:00")


def test_the_last_slot_of_the_calendar_leaves_no_next():
    last = datetime(9999, 12, 28, tzinfo=UTC)
    decisions = due_slots(
        parse("0 0 28 12 *", "t@s"),
        ZONE,
        Dst.CRON,
        timedelta(0),
        last,
        last,
        LATE_AFTER,
        CatchUp.ALL,
        LATE_AFTER,
    )
    assert [run.scheduled_for for run in decisions.runs] == [last]
    assert (decisions.next_slot, decisions.next_run) == (None, None)


minutes = st.integers(0, 400).map(lambda m: timedelta(minutes=m))
texts = st.sampled_from(["*/7 * * * *", "0,5,50 * * * *", "@every 3m", "13 */2 * * *", "@every 1h"])


@settings(max_examples=300, deadline=None)
@given(
    text=texts,
    away=st.integers(0, 90_000).map(lambda s: timedelta(seconds=s)),
    jitter=st.sampled_from([0, 20, 300, 4000]),
    policy=st.sampled_from(list(CatchUp)),
    window=minutes,
    pauses=st.lists(st.tuples(minutes, minutes), max_size=3),
)
def test_every_due_slot_is_decided_exactly_once_and_as_the_rules_say(
    text, away, jitter, policy, window, pauses
):
    schedule, offset = parse(text, "t@s"), timedelta(seconds=jitter)
    first = schedule.next_after(MIDNIGHT, ZONE, Dst.CRON)
    now = MIDNIGHT + away
    suspensions = [Suspension(MIDNIGHT + since, MIDNIGHT + since + length) for since, length in pauses]
    found = due_slots(schedule, ZONE, Dst.CRON, offset, first, now, LATE_AFTER, policy, window, suspensions)
    due = [s for s in schedule.between(first, now + timedelta(days=1), ZONE, Dst.CRON) if s + offset <= now]
    paused = [s for s in due if any(p.since <= s + offset < p.until for p in suspensions)]
    active = [s for s in due if s not in paused]
    on_time = [s for s in active if now - (s + offset) <= LATE_AFTER]
    late = [s for s in active if s not in on_time]
    inside = [s for s in late if now - (s + offset) <= window]
    caught = {"none": [], "latest": inside[-1:], "all": inside}[policy]
    missed = [s for s in late if s not in caught]

    assert [(run.scheduled_for, run.trigger) for run in found.runs] == [
        *((s, Trigger.CATCH_UP) for s in caught),
        *((s, Trigger.SCHEDULE) for s in on_time),
    ]
    for reason, want in ((Reason.MISSED, missed), (Reason.SUSPENDED, paused)):
        rows = [row for row in found.skipped if row.reason == reason]
        kept = want if len(want) <= 100 else [want[0], *want[-99:]]
        assert [row.scheduled_for for row in rows] == kept
        assert sum(row.count for row in rows) == len(want)
    assert unique(found)
    assert found.next_slot == schedule.next_after(due[-1] if due else MIDNIGHT, ZONE, Dst.CRON)
    assert found.next_run == found.next_slot + offset > now


def test_an_edit_closes_what_had_passed_and_begins_after_now():
    schedule = parse("0 * * * *", "t@s")
    jitter = timedelta(minutes=5)
    now = clock("03:02")  # the slot of 03:00 has passed, its jitter has not
    rows = closed_slots(schedule, ZONE, Dst.CRON, jitter, clock("02:00"), now)
    assert [row.scheduled_for for row in rows] == [clock("02:00"), clock("03:00")]
    assert {row.reason for row in rows} == {Reason.SUPERSEDED}
    assert [row.due_at for row in rows] == [clock("02:05"), clock("03:05")]
    following = first_slot(schedule, ZONE, Dst.CRON, jitter, now)
    assert (following.next_slot, following.next_run) == (clock("04:00"), clock("04:05"))


@pytest.mark.parametrize(("next_slot", "rows"), [(None, 0), ("03:00", 1), ("04:00", 0)])
def test_an_edit_has_nothing_to_close_when_nothing_had_passed(next_slot, rows):
    schedule = parse("0 * * * *", "t@s")
    slot = next_slot and clock(next_slot)
    assert len(closed_slots(schedule, ZONE, Dst.CRON, timedelta(0), slot, clock("03:00"))) == rows


def test_closing_a_long_absence_counts_the_rest_in_the_oldest_row():
    rows = closed_slots(
        parse("@every 1s", "t@s"), ZONE, Dst.CRON, timedelta(0), MIDNIGHT, MIDNIGHT + timedelta(days=30)
    )
    assert len(rows) == 100
    assert rows[0].count == 30 * 86_400 + 1 - 99
    assert rows[0].scheduled_for == MIDNIGHT
    assert rows[-1].scheduled_for == MIDNIGHT + timedelta(days=30)


def test_the_line_between_closed_and_coming_slots_leaves_none_out_and_takes_none_twice():
    schedule = parse("@every 10s", "t@s")
    for seconds in range(0, 60, 3):
        now = MIDNIGHT + timedelta(seconds=seconds)
        closed = closed_slots(schedule, ZONE, Dst.CRON, timedelta(seconds=4), MIDNIGHT, now)
        coming = first_slot(schedule, ZONE, Dst.CRON, timedelta(seconds=9), now)
        assert coming.next_slot - closed[-1].scheduled_for == timedelta(seconds=10)
