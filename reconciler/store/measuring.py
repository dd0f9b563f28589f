"""What the database tells about tasks that are about to change, and about those they will run beside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, literal_column, or_, select, true, union_all

from reconciler.model.canonical import Document
from reconciler.model.execution import Status
from reconciler.model.measured import Measured, Suspended
from reconciler.store.bulk import chunks
from reconciler.store.handmade import Columns
from reconciler.store.overrides import not_ended
from reconciler.store.rows import task_document
from reconciler.store.tables import Execution, Override, Task
from reconciler.store.types import LongText

LATEST = 20
"""Successful runs whose mean is a task's duration."""
MOST = 2_000
"""Tasks that are measured for one plan: nobody reads the effects of more, and each costs some page reads."""
BATCH = 500
TOGETHER = 50
"""Tasks in one statement: SQLite takes at most 500 parts of a compound one."""

_ROW = Execution.__table__.c


def measure(
    connection: Connection,
    task_ids: Iterable[int],
    server_ids: Iterable[int] = (),
    project_id: int | None = None,
    now: datetime | None = None,
) -> Measured:
    """How long these tasks take, which of their runs are in progress, what others have on these servers.

    Of very many tasks, the first ones. ``project_id`` is whose tasks are no others'; None: all are.
    Suspensions are those in force at ``now``; None: they are not asked for.
    """
    ids = sorted(set(task_ids))[:MOST]
    own, everyone = ({}, None) if now is None else _suspended(connection, project_id, now)
    return Measured(
        average_seconds=_averages(connection, ids),
        running=_running(connection, ids),
        others=_others(connection, sorted(server_ids), project_id),
        suspended=own,
        all_suspended=everyone,
    )


def _suspended(
    connection: Connection, project_id: int | None, now: datetime
) -> tuple[dict[int, Suspended], Suspended | None]:
    """Of a task's own suspensions, and of those that hold for all, the ones that end last."""
    own: dict[int, Suspended] = {}
    everyone: list[Suspended] = []
    query = select(
        Override.task_id, Override.project_id, Override.by, Override.reason, Override.since, Override.until
    ).where(*not_ended(now), Override.since <= now)
    for item in sorted(
        connection.execute(query), key=lambda item: item.until or datetime.max.replace(tzinfo=UTC)
    ):
        of = "task" if item.task_id is not None else "project" if item.project_id is not None else "all"
        said = Suspended(of, item.by, item.reason, item.since, item.until)
        if item.task_id is not None:
            own[item.task_id] = said
        elif item.project_id in (None, project_id):
            everyone.append(said)
    return own, everyone[-1] if everyone else None


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


def _others(
    connection: Connection, server_ids: Sequence[int], project_id: int | None
) -> dict[int, tuple[tuple[str, Document], ...]]:
    found: dict[int, list[tuple[str, Document]]] = {}
    specs = Columns("spec")
    foreign = true() if project_id is None else Task.project_id != project_id
    spec = literal_column("tasks.spec", LongText)
    for some in chunks(server_ids, BATCH):
        rows = connection.execute(
            select(Task.server_id, Task.name, Task.cron_expr, Task.timezone, spec)
            .where(
                Task.server_id.in_(some),
                Task.status == 1,
                Task.deleted_at.is_(None),
                Task.cron_expr.is_not(None),
                foreign,
            )
            .order_by(Task.id)
        )
        for server_id, name, cron_expr, timezone, rest in rows:
            document = task_document("", cron_expr, timezone, 1, {}, 0, specs[rest].value)
            found.setdefault(server_id, []).append((name, document))
    return {server_id: tuple(tasks) for server_id, tasks in found.items()}
