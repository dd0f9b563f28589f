"""What the ledger tells about tasks that are about to change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, or_, select, union_all

from reconciler.model.execution import Status
from reconciler.model.measured import Measured
from reconciler.store.bulk import chunks
from reconciler.store.tables import Execution

LATEST = 20
"""Successful runs whose mean is a task's duration."""
MOST = 2_000
"""Tasks that are measured for one plan: nobody reads the effects of more, and each costs some page reads."""
BATCH = 500
TOGETHER = 50
"""Tasks in one statement: SQLite takes at most 500 parts of a compound one."""

_ROW = Execution.__table__.c


def measure(connection: Connection, task_ids: Iterable[int]) -> Measured:
    """How long these tasks take, and which of their runs are in progress. Of very many, the first ones."""
    ids = sorted(set(task_ids))[:MOST]
    return Measured(average_seconds=_averages(connection, ids), running=_running(connection, ids))


def _averages(connection: Connection, ids: Sequence[int]) -> dict[int, float]:
    taken: dict[int, list[timedelta]] = {}
    for some in chunks(ids, TOGETHER):
        newest = [
            select(
                select(_ROW.task_id, _ROW.started_at, _ROW.finished_at)
                .where(_ROW.task_id == task_id, _ROW.status == Status.SUCCESS)
                .order_by(_ROW.id.desc())
                .limit(LATEST)
                .subquery()
            )
            for task_id in some
        ]
        for task_id, started, finished in connection.execute(union_all(*newest)):
            if isinstance(started, datetime) and isinstance(finished, datetime):
                taken.setdefault(task_id, []).append(finished - started)
    return {
        task_id: sum(durations, timedelta(0)).total_seconds() / len(durations)
        for task_id, durations in taken.items()
    }


def _running(connection: Connection, ids: Sequence[int]) -> dict[int, tuple[int, ...]]:
    running: dict[int, list[int]] = {}
    for some in chunks(ids, BATCH):
        found = connection.execute(
            select(_ROW.task_id, _ROW.id)
            .where(
                _ROW.status == Status.OPEN,
                _ROW.task_id.in_(some),
                or_(_ROW.started_at.is_not(None), _ROW.lease_owner.is_not(None)),
            )
            .order_by(_ROW.id)
        )
        for task_id, execution_id in found:
            running.setdefault(task_id, []).append(execution_id)
    return {task_id: tuple(executions) for task_id, executions in running.items()}
