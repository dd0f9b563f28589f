"""The program's own statements use the index that was made for them, and read no more rows than they need.

What counts is what MariaDB and MySQL do with some thousands of rows: the plan (EXPLAIN), and the rows that
the storage engine was really asked for (Handler_read_*), which no estimate can embellish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from reconciler.clock import SystemClock
from reconciler.model.execution import State
from reconciler.store.claims import due_tasks, next_due, open_slots
from reconciler.store.engine import Database
from reconciler.store.executions import last_executions, last_of_server, list_executions
from reconciler.store.held import lapsed, stranded
from reconciler.store.pages import ExecutionFilter
from reconciler.store.schema import upgrade
from reconciler.store.strips import last_states
from reconciler.store.takes import any_waiting, glance, running_on, waiting
from reconciler.store.unproven import unreachable_since
from tests.services.clock import START
from tests.store.conftest import DIALECTS

SERVERS, TASKS, RUNS = 20, 1000, 8
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW = "'2026-03-01 12:00:00'"
DIGITS = f"(SELECT 0 n {' '.join(f'UNION ALL SELECT {digit}' for digit in range(1, 10))})"
COUNTED = f"(SELECT a.n + 10 * b.n + 100 * c.n AS n FROM {DIGITS} a, {DIGITS} b, {DIGITS} c)"
COMMON = "spec_hash, generation, protected, path, line, created_by, created_at, updated_at, labels, spec"
VALUES = f"'', 1, 0, 'x.yaml', 1, 1, {NOW}, {NOW}, '{{}}', '{{}}'"

FILLING = [
    f"INSERT INTO users (id, username, display_name, created_at) VALUES (1, 'u', '', {NOW})",
    f"""
    INSERT INTO projects (id, name, source, spec, spec_hash, created_at, updated_at)
    VALUES (1, 'p', '', '{{}}', '', {NOW}, {NOW})
    """,
    f"""
    INSERT INTO servers (id, name, host, port, status, environment, project_id, {COMMON})
    SELECT n + 1, CONCAT('s', n), 'h', 22, 1, '', 1, {VALUES}
    FROM {COUNTED} k WHERE n < {SERVERS}
    """,
    # Every second task is off; of the others one is due each second.
    f"""
    INSERT INTO tasks
        (id, name, command, cron_expr, timezone, server_id, status, next_run, project_id, {COMMON})
    SELECT n + 1, CONCAT('t', n), 'true', '* * * * *', 'UTC', MOD(n, {SERVERS}) + 1, MOD(n, 2),
           IF(MOD(n, 2), {NOW} + INTERVAL (n - 60) SECOND, NULL), 1, {VALUES}
    FROM {COUNTED} k WHERE n < {TASKS}
    """,
    # Of every 40 tasks the newest run of one waits and of one runs; every tenth of these has lost its owner.
    f"""
    INSERT INTO task_executions (id, task_id, server_id, status, `trigger`, attempt, scheduled_for, due_at,
        started_at, finished_at, lease_owner, lease_until, generation, path, line, output_bytes, error_bytes,
        truncated, count, created_at, output)
    SELECT r * {TASKS} + t + 1, t + 1, MOD(t, {SERVERS}) + 1, state, 'schedule', 1, slot, slot,
        IF(state = 0 AND NOT taken, NULL, slot), IF(state = 0, NULL, slot), IF(taken, 'w', NULL),
        IF(taken, {NOW} + INTERVAL IF(MOD(t, 400) = 1, -5, 60) SECOND, NULL), 1, 'x.yaml', 1, 0, 0,
        0, 1, slot, REPEAT('output ', 20)
    FROM (SELECT t.n AS t, r.n AS r, {NOW} - INTERVAL ({RUNS} - r.n) MINUTE AS slot,
              IF(r.n = {RUNS} - 1 AND MOD(t.n, 40) < 2, 0, IF(MOD(t.n, 97) = 0, 2, 1)) AS state,
              r.n = {RUNS} - 1 AND MOD(t.n, 40) = 1 AS taken
          FROM {COUNTED} t, {DIGITS} r WHERE t.n < {TASKS} AND r.n < {RUNS}) x
    """,
]


def fill(db: Database) -> None:
    """Tasks, and runs of which most have ended."""
    with db.write() as connection:
        for statement in FILLING:
            connection.exec_driver_sql(statement)
    with db.read() as connection:
        connection.exec_driver_sql("ANALYZE TABLE tasks, task_executions, servers").fetchall()


@pytest.fixture(scope="module", params=DIALECTS[1:])
def filled(request: pytest.FixtureRequest) -> Iterator[Database]:
    server = request.getfixturevalue(request.param)
    with server.fresh() as url, closing(Database.open(url, SystemClock())) as db:
        upgrade(db)
        fill(db)
        yield db


@dataclass(frozen=True, slots=True)
class Seen:
    """What a function did: its result, the plan of each statement by table, and how many rows were read."""

    result: Any
    plans: list[dict[str, dict[str, Any]]]
    read: int

    def index(self, table: str) -> set[str]:
        return {plan[table]["key"] for plan in self.plans if table in plan}

    @property
    def extra(self) -> str:
        return " ".join(str(row["Extra"] or "") for plan in self.plans for row in plan.values())


def rows_read(connection: Any) -> int:
    found = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'", ()).all()
    return sum(int(row[1]) for row in found)


def watch(db: Database, work: Callable[[Any], Any]) -> Seen:
    """Run it, then explain what it sent."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    with db.read() as connection:
        rows_read(connection)
        before = rows_read(connection)
        per_look = rows_read(connection) - before
        event.listen(db.engine, "before_cursor_execute", note)
        try:
            before = rows_read(connection)
            result = work(connection)
            read = rows_read(connection) - before - per_look
        finally:
            event.remove(db.engine, "before_cursor_execute", note)
        # the servers' defaults differ, and so do their words for the old table
        explain = "EXPLAIN FORMAT=TRADITIONAL" if db.dialect == "mysql" else "EXPLAIN"
        plans = []
        for statement, parameters in sent:
            if statement.startswith("SELECT") and "FROM" in statement:
                explained = connection.exec_driver_sql(f"{explain} {statement}", parameters).mappings()
                plans.append({str(row["table"]): dict(row) for row in explained})
        return Seen(result, plans, read)


