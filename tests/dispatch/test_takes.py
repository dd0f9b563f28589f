"""Takes: oldest first, within every limit, whoever else takes."""

from __future__ import annotations

import threading
from contextlib import closing, suppress
from typing import Any

import pytest

from reconciler.clock import SystemClock
from reconciler.dispatch.candidates import Caution
from reconciler.dispatch.taker import Taker
from reconciler.errors import DatabaseUnavailable
from reconciler.store import engine, leases, takes
from reconciler.store.engine import Database
from tests.dispatch.conftest import World
from tests.dispatch.fleet import START, Fleet, at
from tests.services.clock import FakeClock
from tests.services.commits import commits


def ids_of(world: World, free: int = 100, owner: str = "me", **options: Any) -> list[int]:
    return [taken.job.execution_id for taken in world.taker(owner, **options).take(free, {}).taken]


def test_a_taken_run_is_a_complete_job_with_owner_and_lease(world: World) -> None:
    world.fleet.server("bastion", host="b")
    world.fleet.server("db-1", jump="bastion")
    task = world.fleet.task("dump", "db-1", command="pg_dump", env={"A": "b"}, timeout="5m")
    world.scheduler.claim()
    take = world.taker().take(5, {})
    (taken,) = take.taken
    job = taken.job
    assert (job.project, job.task, job.server.name, job.attempt) == ("shop", "dump", "db-1", 1)
    assert (job.spec.command, job.spec.env, job.spec.timeout) == ("pg_dump", {"A": "b"}, 300)
    assert [hop.name for hop in job.jumps] == ["bastion"]
    assert (job.scheduled_for, job.due_at, job.started_at) == (START, START, None)
    row = world.fleet.ledger(task)[0]
    assert row["lease_owner"] == "me"
    with world.db.read() as connection:
        left = row["lease_until"] - world.db.now(connection)
    assert 10 < left.total_seconds() <= 15
    # nobody could say later whether it began, so the intention is on record
    assert row["start_sent_at"] == START
    assert world.taker("other").take(5, {}).taken == ()


NASTY = (
    'it\'s "100%" \\ of\ttabs,\nlines\r\n, \x01\x1b\x7f, 备份 🦀 é\u2028, '
    "{json: [1]} and /* that */ :name %s ? -- $"
)


def test_every_text_reaches_the_run_as_it_was_written(world: World) -> None:
    world.fleet.server("备份-1")
    task = world.fleet.task('quote\'d "dump" \\ 🦀', "备份-1", command=NASTY, env={"A": NASTY})
    world.scheduler.claim()
    (taken,) = world.taker().take(5, {}).taken
    assert (taken.job.task, taken.job.server.name) == ('quote\'d "dump" \\ 🦀', "备份-1")
    assert taken.job.spec.command == NASTY
    assert taken.job.spec.env == {"A": NASTY}
    assert (taken.job.scheduled_for, taken.job.due_at) == (START, START)
    assert world.fleet.ledger(task)[0]["path"] == "fleet.yaml"


def test_the_oldest_due_goes_first_across_tasks(world: World) -> None:
    tasks = world.fleet.tasks([f"t-{n}" for n in range(6)])
    for position, seconds in enumerate([5, 1, 4, 2, 3, 0]):
        world.fleet.execution(tasks[position], 100 + position, due_at=at(-seconds))
    assert ids_of(world, 3) == [100, 102, 104]
    assert ids_of(world, 3) == [103, 101, 105]


def test_what_is_due_later_or_behind_the_horizon_waits(world: World) -> None:
    task, other, third = world.fleet.tasks(["a", "b", "c"])
    world.fleet.execution(task, 1, due_at=at(-10))
    world.fleet.execution(other, 2, due_at=at(-1))
    world.fleet.execution(third, 3, due_at=at(5))
    taker = world.taker()
    assert [taken.job.execution_id for taken in taker.take(9, {}, at(-5)).taken] == [1]
    assert [taken.job.execution_id for taken in taker.take(9, {}).taken] == [2]


def test_a_full_server_holds_back_nobody_else(world: World) -> None:
    world.fleet.server("slow", maxConcurrentRuns=2)
    slow = world.fleet.tasks([f"s-{n}" for n in range(100)], "slow")
    quick = world.fleet.tasks(["q-1", "q-2"], "quick")
    for number, task in enumerate(slow):
        world.fleet.execution(task, 1000 + number, due_at=at(-100))
    for number, task in enumerate(quick):
        world.fleet.execution(task, 5000 + number, due_at=at(-1))
    take = world.taker().take(4, {})
    assert [taken.job.server.name for taken in take.taken] == ["slow", "slow", "quick", "quick"]
    assert take.blocked


