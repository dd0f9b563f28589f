"""What an apply reads and locks of tasks, what it closes, and that applies come one after another."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from reconciler.clock import SystemClock
from reconciler.store import claims, objects
from reconciler.store.engine import Connection, Database
from reconciler.store.outbox import Message, tell
from reconciler.store.rescheduling import close_waiting, lock_timed, read_timed
from reconciler.store.serial import one_at_a_time
from reconciler.store.tables import Execution, Lease, Outbox, Server, Task
from tests.store.conftest import DIALECTS
from tests.store.rows_in import NOON, a_server, a_task, stamp, table_of

LATER = NOON + timedelta(hours=1)


def an_execution(connection: Connection, number: int, task: int, server: int, **values: Any) -> int:
    """A waiting row of the ledger, unless ``values`` say otherwise."""
    row = {
        "id": number,
        "task_id": task,
        "server_id": server,
        "status": 0,
        "trigger": "schedule",
        "scheduled_for": NOON + timedelta(seconds=number),
        "due_at": NOON,
        "created_at": NOON,
        "attempt": 1,
        **values,
    }
    connection.execute(insert(Execution).values(row))
    return number


def closed(db: Database) -> set[int]:
    """The ids that were closed as disabled; all others must be as they were."""
    rows = table_of(db, Execution, "id", "status", "reason", "finished_at")
    assert all(row[1:] == (3, "disabled", LATER) for row in rows if row[1] == 3)
    return {row[0] for row in rows if row[1] == 3}


def test_a_task_is_runnable_when_it_and_its_server_are_open(db: Database) -> None:
    with db.write() as connection:
        by = stamp(connection)
        open_, shut, gone = (a_server(connection, by, name) for name in ("open", "shut", "gone"))
        connection.execute(update(Server).where(Server.id == shut).values(status=0))
        names = [("runs", open_), ("off", open_), ("deleted", open_), ("on-shut", shut), ("on-gone", gone)]
        rows = {name: a_task(connection, by, on, name) for name, on in names}
        connection.execute(update(Task).where(Task.id == rows["off"]).values(status=0))
        connection.execute(update(Task).where(Task.id == rows["runs"]).values(next_slot=LATER))
        objects.delete_tasks(connection, by, [rows["deleted"]])
        objects.delete_servers(connection, by, [gone])
    with db.write() as connection:
        by_id = lock_timed(connection, [rows["runs"], rows["off"], rows["deleted"]], [shut, gone])
        assert {task.name for task in by_id if task.runnable} == {"runs"}
        assert {task.name: task.server for task in by_id} == {
            "runs": "open", "off": "open", "deleted": "open", "on-shut": "shut", "on-gone": "gone",
        }  # fmt: skip
        runs = next(task for task in by_id if task.runnable)
        assert (runs.next_slot, runs.schedule, runs.generation) == (LATER, "0 2 * * *", 1)
        assert read_timed(connection, [task.task_id for task in by_id]) == by_id
        assert [task.task_id for task in by_id] == sorted(rows.values())


def test_a_task_asked_for_twice_comes_once(db: Database) -> None:
    with db.write() as connection:
        by = stamp(connection)
        on = a_server(connection, by)
        row = a_task(connection, by, on)
        assert [task.task_id for task in lock_timed(connection, [row], [on])] == [row]
        assert lock_timed(connection, [], []) == []


@pytest.mark.parametrize("url", DIALECTS[1:], indirect=True)  # SQLite has one writer at a time
def test_a_claim_passes_over_what_an_apply_holds(db: Database) -> None:
    with db.write() as connection:
        by = stamp(connection)
        on = a_server(connection, by)
        held, free = a_task(connection, by, on, "held"), a_task(connection, by, on, "free")
        connection.execute(update(Task).values(next_run=NOON, next_slot=NOON))
    with db.write() as apply, closing(Database.open(_url(db), SystemClock())) as other:
        lock_timed(apply, [held])
        with other.write() as claim:
            found = claims.due_tasks(claim, NOON - timedelta(days=1), LATER, 10)
            assert [task.id for task in found] == [free]


def test_waiting_runs_of_what_was_disabled_are_closed(db: Database) -> None:
    with db.write() as connection:
        by = stamp(connection)
        on = a_server(connection, by)
        row, other = a_task(connection, by, on, "off"), a_task(connection, by, on, "other")
        waiting = an_execution(connection, 1, row, on)
        retry = an_execution(connection, 2, row, on, trigger="retry", attempt=2, due_at=LATER)
        manual = an_execution(connection, 3, row, on, trigger="manual")
        an_execution(connection, 4, row, on, lease_owner="w", lease_until=LATER)
        an_execution(connection, 5, row, on, lease_owner="w", lease_until=LATER, started_at=NOON)
        an_execution(connection, 6, row, on, start_sent_at=NOON)
        an_execution(connection, 7, row, on, status=1, finished_at=NOON)
        an_execution(connection, 8, other, on)
    with db.write() as connection:
        close_waiting(connection, [row], [], LATER)
    assert closed(db) == {waiting, retry, manual}


def test_the_end_of_a_server_closes_what_waits_on_it(db: Database) -> None:
    with db.write() as connection:
        by = stamp(connection)
        on, shut = a_server(connection, by, "on"), a_server(connection, by, "shut")
        deleted, there, kept = (
            a_task(connection, by, server, name)
            for server, name in [(on, "deleted"), (shut, "there"), (on, "kept")]
        )
        an_execution(connection, 1, deleted, on, trigger="manual")
        an_execution(connection, 2, there, shut, trigger="manual")
        an_execution(connection, 3, there, shut)
        an_execution(connection, 4, kept, on, trigger="manual")
        an_execution(connection, 5, there, shut, lease_owner="w", lease_until=LATER)
    with db.write() as connection:
        close_waiting(connection, [deleted], [shut], LATER)
    assert closed(db) == {1, 2, 3}


def test_applies_come_one_after_another(db: Database, url: str) -> None:
    """The second one's first statement waits until the first one committed, and then sees all of it."""
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        with closing(Database.open(url, SystemClock())) as mine:
            inside.wait(10)

            def work(connection: Connection) -> None:
                one_at_a_time(connection)
                order.append("second")
                assert connection.execute(select(Outbox.kind)).scalars().all() == ["first"]

            mine.transact(work)

    thread = threading.Thread(target=second)
    thread.start()
    with db.write() as connection:
        one_at_a_time(connection)
        inside.set()
        thread.join(0.3)
        assert thread.is_alive()
        tell(connection, [Message("first", "ops", "first", {})], NOON)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert table_rows(db) == [("applies", "", 0, None)]


def table_rows(db: Database) -> list[tuple[Any, ...]]:
    with db.read() as connection:
        return [
            tuple(row)
            for row in connection.execute(select(Lease.name, Lease.owner, Lease.token, Lease.until))
        ]


def test_the_first_two_applies_of_a_database_make_the_row_once(db: Database, url: str) -> None:
    barrier = threading.Barrier(4)
    failures: list[BaseException] = []

    def apply() -> None:
        with closing(Database.open(url, SystemClock())) as mine:
            barrier.wait()
            try:
                mine.transact(one_at_a_time)
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=apply) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert table_rows(db) == [("applies", "", 0, None)]


def test_a_message_waits_in_the_outbox(db: Database) -> None:
    with db.write() as connection:
        message = Message("drift", "备份", "drift/备份/1", {"project": "备份", "revision": 7})
        assert tell(connection, [message, message], NOON) == 1
        assert tell(connection, [message], NOON) == 0
    assert table_of(db, Outbox, "kind", "target", "payload", "attempts", "next_attempt", "delivered_at") == [
        ("drift", "备份", {"project": "备份", "revision": 7}, 0, NOON, None)
    ]


def _url(db: Database) -> str:
    return db.engine.url.render_as_string(hide_password=False)
