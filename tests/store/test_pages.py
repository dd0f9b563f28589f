"""Every list of executions that `get` can ask for: the right rows, and few of the others read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from sqlalchemy import select

from reconciler.clock import SystemClock
from reconciler.model.execution import State, state_of
from reconciler.store import pages
from reconciler.store.engine import Database
from reconciler.store.executions import list_executions
from reconciler.store.listing import (
    TASKS_BY_SERVER,
    TASKS_IN_ORDER,
    ObjectFilter,
    list_revisions,
    list_tasks,
)
from reconciler.store.pages import ExecutionFilter
from reconciler.store.schema import upgrade
from reconciler.store.tables import Execution
from tests.store.conftest import DIALECTS
from tests.store.test_plans import FILLING, NOW, RUNS, TASKS, watch

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = 1 << 21
"""Ids in this ledger are a millisecond apart, the oldest one a millisecond after the epoch."""
LIMIT, LOOKED = 5, 300
OTHER = FILLING[1].replace("(1, 'p'", "(2, 'q'")
REVISIONS = f"""
    INSERT INTO revisions (project_id, dirty, applied_by, applied_at, digest, counts, changes)
    SELECT 1 + MOD(id, 2), 0, 'me', {NOW} + INTERVAL id SECOND, '', '{{}}', '[]' FROM tasks
