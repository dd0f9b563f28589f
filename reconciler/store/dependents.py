"""Tasks that run ``after`` others: which there are, and what their next dependency run needs to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Text, func, select, type_coerce

from reconciler.model.execution import Status, Trigger
from reconciler.store.claims import OPEN_INDEX
from reconciler.store.tables import Execution, Server, Task
from reconciler.store.task_rows import ORIGIN, TIMING

_ROW = Execution.__table__.c
_TASK = Task.__table__.c
_SERVER = Server.__table__.c
_MARK = '%"after":[%'
"""Specs are stored as canonical JSON; a command that looks like this only costs a look."""


@dataclass(frozen=True, slots=True)
class DependentRow:
    """A live, enabled task whose spec may name others; ``spec`` is the column's raw text."""

    id: int
    name: str
    project_id: int
    server_id: int
    cron_expr: str | None
    timezone: str
    spec: str


@dataclass(frozen=True, slots=True)
class LockedDependent:
    """The same, locked, as it is now. ``after_since``: since when its ``after`` holds."""

    id: int
    name: str
    project_id: int
    server_id: int
    runnable: bool
    cron_expr: str | None
    timezone: str
    spec: str
    generation: int
    revision_id: int | None
    path: str
    line: int
    after_since: datetime


def dependents(connection: Connection) -> list[DependentRow]:
    """Every enabled task that may run after others: one scan of the tasks."""
    rows = connection.execute(
        select(_TASK.id, _TASK.name, _TASK.project_id, _TASK.server_id, *TIMING).where(
            _TASK.status == 1, _TASK.deleted_at.is_(None), type_coerce(_TASK.spec, Text).like(_MARK)
        )
    )
    return [DependentRow(*row) for row in rows]


def lock_dependent(connection: Connection, task_id: int) -> LockedDependent | None:
    """Lock the task; None if it is gone, or if somebody else holds it (look again later)."""
    row = connection.execute(
        select(
            _TASK.id,
            _TASK.name,
            _TASK.project_id,
            _TASK.server_id,
            _TASK.status,
            _TASK.deleted_at,
            *TIMING,
            *ORIGIN,
            # a row that was written by hand says nothing of it
            func.coalesce(_TASK.after_since, _TASK.updated_at, type_=_TASK.after_since.type).label("since"),
        )
        .where(_TASK.id == task_id)
        .with_for_update(skip_locked=True)
    ).one_or_none()
    if row is None:
        return None
    server = connection.execute(
        select(_SERVER.status, _SERVER.deleted_at).where(_SERVER.id == row.server_id)
    ).one()
    live = row.deleted_at is None and server.deleted_at is None
    return LockedDependent(
        id=row.id,
        name=row.name,
        project_id=row.project_id,
        server_id=row.server_id,
        runnable=live and row.status == 1 and server.status == 1,
        cron_expr=row.cron_expr,
        timezone=row.timezone,
        spec=row.text,
        generation=row.generation,
        revision_id=row.revision_id,
        path=row.path,
        line=row.line,
        after_since=row.since,
    )


def is_there(connection: Connection, task_id: int) -> bool:
    """Whether there is such a row, locked or not."""
    return connection.execute(select(_TASK.id).where(_TASK.id == task_id)).first() is not None


def latest_dependency_run(connection: Connection, task_id: int) -> datetime | None:
    """When the newest dependency run of the task was created; None if it had none."""
    return connection.execute(
        select(_ROW.created_at)
        .where(_ROW.task_id == task_id, _ROW.trigger == Trigger.DEPENDENCY)
        .order_by(_ROW.id.desc())
        .limit(1)
    ).scalar()


def first_successes(
    connection: Connection, project_id: int, server_id: int, names: Sequence[str], since: datetime
) -> dict[str, datetime]:
    """Of these tasks on one server: when the first success after ``since`` finished. Those without
    one are absent.
    """
    rows = connection.execute(
        select(_TASK.name, func.min(_ROW.finished_at))
        .join_from(Task, Execution, _ROW.task_id == _TASK.id)
        .with_hint(Execution, OPEN_INDEX, "mysql")
        .where(
            _TASK.project_id == project_id,
            _TASK.server_id == server_id,
            _TASK.name.in_(names),
            _ROW.status == Status.SUCCESS,
            _ROW.finished_at > since,
        )
        .group_by(_TASK.name)
    )
    return {row[0]: row[1] for row in rows}
