"""Claims: due slots become rows once, and every slot that does not run has its row and reason."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import event

from reconciler.model.execution import Trigger
from reconciler.store.claims import NewExecution, insert_executions
from reconciler.store.engine import Database
from reconciler.store.leases import raise_counter
from reconciler.store.tables import Override
from tests.dispatch.conftest import World, scheduler
from tests.dispatch.fleet import START, at
from tests.services.clock import FakeClock


def test_a_due_slot_becomes_a_waiting_row_and_the_task_moves_on(world: World) -> None:
    task = world.fleet.task(due=0)
    claimed = world.scheduler.claim()
    assert claimed.tasks == 1
    assert claimed.complete
    assert claimed.names[task] == ("backup", "web-1")
    (row,) = world.fleet.ledger()
    assert (row["task_id"], row["scheduled_for"], row["due_at"], row["status"]) == (task, START, START, 0)
    assert (row["trigger"], row["attempt"], row["count"], row["path"], row["line"]) == (
        "schedule",
        1,
        1,
        "fleet.yaml",
        1,
    )
    assert world.fleet.task_row(task)["next_run"] == at(60)
    assert world.scheduler.next_due() == at(60)


def test_what_is_not_due_yet_disabled_or_without_a_schedule_stays(world: World) -> None:
    world.fleet.task("later", due=30)
    world.fleet.task("off", due=0, enabled=False)
    world.fleet.task("manual", schedule=None)
    assert world.scheduler.claim().tasks == 0
    assert world.fleet.ledger() == []


def test_jitter_delays_the_due_time_and_not_the_slot(world: World) -> None:
    task = world.fleet.task("spread", due=0, schedule="@every 1h", jitter="10m")
    world.clock.advance(1)
    world.scheduler.claim()
    row = world.fleet.task_row(task)
    offset = row["next_run"] - row["next_slot"]
    assert timedelta(0) <= offset < timedelta(minutes=10)
    # due at its own offset: either it was claimed now, or it waits for exactly that
    rows = world.fleet.ledger()
    if rows:
        assert rows[0]["due_at"] - rows[0]["scheduled_for"] == offset
    else:
        assert row["next_slot"] == START


def test_one_claim_takes_no_more_than_its_batch_and_the_longest_due_first(world: World) -> None:
    old = world.fleet.tasks([f"old-{n}" for n in range(3)], due=-30)
    world.fleet.tasks([f"new-{n}" for n in range(3)], due=-10)
    small = scheduler(world.db, world.clock, 3, batch=3)
    claimed = small.claim()
    assert not claimed.complete
    assert {row["task_id"] for row in world.fleet.ledger()} == set(old)
    assert small.claim().tasks == 3
    assert small.claim().complete


CATCH_UP = [
    # (catchUp, window, reasons of the five slots that passed, oldest first; the last one is on time)
    ("none", "1h", ["missed", "missed", "missed", "missed", "waiting"]),
    ("latest", "1h", ["missed", "missed", "missed", "waiting", "overlap"]),
    ("latest", "45s", ["missed", "missed", "missed", "missed", "waiting"]),
    ("all", "1h", ["waiting", "waiting", "waiting", "waiting", "overlap"]),
    ("all", "3m", ["missed", "waiting", "waiting", "waiting", "overlap"]),
]


@pytest.mark.parametrize(("catch_up", "window", "expected"), CATCH_UP)
def test_missed_slots_follow_catch_up(world: World, catch_up: str, window: str, expected: list[str]) -> None:
    # five slots: 4, 3, 2, 1 and 0 minutes old; only the last is at most 30 s late
    task = world.fleet.task(due=-240, schedule="@every 1m", catchUp=catch_up, catchUpWindow=window)
    late = scheduler(world.db, world.clock, 4)
    late._late_after = timedelta(seconds=30)
    late.claim()
    rows = world.fleet.ledger(task)
    assert [row["reason"] or "waiting" for row in rows] == expected
    assert all(row["finished_at"] is not None for row in rows if row["status"] == 3)


def test_a_year_of_missed_seconds_is_a_hundred_rows_that_count_them_all(world: World) -> None:
    task = world.fleet.task(due=-365 * 86_400, schedule="@every 1s", catchUp="none")
    world.scheduler.claim()
    rows = world.fleet.ledger(task)
    skipped = [row for row in rows if row["reason"] == "missed"]
    assert len(skipped) == 100
    on_time = len(rows) - len(skipped)
    assert sum(row["count"] for row in skipped) + on_time == 365 * 86_400 + 1


@pytest.mark.parametrize(
    ("concurrency", "expected"),
    [
        ("forbid", ["running", "overlap"]),
        ("allow", ["running", "waiting"]),
        ("queue", ["running", "waiting"]),
        ("replace", ["running", "waiting"]),
    ],
)
def test_a_slot_that_meets_a_running_one(world: World, concurrency: str, expected: list[str]) -> None:
    task = world.fleet.task(due=0, concurrency=concurrency)
    world.fleet.execution(
        task, 7, scheduled_for=at(-60), started_at=at(-50), lease_owner="x", lease_until=at(9)
    )
    world.scheduler.claim()
    states = [
        row["reason"] or ("running" if row["started_at"] else "waiting") for row in world.fleet.ledger(task)
    ]
    assert states == expected
    asked = world.fleet.row(7)["cancel_requested_by"]
    assert asked == ("concurrency: replace" if concurrency == "replace" else None)


def test_queue_lets_one_wait_and_skips_the_next(world: World) -> None:
    task = world.fleet.task(due=0, concurrency="queue")
    world.fleet.execution(
        task, 7, scheduled_for=at(-60), started_at=at(-50), lease_owner="x", lease_until=at(9)
    )
    world.scheduler.claim()
    world.clock.advance(60)
    world.scheduler.claim()
    assert world.fleet.states(task) == {"running": 1, "waiting": 1, "overlap": 1}


def test_replace_closes_what_waits(world: World) -> None:
    task = world.fleet.task(due=0, concurrency="replace")
    world.scheduler.claim()
    world.clock.advance(60)
    world.scheduler.claim()
    assert [row["reason"] for row in world.fleet.ledger(task)] == ["superseded", None]


def test_replace_also_cancels_what_is_taken_while_it_decides(world: World) -> None:
    task = world.fleet.task(due=0, concurrency="replace")
    world.scheduler.claim()
    (taken,) = world.taker().take(1, {}).taken
    world.clock.advance(60)
    world.scheduler.claim()
    assert world.fleet.row(taken.job.execution_id)["cancel_requested_at"] is not None
    assert world.fleet.states(task) == {"taken": 1, "waiting": 1}


def test_a_waiting_retry_keeps_its_slot_unfinished(world: World) -> None:
    task = world.fleet.task(due=0, concurrency="forbid")
    world.fleet.execution(task, 7, scheduled_for=at(-60), status=2, reason="exit-code")
    world.fleet.execution(task, 8, scheduled_for=at(-60), attempt=2, trigger="retry", due_at=at(600))
    world.scheduler.claim()
    assert world.fleet.states(task) == {"exit-code": 1, "waiting": 1, "overlap": 1}


@pytest.mark.parametrize("of", ["task", "project", "all"])
def test_slots_of_a_suspended_time_are_skipped_as_suspended(world: World, of: str) -> None:
    task = world.fleet.task(due=0)
    with world.db.write() as connection:
        connection.execute(
            Override.__table__.insert().values(
                id=1,
                kind="suspend",
                task_id=task if of == "task" else None,
                project_id=1 if of == "project" else None,
                reason="night",
                by="me",
                since=at(-100),
                until=at(30),
            )
        )
    world.scheduler.claim()
    world.clock.advance(60)
    world.scheduler.claim()
    assert [row["reason"] for row in world.fleet.ledger(task)] == ["suspended", None]


NOON = {"name": "noon", "deny": [{"dates": ["2026-03-01"], "from": "12:01", "until": "12:03"}]}


def test_a_suspended_row_says_who_suspended_it_until_when_and_why(world: World) -> None:
    task = world.fleet.task(due=0)
    with world.db.write() as connection:
        values = {"kind": "suspend", "reason": "disk ü", "by": "ann", "since": at(-100), "until": at(30)}
        connection.execute(Override.__table__.insert().values(id=1, **values))
    world.scheduler.claim()
    (row,) = world.fleet.ledger(task)
    said = "suspended with everything by ann until 2026-03-01 12:00:30 UTC: disk ü"
    assert (row["reason"], row["error"], row["error_bytes"]) == ("suspended", said, len(said.encode()))


def test_slots_that_a_calendar_forbids_are_skipped_and_name_it(world: World) -> None:
    task = world.fleet.task(due=0, calendars=[NOON])
    for _ in range(5):
        world.scheduler.claim()
        world.clock.advance(60)
    rows = world.fleet.ledger(task)
    assert [row["reason"] for row in rows][:4] == [None, "suspended", "suspended", "overlap"]
    assert {row["error"] for row in rows if row["reason"] == "suspended"} == {
        "calendar noon forbids runs until 2026-03-01 12:03 UTC"
    }
    assert rows[0]["error"] is None


@pytest.mark.parametrize("catch_up", ["none", "latest", "all"])
def test_what_a_calendar_forbade_is_never_caught_up(world: World, catch_up: str) -> None:
    task = world.fleet.task(due=0, calendars=[NOON], catchUp=catch_up, concurrency="allow")
    world.clock.advance(600)
    world.scheduler.claim()
    rows = world.fleet.ledger(task)
    assert len(rows) == 11
    forbidden = [row["scheduled_for"] for row in rows if row["reason"] == "suspended"]
    assert forbidden == [at(60), at(120)]


def test_years_of_missed_slots_under_a_calendar_are_few_rows(world: World) -> None:
    nights = {"name": "nights", "deny": [{"weekdays": ["mon", "tue"], "from": "22:00", "until": "06:00"}]}
    task = world.fleet.task(due=at(-5 * 365 * 86_400), calendars=[nights], catchUp="none")
    world.scheduler.claim()
    rows = world.fleet.ledger(task)
    assert len(rows) <= 202
    assert sum(row["count"] for row in rows) == 5 * 365 * 1440 + 1
    assert world.fleet.task_row(task)["next_run"] == at(60)


def test_a_manual_run_and_a_retry_ignore_calendars(world: World) -> None:
    always = {"name": "always", "deny": [{"from": "2020-01-01", "until": "2030-01-01"}]}
    task = world.fleet.task(due=600, calendars=[always])
    world.fleet.execution(task, 7, scheduled_for=at(-60), status=2, reason="exit-code")
    world.fleet.execution(task, 8, scheduled_for=at(-60), attempt=2, trigger="retry", due_at=at(0))
    assert [taken.job.execution_id for taken in world.taker().take(1, {}).taken] == [8]


def test_a_spoilt_row_does_not_stop_the_others_and_is_looked_at_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    bad = world.fleet.task("bad", due=-5)
    worse = world.fleet.task("worse", due=-5)
    good = world.fleet.task("good", due=0)
    world.fleet.change_task(bad, spec={"spec": {"concurrency": "sometimes"}})
    world.fleet.change_task(worse, cron_expr="61 * * * *")
    assert world.scheduler.claim().complete
    assert [row["task_id"] for row in world.fleet.ledger()] == [good]
    assert world.fleet.task_row(bad)["next_run"] == at(60)
    assert world.fleet.task_row(bad)["next_slot"] == at(-5)
    assert "bad@web-1" in caplog.text
    assert "worse@web-1" in caplog.text
    world.fleet.change_task(bad, spec={"spec": {}})
    world.clock.advance(60)
    world.scheduler.claim()
    assert world.fleet.states(bad)["waiting"] == 1


def test_a_slot_that_is_in_the_ledger_already_is_not_run_again(world: World) -> None:
    task = world.fleet.task(due=0)
    other = world.fleet.task("other", due=0)
    world.fleet.execution(task, 7, scheduled_for=START, status=1, reason="completed")
    claimed = world.scheduler.claim()
    assert [row.task_id for row in claimed.waiting] == [other]
    assert world.fleet.states(task) == {"completed": 1}
    assert world.fleet.task_row(task)["next_slot"] == at(60)


def test_inserting_a_batch_again_changes_nothing(world: World) -> None:
    task = world.fleet.task()
    rows = [
        NewExecution(number, task, 1, Trigger.SCHEDULE, at(number), at(number), 1, None, "it's 100%", 1)
        for number in range(1, 4)
    ]
    with world.db.write() as connection:
        assert insert_executions(connection, rows[:2], START) == set()
    again = [NewExecution(row.id + 10, *_rest(row)) for row in rows]
    with world.db.write() as connection:
        assert insert_executions(connection, again, START) == {11, 12}
    assert [row["id"] for row in world.fleet.ledger()] == [1, 2, 13]
    assert {row["path"] for row in world.fleet.ledger()} == {"it's 100%"}


def _rest(row: NewExecution) -> tuple[object, ...]:
    return (
        row.task_id,
        row.server_id,
        row.trigger,
        row.scheduled_for,
        row.due_at,
        row.generation,
        None,
        row.path,
        1,
    )


def test_the_scan_begins_at_its_floor_and_looks_everywhere_now_and_then(world: World) -> None:
    world.fleet.task("first", due=0)
    assert world.claim_all() == 1
    # set by hand, into the past and below the floor
    low = world.fleet.task("low", due=-3600, schedule="@every 1h")
    assert world.scheduler.claim().tasks == 0
    world.clock.advance(11)
    assert world.scheduler.claim().tasks == 1
    assert world.fleet.ledger(low)
    higher = world.fleet.task("higher", due=-1800, schedule="@every 1h")
    world.scheduler.look_everywhere()
    assert world.scheduler.claim().tasks == 1
    assert world.fleet.ledger(higher)


def test_a_clock_set_back_neither_repeats_nor_loses_a_slot(world: World) -> None:
    task = world.fleet.task(due=0)
    world.scheduler.claim()
    world.clock.step(-3600)
    assert world.scheduler.claim().tasks == 0
    world.clock.step(3600 + 60)
    world.scheduler.claim()
    assert [row["scheduled_for"] for row in world.fleet.ledger(task)] == [START, at(60)]


def test_many_schedulers_claim_each_slot_once(url: str) -> None:
    """Four schedulers on connections of their own race for 400 tasks, again and again."""
    clock = FakeClock(auto=True)
    with closing(Database.open(url, clock)) as db:
        from tests.dispatch.fleet import Fleet

        fleet = Fleet(db)
        fleet.tasks([f"t-{n}" for n in range(400)], due=0, schedule="@every 10s", concurrency="allow")
        rounds = 3
        for _ in range(rounds):
            _race(url, clock, 4)
            clock.advance(10)
        rows = fleet.ledger()
        slots = {(row["task_id"], row["scheduled_for"]) for row in rows}
        assert len(rows) == len(slots) == 400 * rounds
        assert len({row["id"] for row in rows}) == len(rows)
        assert {row["reason"] for row in rows} == {None}


def _race(url: str, clock: FakeClock, count: int) -> None:
    start = threading.Barrier(count)
    failures: list[BaseException] = []

    def claim(node: int) -> None:
        try:
            with closing(Database.open(url, clock)) as db:
                mine = scheduler(db, clock, node, batch=50)
                start.wait()
                nothing = 0
                while nothing < 3:
                    nothing = 0 if mine.claim().tasks else nothing + 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=claim, args=(node,)) for node in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_under_overload_every_task_gets_its_turn_and_the_longest_due_goes_first(world: World) -> None:
    # ten tasks of every second, and claims that manage three of them in a second
    tasks = world.fleet.tasks([f"t-{n}" for n in range(10)], due=0, schedule="@every 1s", catchUp="none")
    small = scheduler(world.db, world.clock, 3, batch=3)
    turns: Counter[int] = Counter()
    due = dict.fromkeys(tasks, START)
    for _ in range(20):
        claimed = small.claim()
        assert not claimed.complete
        now = {row.task_id for row in (*claimed.waiting, *claimed.skipped)}
        longest = sorted(tasks, key=lambda task: (due[task], task))[:3]
        assert now == set(longest)
        turns.update(now)
        due |= {task: world.fleet.task_row(task)["next_run"] for task in now}
        world.clock.advance(1)
    assert min(turns.values()) >= 5, "of six on average"
    world.claim_all()
    for task in tasks:
        rows = world.fleet.ledger(task)
        assert sum(row["count"] for row in rows) == 21, "every second of it has its row"


def test_a_claim_that_a_deadlock_ends_is_made_again(world: World) -> None:
    if world.db.dialect == "sqlite":
        pytest.skip("SQLite has one writer: nobody waits crosswise")
    task = world.fleet.task(due=0, concurrency="replace")
    world.fleet.tasks([f"other-{n}" for n in range(60)], due=None)
    world.fleet.execution(
        task, 7, scheduled_for=at(-60), started_at=at(-50), lease_owner="x", lease_until=at(9)
    )
    raised, tries, claims = threading.Event(), [], []
    with world.db.write() as connection:
        raise_counter(connection)

    @event.listens_for(world.db.engine, "before_cursor_execute")
    def note(_c: object, _u: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO task_executions"):
            tries.append(statement)
        if statement.startswith("UPDATE leases"):
            raised.set()

    claimer = threading.Thread(target=lambda: claims.append(world.scheduler.claim()))
    with closing(Database.open(str(world.db.engine.url.render_as_string(False)), world.clock)) as db:
        with db.write() as other:
            raise_counter(other)
            # the heavier of two is spared: this one has written more rows than the claim
            other.exec_driver_sql("UPDATE tasks SET line = 99 WHERE id > 1")
            claimer.start()
            assert raised.wait(20)
            # the claim holds the task and waits for the counter; now this one wants the task
            other.exec_driver_sql("SELECT id FROM tasks WHERE id = 1 FOR UPDATE")
        claimer.join(20)
    event.remove(world.db.engine, "before_cursor_execute", note)
    assert len(tries) == 2, "the first try was the deadlock's victim"
    assert [claimed.tasks for claimed in claims] == [1]
    assert world.fleet.states(task) == {"running": 1, "waiting": 1}