def test_no_server_has_all_threads_of_a_process(world: World) -> None:
    world.fleet.server("big", maxConcurrentRuns=500)
    for number, task in enumerate(world.fleet.tasks([f"b-{n}" for n in range(20)], "big")):
        world.fleet.execution(task, 1 + number)
    late = world.fleet.task("other", "small")
    world.fleet.execution(late, 99, due_at=at(0))
    taken = world.taker(workers=8).take(8, {}).taken
    assert [item.job.server.name for item in taken].count("big") == 6
    assert [item.job.server.name for item in taken].count("small") == 1


@pytest.mark.parametrize(
    ("concurrency", "trigger", "taken"),
    [
        ("forbid", "schedule", 1),
        ("queue", "schedule", 1),
        ("replace", "schedule", 1),
        ("allow", "schedule", 3),
        ("allow", "catch-up", 1),
        ("forbid", "catch-up", 1),
    ],
)
def test_runs_of_a_task_go_one_after_another_unless_allowed(
    world: World, concurrency: str, trigger: str, taken: int
) -> None:
    task = world.fleet.task(concurrency=concurrency)
    for number in (1, 2, 3):
        world.fleet.execution(task, number, trigger=trigger)
    assert ids_of(world) == [1, 2, 3][:taken]
    assert ids_of(world) == []
    world.fleet.change_execution(1, status=1, reason="completed", lease_owner=None, lease_until=None)
    assert ids_of(world) == ([2] if taken == 1 else [])


def test_a_page_says_of_each_row_whether_its_task_has_another_unfinished_one(world: World) -> None:
    lone = world.fleet.task("lone")
    crowded = world.fleet.task("crowded", schedule="@every 1m", concurrency="allow")
    world.claim_all()
    world.clock.advance(60)
    world.claim_all()
    with world.db.read() as connection:
        found = [(row.task_id, row.alone) for row in takes.waiting(connection, at(60), 10)]
    assert sorted(found) == sorted([(lone, True), (crowded, False), (crowded, False)])


def test_a_retry_that_waits_for_its_time_keeps_the_next_slot_waiting(world: World) -> None:
    task = world.fleet.task(concurrency="queue")
    world.fleet.execution(task, 1, scheduled_for=at(-60), status=2, reason="exit-code")
    world.fleet.execution(task, 2, scheduled_for=at(-60), attempt=2, trigger="retry", due_at=at(30))
    world.fleet.execution(task, 3, scheduled_for=at(-30))
    assert ids_of(world) == []
    world.clock.advance(30)
    assert ids_of(world) == [2]


@pytest.mark.parametrize("concurrency", ["forbid", "queue"])
def test_a_retry_has_its_slots_place_in_the_line_however_late_it_came_due(
    world: World, concurrency: str
) -> None:
    for number in range(3):
        task = world.fleet.task(f"job-{number}", concurrency=concurrency)
        base = 1000 * (number + 1)
        world.fleet.execution(task, base, scheduled_for=at(-90), status=2, reason="exit-code")
        # it is due after forty others: more than a page, all of which wait for it
        world.fleet.execution(
            task, base + 99, scheduled_for=at(-90), attempt=2, trigger="retry", due_at=at(-1)
        )
        for slot in range(40):
            world.fleet.execution(
                task,
                base + 1 + slot,
                trigger="catch-up",
                scheduled_for=at(slot - 80),
                due_at=at(slot - 80),
            )
    assert ids_of(world, free=3) == [1099, 2099, 3099]
    assert ids_of(world, free=3) == []
    world.fleet.change_execution(1099, status=1, reason="completed", lease_owner=None, lease_until=None)
    assert ids_of(world, free=3) == [1001]


def test_max_parallel_counts_a_task_over_its_servers(world: World) -> None:
    for number in range(5):
        task = world.fleet.task("deploy", f"web-{number}", maxParallel=2)
        world.fleet.execution(task, 10 + number)
    assert ids_of(world) == [10, 11]
    assert ids_of(world, owner="other") == []
    world.fleet.change_execution(10, status=1, lease_owner=None, lease_until=None)
    assert ids_of(world, owner="other") == [12]


