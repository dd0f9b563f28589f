"""Starts and ends in the ledger: one UPDATE for many rows, sorted by id, each applied at most once.

Never an upsert: it deadlocks, brings purged rows back, and a clash of slots would change another row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, or_, select

from reconciler.model.execution import Outcome, Reason, Status
from reconciler.store import wire
from reconciler.store.bulk import Piece, Times, Words, sql_time, update_by_id
from reconciler.store.tables import Execution, Server, Task
from reconciler.store.task_rows import ORIGIN
from reconciler.store.wire import Moments

_ROW = Execution.__table__.c
_TASK = Task.__table__.c
_UNPROVEN = f"('{Reason.LOST}', '{Reason.UNREACHABLE}')"
_OPEN = " AND status = 0"
_OPEN_OR_UNPROVEN = f" AND (status = 0 OR (status = 2 AND reason IN {_UNPROVEN}))"


@dataclass(frozen=True, slots=True)
class LockedTask:
    """A task's row, locked, as its next attempt needs it. ``enabled``, ``server_enabled``: live as well."""

    id: int
    server_id: int
    enabled: bool
    server_enabled: bool
    generation: int
    revision_id: int | None
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class OpenRow:
    """An execution whose end is not proven yet, locked. ``ended``: it is ``lost`` or ``unreachable``."""

    id: int
    task_id: int
    server_id: int
    attempt: int
    scheduled_for: datetime
    requested_by: str | None
    cancel_requested: bool
    ended: bool


def write_starts(connection: Connection, starts: Mapping[int, datetime]) -> int:
    """Set ``started_at`` of unfinished rows that have none; how many had not.

    Not of rows that wait for a new owner: they would wait for ever, and whoever starts them learns it anew.
    """
    if not starts:
        return 0
    time = Times()
    rows = {row: {"started_at": time(at)} for row, at in starts.items()}
    return update_by_id(
        connection, "task_executions", rows, f"{_OPEN} AND started_at IS NULL AND lease_owner IS NOT NULL"
    )


def write_ends(connection: Connection, outcomes: Sequence[Outcome]) -> int:
    """Record ends of unfinished rows, and proven ends also over ``lost`` and ``unreachable``; how many
    applied.

    The lease goes with the end. A ``started_at`` that is known is kept where the outcome has none.
    """
    applied = 0
    for proven, where in ((True, _OPEN_OR_UNPROVEN), (False, _OPEN)):
        rows = {item.execution_id: _end(item) for item in outcomes if item.proven is proven}
        if rows:
            applied += update_by_id(connection, "task_executions", rows, where)
    return applied


def _end(outcome: Outcome) -> dict[str, Piece]:
    """The columns of an end as pieces of SQL; all rows have the same ones."""
    out, err = outcome.stdout, outcome.stderr
    return {
        "status": f"{int(outcome.status):d}",
        "reason": f"'{outcome.reason.value}'",
        "exit_code": None if outcome.exit_code is None else f"{outcome.exit_code:d}",
        "started_at": "started_at" if outcome.started_at is None else sql_time(outcome.started_at),
        "finished_at": sql_time(outcome.finished_at),
        "output": Words(out.text),
        "error": Words(_error_text(outcome)),
        "output_bytes": f"{out.total_bytes:d}",
        "error_bytes": f"{err.total_bytes:d}",
        "output_sha256": _hash(out.sha256),
        "error_sha256": _hash(err.sha256),
        "truncated": "1" if out.truncated or err.truncated else "0",
        "archive": None if outcome.archive is None else Words(outcome.archive),
        "remark": None if (remark := _remark(outcome)) is None else Words(remark),
        "lease_owner": None,
        "lease_until": None,
    }


def _remark(outcome: Outcome) -> str | None:
    """The message for people where the run has an exit code of its own."""
    return None if outcome.exit_code is None or not outcome.message else outcome.message[:1000]


