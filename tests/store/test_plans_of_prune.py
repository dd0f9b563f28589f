"""Retention reads a few entries a task, however long the ledger, and deletes by primary key alone."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.store import prune
from reconciler.store.engine import Database
from tests.store.test_plans import RUNS, TASKS, filled, rows_read, watch

__all__ = ["filled"]

LEDGER = "task_executions"


def test_a_page_of_tasks_is_read_by_its_key(filled: Database) -> None:
    seen = watch(filled, lambda connection: prune.tasks_after(connection, 300, 200))
    assert [task.id for task in seen.result] == list(range(301, 501))
    assert seen.read <= 202


@pytest.mark.parametrize("count", [3, 1000])
def test_the_ends_of_a_task_cost_the_entries_that_are_kept(filled: Database, count: int) -> None:
    ids = list(range(1, 101))
    seen = watch(filled, lambda connection: prune.ends_of(connection, ids, count))
    assert all(ends.oldest is not None for ends in seen.result.values())
    assert all((ends.beyond is None) is (count > RUNS) for ends in seen.result.values())
    # the task, its oldest, and those that are kept and one more
    assert seen.read <= 100 * (4 + min(count, RUNS) + 1)
    assert "filesort" not in seen.extra
    _only_index(seen, "ix_task_executions_task_id_id")


def test_what_is_needed_costs_a_dive_for_each_question(filled: Database) -> None:
    tasks = [prune.TaskRow(key, 1, None, key % 2 == 0) for key in range(1, 101)]
    seen = watch(filled, lambda connection: prune.needed(connection, tasks))
    assert len(seen.result) == 100
    # a dependency run is looked for among the rows of a task that may have one: there is none here
    assert seen.read <= 100 * 18 + 50 * (RUNS + 2) * 2
    assert "filesort" not in seen.extra


def test_old_rows_are_read_from_the_oldest_on(filled: Database) -> None:
    limit = (RUNS - 1) * TASKS
    seen = watch(filled, lambda connection: prune.old_rows(connection, 77, 0, limit, 3))
    assert [row.id for row in seen.result] == [77 + TASKS * number for number in range(3)]
    assert seen.index(LEDGER) == {"ix_task_executions_task_id_id"}
    assert "filesort" not in seen.extra
    assert seen.read <= 3 * 2 + 2


def test_rows_are_deleted_by_key_and_no_other_is_read_or_locked(filled: Database) -> None:
    ids = list(range(1, 2 * TASKS + 1, 2))
    with filled.read() as connection:
        rows_read(connection)
        before = rows_read(connection)
        look = rows_read(connection) - before
        before = rows_read(connection)
        gone = prune.delete_rows(connection, ids, archived=False)
        # once to find it and once to delete it
        assert rows_read(connection) - before - look <= 2 * len(ids) + 10
        # what ended goes, also beside rows that somebody holds
        assert gone == TASKS
        if filled.dialect == "mariadb":
            query = "SELECT trx_rows_locked FROM information_schema.innodb_trx"
            mine = f"{query} WHERE trx_mysql_thread_id = CONNECTION_ID()"
            assert int(connection.exec_driver_sql(mine).scalar_one()) <= len(ids) + 1


def _only_index(seen: Any, index: str) -> None:
    used = {
        row["key"]
        for plan in seen.plans
        for table, row in plan.items()
        if table.startswith(LEDGER) or "task_executions" in table
    }
    assert used == {index}