def test_what_can_never_run_is_ended_and_says_why(world: World) -> None:
    world.fleet.server("off", enabled=False)
    world.fleet.server("jumpy", jump="nowhere")
    world.fleet.server("round", jump="round")
    gone = world.fleet.task("gone", "off")
    disabled = world.fleet.task("disabled", concurrency="allow")
    spoilt = world.fleet.task("spoilt")
    lost_way = world.fleet.task("lost-way", "jumpy")
    circle = world.fleet.task("circle", "round")
    good = world.fleet.task("good")
    for task in (gone, disabled, spoilt, lost_way, circle, good):
        world.fleet.execution(task, task)
    world.fleet.execution(disabled, 50, trigger="manual", requested_by="me@here")
    world.fleet.change_task(disabled, status=0)
    world.fleet.change_task(spoilt, spec={"spec": {"timeout": "soon"}})
    take = world.taker().take(10, {})
    assert {taken.job.execution_id for taken in take.taken} == {good, 50}
    ends = {
        row["task_id"]: (row["status"], row["reason"], row["error"])
        for row in world.fleet.ledger()
        if row["status"]
    }
    assert ends[gone][:2] == (3, "disabled")
    assert ends[disabled][:2] == (3, "disabled")
    assert ends[spoilt][:2] == (2, "internal")
    assert "timeout" in ends[spoilt][2]
    assert ends[lost_way][:2] == (2, "start-failed")
    assert "'nowhere'" in ends[lost_way][2]
    assert ends[circle][:2] == (2, "start-failed")


def test_a_local_run_is_left_to_a_process_that_may_run_it(world: World) -> None:
    world.fleet.server("here", connection="local")
    task = world.fleet.task("t", "here")
    world.fleet.execution(task, 1)
    with world.db.write() as connection:
        able = leases.acquire(world.db, connection, "worker/able/local", "able", 15)
    assert able is not None
    assert ids_of(world, machine=None) == []
    with world.db.write() as connection:
        leases.release(connection, able)
    # nobody may: then the run says so, instead of waiting for ever
    assert ids_of(world, machine=None) == [1]


def test_an_execution_that_was_given_back_goes_out_again_under_its_id(world: World) -> None:
    task = world.fleet.task()
    world.fleet.execution(task, 1)
    assert ids_of(world) == [1]
    world.fleet.change_execution(1, lease_owner=None, lease_until=None, start_sent_at=None)
    assert ids_of(world, owner="other") == [1]


@pytest.mark.parametrize("limit", [1, 3])
def test_racing_workers_never_overshoot(url: str, limit: int) -> None:
    """Three workers take and finish without pause; how many run on the server is counted at every take."""
    clock = FakeClock(auto=True)
    with closing(Database.open(url, clock)) as db:
        fleet = Fleet(db)
        fleet.server("small", maxConcurrentRuns=limit)
        for number, task in enumerate(fleet.tasks([f"t-{n}" for n in range(60)], "small")):
            fleet.execution(task, 1 + number)
        race = _Race(url, clock, limit)
        race.run(3)
        assert race.failures == []
        assert race.most <= limit
        assert sorted(race.done) == list(range(1, 61))
        assert fleet.states() == {"completed": 60}


class _Race:
    """Workers that hold what they took for a moment, counting together in memory."""

    def __init__(self, url: str, clock: FakeClock, limit: int) -> None:
        self.url, self.clock, self.limit = url, clock, limit
        self.lock = threading.Lock()
        self.running = 0
        self.most = 0
        self.done: list[int] = []
        self.failures: list[BaseException] = []

    def run(self, workers: int) -> None:
        threads = [threading.Thread(target=self._work, args=(f"w{n}",)) for n in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, owner: str) -> None:
        try:
            with closing(Database.open(self.url, self.clock)) as db:
                taker = Taker(db, self.clock, owner, 15.0, 10, "me@here/1")
                while len(self.done) < 60 and not self.failures:
                    self._round(db, taker)
        except BaseException as error:
            self.failures.append(error)

    def _round(self, db: Database, taker: Taker) -> None:
        ids = [taken.job.execution_id for taken in taker.take(2, {}).taken]
        with self.lock:
            self.running += len(ids)
            self.most = max(self.most, self.running)
        for execution_id in ids:
            with self.lock:
                self.running -= 1
                self.done.append(execution_id)
            with db.write() as connection:
                connection.exec_driver_sql(
                    "UPDATE task_executions SET status = 1, reason = 'completed', lease_owner = NULL, "
                    f"lease_until = NULL WHERE id = {execution_id} AND status = 0"
                )


