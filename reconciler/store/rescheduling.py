"""Next slots of tasks whose schedule, place or state an apply touched, and the rows that close the past.

Reads lock the tasks, so that a claim that runs meanwhile skips them and an earlier one is seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, literal_column, select, update

from reconciler.store.bulk import chunks
from reconciler.store.tables import Execution, Project, Server, Task
from reconciler.store.types import LongText

BATCH = 500


@dataclass(frozen=True, slots=True)
class Timed:
    """When a task runs, as its row says; ``runnable``: it and its server are enabled and live."""

    task_id: int
    name: str
    server: str
    server_id: int
    project: str
    runnable: bool
    schedule: str | None
    timezone: str
    rest: str
    """The text of the column ``spec`` (dst, jitter)."""
    next_slot: datetime | None
    generation: int
    revision_id: int | None
    path: str
    line: int


def lock_timed(connection: Connection, task_ids: Iterable[int], server_ids: Iterable[int]) -> Iterator[Timed]:
    """The tasks with these ids or on these servers, locked until the transaction ends."""
    by_task = [Task.id.in_(some) for some in chunks(sorted(set(task_ids)), BATCH)]
    by_server = [Task.server_id.in_(some) for some in chunks(sorted(set(server_ids)), BATCH)]
    seen: set[int] = set()
    for condition in (*by_task, *by_server):
        for row in connection.execute(_timed_statement().where(condition)):
            if row.id not in seen:
                seen.add(row.id)
                yield _timed(row)


def _timed_statement() -> Any:
    return (
        select(
            Task.id, Task.name, Task.server_id, Task.status, Task.cron_expr, Task.timezone, Task.next_slot,
            Task.generation, Task.revision_id, Task.path, Task.line, Task.deleted_at,
            literal_column("tasks.spec", LongText).label("rest"),
            Server.name.label("server"), Server.status.label("server_status"),
            Server.deleted_at.label("server_deleted_at"), Project.name.label("project"),
        )
        .join(Server, Server.id == Task.server_id)
        .join(Project, Project.id == Task.project_id)
        .order_by(Task.id)
        .with_for_update()
    )  # fmt: skip


def _timed(row: Row[Any]) -> Timed:
    live = row.deleted_at is None and row.server_deleted_at is None
    return Timed(
        task_id=row.id,
        name=row.name,
        server=row.server,
        server_id=row.server_id,
        project=row.project,
        runnable=live and row.status == 1 and row.server_status == 1,
        schedule=row.cron_expr,
        timezone=row.timezone,
        rest=row.rest,
        next_slot=row.next_slot,
        generation=row.generation,
        revision_id=row.revision_id,
        path=row.path,
        line=row.line,
    )


def close_waiting(
    connection: Connection, task_ids: Iterable[int], server_ids: Iterable[int], reason: str, at: datetime
) -> None:
    """End what nobody has taken yet: skipped, with the reason. What runs, runs on."""
    conditions = [Execution.task_id.in_(some) for some in chunks(sorted(set(task_ids)), BATCH)]
    conditions += [Execution.server_id.in_(some) for some in chunks(sorted(set(server_ids)), BATCH)]
    for condition in conditions:
        connection.execute(
            update(Execution)
            .where(
                Execution.status == 0,
                Execution.lease_until.is_(None),
                Execution.started_at.is_(None),
                condition,
            )
            .values(status=3, reason=reason, finished_at=at)
        )