def _error_text(outcome: Outcome) -> str:
    """The message for people stands in front of what the command itself wrote, where it left no exit code."""
    if outcome.message is None or outcome.exit_code is not None:
        return outcome.stderr.text
    return f"{outcome.message}\n{outcome.stderr.text}" if outcome.stderr.text else outcome.message


def _hash(digest: str) -> Words | None:
    return Words(digest) if digest else None


def lock_tasks(connection: Connection, ids: Sequence[int]) -> dict[int, LockedTask]:
    """Lock tasks' rows, ascending; those that somebody else holds are left out."""
    rows = connection.execute(
        select(_TASK.id, _TASK.server_id, _TASK.status, _TASK.deleted_at, *ORIGIN)
        .where(_TASK.id.in_(sorted(ids)))
        .order_by(_TASK.id)
        .with_for_update(skip_locked=True)
    ).all()
    server = Server.__table__.c
    enabled = set(
        connection.execute(
            select(server.id).where(
                server.id.in_({row.server_id for row in rows}),
                server.status == 1,
                server.deleted_at.is_(None),
            )
        ).scalars()
    )
    return {
        row.id: LockedTask(
            id=row.id,
            server_id=row.server_id,
            enabled=bool(row.status) and row.deleted_at is None,
            server_enabled=row.server_id in enabled and row.deleted_at is None,
            generation=row.generation,
            revision_id=row.revision_id,
            path=row.path,
            line=row.line,
        )
        for row in rows
    }


def lock_open_rows(connection: Connection, ids: Sequence[int]) -> dict[int, OpenRow]:
    """Lock those of these executions that have not ended, or without proof."""
    rows = connection.execute(
        select(
            _ROW.id,
            _ROW.task_id,
            _ROW.server_id,
            _ROW.attempt,
            _ROW.scheduled_for,
            _ROW.requested_by,
            _ROW.cancel_requested_at.is_not(None).label("cancel_requested"),
            (_ROW.status != Status.OPEN).label("ended"),
        )
        .where(
            _ROW.id.in_(sorted(ids)),
            or_(
                _ROW.status == Status.OPEN,
                and_(_ROW.status == Status.FAILED, _ROW.reason.in_((Reason.LOST, Reason.UNREACHABLE))),
            ),
        )
        .order_by(_ROW.id)
        .with_for_update()
    )
    return {row.id: OpenRow(**{**row._mapping, "ended": bool(row.ended)}) for row in rows}


def lock_held_by_others(connection: Connection, owners: Mapping[int, str]) -> set[int]:
    """Lock those of these executions (id → owner) that have not ended; which are no more that owner's."""
    rows = connection.execute(
        select(_ROW.id, _ROW.lease_owner)
        .where(_ROW.id.in_(sorted(owners)), _ROW.status == Status.OPEN)
        .order_by(_ROW.id)
        .with_for_update()
    )
    return {row.id for row in rows if row.lease_owner != owners[row.id]}


def touch_last_runs(connection: Connection, last_runs: Mapping[int, datetime]) -> set[int]:
    """Move ``last_run`` of tasks forward; the ids of rows that others hold now, and that are still to
    be done.
    """
    texts = connection.execute(_LAST_RUNS, {"tasks": sorted(last_runs)}).scalars().all()
    times, time = Moments(), Times()
    found: dict[int, datetime | None] = {task_id: times[text] for task_id, text in wire.rows(texts)}
    rows = {
        task_id: {"last_run": time(last_runs[task_id])}
        for task_id, known in found.items()
        if known is None or known < last_runs[task_id]
    }
    if rows:
        update_by_id(connection, "tasks", rows)
    return last_runs.keys() - found.keys()


_LAST_RUNS = (
    select(wire.as_one(_TASK.id, _TASK.last_run))
    .where(_TASK.id.in_(bindparam("tasks", expanding=True, literal_execute=True)))
    .order_by(_TASK.id)
    .with_for_update(skip_locked=True)
)


def packet_bytes(connection: Connection) -> int:
    """The largest statement the database takes."""
    if connection.dialect.name == "sqlite":
        return 64 * 1024 * 1024
    return int(connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one())
