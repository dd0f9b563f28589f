"""Executions that somebody holds: leases renewed, cancels looked for, lapsed ones found and let go.

All of it is judged by the database's clock, and every change re-reads in its WHERE what it was decided on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    bindparam,
    case,
    delete,
    select,
    type_coerce,
    update,
)

from reconciler.model.execution import Reason, Status
from reconciler.store.bulk import chunks, number_list
from reconciler.store.engine import Database
from reconciler.store.specs import SpecSpoilt, whole_task_spec
from reconciler.store.tables import Execution, Lease, Task
from reconciler.store.takes import lease_end

LEASE_INDEX = "FORCE INDEX (ix_task_executions_lease_until)"
_RENEWED = 500
_ROW = Execution.__table__.c
_TASK = Task.__table__.c


@dataclass(frozen=True, slots=True)
class Lapsed:
    """An execution whose owner did not renew its lease."""

    id: int
    task_id: int
    server_id: int
    owner: str
    start_sent_at: datetime | None
    started_at: datetime | None
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class StillHeld:
    """What is left of the leases of one owner; ``cancels``: who asked for the end of which."""

    ids: frozenset[int]
    cancels: dict[int, str]


_HELD = select(_ROW.id, _ROW.cancel_requested_at.is_not(None), _ROW.cancel_requested_by).where(
    _ROW.id.in_(bindparam("ids", expanding=True)),
    _ROW.status == Status.OPEN,
    _ROW.lease_owner == bindparam("owner"),
)


def renew(db: Database, connection: Connection, ids: Sequence[int], owner: str, seconds: float) -> StillHeld:
    """Let the leases of these executions last ``seconds`` from now; what was given to others
    meanwhile is lost.
    """
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    for chunk in chunks(sorted(ids), _RENEWED):
        connection.exec_driver_sql(
            f"UPDATE task_executions SET lease_until = {lease_end(db, connection, seconds)} "
            f"WHERE id IN ({number_list(chunk)}) AND lease_owner = {mark} AND status = 0",
            (owner,),
        )
    return held(connection, ids, owner)


def held(connection: Connection, ids: Sequence[int], owner: str) -> StillHeld:
    """Which of these are still this owner's and unfinished, and which of them are to be cancelled."""
    found: set[int] = set()
    cancels: dict[int, str] = {}
    for chunk in chunks(sorted(ids), _RENEWED):
        for execution_id, cancelled, by in connection.execute(_HELD, {"ids": chunk, "owner": owner}):
            found.add(execution_id)
            if cancelled:
                cancels[execution_id] = by or ""
    return StillHeld(frozenset(found), cancels)


_LAPSED = (
    select(
        _ROW.id,
        _ROW.task_id,
        _ROW.server_id,
        _ROW.lease_owner,
        _ROW.start_sent_at,
        _ROW.started_at,
        _ROW.cancel_requested_at.is_not(None),
    )
    .with_hint(Execution, LEASE_INDEX, "mysql")
    .where(_ROW.lease_until < bindparam("now"), _ROW.status == Status.OPEN, _ROW.lease_owner.is_not(None))
    .order_by(_ROW.lease_until)
    .limit(bindparam("rows"))
)


def lapsed(db: Database, connection: Connection, rows: int) -> list[Lapsed]:
    """At most ``rows`` executions whose leases are over, the longest over first."""
    found = connection.execute(_LAPSED, {"now": db.now(connection), "rows": rows})
    return [
        Lapsed(execution_id, task_id, server_id, owner or "", sent, started, bool(cancelled))
        for execution_id, task_id, server_id, owner, sent, started, cancelled in found
    ]


def give_back(db: Database, connection: Connection, ids: Sequence[int], *, living: bool) -> int:
    """Let these lapsed executions be taken by others; how many still were lapsed.

    ``living``: they may go on on their hosts and are to be attached to. The others never began.
    """
    lapsed_still = (
        _ROW.id.in_(ids),
        _ROW.status == Status.OPEN,
        _ROW.lease_until < db.now(connection),
    )
    return _let_go(connection, lapsed_still, living)


