"""Ends in the database: each applied once, with the retry it decides, in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from reconciler.model.execution import CapturedStream, Reason
from reconciler.record.batch import Ended, Started
from reconciler.record.ledger import DatabaseLedger
from reconciler.store.engine import Database
from tests.dispatch.conftest import World
from tests.dispatch.fleet import START, at
from tests.record.runs import SHA, ended, job

NASTY = "it's \"quoted\" \\ back\\slash %s %(x)s :y ? \x00 \x1a 备份 🎉 \r\n\ttab ' -- ; DROP TABLE tasks"


@pytest.fixture
def ledger(world: World) -> DatabaseLedger:
    return DatabaseLedger(world.db, world.clock, world.ids)


def test_an_end_says_everything_and_lets_the_lease_go(world: World, ledger: DatabaseLedger) -> None:
    task = world.fleet.task()
    world.fleet.execution(task, 1, lease_owner="me", lease_until=at(15), start_sent_at=START)
    end = ended(
        1,
        Reason.EXIT_CODE,
        stdout=CapturedStream(NASTY, 1234, SHA, truncated=True),
        stderr=CapturedStream("oh", 2, "b" * 64),
        archive="file:///a/1",
        message="the disk was full" + "!" * 1000,
    )
    assert [item.retry_at for item in ledger.write([], [end])] == [None]
    row = world.fleet.row(1)
    assert row["remark"] == "the disk was full" + "!" * 983
    assert (row["status"], row["reason"], row["exit_code"]) == (2, "exit-code", 3)
    assert (row["output"], row["error"]) == (NASTY, "oh")
    assert (row["output_bytes"], row["error_bytes"], row["truncated"]) == (1234, 2, 1)
    assert (row["output_sha256"], row["error_sha256"], row["archive"]) == (SHA, "b" * 64, "file:///a/1")
    assert (row["started_at"], row["finished_at"]) == (at(90), at(100))
    assert (row["lease_owner"], row["lease_until"]) == (None, None)


def test_many_ends_each_get_their_own_values(world: World, ledger: DatabaseLedger) -> None:
    tasks = world.fleet.tasks([f"t-{n}" for n in range(300)])
    for number, task in enumerate(tasks):
        world.fleet.execution(task, number + 1, lease_owner="me", lease_until=at(15))
    ends = [
        ended(number, Reason.COMPLETED if number % 7 else Reason.EXIT_CODE, finished_at=at(number))
        for number in range(1, 301)
    ]
    ledger.write([], ends[:150])
    ledger.write([], ends[150:])
    for row in world.fleet.ledger():
        number = row["id"]
        assert row["output"] == f"out of {number}\n"
        assert row["finished_at"] == at(number)
        assert row["reason"] == ("completed" if number % 7 else "exit-code")
        assert row["exit_code"] == (0 if number % 7 else 3)


@pytest.mark.parametrize(
    ("reason", "message", "code", "error"),
    [
        (Reason.UNREACHABLE, "no answer from 10.0.0.1", None, "no answer from 10.0.0.1"),
        (Reason.TIMED_OUT, "timed out", None, "timed out\nlast words"),
        (Reason.EXIT_CODE, "ignored", 3, "last words"),
    ],
)
def test_a_message_stands_in_front_where_the_command_left_no_code(
    world: World, ledger: DatabaseLedger, reason: Reason, message: str, code: int | None, error: str
) -> None:
    world.fleet.execution(world.fleet.task(), 1)
    said = "" if reason is Reason.UNREACHABLE else "last words"
    ledger.write([], [ended(1, reason, message=message, exit_code=code, stderr=CapturedStream(said, 0, SHA))])
    assert world.fleet.row(1)["error"] == error


SECOND = [
    # (first end, second end, which of them stands)
    (Reason.COMPLETED, Reason.EXIT_CODE, "completed"),
    (Reason.EXIT_CODE, Reason.LOST, "exit-code"),
    (Reason.CANCELLED, Reason.COMPLETED, "cancelled"),
    (Reason.LOST, Reason.COMPLETED, "completed"),
    (Reason.UNREACHABLE, Reason.EXIT_CODE, "exit-code"),
    (Reason.LOST, Reason.UNREACHABLE, "lost"),
    (Reason.UNREACHABLE, Reason.LOST, "unreachable"),
]


@pytest.mark.parametrize(("first", "second", "stands"), SECOND)
def test_only_a_proven_end_replaces_one_that_proves_nothing(
    world: World, ledger: DatabaseLedger, first: Reason, second: Reason, stands: str
) -> None:
    world.fleet.execution(world.fleet.task(), 1)
    ledger.write([], [ended(1, first)])
    ledger.write([], [ended(1, second), ended(1, second)])
    assert world.fleet.row(1)["reason"] == stands


def test_a_skipped_row_is_never_overwritten(world: World, ledger: DatabaseLedger) -> None:
    world.fleet.execution(world.fleet.task(), 1, status=3, reason="superseded")
    ledger.write([], [ended(1)])
    assert world.fleet.row(1)["reason"] == "superseded"


def test_a_start_is_written_once_and_never_after_the_end(world: World, ledger: DatabaseLedger) -> None:
    first, second, third = world.fleet.tasks(["a", "b", "c"])
    world.fleet.execution(first, 1, lease_owner="me", lease_until=at(15))
    world.fleet.execution(second, 2, started_at=at(1), lease_owner="me", lease_until=at(15))
    world.fleet.execution(third, 3, status=2, reason="start-failed")
    ledger.write([Started(job(number), at(50)) for number in (1, 2, 3)], [])
    assert [world.fleet.row(number)["started_at"] for number in (1, 2, 3)] == [at(50), at(1), None]
    ledger.write([], [ended(1, started_at=None)])
    assert world.fleet.row(1)["started_at"] == at(50)


def test_last_run_only_moves_forward(world: World, ledger: DatabaseLedger) -> None:
    first, second = world.fleet.tasks(["a", "b"])
    world.fleet.change_task(second, last_run=at(100))
    assert ledger.touch_tasks({first: at(5), second: at(50)}) == set()
    assert world.fleet.task_row(first)["last_run"] == at(5)
    assert world.fleet.task_row(second)["last_run"] == at(100)


RETRIES = {"limit": 2, "backoff": "30s", "factor": 2.0, "maxBackoff": "10m"}


def failing(
    execution_id: int, task: int, reason: Reason = Reason.EXIT_CODE, attempt: int = 1, **values: object
) -> Ended:
    return ended(
        execution_id,
        reason,
        of=job(execution_id, task, slot=START, attempt=attempt, retries=RETRIES),
        **values,
    )


def test_a_failure_inserts_its_next_attempt_with_growing_pauses(world: World, ledger: DatabaseLedger) -> None:
    task = world.fleet.task()
    world.fleet.change_task(task, generation=4, line=9)
    world.fleet.execution(task, 1, scheduled_for=START, requested_by="ann@desk", trigger="manual")
    (recorded,) = ledger.write([], [failing(1, task)])
    assert recorded.retry_at == at(130)
    retry = world.fleet.ledger(task)[1]
    assert (retry["attempt"], retry["trigger"], retry["due_at"], retry["scheduled_for"]) == (
        2,
        "retry",
        at(130),
        START,
    )
    assert (retry["status"], retry["requested_by"], retry["generation"], retry["line"]) == (
        0,
        "ann@desk",
        4,
        9,
    )
    (recorded,) = ledger.write([], [failing(retry["id"], task, attempt=2)])
    assert recorded.retry_at == at(160)
    last = world.fleet.ledger(task)[2]
    (recorded,) = ledger.write([], [failing(last["id"], task, attempt=3)])
    assert recorded.retry_at is None
    assert world.fleet.states(task) == {"exit-code": 3}


def test_the_same_end_twice_makes_one_retry(world: World, ledger: DatabaseLedger) -> None:
    task = world.fleet.task()
    world.fleet.execution(task, 1, scheduled_for=START)
    ledger.write([], [failing(1, task)])
    (again,) = ledger.write([], [failing(1, task)])
    assert again.retry_at is None
    assert world.fleet.states(task) == {"exit-code": 1, "waiting": 1}


def test_a_failure_that_replaces_a_lost_end_is_tried_again_once(world: World, ledger: DatabaseLedger) -> None:
    task = world.fleet.task()
    world.fleet.execution(task, 1, scheduled_for=START, status=2, reason="lost")
    (recorded,) = ledger.write([], [failing(1, task)])
    assert recorded.retry_at is not None
    assert world.fleet.states(task) == {"exit-code": 1, "waiting": 1}
    (recorded,) = ledger.write([], [failing(1, task)])
    assert recorded.retry_at is None
    assert world.fleet.states(task) == {"exit-code": 1, "waiting": 1}


def test_a_failure_whose_next_attempt_is_there_already_makes_no_second_one(
    world: World, ledger: DatabaseLedger
) -> None:
    task = world.fleet.task()
    world.fleet.execution(task, 1, scheduled_for=START)
    ledger.write([], [failing(1, task, Reason.UNREACHABLE, started_at=None)])
    ledger.write([], [failing(1, task)])
    assert world.fleet.states(task) == {"exit-code": 1, "waiting": 1}


@pytest.mark.parametrize("owner", [None, "another"])
def test_a_spooled_end_without_proof_counts_for_nothing_once_the_run_is_somebody_elses(
    world: World, ledger: DatabaseLedger, owner: str | None
) -> None:
    task = world.fleet.task()
    world.fleet.execution(task, 1, scheduled_for=START, lease_owner=owner, lease_until=owner and at(15))
    spooled = replace(failing(1, task, Reason.UNREACHABLE, started_at=None), owner="dead")
    (recorded,) = ledger.write([], [spooled])
    assert recorded.void
    assert world.fleet.states(task) == {"taken" if owner else "waiting": 1}
    ledger.write([], [replace(failing(1, task), owner="dead")])
    assert world.fleet.states(task) == {"exit-code": 1, "waiting": 1}, "a proven one always counts"


def test_a_spooled_end_without_proof_counts_while_the_row_is_its_owners(
    world: World, ledger: DatabaseLedger
) -> None:
    task = world.fleet.task()
    world.fleet.execution(task, 1, scheduled_for=START, lease_owner="dead", lease_until=at(15))
    spooled = replace(failing(1, task, Reason.UNREACHABLE, started_at=None), owner="dead")
    (recorded,) = ledger.write([], [spooled])
    assert not recorded.void
    assert world.fleet.states(task) == {"unreachable": 1, "waiting": 1}


def test_a_late_start_does_not_touch_a_row_that_waits_for_a_new_owner(
    world: World, ledger: DatabaseLedger
) -> None:
    world.fleet.execution(world.fleet.task(), 1)
    ledger.write([Started(job(1), at(50))], [])
    assert world.fleet.row(1)["started_at"] is None


NO_RETRY = [Reason.CANCELLED, Reason.AUTH_FAILED, Reason.HOST_KEY, Reason.LOST, Reason.UNREACHABLE]


@pytest.mark.parametrize("reason", NO_RETRY)
def test_what_another_attempt_cannot_mend_is_not_tried_again(
    world: World, ledger: DatabaseLedger, reason: Reason
) -> None:
    task = world.fleet.task()
    world.fleet.execution(task, 1, scheduled_for=START)
    ledger.write([], [failing(1, task, reason)])
    assert world.fleet.states(task) == {reason.value: 1}


def test_a_host_that_was_not_reached_before_the_start_is_tried_again(
    world: World, ledger: DatabaseLedger
) -> None:
    task = world.fleet.task()
    world.fleet.execution(task, 1, scheduled_for=START)
    ledger.write([], [failing(1, task, Reason.UNREACHABLE, started_at=None)])
    assert world.fleet.states(task) == {"unreachable": 1, "waiting": 1}


@pytest.mark.parametrize("what", ["task", "server", "deleted", "cancel"])
def test_nothing_is_tried_again_once_it_may_not_run(world: World, ledger: DatabaseLedger, what: str) -> None:
    task = world.fleet.task()
    world.fleet.execution(task, 1, scheduled_for=START)
    if what == "task":
        world.fleet.change_task(task, status=0)
    elif what == "server":
        world.fleet.change_server("web-1", status=0)
    elif what == "deleted":
        world.fleet.change_task(task, deleted_at=START, status=0)
    else:
        world.fleet.change_execution(1, cancel_requested_at=START)
    ledger.write([], [failing(1, task)])
    assert world.fleet.states(task) == {"exit-code": 1}


def test_an_end_whose_retry_needs_a_locked_task_waits_and_the_others_do_not(
    world: World, ledger: DatabaseLedger
) -> None:
    if world.db.dialect == "sqlite":
        pytest.skip("SQLite has one writer and no row locks")
    held, free = world.fleet.tasks(["held", "free"])
    world.fleet.execution(held, 1, scheduled_for=START)
    world.fleet.execution(free, 2, scheduled_for=START)
    with _locked(world.db, held):
        recorded = ledger.write([], [failing(1, held), failing(2, free)])
        assert [item.job.execution_id for item in recorded] == [2]
        assert ledger.touch_tasks({held: at(1), free: at(1)}) == {held}
    assert world.fleet.row(1)["status"] == 0
    assert [item.job.execution_id for item in ledger.write([], [failing(1, held)])] == [1]


@contextmanager
def _locked(db: Database, task: int) -> Iterator[None]:
    """Another transaction holds the task's row, as an apply does."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with db.write() as connection:
            connection.exec_driver_sql(f"SELECT id FROM tasks WHERE id = {task} FOR UPDATE")
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_megabyte_of_quotes_fits_the_packet(world: World, ledger: DatabaseLedger) -> None:
    first, second = world.fleet.tasks(["a", "b"])
    text = "'\\" * (512 * 1024)
    for number, task in ((1, first), (2, second)):
        world.fleet.execution(task, number)
        assert ledger.max_bytes() >= 3 * 1024 * 1024
        ledger.write([], [ended(number, stdout=CapturedStream(text, len(text), SHA))])
    assert world.fleet.row(2)["output"] == text
