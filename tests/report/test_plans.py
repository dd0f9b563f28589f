"""How the servers find what the reports show: by dives into an index, never by sorting the ledger.

Lists of executions are tests/store/test_pages.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, inspect, select, text

from reconciler.clock import SystemClock
from reconciler.store import listing, overview, pages
from reconciler.store.engine import Database
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


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (select(Task.id, overview._newest_slot(False)), overview.BY_SLOT),
        (select(Task.id, overview._newest_slot(True)), overview.BY_SLOT),
        (select(Server.id, overview._newest_contact()), pages.BY_SERVER),
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
        pages.BY_TASK,
        pages.BY_SERVER,
        pages.BY_STATE,
        pages.BY_STATE_AND_SERVER,
        pages.BY_STATE_AND_TASK,
        overview.BY_SLOT,
    } <= names
    assert {listing.TASKS_IN_ORDER, listing.TASKS_BY_SERVER} <= tasks