"""
CHANGED = [
    'UPDATE tasks SET labels = \'{"few":"yes"}\' WHERE id IN (3, 78, 500)',
    'UPDATE tasks SET labels = \'{"many":"yes"}\' WHERE id > 600',
    "UPDATE tasks SET project_id = 2 WHERE id <= 250",
    # what project q did is long ago
    "DELETE FROM task_executions WHERE task_id <= 250 AND id > 2 * 1000 * 2097152",
    "UPDATE task_executions SET status = 3 WHERE task_id % 31 = 0 AND status = 1",
]

TASKS_ASKED: dict[str, dict[str, Any]] = {
    "all": {},
    "one": {"task_ids": [78]},
    "three": {"task_ids": [3, 78, 999]},
    "many names": {"task_ids": list(range(300, 600))},
    "few labels": {"labels": {"few": "yes"}},
    "many labels": {"labels": {"many": "yes"}},
    "no such label": {"labels": {"few": "no"}},
    "an idle project": {"project_id": 2},
    "a busy project": {"project_id": 1},
    "both": {"project_id": 1, "labels": {"many": "yes"}},
}
SINCE = EPOCH + timedelta(milliseconds=6 * TASKS)


@pytest.fixture(scope="module", params=DIALECTS[1:])
def filled(request: pytest.FixtureRequest) -> Iterator[Database]:
    server = request.getfixturevalue(request.param)
    with server.fresh() as url, closing(Database.open(url, SystemClock())) as db:
        upgrade(db)
        ledger = FILLING[-1].replace(f"r * {TASKS} + t + 1,", f"(r * {TASKS} + t + 1) * {MILLISECOND},")
        assert ledger != FILLING[-1]
        with db.write() as connection:
            for statement in (*FILLING[:-1], ledger, OTHER, *CHANGED, REVISIONS):
                connection.exec_driver_sql(statement.replace("%", "%%"))
        with db.read() as connection:
            connection.exec_driver_sql("ANALYZE TABLE tasks, task_executions, revisions").fetchall()
        yield db


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "LOOKED_THROUGH", LOOKED)


@pytest.fixture(scope="module")
def rows(filled: Database) -> list[Any]:
    """All of the ledger, newest first."""
    columns = (Execution.id, Execution.task_id, Execution.server_id, Execution.status, Execution.started_at)
    with filled.read() as connection:
        return list(connection.execute(select(*columns).order_by(Execution.id.desc())))


def fitting(rows: list[Any], wanted: ExecutionFilter) -> list[int]:
    """The same by looking at each row."""
    tasks = set(range(1, TASKS + 1))
    if wanted.task_ids is not None:
        tasks &= set(wanted.task_ids)
    if wanted.project_id is not None:
        tasks &= {task for task in tasks if (task <= 250) is (wanted.project_id == 2)}
    for key, value in wanted.labels.items():
        having = {"few": {3, 78, 500}, "many": set(range(601, TASKS + 1))}[key]
        tasks &= having if value == "yes" else set()
    return [
        row.id
        for row in rows
        if row.task_id in tasks
        and (wanted.server_id is None or row.server_id == wanted.server_id)
        and (wanted.state is None or state_of(row.status, row.started_at is not None) is wanted.state)
        and (
            wanted.since is None
            or row.id >= (wanted.since - EPOCH) // timedelta(milliseconds=1) * MILLISECOND
        )
    ]


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("asked", TASKS_ASKED)
def test_every_combination_gives_the_newest_rows_that_fit_and_reads_few_others(
    filled: Database, rows: list[Any], asked: str
) -> None:
    for server, state, since in product((None, 19), (None, *State), (None, SINCE)):
        wanted = ExecutionFilter(server_id=server, state=state, since=since, **TASKS_ASKED[asked])
        expected = fitting(rows, wanted)
        case = (asked, server, state, since)
        cursor = None
        for page in range(2):
            seen = watch(filled, lambda c, a=cursor, w=wanted: list_executions(c, w, limit=LIMIT, after=a))
            ids = [view.id for view in seen.result.items]
            assert ids == expected[page * LIMIT : (page + 1) * LIMIT], case
            cursor = seen.result.next
            assert (cursor is None) is (len(expected) <= (page + 1) * LIMIT), case
            _only_by_index(seen.plans, case)
            assert seen.read <= _most(wanted, asked), (case, seen.read)
            if cursor is None:
                break


def _only_by_index(plans: list[dict[str, dict[str, Any]]], case: Any) -> None:
    for plan in plans:
        for table, row in plan.items():
            if "task_executions" in table:
                assert row["key"] is not None, case
                assert row["type"] not in ("ALL", "index_merge"), case
                assert "filesort" not in str(row["Extra"]), (case, row)


def _most(wanted: ExecutionFilter, asked: str) -> int:
    """Rows that the storage engine may be asked for."""
    page = (LIMIT + 1) * 8
    # without a state the ends of tasks are dived for; a filter that no index has costs rows of the task
    filtered = RUNS if wanted.server_id is not None or wanted.state in (State.WAITING, State.RUNNING) else 1
    opened = 110 if wanted.state in (State.WAITING, State.RUNNING) else 0
    if asked == "all":
        return page + opened + 5
    names = len(wanted.task_ids or ())
    few = {"one": 1, "three": 3, "few labels": 3, "no such label": 0}.get(asked)
    merged = (LIMIT + 3) * (2 if few is None else few) * 2 * filtered
    labels = TASKS * 2 if wanted.labels or wanted.project_id is not None else names * 2
    if few is not None:
        look = 3 * LOOKED if wanted.server_id is not None and not names else 0
        return page + merged + labels + opened + look + 20
    # looked through, then one dive for each task, then the page's own tasks
    dives = (750 if asked == "a busy project" else 400) * (3 + filtered)
    return page + 3 * LOOKED + labels + dives + merged * LIMIT + opened + 50


def test_pages_put_together_are_the_whole_list(filled: Database, rows: list[Any]) -> None:
    wanted = ExecutionFilter(labels={"many": "yes"}, state=State.SUCCESS)
    found: list[int] = []
    cursor = None
    with filled.read() as connection:
        while True:
            page = list_executions(connection, wanted, limit=700, after=cursor)
            found += [view.id for view in page.items]
            cursor = page.next
            if cursor is None:
                break
    assert found == fitting(rows, wanted)


@pytest.mark.parametrize("project", [None, 2])
def test_revisions_are_read_from_the_newest_down(filled: Database, project: int | None) -> None:
    first = watch(filled, lambda c: list_revisions(c, project_id=project, limit=LIMIT))
    assert len(first.result.items) == LIMIT
    assert "filesort" not in first.extra
    assert first.read <= (LIMIT + 1) * 4 + 5
    second = watch(
        filled, lambda c: list_revisions(c, project_id=project, limit=LIMIT, after=first.result.next)
    )
    assert second.read <= (LIMIT + 1) * 4 + 5
    assert max(item.id for item in second.result.items) < min(item.id for item in first.result.items)


@pytest.mark.parametrize(
    ("asked", "most"),
    [
        ({}, (LIMIT + 1) * 4),
        ({"project_id": 2}, (LIMIT + 1) * 4),
        ({"labels": {"many": "yes"}}, TASKS * 2),
        ({"server_id": 19, "labels": {"many": "yes"}}, TASKS),
        ({"deleted": True}, TASKS * 2),
        ({"ids": [3, 78, 500]}, TASKS * 2),
        ({"since": EPOCH}, (LIMIT + 1) * 4),
    ],
)
def test_tasks_are_read_in_the_order_of_their_names(
    filled: Database, asked: dict[str, Any], most: int
) -> None:
    wanted = ObjectFilter(**asked)
    cursor = None
    found: list[int] = []
    for _ in range(2):
        seen = watch(filled, lambda c, a=cursor: list_tasks(c, wanted, limit=LIMIT, after=a))
        step = seen.plans[0]["tasks"]
        assert step["key"] == (TASKS_BY_SERVER if wanted.server_id else TASKS_IN_ORDER)
        # the tasks of one server are few
        assert wanted.server_id or "filesort" not in str(step["Extra"])
        # the page's own rows, and the servers, projects and users that they name
        assert seen.read <= most + (LIMIT + 1) * 3 + 20
        found += [task.id for task in seen.result.items]
        cursor = seen.result.next
        if cursor is None:
            break
    assert len(found) == len(set(found))
    assert len(found) == {"deleted": 0, "ids": 3}.get(next(iter(asked), ""), 2 * LIMIT)
