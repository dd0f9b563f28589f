"""Takes: waiting rows looked for without locks, then taken under one, so that no limit is ever overshot.

``lock`` is one row that every taker on this database locks first: counting what runs and adding to it
happens one taker after another. A transaction holds it for a few milliseconds, for a whole batch of
runs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.exc import IntegrityError

from reconciler.model.execution import Reason, Status, Trigger
from reconciler.model.value import value
from reconciler.store import wire
from reconciler.store.bulk import chunks, number_list, sql_time
from reconciler.store.claims import DUE_INDEX, OPEN_INDEX
from reconciler.store.engine import Database
from reconciler.store.faults import is_duplicate
from reconciler.store.leases import COUNTER
from reconciler.store.server_rows import SERVER_SPEC, ServerColumns
from reconciler.store.tables import Execution, Lease, Project, Revision, Server, Task

LOCK = "takes"
WAITING_INDEX = "FORCE INDEX (ix_task_executions_status_due_at)"
RUNNING_INDEX = "FORCE INDEX (ix_task_executions_status_server_id_lease_until)"

_ROW = Execution.__table__.c
_TASK = Task.__table__.c
_SERVER = Server.__table__.c


@value
class TaskColumns:
    """What makes a task's spec, as stored; ``rest`` is the text of the column ``spec``."""

    command: str
    cron_expr: str | None
    timezone: str
    status: int
    rest: str


@value
class WaitingRow:
    """An execution that waits, with all that running it needs.

    ``manual``: a person asked for its slot, retries included. ``task_live``, ``server_live``: not deleted.
    ``start_sent``, ``started_at``: what an earlier owner did about it. ``commit``: that of its task's spec.
    ``alone``: no other execution of its task is unfinished.
    """

    id: int
    task_id: int
    server_id: int
    project_id: int
    attempt: int
    trigger: Trigger
    manual: bool
    scheduled_for: datetime
    due_at: datetime
    project: str
    task: str
    task_live: bool
    task_columns: TaskColumns
    server_live: bool
    server_columns: ServerColumns
    start_sent: bool = False
    started_at: datetime | None = None
    commit: str | None = None
    alone: bool = False

    @property
    def begun(self) -> bool:
        """It may live on its host: it is to be attached to, whatever has changed since."""
        return self.start_sent or self.started_at is not None


def ensure_lock(connection: Connection) -> None:
    """Make the lock's row; to be called once by every process that takes."""
    try:
        with connection.begin_nested():
            connection.execute(Lease.__table__.insert().values(name=LOCK, owner="", token=0))
    except IntegrityError as error:
        if not is_duplicate(error):
            raise


def lock(connection: Connection) -> None:
    """Wait until no other taker is between counting and taking; until the end of this transaction."""
    connection.execute(_LOCK).first()


_LOCK = select(Lease.token).where(Lease.name == LOCK).with_for_update()


def any_waiting(connection: Connection, now: datetime, machine: str = "") -> bool:
    """Whether anything is due and waits, as far as it concerns ``machine``: see `waiting`."""
    return connection.execute(_ANY, {"now": now, "machine": machine}).first() is not None


def waiting(
    connection: Connection,
    now: datetime,
    rows: int,
    machine: str = "",
    *,
    after: tuple[datetime, int] | None = None,
    but_servers: Collection[int] = (),
    but_tasks: Collection[int] = (),
) -> list[WaitingRow]:
    """At most ``rows`` waiting executions that are due, the longest due first, across all tasks.

    Local runs that may have begun on another ``machine`` than this are not among them.
    ``after`` (due_at, id) continues behind a row; the rest leaves out what is known to have no room.
    """
    values: dict[str, Any] = {"now": now, "rows": rows, "machine": machine}
    query = _FIRST_PAGE
    if after is not None:
        query = _NEXT_PAGE
        # an empty list would be no list: no id is 0
        values |= {
            "at": after[0],
            "id": after[1],
            "servers": list(but_servers) or [0],
            "tasks": list(but_tasks) or [0],
        }
    return _waiting_rows(connection, query, values)


def waiting_of(
    connection: Connection, now: datetime, ids: Collection[int], machine: str = ""
) -> list[WaitingRow]:
    """Those of these executions that are due and wait, the longest due first; ``machine`` as in `waiting`."""
    values = {"now": now, "rows": len(ids), "ids": sorted(ids), "machine": machine}
    return _waiting_rows(connection, _THESE, values)


def _waiting_rows(connection: Connection, query: Select[Any], values: Mapping[str, Any]) -> list[WaitingRow]:
    times = wire.Moments()
    found = connection.execute(query, values).scalars().all()
    rows = [_waiting_row(row, times) for row in wire.rows(found)]
    return sorted(rows, key=lambda row: (row.due_at, row.id))