@pytest.mark.slow
@pytest.mark.parametrize("url", [pytest.param("mariadb", marks=pytest.mark.mariadb)], indirect=True)
def test_a_taker_that_freezes_while_it_takes_holds_the_others_back_only_for_so_long(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a power cut: its connection stays open, and with it the lock of all takers."""
    monkeypatch.setattr(
        engine, "SESSION", engine.SESSION.replace(f"wait_timeout = {engine.IDLE_SECONDS}", "wait_timeout = 2")
    )
    clock = SystemClock()
    with closing(Database.open(url, clock)) as db, closing(Database.open(url, clock)) as frozen:
        fleet = Fleet(db)
        fleet.execution(fleet.task(), 1)
        db.transact(takes.ensure_lock)
        with suppress(DatabaseUnavailable), frozen.write() as connection:
            takes.lock(connection)
            before = clock.monotonic()
            taken = Taker(db, clock, "me", 15.0, 10, "me@here/1").take(1, {}).taken
            assert clock.monotonic() - before < 9
            assert [item.job.execution_id for item in taken] == [1]


def test_a_server_that_is_not_known_to_answer_gets_one_run_at_a_time(world: World) -> None:
    for server in ("new", "known"):
        world.fleet.server(server)
    for number, server in enumerate(["new", "new", "known", "known"], 1):
        world.fleet.execution(
            world.fleet.task(f"t-{number}", server, due=None), number, due_at=at(number - 9)
        )
    new = world.fleet.servers["new"]
    taker = world.taker()
    # one there is finding out already; another that began there before would not count
    busy = taker.take(9, {new: 1}, caution=Caution(lambda server: server == new, {new: 1}))
    assert [taken.job.execution_id for taken in busy.taken] == [3, 4]
    assert busy.blocked
    first = taker.take(9, {new: 1}, caution=Caution(lambda server: server == new, {}))
    assert [taken.job.execution_id for taken in first.taken] == [1]
    later = taker.take(9, {new: 2}, caution=Caution(lambda server: False, {new: 1}))
    assert [taken.job.execution_id for taken in later.taken] == [2]


@pytest.mark.parametrize(
    "url",
    [pytest.param("mariadb", marks=pytest.mark.mariadb), pytest.param("mysql", marks=pytest.mark.mysql)],
    indirect=True,
)
@pytest.mark.parametrize(
    "lost", [1, 2], ids=["and the second try goes well", "twice, so that the take fails"]
)
@pytest.mark.parametrize("answer", ["lost", "done, answer lost"])
def test_what_a_take_without_an_answer_took_is_brought_once(world: World, answer: str, lost: int) -> None:
    for number in (1, 2, 3):
        world.fleet.execution(world.fleet.task(f"t-{number}", due=None), number, due_at=at(number - 9))
    taker = world.taker()
    taken: list[int] = []
    with commits(world.db, iter(["well", *[answer] * lost])):
        # the first one makes the row of the takers' lock
        with suppress(DatabaseUnavailable):
            taken += [item.job.execution_id for item in taker.take(2, {}).taken]
        assert len(taken) == (2 if lost == 1 else 0)
        while brought := [item.job.execution_id for item in taker.take(2, {}).taken]:
            taken += brought
    assert taken == [1, 2, 3]
    assert world.taker("other").take(9, {}).taken == ()


@pytest.mark.parametrize("url", [pytest.param("mariadb", marks=pytest.mark.mariadb)], indirect=True)
def test_what_was_taken_without_an_answer_and_given_to_another_is_not_brought(world: World) -> None:
    world.fleet.execution(world.fleet.task(due=None), 1, due_at=at(-9))
    taker = world.taker()
    with commits(world.db, iter(["well", *["done, answer lost"] * 2])), suppress(DatabaseUnavailable):
        taker.take(2, {})
    with world.db.write() as connection:
        connection.exec_driver_sql("UPDATE task_executions SET lease_owner = 'other' WHERE id = 1")
    assert taker.take(2, {}).taken == ()
