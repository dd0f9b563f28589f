"""Servers and tasks written in bulk, on all three databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, select, update

from reconciler.errors import DatabaseRejected
from reconciler.model.state import ObservedState, Origin
from reconciler.store import objects
from reconciler.store.engine import Connection, Database
from reconciler.store.objects import Placed, Rewritten, Stamp
from reconciler.store.observe import observe
from reconciler.store.tables import Server, Task
from tests.store.rows_in import NOON, a_server, a_task, definition, names_of, placed, stamp, table_of

LATER = NOON + timedelta(hours=1)


def observed(db: Database, project: str = "billing") -> ObservedState:
    with db.snapshot() as connection:
        return observe(connection, project)


def later(connection: Connection) -> Stamp:
    return stamp(connection, at=LATER)


def test_what_is_inserted_is_observed_as_declared(db: Database) -> None:
    spec = {"port": 2222, "environment": "production", "durable": False}
    with db.write() as connection:
        by = stamp(connection)
        on = a_server(connection, by, "db-1", **spec)
        a_task(connection, by, on, "备份数据库", command="echo 'it''s \\ 100 %s' ?", timezone="Asia/Tokyo")
    state = observed(db)
    server, task = state.servers["db-1"], state.tasks["备份数据库", "db-1"]
    assert server.definition == definition({"host": "10.0.0.1", "username": "deploy", **spec})
    assert task.definition.document["spec"]["command"] == "echo 'it''s \\ 100 %s' ?"
    assert not server.drifted
    assert not task.drifted
    assert (task.generation, task.server_id, task.project) == (1, on, "billing")
    assert table_of(db, Task, "created_at", "updated_at", "deleted_at", "line") == [(NOON, NOON, None, 7)]


def test_a_new_task_has_its_next_slot_from_the_start(db: Database) -> None:
    with db.write() as connection:
        by = stamp(connection)
        on = a_server(connection, by)
        task = replace(placed("t", server_id=on), next_slot=LATER, next_run=LATER + timedelta(seconds=1.5))
        objects.insert_tasks(connection, by, [task])
    assert table_of(db, Task, "next_slot", "next_run") == [(LATER, LATER + timedelta(seconds=1.5))]


def test_rewritten_rows_keep_id_creator_and_creation(db: Database) -> None:
    with db.write() as connection:
        by = stamp(connection)
        on = a_server(connection, by)
        row = a_task(connection, by, on, "one")
        untouched = a_task(connection, by, on, "two")
    with db.write() as connection:
        by = later(connection)
        new = placed("one", server_id=on, command="false", enabled=False)
        objects.rewrite_tasks(connection, by, [Rewritten(row, new, 2)])
    state = observed(db)
    assert state.tasks["one", "db-1"].id == row
    assert state.tasks["one", "db-1"].definition == new.definition
    assert not state.tasks["one", "db-1"].drifted
    assert state.tasks["one", "db-1"].revision_id == by.revision_id
    assert state.tasks["two", "db-1"].id == untouched
    columns = ("status", "generation", "created_at", "updated_at")
    assert table_of(db, Task, *columns) == [(0, 2, NOON, LATER), (1, 1, NOON, NOON)]


def test_names_are_swapped_and_chained_under_the_unique_key(db: Database) -> None:
    with db.write() as connection:
        by = stamp(connection)
        ids = objects.insert_servers(connection, by, [placed(name) for name in ("a", "b", "c", "d")])
    with db.write() as connection:
        by = later(connection)
        to = {"a": "b", "b": "a", "c": "d", "d": "e"}
        rows = [Rewritten(ids[old], placed(new, formerly=old), 1, moved=True) for old, new in to.items()]
        objects.rewrite_servers(connection, by, rows)
    assert names_of(db, Server) == {ids[old]: new for old, new in to.items()}
    assert {name: row.renamed_from for name, row in observed(db).servers.items()} == {
        new: old for old, new in to.items()
    }
    assert not any(row.drifted for row in observed(db).servers.values())


def test_tasks_change_places_between_servers(db: Database) -> None:
    with db.write() as connection:
        by = stamp(connection)
        one, two = a_server(connection, by, "one"), a_server(connection, by, "two")
        here, there = a_task(connection, by, one, "t"), a_task(connection, by, two, "t")
    with db.write() as connection:
        by = later(connection)
        objects.rewrite_tasks(
            connection,
            by,
            [
                Rewritten(here, placed("t", server_id=two, formerly="t@one"), 1, moved=True),
                Rewritten(there, placed("t", server_id=one, formerly="t@two"), 1, moved=True),
            ],
        )
    assert table_of(db, Task, "id", "name", "server_id") == [(here, "t", two), (there, "t", one)]


def test_deletion_is_soft_and_undone_by_a_rewrite(db: Database) -> None:
    with db.write() as connection:
        by = stamp(connection)
        on = a_server(connection, by)
        row = a_task(connection, by, on)
        connection.execute(update(Task).values(next_slot=LATER, next_run=LATER))
    with db.write() as connection:
        gone = later(connection)
        objects.delete_tasks(connection, gone, [row])
        objects.delete_servers(connection, gone, [on])
    columns = ("status", "next_slot", "next_run", "deleted_at", "revision_id", "generation")
    assert table_of(db, Task, *columns) == [(0, None, None, LATER, gone.revision_id, 1)]
    assert table_of(db, Server, "status", "project_id", "deleted_at") == [(0, None, LATER)]
    with db.write() as connection:
        back = stamp(connection, at=LATER + timedelta(hours=1))
        objects.rewrite_servers(connection, back, [Rewritten(on, placed("db-1"), 1)])
        objects.rewrite_tasks(connection, back, [Rewritten(row, placed("backup", server_id=on), 1)])
    state = observed(db)
    assert state.servers["db-1"].live
    assert state.servers["db-1"].project == "billing"
    assert state.tasks["backup", "db-1"].live
    assert not state.tasks["backup", "db-1"].drifted


def test_a_deleted_server_is_owned_by_who_revives_it(db: Database) -> None:
    with db.write() as connection:
        by = stamp(connection)
        on = a_server(connection, by)
        objects.delete_servers(connection, by, [on])
        other = stamp(connection, "shop")
        objects.rewrite_servers(connection, other, [Rewritten(on, placed("db-1"), 2)])
    assert observed(db).servers["db-1"].project == "shop"


@pytest.mark.parametrize("name", [" leading", "trailing ", ""])
def test_names_that_the_collation_would_confuse_are_refused_by_the_database(db: Database, name: str) -> None:
    with pytest.raises(DatabaseRejected), db.write() as connection:
        a_server(connection, stamp(connection), name)


def test_names_differ_by_case_and_accent(db: Database) -> None:
    names = ["backup", "Backup", "bäckup", "BACKUP", "ｂackup", "备份"]
    with db.write() as connection:
        ids = objects.insert_servers(connection, stamp(connection), [placed(name) for name in names])
    assert set(ids) == set(names)
    assert len(set(ids.values())) == len(names)


def test_a_second_live_or_deleted_row_of_one_name_is_refused(db: Database) -> None:
    with db.write() as connection:
        by = stamp(connection)
        objects.delete_servers(connection, by, [a_server(connection, by)])
    with pytest.raises(DatabaseRejected), db.write() as connection:
        a_server(connection, stamp(connection))


def test_many_rows_take_few_statements(db: Database) -> None:
    statements: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        statements.append(statement.split()[0])

    with db.write() as connection:
        by = stamp(connection)
        on = a_server(connection, by)
        event.listen(db.engine, "before_cursor_execute", note)
        objects.insert_tasks(connection, by, [placed(f"t{n}", server_id=on) for n in range(2_000)])
        assert statements == ["INSERT"]  # the driver cuts it by bytes
        ids = list(connection.execute(select(Task.id).order_by(Task.id)).scalars())
        del statements[:]
        rows = [
            Rewritten(row, placed(f"t{n}", server_id=on, command=f"run {n % 3}"), 2)
            for n, row in enumerate(ids)
        ]
        objects.rewrite_tasks(connection, by, rows)
        assert statements == ["UPDATE"] * 8
    event.remove(db.engine, "before_cursor_execute", note)
    state = observed(db)
    assert all(
        state.tasks[f"t{n}", "db-1"].definition.document["spec"]["command"] == f"run {n % 3}"
        for n in range(2_000)
    )
    assert not any(row.drifted for row in state.tasks.values())


def test_long_scripts_do_not_break_the_packet(db: Database) -> None:
    """Forty scripts of 600 kB are 24 MB: more than a packet of either server's smallest default."""
    script = "# " + "x" * 600_000
    with db.write() as connection:
        by = stamp(connection)
        on = a_server(connection, by)
        tasks = [placed(f"t{n}", server_id=on, command=f"{script}{n}") for n in range(40)]
        objects.insert_tasks(connection, by, tasks)
        ids = list(connection.execute(select(Task.id).order_by(Task.id)).scalars())
        changed = [
            Rewritten(row, placed(f"t{n}", server_id=on, command=f"{script}-{n}"), 2)
            for n, row in enumerate(ids)
        ]
        objects.rewrite_tasks(connection, by, changed)
    state = observed(db)
    assert {row.definition.document["spec"]["command"][-3:] for row in state.tasks.values()} >= {"x-3", "-39"}
    assert not any(row.drifted for row in state.tasks.values())


def test_a_text_that_says_null_is_not_null(db: Database) -> None:
    with db.write() as connection:
        by = stamp(connection)
        ids = objects.insert_servers(connection, by, [placed(name) for name in ("a", "b", "c")])
        local = Placed("c", definition({"host": "localhost", "connection": "local"}), Origin("a.yaml", 1))
        rows = [
            Rewritten(ids["a"], placed("a", username="NULL"), 2),
            Rewritten(ids["b"], placed("b", username="NULL"), 2),
            Rewritten(ids["c"], local, 2),
        ]
        objects.rewrite_servers(connection, by, rows)
    assert [row[0] for row in table_of(db, Server, "username")] == ["NULL", "NULL", None]
