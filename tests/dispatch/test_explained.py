"""Every verdict of ``explain``, asked about rows that claims, takes and ends have written themselves."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from reconciler.model.execution import CapturedStream, Outcome, Reason, Status
from reconciler.record.batch import Ended
from reconciler.record.ledger import DatabaseLedger
from reconciler.report.explain import Explanation, explain
from reconciler.store.tables import Override
from tests.dispatch.conftest import World
from tests.dispatch.fleet import at

LATE = timedelta(seconds=60)


def asked(world: World, task: int, moment: float | None) -> Explanation:
    with world.db.snapshot() as connection:
        return explain(connection, task, None if moment is None else at(moment), world.clock.now(), LATE)


def verdict(world: World, task: int, moment: float | None) -> tuple[str, str | None]:
    answer = asked(world, task, moment).answer
    return answer.verdict, answer.reason


def run_one(world: World, reason: Reason = Reason.COMPLETED) -> int:
    """Claim what is due, take one and record its end; its id."""
    world.claim_all()
    (taken,) = world.taker().take(1, {}).taken
    end(world, taken.job, reason)
    return int(taken.job.execution_id)


def end(world: World, job: object, reason: Reason) -> None:
    begun = world.clock.now()
    outcome = Outcome(
        job.execution_id,  # type: ignore[attr-defined]
        Status.SUCCESS if reason is Reason.COMPLETED else Status.FAILED,
        reason,
        begun + timedelta(seconds=1),
        begun,
        exit_code=0 if reason is Reason.COMPLETED else 3,
        stdout=CapturedStream("", 0),
    )
    DatabaseLedger(world.db, world.clock, world.ids).write([], [Ended(job, outcome)])  # type: ignore[arg-type]


def suspended(world: World, since: datetime, until: datetime) -> None:
    with world.db.write() as connection:
        values = {"kind": "suspend", "reason": "night", "by": "me", "since": since, "until": until}
        connection.execute(Override.__table__.insert().values(id=1, **values))


def test_a_slot_that_ran_and_the_times_around_it(world: World) -> None:
    task = world.fleet.task(due=60)
    world.clock.advance(60)
    execution = run_one(world)
    assert verdict(world, task, 60) == ("ran", "completed")
    found = asked(world, task, 60)
    assert found.execution is not None
    assert (found.execution.id, found.next) == (execution, at(120))
    assert verdict(world, task, 120)[0] == "upcoming"
    assert verdict(world, task, 130)[0] == "not-due"
    world.clock.advance(60)
    run_one(world)
    world.clock.advance(50)
    # a slot answers until it could still have been on time
    assert verdict(world, task, 121) == ("ran", "completed")
    assert asked(world, task, 150).previous == at(120)


def test_a_failed_slot_and_its_retry(world: World) -> None:
    task = world.fleet.task(due=60, schedule="@every 1h", retries={"limit": 1, "backoff": "30s"})
    world.fleet.change_task(task, next_slot=at(3600), next_run=at(3600))
    world.clock.advance(3600)
    run_one(world, Reason.EXIT_CODE)
    assert verdict(world, task, 3600) == ("upcoming", "waiting"), "its retry waits"
    world.clock.advance(40)
    run_one(world)
    found = asked(world, task, 3600)
    assert (found.answer.verdict, found.answer.reason, len(found.runs)) == ("ran", "completed", 2)


@pytest.mark.parametrize("concurrency", ["forbid", "queue"])
def test_a_slot_that_runs_is_running_and_the_next_is_an_overlap(world: World, concurrency: str) -> None:
    task = world.fleet.task(due=60, concurrency=concurrency)
    world.clock.advance(60)
    world.claim_all()
    (taken,) = world.taker().take(1, {}).taken
    world.fleet.change_execution(taken.job.execution_id, started_at=world.clock.now())
    assert verdict(world, task, 60)[0] == "running"
    for _ in range(2):
        world.clock.advance(60)
        world.claim_all()
    found = asked(world, task, 180)
    assert (found.answer.verdict, found.answer.reason) == ("skipped", "overlap")
    assert str(taken.job.execution_id) in found.answer.message


def test_a_replaced_slot_is_superseded(world: World) -> None:
    task = world.fleet.task(due=60, concurrency="replace")
    for _ in range(2):
        world.clock.advance(60)
        world.claim_all()
    assert verdict(world, task, 60) == ("skipped", "superseded")


def test_missed_slots_also_those_that_one_row_counts(world: World) -> None:
    task = world.fleet.task(due=60, catchUp="none")
    world.clock.advance(300 * 60)
    world.claim_all()
    counted = max(row["count"] for row in world.fleet.ledger(task))
    assert counted > 100
    for minute in (1, 50, 150, 290):
        assert verdict(world, task, minute * 60) == ("skipped", "missed"), minute


def test_a_suspended_slot(world: World) -> None:
    task = world.fleet.task(due=60)
    suspended(world, at(30), at(90))
    world.clock.advance(60)
    world.claim_all()
    assert verdict(world, task, 60) == ("skipped", "suspended")
    assert "by me" in asked(world, task, 60).answer.message


def test_a_slot_that_nobody_claims_is_overdue_once_it_is_late(world: World) -> None:
    task = world.fleet.task(due=60, schedule="@every 1h")
    world.fleet.change_task(task, next_slot=at(3600), next_run=at(3600))
    world.clock.advance(3600 + 59)
    assert verdict(world, task, 3600)[0] != "overdue"
    world.clock.advance(2)
    assert verdict(world, task, 3600) == ("overdue", "not-claimed")
    assert verdict(world, task, None) == ("overdue", "not-claimed")
    run_one(world)
    assert verdict(world, task, 3600) == ("ran", "completed")


def test_a_claimed_slot_that_nobody_starts_is_overdue_too(world: World) -> None:
    task = world.fleet.task(due=60, schedule="@every 1h")
    world.fleet.change_task(task, next_slot=at(3600), next_run=at(3600))
    world.clock.advance(3600)
    world.claim_all()
    world.clock.advance(120)
    assert verdict(world, task, 3600)[0] == "overdue"


def test_a_slot_that_a_calendar_forbade_before_and_after_it_is_claimed(world: World) -> None:
    noon = {"name": "noon", "deny": [{"dates": ["2026-03-01"], "from": "12:01", "until": "12:03"}]}
    task = world.fleet.task(due=60, calendars=[noon])
    assert asked(world, task, None).next_forbidden == "calendar noon forbids runs until 2026-03-01 12:03 UTC"
    assert [fire.at for fire in asked(world, task, None).fires][:2] == [at(0), at(180)]
    assert verdict(world, task, 60) == ("upcoming", "suspended")
    world.clock.advance(60)
    assert verdict(world, task, 60) == ("skipped", "suspended")
    world.claim_all()
    # the calendar is another one now, and the row keeps what it was
    world.fleet.change_task(task, spec={"spec": {}})
    found = asked(world, task, 60)
    assert (found.answer.verdict, found.answer.reason) == ("skipped", "suspended")
    assert "calendar noon forbids runs until 2026-03-01 12:03 UTC" in found.answer.message
