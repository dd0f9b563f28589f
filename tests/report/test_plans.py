"""How the servers read each list: from one index, in its order, never by sorting the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, inspect, select, text

from reconciler.clock import SystemClock
from reconciler.model.execution import State
from reconciler.store import executions as ledger
from reconciler.store import listing, overview
from reconciler.store.engine import Database
from reconciler.store.executions import ExecutionFilter
from reconciler.store.ids import first_id_at
from reconciler.store.tables import Execution, Server, Task
from tests.report.world import NOW, World
from tests.store.conftest import Migrated

ROWS = 3000


@pytest.fixture(
    params=[
        pytest.param("mariadb", marks=pytest.mark.mariadb),
        pytest.param("mysql", marks=pytest.mark.mysql),
    ],
    scope="module",
)
def ledgers(
    request: pytest.FixtureRequest, migrated: Migrated, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """A database with enough executions for its optimizer to have an opinion; for all tests of this file."""
    target: Path = tmp_path_factory.mktemp("plans")
    with closing(Database.open(migrated.url(request.param, target), SystemClock())) as db:
        world = World(db)
        tasks = []
        for number in range(2):
            world.server(f"server-{number}")
            tasks += [world.task(f"task-{number}-{n}", f"server-{number}") for n in range(5)]
        servers = dict(enumerate(world.id_of(Server, f"server-{n}") for n in range(2)))
        with db.write() as conn:
            conn.execute(insert(Execution), [_row(n, tasks, servers) for n in range(ROWS)])
            conn.execute(text("ANALYZE TABLE task_executions, tasks"))
        yield db


def _row(number: int, tasks: list[int], servers: dict[int, int]) -> dict[str, Any]:
    at = NOW - timedelta(minutes=number)
    status = {0: 2, 1: 3, 2: 0}.get(number % 50, 1)
    return {
        "id": first_id_at(at),
        "task_id": tasks[number % 10],
        "server_id": servers[number % 10 // 5],
        "status": status,
        "trigger": "schedule",
        "scheduled_for": at,
        "due_at": at,
        "started_at": at,
        "created_at": at,
    }


def plan_of(db: Database, query: Any) -> list[dict[str, Any]]:
    """The rows of EXPLAIN."""
    compiled = query.compile(dialect=db.engine.dialect, compile_kwargs={"literal_binds": True})
    with db.read() as conn:
        # MySQL 9 draws a tree unless told otherwise; MariaDB knows only the table
        form = "FORMAT=TRADITIONAL " if db.dialect == "mysql" else ""
        statement = text(f"EXPLAIN {form}" + str(compiled).replace(":", "\\:"))
        return [dict(row._mapping) for row in conn.execute(statement)]


def ids_query(db: Database, wanted: ExecutionFilter) -> Any:
    with db.read() as conn:
        query = ledger._ids_query(conn, wanted, below=first_id_at(NOW))
    assert query is not None
    return query.limit(51)


def one(db: Database, table: str = "server-0") -> int:
    with db.read() as conn:
        return int(conn.execute(text(f"SELECT id FROM servers WHERE name = '{table}'")).scalar_one())


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ({}, ledger.BY_ID),
        ({"since": NOW - timedelta(hours=1)}, ledger.BY_ID),
        ({"state": State.FAILED}, ledger.BY_STATE),
        ({"state": State.RUNNING}, ledger.BY_STATE),
        ({"server": True}, ledger.BY_SERVER),
        ({"server": True, "state": State.SUCCESS}, ledger.BY_SERVER),
        ({"task": True}, ledger.BY_TASK),
        ({"task": True, "state": State.FAILED}, ledger.BY_TASK),
    ],
)
def test_a_page_of_executions_is_read_in_the_order_of_one_index(
    ledgers: Database, wanted: dict[str, Any], index: str
) -> None:
    values = dict(wanted)
    if values.pop("server", False):
        values["server_id"] = one(ledgers)
    if values.pop("task", False):
        with ledgers.read() as conn:
            values["task_ids"] = [conn.execute(text("SELECT MIN(id) FROM tasks")).scalar_one()]
    (step,) = plan_of(ledgers, ids_query(ledgers, ExecutionFilter(**values)))
    assert step["key"] == index
    assert "filesort" not in (step["Extra"] or "")
    assert "temporary" not in (step["Extra"] or "")


def test_a_page_of_a_big_project_is_read_from_the_newest_down(
    ledgers: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "FEW_TASKS", 0)
    with ledgers.read() as conn:
        project = conn.execute(text("SELECT MIN(id) FROM projects")).scalar_one()
    first, second = plan_of(ledgers, ids_query(ledgers, ExecutionFilter(project_id=project)))
    assert (first["table"], first["key"], second["table"]) == ("task_executions", "PRIMARY", "tasks")
    assert "filesort" not in (first["Extra"] or "")


def test_rare_ends_of_a_server_are_counted_out_by_their_index(ledgers: Database) -> None:
    wanted = ExecutionFilter(server_id=one(ledgers), state=State.FAILED)
    (step,) = plan_of(ledgers, ids_query(ledgers, wanted))
    assert step["key"] == ledger.BY_STATE_AND_SERVER


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (select(Task.id, overview._newest_slot(False)), overview.BY_SLOT),
        (select(Task.id, overview._newest_slot(True)), overview.BY_SLOT),
        (select(Server.id, overview._newest_contact()), ledger.BY_SERVER),
    ],
)
def test_the_newest_of_each_task_and_server_is_one_dive_into_an_index(
    ledgers: Database, query: Any, index: str
) -> None:
    steps = plan_of(ledgers, query)
    dive = next(step for step in steps if step["select_type"] == "DEPENDENT SUBQUERY")
    assert dive["key"] == index
    assert "filesort" not in (dive["Extra"] or "")


def test_the_indexes_that_are_named_exist(ledgers: Database) -> None:
    with ledgers.read() as conn:
        names = {index["name"] for index in inspect(conn).get_indexes("task_executions")}
        tasks = {index["name"] for index in inspect(conn).get_indexes("tasks")}
    assert {
        ledger.BY_TASK,
        ledger.BY_SERVER,
        ledger.BY_STATE,
        ledger.BY_STATE_AND_SERVER,
        overview.BY_SLOT,
    } <= names
    assert {listing.TASKS_IN_ORDER, listing.TASKS_BY_SERVER} <= tasks
