"""A process at work: claims, takes, runs, records, and ends in order."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import event

from reconciler.clock import SystemClock
from reconciler.controller.events import Event, EventKind
from reconciler.dispatch.manual import cancel_executions, request_runs
from reconciler.execute.control import Control
from reconciler.model.execution import Reason, State
from reconciler.store import leases
from reconciler.store.ids import ExecutionIds, first_id_at
from reconciler.store.tables import Task
from tests.controller.conftest import Start, eventually
from tests.controller.executors import Patient, Quick
from tests.dispatch.fleet import Fleet

CLOCK = SystemClock()

# What no database changes is tried on one of them; what is about locks and leases on all three.
sqlite_only = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
mariadb_only = pytest.mark.parametrize(
    "url", [pytest.param("mariadb", marks=pytest.mark.mariadb)], indirect=True
)


def soon(seconds: float = 0.2) -> datetime:
    """A slot that comes so many seconds from now."""
    return CLOCK.now() + timedelta(seconds=seconds)


def test_every_slot_runs_once_and_is_recorded(fleet: Fleet, start: Start) -> None:
    tasks = fleet.tasks([f"t-{n}" for n in range(20)], due=soon(), schedule="@every 1s", concurrency="allow")
    quick = Quick()
    events: list[Event] = []
    runtime = start(quick, on_event=events.append)
    eventually(lambda: len(quick.ran) >= 50)
    assert runtime.stop()
    assert set(quick.slots.values()) == {1}
    assert fleet.states() == {"completed": len(quick.ran)}
    for task in tasks:
        slots = [row["scheduled_for"] for row in fleet.ledger(task)]
        # the first one is where the row said, the others on whole seconds
        assert all(at.microsecond == 0 for at in slots[1:])
        assert [after - before for before, after in pairwise(slots[1:])] == [timedelta(seconds=1)] * (
            len(slots) - 2
        )
        assert fleet.task_row(task)["last_run"] == fleet.ledger(task)[-1]["started_at"]
    kinds = {heard.kind for heard in events}
    assert kinds == {EventKind.CLAIMED, EventKind.STARTED, EventKind.ENDED}
    ends = [heard for heard in events if heard.kind is EventKind.ENDED]
    assert len(ends) == len(quick.ran)
    assert (ends[0].state, ends[0].reason, ends[0].exit_code, ends[0].server) == (
        State.SUCCESS,
        Reason.COMPLETED,
        0,
        "web-1",
    )


def test_a_scheduler_and_a_worker_in_different_processes_share_the_work(fleet: Fleet, start: Start) -> None:
    fleet.tasks([f"t-{n}" for n in range(10)], due=soon(), schedule="@every 1s", concurrency="allow")
    quick, other = Quick(), Quick()
    worker, second = start(quick, schedule=False), start(other, schedule=False)
    controller = start(None)
    eventually(lambda: len(quick.ran) + len(other.ran) >= 40)
    controller.stop()
    assert worker.stop()
    assert second.stop()
    assert set((quick.slots + other.slots).values()) == {1}
    assert fleet.states() == {"completed": len(quick.ran) + len(other.ran)}


def test_a_worker_starts_what_another_process_claimed_well_within_a_second(
    fleet: Fleet, start: Start
) -> None:
    fleet.task(due=soon(1), schedule="@every 1s")
    quick = Quick()
    start(quick, schedule=False)
    start(None)
    eventually(lambda: len(quick.ran) >= 3)
    lags = [row["started_at"] - row["due_at"] for row in fleet.ledger() if row["started_at"]]
    assert min(lags) < timedelta(seconds=0.7)


def test_max_concurrent_runs_holds_over_three_racing_workers(fleet: Fleet, start: Start) -> None:
    fleet.server("small", maxConcurrentRuns=2)
    fleet.tasks([f"t-{n}" for n in range(40)], "small", due=soon(), schedule="@every 1h")
    shared = Quick(0.02)
    workers = [start(shared, schedule=False) for _ in range(3)]
    controller = start(None)
    # 1.5 s alone on a machine, and 32 s were seen on a very busy one: this is about a number, not about time
    eventually(lambda: len(shared.ran) == 40, 120)
    controller.stop()
    for worker in workers:
        assert worker.stop()
    assert shared.most["small"] == 2
    assert set(shared.ran.values()) == {1}
    assert fleet.states() == {"completed": 40}


@sqlite_only
def test_a_slot_that_meets_its_running_predecessor_is_skipped(fleet: Fleet, start: Start) -> None:
    task = fleet.task(due=soon(), schedule="@every 1s", concurrency="forbid")
    patient = Patient()
    runtime = start(patient)
    eventually(lambda: fleet.states(task)["overlap"] >= 2)
    assert fleet.states(task)["running"] == 1
    patient.released.set()
    runtime.stop()
    assert patient.most["web-1"] == 1


@mariadb_only
def test_replace_ends_the_running_one_before_the_new_one_starts(fleet: Fleet, start: Start) -> None:
    task = fleet.task(due=soon(), schedule="@every 1s", concurrency="replace")
    patient = Patient()
    start(patient)
    eventually(lambda: fleet.states(task)["cancelled"] >= 2)
    assert patient.most["web-1"] == 1


def test_a_cancel_reaches_the_running_command(fleet: Fleet, start: Start) -> None:
    task = fleet.task(due=soon(), schedule="@every 1h")
    patient = Patient()
    start(patient)
    eventually(lambda: fleet.states(task)["running"])
    cancel_executions(fleet.db, CLOCK, [fleet.ledger(task)[0]["id"]], "ann@desk")
    eventually(lambda: fleet.states(task) == {"cancelled": 1}, 5)
    assert "ann@desk asked for it" in fleet.ledger(task)[0]["error"]


@mariadb_only
def test_a_manual_run_is_taken_within_a_second_or_so(fleet: Fleet, start: Start) -> None:
    fleet.task(schedule=None, due=None)
    quick = Quick()
    start(quick)
    request_runs(fleet.db, CLOCK, ExecutionIds(400, CLOCK), ["backup"], "ann@desk")
    eventually(lambda: fleet.states() == {"completed": 1}, 3)


@sqlite_only
def test_a_retry_runs_when_its_time_comes(fleet: Fleet, start: Start) -> None:
    task = fleet.task(due=soon(), schedule="@every 1h", retries={"limit": 2, "backoff": "1s", "factor": 1.0})
    failing = Quick(reason=Reason.START_FAILED)
    events: list[Event] = []
    start(failing, on_event=events.append)
    eventually(lambda: fleet.states(task) == {"start-failed": 3})
    rows = fleet.ledger(task)
    assert [row["attempt"] for row in rows] == [1, 2, 3]
    for before, after in pairwise(rows):
        assert after["due_at"] - before["finished_at"] == timedelta(seconds=1)
        assert after["started_at"] >= after["due_at"]
    assert [heard.attempt for heard in events if heard.kind is EventKind.RETRYING] == [2, 3]


@mariadb_only
def test_a_task_follows_the_success_of_another(fleet: Fleet, start: Start) -> None:
    fleet.task("extract", due=soon(), schedule="@every 1h")
    report = fleet.task("report", schedule=None, due=None, after=["extract"])
    start(Quick())
    eventually(lambda: fleet.states(report) == {"completed": 1})
    assert fleet.ledger(report)[0]["trigger"] == "dependency"


# -- ending ---------------------------------------------------------------------------------------


def test_stopping_runs_what_is_claimed_and_claims_no_more(fleet: Fleet, start: Start) -> None:
    fleet.server("small", maxConcurrentRuns=2)
    fleet.tasks([f"t-{n}" for n in range(10)], "small", due=CLOCK.now(), schedule="@every 1h")
    slow = Quick(0.2)
    runtime = start(slow)
    eventually(lambda: fleet.states()["waiting"] >= 4)
    fleet.task("late", due=CLOCK.now() + timedelta(seconds=0.5), schedule="@every 1h")
    assert runtime.stop(15)
    assert fleet.states() == {"completed": 10}
    assert fleet.task_row(11)["next_run"] < CLOCK.now()


@sqlite_only
def test_a_worker_goes_on_until_nothing_due_waits(fleet: Fleet, start: Start) -> None:
    tasks = fleet.tasks([f"t-{n}" for n in range(4)], due=None)
    quick = Quick(0.3)
    worker = start(quick, schedule=False, workers=1)
    stopping = threading.Thread(target=worker.stop, args=(15,))
    fleet.execution(tasks[0], 1)
    eventually(lambda: quick.ran)
    stopping.start()
    for number, task in enumerate(tasks[1:]):
        fleet.execution(task, 2 + number, due_at=CLOCK.now())
    stopping.join(15)
    assert fleet.states() == {"completed": 4}


def test_what_outlives_the_time_is_ended_and_recorded_as_cancelled(fleet: Fleet, start: Start) -> None:
    fleet.server("web-1", durable=False)
    fleet.task(due=soon(), schedule="@every 1h")
    patient = Patient()
    runtime = start(patient)
    eventually(lambda: fleet.states()["running"])
    before = CLOCK.monotonic()
    assert runtime.stop(3, finish=False)
    assert CLOCK.monotonic() - before < 4.5
    assert fleet.states() == {"cancelled": 1}
    assert "the process that runs it ends" in fleet.ledger()[0]["error"]


@mariadb_only
def test_what_cannot_be_ended_is_said_and_left_to_the_reaper(fleet: Fleet, start: Start) -> None:
    fleet.server("web-1", durable=False)
    fleet.task(due=soon(), schedule="@every 1h")
    stubborn = Patient(stubborn=True)
    runtime = start(stubborn)
    eventually(lambda: fleet.states()["running"])
    assert not runtime.stop(1, finish=False)
    assert fleet.states() == {"running": 1}
    assert fleet.ledger()[0]["lease_until"] is not None
    stubborn.released.set()


@sqlite_only
def test_a_durable_run_is_let_go_and_the_next_process_attaches_to_it(fleet: Fleet, start: Start) -> None:
    fleet.task(due=soon(), schedule="@every 1h")
    first = Patient()
    runtime = start(first)
    eventually(lambda: fleet.states()["running"])
    assert runtime.stop(3, finish=False)
    (row,) = fleet.ledger()
    assert fleet.states() == {"running": 1}
    assert (row["lease_owner"], row["lease_until"]) == (None, None)
    second = Quick()
    start(second, schedule=False)
    eventually(lambda: fleet.states() == {"completed": 1})
    (job,) = second.jobs
    assert (job.execution_id, job.started_at) == (row["id"], row["started_at"])


def test_a_proven_end_found_later_replaces_unreachable(
    fleet: Fleet, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.controller.inquest.ASK_SECONDS", 0.1)
    fleet.task(due=soon(), schedule="@every 1h")
    silent = Quick(reason=Reason.UNREACHABLE)
    start(silent)
    eventually(lambda: len(silent.jobs) >= 3 and fleet.states()["unreachable"])
    silent.reason = Reason.COMPLETED
    eventually(lambda: fleet.states() == {"completed": 1})
    first, *later = silent.jobs
    assert first.started_at is None
    assert {job.started_at for job in later} == {fleet.ledger()[0]["started_at"]}
    # it is asked about no more
    asked = len(silent.jobs)
    CLOCK.sleep(0.5)
    assert len(silent.jobs) == asked


def test_what_a_host_never_told_is_asked_by_the_next_process_too(fleet: Fleet, start: Start) -> None:
    fleet.server("plain", durable=False)
    fleet.server("web-1")
    fleet.server("web-2")
    tasks = {
        name: fleet.task(name, server, due=None)
        for name, server in (("a", "web-1"), ("b", "web-2"), ("c", "web-2"), ("d", "plain"))
    }
    begun = CLOCK.now().replace(microsecond=0) - timedelta(hours=3)
    silent = {"status": 2, "reason": "unreachable", "started_at": begun, "start_sent_at": begun}
    ids = {name: first_id_at(begun) + number for number, name in enumerate(tasks)}
    for name, task in tasks.items():
        fleet.execution(task, ids[name], finished_at=begun, **silent)
    # hosts have forgotten what is older; and this one never began
    old = begun - timedelta(days=7)
    fleet.execution(tasks["a"], first_id_at(old), scheduled_for=old, finished_at=old, **silent)
    fleet.execution(tasks["a"], ids["d"] + 1, finished_at=begun, status=2, reason="unreachable")
    first, second = Quick(), Quick()
    start(first)
    eventually(lambda: fleet.states() == {"completed": 3, "unreachable": 3})
    # the newest come first, and only one process asks
    start(second)
    assert [job.execution_id for job in first.jobs] == [ids["c"], ids["b"], ids["a"]]
    assert {job.started_at for job in first.jobs} == {begun}
    assert second.jobs == []


def test_a_server_that_did_not_answer_is_asked_once_a_round(fleet: Fleet, start: Start) -> None:
    begun = CLOCK.now().replace(microsecond=0) - timedelta(hours=3)
    silent = {"status": 2, "reason": "unreachable", "started_at": begun, "start_sent_at": begun}
    for number, task in enumerate(fleet.tasks(["a", "b", "c"], due=None)):
        fleet.execution(task, first_id_at(begun) + number, finished_at=begun, **silent)
    executor = Quick(reason=Reason.UNREACHABLE)
    start(executor)
    eventually(lambda: executor.jobs)
    CLOCK.sleep(0.3)
    assert len(executor.jobs) == 1
    # a run that reaches the server is reason enough to ask again
    executor.reason = Reason.COMPLETED
    fleet.execution(fleet.task("d", due=None), first_id_at(CLOCK.now()))
    eventually(lambda: fleet.states() == {"completed": 4})


def test_without_finishing_waiting_rows_stay_for_others(fleet: Fleet, start: Start) -> None:
    fleet.server("web-1", durable=False)
    tasks = fleet.tasks(["a", "b", "c"], due=None)
    patient = Patient()
    worker = start(patient, schedule=False, workers=1)
    for number, task in enumerate(tasks):
        fleet.execution(task, number + 1)
    eventually(lambda: fleet.states()["running"])
    worker.stop(2, finish=False)
    assert fleet.states() == {"cancelled": 1, "waiting": 2}
    second = Quick()
    start(second, schedule=False)
    eventually(lambda: fleet.states() == {"cancelled": 1, "completed": 2})


def test_a_stopped_process_leaves_no_lease_behind(fleet: Fleet, start: Start) -> None:
    runtime = start(Quick())
    with fleet.db.read() as connection:
        assert [held.owner for held in leases.live(fleet.db, connection, "worker/")] == [runtime.owner]
    runtime.stop(1)
    with fleet.db.read() as connection:
        assert leases.live(fleet.db, connection, "worker/") == []
        # the node number rests for a moment, so that nobody makes the same ids
        now = fleet.db.now(connection)
        assert all(
            held.until - now < timedelta(seconds=30) for held in leases.live(fleet.db, connection, "node/")
        )


@mariadb_only
def test_a_hurried_stop_ends_soon(fleet: Fleet, start: Start) -> None:
    fleet.task(due=soon(), schedule="@every 1h")
    runtime = start(Patient())
    eventually(lambda: fleet.states()["running"])
    threading.Timer(0.3, runtime.hurry, args=(2,)).start()
    before = CLOCK.monotonic()
    runtime.stop(20)
    assert CLOCK.monotonic() - before < 5


# -- trouble --------------------------------------------------------------------------------------


def test_what_a_vanished_process_held_is_reaped(fleet: Fleet, start: Start) -> None:
    task, other = fleet.tasks(["a", "b"], due=None)
    past = CLOCK.now() - timedelta(seconds=60)
    fleet.execution(task, 1, lease_owner="dead", lease_until=past)
    fleet.execution(other, 2, lease_owner="dead", lease_until=past, started_at=past)
    fleet.server("keeps-nothing", durable=False)
    plain = fleet.task("c", "keeps-nothing", due=None)
    fleet.execution(plain, 3, lease_owner="dead", lease_until=past, started_at=past)
    quick = Quick()
    start(quick, schedule=False)
    # a server that was itself just started makes everyone wait for one lease
    eventually(lambda: fleet.states() == {"completed": 2, "lost": 1}, 40)
    # the second one was attached to
    assert quick.ran == {1: 1, 2: 1}
    assert [job.started_at for job in quick.jobs if job.execution_id == 2] == [past]


@sqlite_only
def test_an_idle_process_hardly_works(fleet: Fleet, start: Start) -> None:
    fleet.tasks([f"t-{n}" for n in range(500)], due=soon(3600), schedule="@every 1h")
    runtime = start(Quick())
    statements: list[str] = []
    event.listen(runtime._db.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    counts = []
    # the quietest of some looks: on a loaded machine the start may reach into the first
    while len(counts) < 6 and not (counts and 2 <= min(counts) <= 24):
        CLOCK.sleep(0.7)
        statements.clear()
        CLOCK.sleep(2.0)
        counts.append(len(statements))
    # twice a glance and a look for waiting runs, perhaps a renewal and a look for lapsed leases
    assert 2 <= min(counts) <= 24


@sqlite_only
def test_an_apply_is_noticed_within_a_second_or_so(fleet: Fleet, start: Start) -> None:
    task = fleet.task(due=soon(3600), schedule="@every 1h")
    quick = Quick()
    start(quick)
    CLOCK.sleep(0.5)
    with fleet.db.write() as connection:
        connection.execute(
            Task.__table__.update().where(Task.id == task).values(next_slot=CLOCK.now(), next_run=CLOCK.now())
        )
        leases.raise_counter(connection)
    eventually(lambda: quick.ran, 4)


@sqlite_only
def test_an_executor_that_breaks_its_promise_ends_only_its_run(fleet: Fleet, start: Start) -> None:
    class Broken(Quick):
        def _work(self, control: Control) -> bool:
            raise ZeroDivisionError

    fleet.task(due=soon(), schedule="@every 1h")
    start(Broken())
    eventually(lambda: fleet.states() == {"internal": 1})
    assert "ZeroDivisionError" in fleet.ledger()[0]["error"]


@mariadb_only
def test_a_listener_that_fails_disturbs_nothing(fleet: Fleet, start: Start) -> None:
    def listener(heard: Event) -> None:
        raise ZeroDivisionError

    fleet.task(due=soon(), schedule="@every 1h")
    start(Quick(), on_event=listener)
    eventually(lambda: fleet.states() == {"completed": 1})
