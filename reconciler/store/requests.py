"""What people ask for by hand: the rows that a manual run needs, and cancels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from reconciler.model.execution import Reason, Status
from reconciler.store.server_rows import SERVER_SPEC, ServerColumns
from reconciler.store.tables import Execution, Server, Task
from reconciler.store.task_rows import ORIGIN, TIMING

_ROW = Execution.__table__.c
_TASK = Task.__table__.c
_SERVER = Server.__table__.c


@dataclass(frozen=True, slots=True)
class AskedTask:
    """A task's row, locked. ``spec`` is the column's raw text; ``live``: neither it nor its server is
    deleted.
    """

    id: int
    server_id: int
    live: bool
    cron_expr: str | None
    timezone: str
    spec: str
    generation: int
    revision_id: int | None
    path: str
    line: int
    server: ServerColumns


@dataclass(frozen=True, slots=True)
class AskedExecution:
    """An execution as a cancel finds it."""

    id: int
    status: int
    taken: bool
    started: bool


def lock_asked_tasks(connection: Connection, ids: Sequence[int]) -> dict[int, AskedTask]:
    """Lock these tasks, ascending, waiting for whoever holds them; then read them and their servers."""
    rows = connection.execute(
        select(_TASK.id, _TASK.server_id, _TASK.deleted_at, *TIMING, *ORIGIN)
        .where(_TASK.id.in_(sorted(ids)))
        .order_by(_TASK.id)
        .with_for_update()
    ).all()
    found = connection.execute(
        select(_SERVER.id, _SERVER.deleted_at, *SERVER_SPEC).where(_SERVER.id.in_({row[1] for row in rows}))
    )
    servers = {row[0]: (row[1] is None, ServerColumns(*row[2:])) for row in found}
    asked = {}
    for row in rows:
        server_live, server = servers[row.server_id]
        asked[row.id] = AskedTask(
            id=row.id,
            server_id=row.server_id,
            live=row.deleted_at is None and server_live,
            cron_expr=row.cron_expr,
            timezone=row.timezone,
            spec=row.text,
            generation=row.generation,
            revision_id=row.revision_id,
            path=row.path,
            line=row.line,
            server=server,
        )
    return asked


def asked_executions(connection: Connection, ids: Sequence[int]) -> dict[int, AskedExecution]:
    """Those of these executions that there are, as they stand."""
    rows = connection.execute(
        select(_ROW.id, _ROW.status, _ROW.lease_owner.is_not(None), _ROW.started_at.is_not(None)).where(
            _ROW.id.in_(ids)
        )
    )
    return {row[0]: AskedExecution(row[0], row[1], bool(row[2]), bool(row[3])) for row in rows}


def cancel(connection: Connection, ids: Sequence[int], by: str, now: datetime) -> None:
    """Close what waits as failed ``cancelled``; ask the owners of what is taken to end it."""
    note = {"cancel_requested_at": now, "cancel_requested_by": by}
    still_open = (_ROW.id.in_(sorted(ids)), _ROW.status == Status.OPEN)
    connection.execute(
        update(Execution)
        .where(
            *still_open,
            _ROW.lease_owner.is_(None),
            _ROW.started_at.is_(None),
            _ROW.start_sent_at.is_(None),
        )
        .values(
            status=Status.FAILED,
            reason=Reason.CANCELLED,
            finished_at=now,
            error=f"cancelled by {by} before it began",
            **note,
        )
    )
    connection.execute(
        update(Execution).where(*still_open, _ROW.cancel_requested_at.is_(None)).values(**note)
    )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a slot."""

    id: int
    status: int
    reason: str | None
    exit_code: int | None
    started: bool


def attempts(connection: Connection, task_id: int, scheduled_for: datetime) -> list[Attempt]:
    """All attempts of a slot, the first one first; its verdict is the last one's."""
    rows = connection.execute(
        select(_ROW.id, _ROW.status, _ROW.reason, _ROW.exit_code, _ROW.started_at.is_not(None))
        .where(_ROW.task_id == task_id, _ROW.scheduled_for == scheduled_for)
        .order_by(_ROW.attempt)
    )
    return [
        Attempt(row_id, status, reason, code, bool(started)) for row_id, status, reason, code, started in rows
    ]