_DUE_AND_WAITING = and_(
    _ROW.status == Status.OPEN,
    _ROW.lease_owner.is_(None),
    _ROW.due_at <= bindparam("now"),
    or_(_ROW.machine.is_(None), _ROW.machine == bindparam("machine")),
)
_ANY = select(_ROW.id).with_hint(Execution, WAITING_INDEX, "mysql").where(_DUE_AND_WAITING).limit(1)


def _other_of(task_id: ColumnElement[int], execution_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether another execution of the task is unfinished: a step in an index for each row, where reading the
    unfinished of all tasks of a page would bring as many rows again.
    """
    other = Execution.__table__.alias("o")
    same = select(other.c.id).with_hint(other, OPEN_INDEX, "mysql")
    return same.where(
        other.c.status == Status.OPEN, other.c.task_id == task_id, other.c.id != execution_id
    ).exists()


def _page(condition: ColumnElement[bool], index: str = WAITING_INDEX) -> Select[Any]:
    # A derived table with a limit is read by itself, and STRAIGHT_JOIN begins with it: servers that guess
    # otherwise begin with all tasks of a project.
    found = (
        select(
            _ROW.id,
            _ROW.task_id,
            _ROW.server_id,
            _ROW.attempt,
            _ROW.trigger,
            _ROW.requested_by,
            _ROW.scheduled_for,
            _ROW.due_at,
            _ROW.start_sent_at,
            _ROW.started_at,
            _ROW.revision_id,
        )
        .with_hint(Execution, index, "mysql")
        .where(condition)
        .order_by(_ROW.due_at, _ROW.id)
        .limit(bindparam("rows"))
        .subquery("w")
    )
    project, revision = Project.__table__.c, Revision.__table__.c
    row = wire.as_one(
        found.c.id, found.c.task_id, found.c.server_id, _TASK.project_id, found.c.attempt,
        found.c.trigger, found.c.requested_by, found.c.scheduled_for, found.c.due_at,
        project.name, _TASK.name, _TASK.deleted_at,
        _TASK.command, _TASK.cron_expr, _TASK.timezone, _TASK.status, type_coerce(_TASK.spec, Text),
        _SERVER.deleted_at, *SERVER_SPEC, found.c.start_sent_at, found.c.started_at, revision.commit,
        case((_other_of(found.c.task_id, found.c.id), 0), else_=1),
    )  # fmt: skip
    return (
        select(row)
        .join_from(found, Task, _TASK.id == found.c.task_id)
        .join(Server, _SERVER.id == found.c.server_id)
        .join(Project, project.id == _TASK.project_id)
        .outerjoin(Revision, revision.id == found.c.revision_id)
        .prefix_with("STRAIGHT_JOIN", dialect="mysql")
    )


_FIRST_PAGE = _page(_DUE_AND_WAITING)
_NEXT_PAGE = _page(
    and_(
        _DUE_AND_WAITING,
        _ROW.due_at >= bindparam("at"),
        or_(_ROW.due_at > bindparam("at"), _ROW.id > bindparam("id")),
        _ROW.server_id.not_in(bindparam("servers", expanding=True)),
        _ROW.task_id.not_in(bindparam("tasks", expanding=True)),
    )
)


_THESE = _page(and_(_DUE_AND_WAITING, _ROW.id.in_(bindparam("ids", expanding=True))), "FORCE INDEX (PRIMARY)")


_BY_ID = _page(_ROW.id.in_(bindparam("ids", expanding=True)), "FORCE INDEX (PRIMARY)")


def rows_of(connection: Connection, ids: Collection[int]) -> list[WaitingRow]:
    """These executions, whatever their state, with all that attaching to them needs."""
    return _waiting_rows(connection, _BY_ID, {"rows": len(ids), "ids": sorted(ids)}) if ids else []


def _waiting_row(row: list[Any], times: wire.Moments) -> WaitingRow:
    return WaitingRow(
        id=row[0],
        task_id=row[1],
        server_id=row[2],
        project_id=row[3],
        attempt=row[4],
        trigger=Trigger(row[5]),
        manual=row[6] is not None,
        scheduled_for=times.known(row[7]),
        due_at=times.known(row[8]),
        project=row[9],
        task=row[10],
        task_live=row[11] is None,
        task_columns=TaskColumns(*row[12:17]),
        server_live=row[17] is None,
        server_columns=ServerColumns(*row[18:25]),
        start_sent=row[25] is not None,
        started_at=times[row[26]],
        commit=row[27],
        alone=bool(row[28]),
    )


@dataclass(frozen=True, slots=True)
class Glance:
    """What a sleeping process looks at: the change counter, the next retry, the next slot of any task."""

    counter: int
    next_waiting: datetime | None
    next_slot_due: datetime | None


_NEXT = (
    select(func.min(_ROW.due_at))
    .with_hint(Execution, WAITING_INDEX, "mysql")
    .where(_ROW.status == Status.OPEN, _ROW.due_at > bindparam("now"))
)
_NEXT_SLOT = (
    select(func.min(_TASK.next_run))
    .where(_TASK.status == 1, _TASK.next_run > bindparam("now"))
    .with_hint(Task, DUE_INDEX, "mysql")
)
_GLANCE = select(
    select(Lease.token).where(Lease.name == COUNTER).scalar_subquery(),
    _NEXT.scalar_subquery(),
    _NEXT_SLOT.scalar_subquery(),
)


def glance(connection: Connection, now: datetime) -> Glance:
    """One small look, at most once a second: three steps into three indexes."""
    counter, next_waiting, next_slot_due = connection.execute(_GLANCE, {"now": now}).one()
    return Glance(counter or 0, next_waiting, next_slot_due)


def running_on(connection: Connection, server_ids: Collection[int]) -> dict[int, int]:
    """How many runs of each server are taken, by whomever; absent where none is."""
    found = connection.execute(_RUNNING_ON, {"servers": list(server_ids)}).scalars()
    return dict(wire.rows(found.all()))


_RUNNING_ON = (
    select(wire.as_one(_ROW.server_id, func.count()))
    .with_hint(Execution, RUNNING_INDEX, "mysql")
    .where(
        _ROW.status == Status.OPEN,
        _ROW.server_id.in_(bindparam("servers", expanding=True, literal_execute=True)),
        _ROW.lease_until.is_not(None),
    )
    .group_by(_ROW.server_id)
)


def running_of(connection: Connection, groups: Collection[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """How many runs of tasks named (project id, name) are taken, over all their servers."""
    if not groups:
        return {}
    wanted = or_(*(and_(_TASK.project_id == project, _TASK.name == name) for project, name in sorted(groups)))
    rows = connection.execute(
        select(_TASK.project_id, _TASK.name, func.count())
        .join_from(Task, Execution, _ROW.task_id == _TASK.id)
        .with_hint(Execution, OPEN_INDEX, "mysql")
        .where(wanted, _ROW.status == Status.OPEN, _ROW.lease_until.is_not(None))
        .group_by(_TASK.project_id, _TASK.name)
    )
    return {(row[0], row[1]): row[2] for row in rows}


def take(
    db: Database,
    connection: Connection,
    ids: Sequence[int],
    owner: str,
    lease_seconds: float,
    now: datetime,
) -> set[int]:
    """Give the waiting rows ``ids`` to ``owner``; the ids that were still there to be taken.

    Their starts go out at once: should the owner vanish, nobody knows whether they began, but by asking the
    host where they are durable.
    """
    listed = number_list(sorted(ids))
    mark = f", start_sent_at = COALESCE(start_sent_at, {sql_time(now)})"
    statement = (
        f"UPDATE task_executions SET lease_owner = {_mark(connection)}, "
        f"lease_until = {lease_end(db, connection, lease_seconds)}{mark} "
        f"WHERE id IN ({listed}) AND status = 0 AND lease_owner IS NULL"
    )
    if connection.exec_driver_sql(statement, (owner,)).rowcount == len(ids):
        return set(ids)
    mine = select(_ROW.id).where(_ROW.id.in_(ids), _ROW.lease_owner == owner, _ROW.status == Status.OPEN)
    return set(connection.execute(mine).scalars())


def lease_end(db: Database, connection: Connection, seconds: float) -> str:
    """SQL for the end of a lease that begins now, by the database's clock."""
    if connection.dialect.name == "sqlite":
        return sql_time(db.now(connection) + timedelta(seconds=seconds))
    return f"UTC_TIMESTAMP(6) + INTERVAL {round(seconds * 1_000_000):d} MICROSECOND"


def _mark(connection: Connection) -> str:
    return "?" if connection.dialect.paramstyle == "qmark" else "%s"


def close_waiting(
    connection: Connection,
    ids: Sequence[int],
    status: Status,
    reason: Reason,
    now: datetime,
    message: str | None = None,
) -> int:
    """End waiting rows that will never be taken; how many there still were."""
    closed = 0
    for chunk in chunks(sorted(ids), 500):
        closed += connection.execute(
            update(Execution)
            .where(_ROW.id.in_(chunk), _ROW.status == Status.OPEN, _ROW.lease_owner.is_(None))
            .values(status=status, reason=reason, finished_at=now, error=message)
        ).rowcount
    return closed