def test_the_data_is_what_the_other_tests_think(filled: Database) -> None:
    with filled.read() as connection:
        counts = connection.execute(
            text(
                "SELECT COUNT(*), SUM(status = 0 AND lease_until IS NULL), SUM(lease_until IS NOT NULL),"
                " SUM(status = 2) FROM task_executions"
            )
        ).one()
    assert tuple(map(int, counts)) == (TASKS * RUNS, 25, 25, 87)


def test_the_due_are_found_by_status_and_next_run(filled: Database) -> None:
    floor = START - timedelta(days=1)
    seen = watch(filled, lambda connection: due_tasks(connection, floor, START, 20))
    assert len(seen.result) == 20
    assert seen.index("tasks") == {"ix_tasks_status_next_run"}
    assert "filesort" not in seen.extra
    assert seen.read <= 20 + 5


def test_the_next_due_is_one_step_into_its_index(filled: Database) -> None:
    seen = watch(filled, lambda connection: next_due(connection, START))
    assert seen.result is not None
    assert seen.read <= 3


def test_the_waiting_are_found_by_status_and_due_time_the_oldest_first(filled: Database) -> None:
    seen = watch(filled, lambda connection: waiting(connection, START, 20))
    assert len(seen.result) == 20
    assert seen.index("task_executions") == {"ix_task_executions_status_due_at"}
    # each of the 20: its row, task, server and project; and the taken ones among them
    assert seen.read <= 20 * 6 + 40


def test_whether_any_waits_and_what_comes_next_cost_next_to_nothing(filled: Database) -> None:
    seen = watch(filled, lambda connection: any_waiting(connection, START))
    assert seen.result is True
    assert seen.index("task_executions") == {"ix_task_executions_status_due_at"}
    assert seen.read <= 4
    assert watch(filled, lambda connection: glance(connection, START)).read <= 12


def test_the_reaper_reads_only_what_has_lapsed(filled: Database) -> None:
    with filled.read() as connection:
        # by the database's clock the whole of 2026-03-01 has lapsed or is yet to come
        over = filled.now(connection) > START + timedelta(minutes=2)
    seen = watch(filled, lambda connection: lapsed(filled, connection, 100))
    assert len(seen.result) == (25 if over else 0)
    assert seen.index("task_executions") == {"ix_task_executions_lease_until"}
    assert "filesort" not in seen.extra
    assert seen.read <= 25 + 5


