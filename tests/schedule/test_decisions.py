"""Overlap, turns, retries and dependencies: tables of cases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.model.enums import CatchUp, Concurrency
from reconciler.model.execution import Reason, Trigger
from reconciler.schedule.concurrency import (
    Admission,
    Admissions,
    OpenSlot,
    OpenState,
    admit,
    admit_all,
    goes_first,
    has_room,
    may_start,
)
from reconciler.schedule.dependency import dependency_slot, successes_count_from
from reconciler.schedule.policy import Slot
from reconciler.schedule.retry import RETRIED, backoff_seconds, retry_at

NOW = datetime(2026, 5, 1, tzinfo=UTC)
SCHEDULE, CATCH_UP, MANUAL = Trigger.SCHEDULE, Trigger.CATCH_UP, Trigger.MANUAL


def after(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def opened(*words: str) -> list[OpenSlot]:
    """``waiting``, ``running``, ``unknown``, ``+`` for a catch-up run; ids count from 1, oldest first."""
    return [
        OpenSlot(
            execution_id=number,
            scheduled_for=after(number),
            state=OpenState(word.rstrip("+")),
            trigger=CATCH_UP if word.endswith("+") else SCHEDULE,
        )
        for number, word in enumerate(words, start=1)
    ]


GO, OVERLAP = Admission(), Admission(skip=Reason.OVERLAP)
ADMISSIONS = [
    # concurrency, catch-up, trigger, unfinished, verdict
    ("forbid", "latest", SCHEDULE, (), GO),
    ("forbid", "latest", SCHEDULE, ("waiting",), OVERLAP),
    ("forbid", "latest", SCHEDULE, ("running",), OVERLAP),
    ("forbid", "latest", SCHEDULE, ("unknown",), OVERLAP),
    ("forbid", "latest", MANUAL, ("running",), OVERLAP),
    ("forbid", "latest", CATCH_UP, ("running",), OVERLAP),
    ("forbid", "latest", CATCH_UP, ("waiting+",), OVERLAP),
    ("forbid", "all", CATCH_UP, ("waiting+", "waiting+"), GO),
    ("forbid", "all", CATCH_UP, ("running", "waiting+"), OVERLAP),
    ("forbid", "all", SCHEDULE, ("waiting+",), OVERLAP),
    ("allow", "latest", SCHEDULE, ("running", "waiting", "unknown"), GO),
    ("queue", "latest", SCHEDULE, (), GO),
    ("queue", "latest", SCHEDULE, ("running",), GO),
    ("queue", "latest", SCHEDULE, ("waiting",), GO),
    ("queue", "latest", SCHEDULE, ("unknown",), GO),
    ("queue", "latest", SCHEDULE, ("running", "waiting"), OVERLAP),
    ("queue", "all", CATCH_UP, ("running", "waiting+", "waiting+"), GO),
    ("queue", "all", SCHEDULE, ("running+", "waiting+"), OVERLAP),
    ("replace", "latest", SCHEDULE, (), GO),
    ("replace", "latest", SCHEDULE, ("waiting",), Admission(supersede=(1,))),
    ("replace", "latest", SCHEDULE, ("running",), Admission(cancel=(1,))),
    ("replace", "latest", SCHEDULE, ("unknown",), Admission(cancel=(1,))),
    ("replace", "latest", SCHEDULE, ("running", "waiting"), Admission(supersede=(2,), cancel=(1,))),
    ("replace", "all", CATCH_UP, ("waiting+",), GO),
    ("replace", "all", SCHEDULE, ("waiting+", "waiting+"), Admission(supersede=(1, 2))),
]


@pytest.mark.parametrize(("concurrency", "catch_up", "trigger", "unfinished", "verdict"), ADMISSIONS)
def test_the_table_of_admissions(concurrency, catch_up, trigger, unfinished, verdict):
    assert admit(Concurrency(concurrency), CatchUp(catch_up), trigger, opened(*unfinished)) == verdict


CLAIMS = [
    # concurrency, catch-up, triggers of one claim, unfinished, what becomes of them
    ("forbid", "latest", (SCHEDULE,), (), Admissions((None,))),
    ("forbid", "latest", (SCHEDULE,) * 3, (), Admissions((None, Reason.OVERLAP, Reason.OVERLAP))),
    ("forbid", "latest", (CATCH_UP, SCHEDULE), (), Admissions((None, Reason.OVERLAP))),
    ("forbid", "all", (CATCH_UP, CATCH_UP, SCHEDULE), (), Admissions((None, None, Reason.OVERLAP))),
    ("allow", "all", (CATCH_UP, CATCH_UP, SCHEDULE), ("running",), Admissions((None, None, None))),
    ("queue", "latest", (SCHEDULE,) * 3, (), Admissions((None, None, Reason.OVERLAP))),
    ("queue", "latest", (SCHEDULE,) * 2, ("running",), Admissions((None, Reason.OVERLAP))),
    ("queue", "all", (CATCH_UP,) * 3, ("running",), Admissions((None, None, None))),
    (
        "replace",
        "latest",
        (SCHEDULE,) * 3,
        ("running", "waiting"),
        Admissions((Reason.SUPERSEDED, Reason.SUPERSEDED, None), supersede=(2,), cancel=(1,)),
    ),
]


@pytest.mark.parametrize(("concurrency", "catch_up", "triggers", "unfinished", "verdict"), CLAIMS)
def test_the_runs_of_one_claim_meet_each_other_too(concurrency, catch_up, triggers, unfinished, verdict):
    runs = [Slot(after(10 + n), after(10 + n), trigger) for n, trigger in enumerate(triggers)]
    assert admit_all(Concurrency(concurrency), CatchUp(catch_up), runs, opened(*unfinished)) == verdict


TURNS = [
    # concurrency, unfinished, ids that may start
    ("forbid", ("waiting",), {1}),
    ("forbid", ("waiting+", "waiting+", "waiting+"), {1}),
    ("forbid", ("running+", "waiting+"), set()),
    ("queue", ("running", "waiting"), set()),
    ("queue", ("unknown", "waiting"), set()),
    ("queue", ("waiting", "waiting"), {1}),
    ("replace", ("running", "waiting"), set()),
    ("allow", ("running", "waiting", "waiting"), {2, 3}),
    ("allow", ("running", "waiting+", "waiting+", "waiting"), {2, 4}),
    ("allow", ("running+", "waiting+", "waiting"), {3}),
]


@pytest.mark.parametrize(("concurrency", "unfinished", "turns"), TURNS)
def test_waiting_runs_start_in_turn_and_never_beside_one_that_may_live(concurrency, unfinished, turns):
    slots = opened(*unfinished)
    waiting = [slot for slot in slots if slot.state is OpenState.WAITING]
    found = {slot.execution_id for slot in waiting if may_start(Concurrency(concurrency), slot, slots)}
    assert found == turns


GOES_FIRST = [
    # concurrency, unfinished, the run that asks, the one whose turn it is
    ("forbid", ("waiting", "waiting", "waiting"), 3, 1),
    ("forbid", ("waiting", "waiting"), 1, None),
    ("forbid", ("running", "waiting", "waiting"), 3, None),
    ("queue", ("unknown", "waiting", "waiting"), 3, None),
    ("allow", ("waiting", "waiting"), 2, None),
    ("allow", ("waiting", "waiting+", "waiting+"), 3, 2),
    ("allow", ("running", "waiting+", "waiting+"), 3, 2),
    ("allow", ("running+", "waiting+", "waiting+"), 3, None),
]


@pytest.mark.parametrize(("concurrency", "unfinished", "asks", "first"), GOES_FIRST)
def test_a_run_knows_whose_turn_is_before_its_own(concurrency, unfinished, asks, first):
    slots = opened(*unfinished)
    run = next(slot for slot in slots if slot.execution_id == asks)
    found = goes_first(Concurrency(concurrency), run, slots)
    assert (None if found is None else found.execution_id) == first


@pytest.mark.parametrize(
    ("running", "limit", "room"), [(0, 0, True), (99, 0, True), (0, 1, True), (1, 1, False), (9, 8, False)]
)
def test_a_limit_of_nothing_is_no_limit(running, limit, room):
    assert has_room(running, limit) is room


def retry(reason, attempt=1, *, limit=2, alive=False, backoff=30, factor=2, most=600):
    return retry_at(
        reason,
        attempt,
        NOW,
        limit=limit,
        backoff=backoff,
        factor=factor,
        max_backoff=most,
        may_be_alive=alive,
    )


@pytest.mark.parametrize("reason", list(Reason))
def test_only_failures_that_another_attempt_may_mend_are_retried(reason):
    never = {
        Reason.COMPLETED, Reason.CANCELLED, Reason.AUTH_FAILED, Reason.HOST_KEY,
        Reason.OVERLAP, Reason.MISSED, Reason.SUSPENDED, Reason.DISABLED, Reason.SUPERSEDED,
    }  # fmt: skip
    assert (retry(reason) is None) == (reason in never)
    assert (reason in RETRIED) == (reason not in never)
    assert retry(reason, alive=True) is None


@pytest.mark.parametrize(
    ("attempt", "limit", "seconds"),
    [(1, 2, 30), (2, 2, 60), (3, 2, None), (1, 0, None), (5, 9, 480), (6, 9, 600)],
)
def test_retries_wait_longer_each_time_and_end_at_their_limit(attempt, limit, seconds):
    at = retry(Reason.EXIT_CODE, attempt, limit=limit)
    assert at == (None if seconds is None else NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("retry_number", "backoff", "factor", "most", "seconds"),
    [
        (1, 30, 2, 600, 30),
        (4, 30, 1, 600, 30),
        (3, 10, 1.5, 600, 22.5),
        (1, 900, 2, 600, 600),
        (100_000, 30, 2, 600, 600),
        (3, 0, 2, 600, 0),
    ],
)
def test_backoff_grows_by_its_factor_up_to_its_maximum(retry_number, backoff, factor, most, seconds):
    assert backoff_seconds(retry_number, backoff, factor, most) == seconds


DEPENDENCIES = [
    ({"extract": [3]}, 0, 3),
    ({"extract": [3], "clean": []}, 0, None),
    ({"extract": [3], "clean": [5]}, 0, 5),
    ({"extract": [3, 9], "clean": [5]}, 0, 5),  # that extract ran again changes nothing
    ({"extract": [3, 9], "clean": [5]}, 4, 9),  # the success of minute 3 was used up
    ({"extract": [4], "clean": [5]}, 4, None),
    ({"extract": [9, 2, 6]}, 4, 6),
    ({}, 0, None),
]


@pytest.mark.parametrize(("successes", "fresh_from", "slot"), DEPENDENCIES)
def test_a_dependency_run_is_due_when_the_last_of_its_tasks_has_succeeded(successes, fresh_from, slot):
    finishes = {name: [after(minute) for minute in times] for name, times in successes.items()}
    assert dependency_slot(finishes, after(fresh_from)) == (None if slot is None else after(slot))


def test_successes_count_from_the_latest_run_and_from_the_edit_that_named_them():
    assert successes_count_from(after(1), None) == after(1)
    assert successes_count_from(after(1), after(5)) == after(5)
    assert successes_count_from(after(7), after(5)) == after(7)
