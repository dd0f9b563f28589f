"""The database as planning sees it: whole, by names, in a few queries, not stopped by what a hand spoilt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import event, text, update

from reconciler.model.state import ForeignTask, ObservedState
from reconciler.store import objects
from reconciler.store.engine import Database
from reconciler.store.objects import Rewritten
from reconciler.store.observe import observe
from reconciler.store.tables import Project, Server, Task
from tests.store.rows_in import NOON, a_server, a_task, placed, stamp


def observed(db: Database, project: str = "billing", formerly: str | None = None) -> ObservedState:
    with db.snapshot() as connection:
        return observe(connection, project, formerly)


@contextmanager
def counted(db: Database) -> Iterator[list[str]]:
    """The statements that are executed in the block."""
    found: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        found.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


def test_an_empty_database_has_no_project(db: Database) -> None:
    state = observed(db)
    assert (state.project, state.servers, state.tasks, state.foreign_tasks) == (None, {}, {}, ())


def test_servers_of_all_projects_are_seen_and_only_own_tasks(db: Database) -> None:
    with db.write() as connection:
        ours, theirs = stamp(connection), stamp(connection, "shop")
        mine, other = a_server(connection, ours, "mine"), a_server(connection, theirs, "other")
        a_task(connection, ours, mine, "t")
        a_task(connection, ours, other, "t")
        a_task(connection, theirs, other, "theirs")
    state = observed(db)
    assert {name: row.project for name, row in state.servers.items()} == {"mine": "billing", "other": "shop"}
    assert state.tasks.keys() == {("t", "mine"), ("t", "other")}
    assert state.other_projects.keys() == {"shop"}
    assert state.foreign_tasks == ()


def test_live_tasks_of_others_on_our_servers_are_told(db: Database) -> None:
    with db.write() as connection:
        ours, theirs = stamp(connection), stamp(connection, "shop")
        mine = a_server(connection, ours, "mine")
        a_task(connection, theirs, mine, "report")
        gone = a_task(connection, theirs, mine, "gone")
        objects.delete_tasks(connection, theirs, [gone])
    assert observed(db).foreign_tasks == (ForeignTask("shop", "report", "mine"),)


def test_deleted_rows_are_seen_and_a_deleted_server_belongs_to_nobody(db: Database) -> None:
    with db.write() as connection:
        by = stamp(connection)
        on = a_server(connection, by, "s", environment="test")
        row = a_task(connection, by, on, "t")
        objects.delete_tasks(connection, by, [row])
        objects.delete_servers(connection, by, [on])
    state = observed(db)
    server, task = state.servers["s"], state.tasks["t", "s"]
    assert (server.project, server.live, task.live) == (None, False, False)
    # a deletion disables, and nobody declared that
    assert server.definition.hash == server.applied_hash
    assert task.definition.hash == task.applied_hash
    assert not server.drifted
    assert not task.drifted


def test_a_project_is_found_by_its_former_name_unless_the_new_one_is_there(db: Database) -> None:
    with db.write() as connection:
        old = stamp(connection, "old")
        a_task(connection, old, a_server(connection, old), "t")
    state = observed(db, "new", "old")
    assert state.project is not None
    assert (state.project.name, state.tasks.keys()) == ("old", {("t", "db-1")})
    with db.write() as connection:
        stamp(connection, "new")
    state = observed(db, "new", "old")
    assert state.project is not None
    assert (state.project.name, state.tasks) == ("new", {})
    assert state.other_projects.keys() == {"old"}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("command", "'false'"),
        ("cron_expr", "NULL"),
        ("timezone", "'Asia/Tokyo'"),
        ("status", "0"),
        ("protected", "1"),
        ("labels", """'{"a":"b"}'"""),
        ("spec", """'{"spec":{"timeout":"5s"}}'"""),
        ("spec", "'no json at all'"),
        ("spec", "'[1,2]'"),
        ("labels", "''"),
    ],
)
def test_a_task_that_a_hand_changed_has_drifted(db: Database, column: str, value: str) -> None:
    with db.write() as connection:
        by = stamp(connection)
        on = a_server(connection, by)
        a_task(connection, by, on, "touched")
        a_task(connection, by, on, "untouched")
        connection.execute(
            text(f"UPDATE tasks SET {column} = {value} WHERE name = 'touched'".replace(":", r"\:"))
        )
    state = observed(db)
    assert state.tasks["touched", "db-1"].drifted
    assert not state.tasks["untouched", "db-1"].drifted


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("host", "10.9.9.9"),
        ("port", 2200),
        ("username", None),
        ("environment", "x"),
        ("status", 0),
        ("protected", 1),
    ],
)
def test_a_server_that_a_hand_changed_has_drifted(db: Database, column: str, value: object) -> None:
    with db.write() as connection:
        a_server(connection, stamp(connection))
        connection.execute(update(Server).values({column: value}))
    assert observed(db).servers["db-1"].drifted


def test_times_and_places_come_along(db: Database) -> None:
    with db.write() as connection:
        by = stamp(connection)
        on = a_server(connection, by)
        row = a_task(connection, by, on, "t")
        times = {"next_slot": NOON, "next_run": NOON + timedelta(seconds=2, microseconds=5)}
        connection.execute(update(Task).values(times))
        moved = placed("t", server_id=on, formerly="old@db-1")
        objects.rewrite_tasks(connection, by, [Rewritten(row, moved, 3, moved=True)])
    task = observed(db).tasks["t", "db-1"]
    assert (task.next_slot, task.next_run) == (times["next_slot"], times["next_run"])
    assert (task.origin.path, task.origin.line, task.generation) == ("a.yaml", 7, 3)
    assert task.renamed_from == "old@db-1"
    assert not task.drifted


def test_the_number_of_queries_does_not_grow_with_the_rows(db: Database) -> None:
    with db.write() as connection:
        by = stamp(connection)
        servers = objects.insert_servers(connection, by, [placed(f"s{n}") for n in range(20)])
        tasks = [placed(f"t{n}", server_id=on) for n in range(10) for on in servers.values()]
        objects.insert_tasks(connection, by, tasks)
    with counted(db) as statements:
        state = observed(db)
    assert (len(state.servers), len(state.tasks)) == (20, 200)
    assert len([one for one in statements if one.lstrip().startswith("SELECT")]) <= 5


def test_a_spoilt_project_is_seen_as_spoilt(db: Database) -> None:
    with db.write() as connection:
        stamp(connection)
        connection.execute(update(Project).values(spec={"guard": {"maxDeletions": "many"}}))
    state = observed(db)
    assert state.project is not None
    assert state.project.spoilt