def test_local_runs_that_wait_for_their_machine_are_found_among_what_has_lapsed(filled: Database) -> None:
    seen = watch(filled, lambda connection: stranded(filled, connection))
    assert seen.result == []
    assert seen.index("task_executions") == {"ix_task_executions_lease_until"}
    assert seen.read <= 25 + 5


def test_what_silent_hosts_never_told_is_found_among_the_newest_failed(filled: Database) -> None:
    seen = watch(filled, lambda connection: unreachable_since(connection, EPOCH, 10))
    assert seen.result == []
    (plan,) = seen.plans
    assert plan["task_executions"]["key"] == "ix_task_executions_status_id"
    # what is left of them is sorted, they are not
    assert "filesort" not in str(plan["task_executions"])
    # the failed ones alone, twice: from their index, and for their reasons
    assert seen.read <= TASKS // 97 * RUNS * 3 + 20


def test_the_last_runs_of_a_task_are_read_from_the_end_of_its_index(filled: Database) -> None:
    seen = watch(filled, lambda connection: last_executions(connection, 77, 5))
    assert [view.id for view in seen.result] == sorted((view.id for view in seen.result), reverse=True)
    assert len(seen.result) == 5
    assert seen.plans[0]["task_executions"]["key"] == "ix_task_executions_task_id_id"
    assert "Using index" in str(seen.plans[0]["task_executions"]["Extra"])
    assert "filesort" not in str(seen.plans[0])
    assert seen.read <= 5 * 6 + 5


def test_the_last_ten_of_a_server_too(filled: Database) -> None:
    seen = watch(filled, lambda connection: last_of_server(connection, 7))
    assert len(seen.result) == 10
    assert seen.plans[0]["task_executions"]["key"] == "ix_task_executions_server_id_id"
    assert "filesort" not in str(seen.plans[0])
    assert seen.read <= 10 * 6 + 10


@pytest.mark.parametrize("state", list(State))
def test_a_page_by_state_is_read_from_status_and_id(filled: Database, state: State) -> None:
    wanted = ExecutionFilter(state=state)
    seen = watch(filled, lambda connection: list_executions(connection, wanted, limit=20))
    assert len(seen.result.items) == (0 if state is State.SKIPPED else 20)
    assert seen.plans[0]["task_executions"]["key"] == "ix_task_executions_status_id"
    assert "filesort" not in str(seen.plans[0])
    assert seen.read <= 21 * 6 + 110, (
        "100 open rows at most are looked through for one of the two open states"
    )


def test_a_page_of_all_is_read_from_the_newest_down(filled: Database) -> None:
    seen = watch(filled, lambda connection: list_executions(connection, ExecutionFilter(), limit=20))
    assert len(seen.result.items) == 20
    assert seen.read <= 21 * 6 + 10


def test_the_second_page_costs_what_the_first_did(filled: Database) -> None:
    wanted = ExecutionFilter(state=State.SUCCESS)
    first = watch(filled, lambda connection: list_executions(connection, wanted, limit=20))
    second = watch(
        filled, lambda connection: list_executions(connection, wanted, limit=20, after=first.result.next)
    )
    assert second.read <= first.read + 5
    assert max(view.id for view in second.result.items) < min(view.id for view in first.result.items)


def test_the_running_of_servers_are_counted_in_the_index_alone(filled: Database) -> None:
    seen = watch(filled, lambda connection: running_on(connection, [2, 7, 12]))
    assert seen.result == {2: 25}
    assert seen.index("task_executions") == {"ix_task_executions_status_server_id_lease_until"}
    assert "Using index" in seen.extra
    assert seen.read <= 25 + 10


def test_the_open_slots_of_claimed_tasks_cost_one_look_a_task(filled: Database) -> None:
    ids = list(range(1, 201))
    seen = watch(filled, lambda connection: open_slots(connection, ids))
    assert len([slot for slots in seen.result.values() for slot in slots]) == 10
    assert seen.index("task_executions") == {"ix_task_executions_status_task_id"}
    assert seen.read <= 200 * 2 + 30


def test_the_strips_of_many_tasks_read_each_tasks_own_newest_rows(filled: Database) -> None:
    ids = list(range(1, 151))
    seen = watch(filled, lambda connection: last_states(connection, ids, 5))
    assert {len(states) for states in seen.result.values()} == {5}
    assert seen.index("task_executions") == {"ix_task_executions_task_id_id"}
    # each row is looked up, copied into the union's table and read from there
    assert seen.read <= len(ids) * 5 * 5
