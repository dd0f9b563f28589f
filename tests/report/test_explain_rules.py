"""Which slot answers for a moment, as tables: no database, the moment is an argument."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.report.explain_phrases import Evidence
from reconciler.report.explain_rules import Question, answering, next_slot, note_at, previous_slot
from reconciler.report.explain_words import Answer, answer
from reconciler.report.timing import timing_of
from reconciler.store.views import ExecutionView, TaskView
from tests.report.views import run_view, task_view
from tests.report.world import APPLIED, NOW

LATE = timedelta(seconds=60)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
TWO = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def nightly(**values: Any) -> TaskView:
    """Every night at two, the night of today claimed."""
    given = {"schedule": "0 2 * * *", "next_slot": TWO + DAY, "next_run": TWO + DAY}
    return task_view(**{**given, **values})


def ask(
    task: TaskView, moment: datetime | None, *rows: ExecutionView, now: datetime = NOW, **evidence: Any
) -> tuple[Question, Answer]:
    """The question as it would be read, and its answer."""
    meant = now if moment is None else moment
    ordered = sorted(rows, key=lambda run: (run.scheduled_for, run.attempt))
    question = Question(
        task=task,
        timing=timing_of(task),
        at=meant,
        asked=moment is not None,
        now=now,
        late_after=LATE,
        before=tuple(run for run in reversed(ordered) if run.scheduled_for <= meant),
        after=tuple(run for run in ordered if run.scheduled_for > meant),
    )
    return question, answer(question, answering(question), Evidence(**evidence))


def said(*words: Any, **values: Any) -> tuple[str, str]:
    _, found = ask(*words, **values)
    return found.verdict.value, found.reason


RAN = run_view(TWO, 3600)


@pytest.mark.parametrize(
    ("moment", "verdict"),
    [
        (TWO, ("ran", "completed")),
        (TWO + timedelta(seconds=59), ("ran", "completed")),
        (TWO + HOUR, ("ran", "completed")),
        (TWO + HOUR + timedelta(seconds=1), ("not-due", "no-slot")),
        (TWO - timedelta(seconds=1), ("not-due", "no-slot")),
        (None, ("ran", "completed")),
        (TWO + DAY, ("upcoming", "scheduled")),
        (TWO + DAY + timedelta(seconds=1), ("not-due", "no-slot")),
        (NOW + HOUR, ("not-due", "no-slot")),
        (APPLIED - DAY, ("not-due", "not-created")),
    ],
)
def test_a_slot_answers_from_its_nominal_instant_until_its_run_has_ended(
    moment: datetime | None, verdict: tuple[str, str]
) -> None:
    day_before = run_view(TWO - DAY, 1, id=5)
    assert said(nightly(), moment, RAN, day_before) == verdict


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        ({"status": 2, "exit_code": 3}, ("ran", "exit-code")),
        ({"status": 2, "reason": "unreachable", "started_at": None}, ("ran", "unreachable")),
        ({"status": 3, "reason": "overlap"}, ("skipped", "overlap")),
        ({"status": 3, "reason": "missed"}, ("skipped", "missed")),
        ({"status": 3, "reason": "suspended"}, ("skipped", "suspended")),
        ({"status": 3, "reason": "disabled"}, ("skipped", "disabled")),
        ({"status": 3, "reason": "superseded"}, ("skipped", "superseded")),
        ({"status": 0, "started_at": TWO}, ("running", "running")),
        ({"status": 0, "started_at": None}, ("overdue", "not-started")),
        ({"status": 0, "started_at": None, "due_at": NOW - LATE}, ("upcoming", "waiting")),
        ({"status": 0, "started_at": None, "due_at": NOW + HOUR, "attempt": 2}, ("upcoming", "waiting")),
    ],
)
def test_the_ledgers_row_is_the_answer(row: dict[str, Any], verdict: tuple[str, str]) -> None:
    assert said(nightly(), TWO, run_view(TWO, **row)) == verdict
    assert said(nightly(), None, run_view(TWO, **row)) == verdict


def test_the_last_attempt_is_the_slots_verdict() -> None:
    first = run_view(TWO, 1, status=2)
    second = run_view(TWO, 1, attempt=2, trigger="retry", id=8, started_at=TWO + HOUR)
    question, found = ask(nightly(), TWO, first, second)
    assert found.reason == "completed"
    assert "2 attempts, the last ran as execution 8" in found.message
    slot = answering(question)
    assert slot is not None
    assert [run.attempt for run in slot.rows] == [2, 1]


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        # nobody claimed it: never settled
        ({"next_slot": TWO, "next_run": TWO}, ("overdue", "not-claimed")),
        ({"next_slot": TWO - DAY, "next_run": TWO - DAY}, ("overdue", "not-claimed")),
        ({"next_slot": NOW, "next_run": NOW}, ("upcoming", "due")),
        ({"next_slot": NOW, "next_run": NOW + LATE, "spec": {"jitter": "1h"}}, ("upcoming", "scheduled")),
        # claimed, or moved by a hand, and no row
        ({"next_slot": None, "next_run": None}, ("overdue", "not-recorded")),
        ({"next_slot": TWO + 9 * DAY, "next_run": TWO + 9 * DAY}, ("overdue", "not-recorded")),
        # no slot of the present spec had come
        ({"runnable_since": TWO}, ("not-due", "no-slot")),
        ({"runnable_since": NOW}, ("not-due", "before-spec")),
        ({"enabled": False}, ("not-due", "disabled")),
        ({"server_enabled": False}, ("not-due", "server-disabled")),
        ({"enabled": False, "deleted_at": NOW - HOUR}, ("not-due", "deleted")),
        ({"schedule": None, "next_slot": None}, ("not-due", "no-schedule")),
        ({"schedule": None, "next_slot": None, "spec": {"after": ["a"]}}, ("not-due", "after-others")),
        ({"schedule": "0 2 * *", "next_slot": None}, ("not-due", "unreadable")),
    ],
)
def test_without_a_row_the_rules_answer(row: dict[str, Any], verdict: tuple[str, str]) -> None:
    assert said(nightly(**row), None) == verdict


def test_a_slot_that_nobody_claimed_answers_for_every_moment_since() -> None:
    task = nightly(next_slot=TWO - DAY, next_run=TWO - DAY)
    for moment in (TWO - DAY, TWO - HOUR, TWO, NOW - HOUR, None):
        assert said(task, moment) == ("overdue", "not-claimed")
    assert said(task, TWO - DAY - HOUR, run_view(TWO - 2 * DAY)) == ("not-due", "no-slot")


def test_an_absent_row_that_may_have_been_pruned_is_no_alarm() -> None:
    assert said(nightly(), TWO, pruned=True) == ("not-due", "no-record")


def test_a_manual_run_answers_while_it_lasts_and_hides_no_slot() -> None:
    asked = run_view(NOW - HOUR, 60, trigger="manual", requested_by="bob", id=9, scheduled_for=NOW - HOUR)
    _, found = ask(nightly(), NOW - HOUR, RAN, asked)
    assert found.message.startswith("bob asked for it at 2026-03-01 11:00:00 UTC; it ran as execution 9")
    _, found = ask(nightly(), None, RAN, asked)
    assert f"execution {RAN.id}" in found.message
    assert said(nightly(next_slot=TWO, next_run=TWO), None, asked) == ("overdue", "not-claimed")
    only = task_view()
    assert said(only, None, asked) == ("ran", "completed")


def test_a_long_run_answers_for_the_time_after_a_skipped_slot() -> None:
    task = task_view(schedule="0 * * * *", next_slot=NOW + HOUR, next_run=NOW + HOUR)
    night = run_view(TWO, 8 * 3600)
    skips = [run_view(TWO + n * HOUR, status=3, id=n) for n in range(1, 9)]
    assert said(task, TWO + HOUR, night, *skips) == ("skipped", "overlap")
    assert said(task, TWO + HOUR * 1.5, night, *skips) == ("ran", "completed")


# -- rows that stand for many ---------------------------------------------------------------------


def folded() -> list[ExecutionView]:
    """Each minute from two: nobody claimed 400 slots until 08:40; the newest 99 have a row each."""
    claimed = TWO + timedelta(minutes=400)
    lost: dict[str, Any] = {"status": 3, "reason": "missed", "created_at": claimed, "finished_at": claimed}
    rows = [run_view(TWO, count=301, id=100, **lost)]
    return rows + [run_view(TWO + timedelta(minutes=301 + n), id=101 + n, **lost) for n in range(99)]


@pytest.mark.parametrize("minutes", [0, 1, 17, 300])
def test_a_row_that_stands_for_many_answers_for_each_of_them(minutes: int) -> None:
    task = task_view(schedule="* * * * *", next_slot=NOW, next_run=NOW)
    moment = TWO + timedelta(minutes=minutes)
    question, found = ask(task, moment, *folded())
    slot = answering(question)
    assert slot is not None
    assert (found.verdict, found.reason, slot.slot, slot.rows[0].id) == ("skipped", "missed", moment, 100)
    assert "one of 301 recorded together from 2026-03-01 02:00:00 UTC" in found.message
    assert "`catchUp: all` with a `catchUpWindow` of at least" in (found.hint or "")


def test_the_newest_of_many_missed_have_their_own_rows() -> None:
    task = task_view(schedule="* * * * *", next_slot=NOW, next_run=NOW)
    question, _ = ask(task, TWO + timedelta(minutes=310), *folded())
    slot = answering(question)
    assert slot is not None
    assert (slot.folded, slot.rows[0].id) == (False, 110)


def test_many_slots_of_an_earlier_spec_answer_too() -> None:
    task = nightly(runnable_since=NOW - HOUR)
    question, found = ask(task, TWO + timedelta(minutes=17, seconds=3), *folded())
    assert (found.verdict, found.reason) == ("skipped", "missed")
    assert found.message.startswith("each of the 301 slots from 2026-03-01 02:00:00 UTC was missed")
    assert (previous_slot(question), next_slot(question)) == (TWO, TWO + timedelta(minutes=301))


def test_of_two_rows_that_stand_for_many_the_one_that_reaches_as_far_answers() -> None:
    task = task_view(schedule="* * * * *", next_slot=NOW, next_run=NOW)
    claimed = TWO + timedelta(minutes=500)
    both: dict[str, Any] = {"status": 3, "created_at": claimed}
    missed = run_view(TWO, count=400, reason="missed", id=1, **both)
    suspended = run_view(TWO + timedelta(minutes=100), count=20, reason="suspended", id=2, **both)
    assert said(task, TWO + timedelta(minutes=50), missed, suspended) == ("skipped", "missed")
    assert said(task, TWO + timedelta(minutes=110), missed, suspended) == ("skipped", "suspended")
    assert said(task, TWO + timedelta(minutes=130), missed, suspended) == ("skipped", "missed")


# -- the slots beside -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "moment", "beside"),
    [
        ({}, TWO, (TWO - DAY, TWO + DAY)),
        ({}, NOW, (TWO, TWO + DAY)),
        ({}, TWO + DAY, (TWO, TWO + 2 * DAY)),
        # before the present spec: what it would have had, unless the ledger knows better
        ({}, APPLIED - DAY, (at("2026-02-25T02:00Z"), at("2026-02-26T02:00Z"))),
        ({"enabled": False}, NOW, (None, None)),
        ({"schedule": None}, NOW, (None, None)),
        ({"next_slot": NOW + HOUR}, NOW, (TWO, NOW + HOUR)),
        ({"next_slot": TWO + 9 * DAY}, NOW, (TWO, TWO + DAY)),
    ],
)
def test_the_slots_beside_are_strictly_before_and_after(
    task: dict[str, Any], moment: datetime, beside: tuple[datetime | None, datetime | None]
) -> None:
    question, _ = ask(nightly(**task), moment)
    assert (previous_slot(question), next_slot(question)) == beside


def test_the_ledger_tells_the_slots_of_an_earlier_spec() -> None:
    task = nightly(runnable_since=NOW - HOUR)
    rows = [run_view(NOW - n * HOUR, id=n) for n in (2, 3, 4)]
    asked = run_view(NOW - 2.5 * HOUR, id=9, trigger="manual")
    question, _ = ask(task, NOW - 3 * HOUR, *rows, asked)
    assert (previous_slot(question), next_slot(question)) == (NOW - 4 * HOUR, NOW - 2 * HOUR)
    question, _ = ask(replace(task, enabled=False), NOW, *rows, asked)
    assert (previous_slot(question), next_slot(question)) == (NOW - 2 * HOUR, None)


# -- nights on which the clock changes ------------------------------------------------------------

SPRING = "2026-03-29T"
AUTUMN = "2026-10-25T"


@pytest.mark.parametrize(
    ("schedule", "dst", "moment", "verdict", "note", "beside"),
    [
        # 02:30 does not exist and runs at 03:00 CEST
        ("30 2 * * *", "cron", SPRING + "01:00Z", "ran", "dst-gap", ("28T01:30", "30T00:30")),
        ("30 2 * * *", "once", SPRING + "01:00Z", "ran", "dst-gap", ("28T01:30", "30T00:30")),
        # the time as written with either offset
        ("30 2 * * *", "cron", SPRING + "02:30+01:00", "dst-gap", "dst-gap", ("29T01:00", "30T00:30")),
        ("30 2 * * *", "cron", SPRING + "02:30+02:00", "dst-gap", "dst-gap", ("28T01:30", "29T01:00")),
        ("30 2 * * *", "skip", SPRING + "01:00Z", "dst-gap", "dst-gap", ("28T01:30", "30T00:30")),
        ("30 2 * * *", "both", SPRING + "01:00Z", "dst-gap", "dst-gap", ("28T01:30", "30T00:30")),
        ("30 2 * * *", "cron", SPRING + "10:00Z", "no-slot", None, ("29T01:00", "30T00:30")),
        ("0 */2 * * *", "cron", SPRING + "02:00Z", "ran", None, ("28T23:00", "29T04:00")),
        ("0 */2 * * *", "cron", SPRING + "01:00Z", "dst-gap", "dst-gap", ("28T23:00", "29T02:00")),
        ("30 * * * *", "cron", SPRING + "01:30Z", "ran", None, ("29T00:30", "29T02:30")),
        # 02:30 comes twice
        ("30 2 * * *", "cron", AUTUMN + "00:30Z", "ran", "dst-repeat", ("24T00:30", "26T01:30")),
        ("30 2 * * *", "cron", AUTUMN + "01:30Z", "dst-repeat", "dst-repeat", ("25T00:30", "26T01:30")),
        ("30 2 * * *", "both", AUTUMN + "01:30Z", "ran", "dst-repeat", ("25T00:30", "26T01:30")),
        ("30 * * * *", "cron", AUTUMN + "01:30Z", "ran", "dst-repeat", ("25T00:30", "25T02:30")),
        ("0 */2 * * *", "cron", AUTUMN + "01:00Z", "ran", "dst-repeat", ("25T00:00", "25T03:00")),
    ],
)
@pytest.mark.parametrize("past", [True, False], ids=["past", "future"])
def test_the_nights_of_berlin(
    schedule: str, dst: str, moment: str, verdict: str, note: str | None, beside: tuple[str, str], past: bool
) -> None:
    when = at(moment)
    task = task_view(schedule=schedule, timezone="Europe/Berlin", spec={"dst": dst})
    now = when + DAY * 0.4 if past else NOW
    timing = timing_of(task)
    assert timing is not None
    coming = timing.next_after(now)
    task = replace(task, next_slot=coming, next_run=coming)
    rows = [run_view(when)] if past and verdict == "ran" else []
    question, found = ask(task, when, *rows, now=now)
    expected = verdict if past or verdict != "ran" else "upcoming"
    assert expected in (found.verdict, found.reason)
    assert note_at(question, answering(question)) == note
    month = when.strftime("%Y-%m-")
    around = [f"{month}{text}+00:00" for text in beside]
    assert [previous_slot(question), next_slot(question)] == [datetime.fromisoformat(text) for text in around]


def test_a_time_that_does_not_exist_names_where_it_runs_or_what_would_run_it() -> None:
    def hint(dst: str) -> tuple[str, str | None]:
        task = task_view(schedule="30 2 * * *", timezone="Europe/Berlin", spec={"dst": dst})
        _, found = ask(task, at(SPRING + "02:30+01:00"))
        return found.message, found.hint

    message, other = hint("cron")
    assert "its slot of that day is at 2026-03-29 03:00 Europe/Berlin (01:00:00 UTC) instead" in message
    assert other is None
    message, other = hint("skip")
    assert "`dst: skip` does not run it on that day" in message
    assert other == "`dst: once` would run it"