def _let_go(connection: Connection, where: Sequence[ColumnElement[bool]], living: bool) -> int:
    change = update(Execution).where(*where).values(lease_owner=None)
    if living:
        # what only one machine can attach to keeps the end of its lease: `stranded` finds it by that
        until = case((_ROW.machine.is_(None), None), else_=_ROW.lease_until)
        return connection.execute(change.values(lease_until=until)).rowcount
    unbegun = change.where(_ROW.started_at.is_(None))
    return connection.execute(unbegun.values(lease_until=None, start_sent_at=None, machine=None)).rowcount


@dataclass(frozen=True, slots=True)
class Stranded:
    """A local run that may have begun and that nobody holds; only ``machine`` can tell of it."""

    id: int
    task_id: int
    machine: str
    sent_at: datetime
    started_at: datetime | None


_STRANDED = (
    select(_ROW.id, _ROW.task_id, _ROW.machine, _ROW.start_sent_at, _ROW.started_at)
    .with_hint(Execution, LEASE_INDEX, "mysql")
    .where(
        _ROW.lease_until < bindparam("now"),
        _ROW.status == Status.OPEN,
        _ROW.lease_owner.is_(None),
        _ROW.machine.is_not(None),
        _ROW.start_sent_at.is_not(None),
    )
)


def stranded(db: Database, connection: Connection) -> list[Stranded]:
    """All that wait for their machine: never more than local servers have room for."""
    return [Stranded(*row) for row in connection.execute(_STRANDED, {"now": db.now(connection)})]


_SPECS = select(
    _TASK.id, _TASK.command, _TASK.cron_expr, _TASK.timezone, _TASK.status, type_coerce(_TASK.spec, Text)
)


def timeouts(connection: Connection, task_ids: Collection[int]) -> dict[int, int]:
    """Seconds that a run of these tasks may take; 0 where the row holds no valid spec."""
    found = dict.fromkeys(task_ids, 0)
    if not found:
        return found
    for task_id, *columns in connection.execute(_SPECS.where(_TASK.id.in_(sorted(found)))):
        with suppress(SpecSpoilt):
            found[task_id] = whole_task_spec(*columns).timeout
    return found


def begin_on(connection: Connection, ids: Collection[int], machine: str) -> None:
    """These were taken for ``connection: local``: they begin on this machine, or go on there."""
    for chunk in chunks(sorted(ids), _RENEWED):
        connection.execute(update(Execution).where(_ROW.id.in_(chunk)).values(machine=machine))


def end_lapsed(
    db: Database,
    connection: Connection,
    execution_id: int,
    reason: Reason,
    message: str,
    now: datetime,
) -> bool:
    """End a lapsed execution as failed; False if somebody renewed or ended it meanwhile."""
    changed = connection.execute(
        update(Execution)
        .where(_ROW.id == execution_id, _ROW.status == Status.OPEN, _ROW.lease_until < db.now(connection))
        .values(
            status=Status.FAILED,
            reason=reason,
            error=message,
            finished_at=now,
            lease_owner=None,
            lease_until=None,
        )
    )
    return changed.rowcount == 1


def release(connection: Connection, ids: Sequence[int], owner: str, *, living: bool) -> int:
    """Hand executions back to anyone; how many were still this owner's.

    ``living``: as in `give_back`; of the others those are passed over that have begun.
    """
    released = 0
    for chunk in chunks(sorted(ids), _RENEWED):
        mine = (_ROW.id.in_(chunk), _ROW.status == Status.OPEN, _ROW.lease_owner == owner)
        released += _let_go(connection, mine, living)
    return released


def forget(connection: Connection, name: str, owner: str) -> None:
    """Drop a lease's row: its name is of one process only and never comes again."""
    connection.execute(delete(Lease).where(Lease.name == name, Lease.owner == owner))


def forget_workers(db: Database, connection: Connection, prefix: str, seconds: float) -> int:
    """Drop the lease rows of processes that have been gone for so long; how many there were."""
    before = db.now(connection) - timedelta(seconds=seconds)
    gone = delete(Lease).where(Lease.name.startswith(prefix, autoescape=True), Lease.until < before)
    return connection.execute(gone).rowcount


def uptime_seconds(connection: Connection) -> float:
    """For how long the server has been answering; an embedded database always has."""
    if connection.dialect.name == "sqlite":
        return float("inf")
    row = connection.exec_driver_sql("SHOW GLOBAL STATUS LIKE 'Uptime'").first()
    return float(row[1]) if row is not None else float("inf")
