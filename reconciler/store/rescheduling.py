"""What an apply must know of tasks to move their next slots, and how it ends what waits on stopped ones.

The tasks are locked, so that a claim that runs meanwhile skips them and an earlier one is seen. Servers are
not: the applies of all projects come one after another (``store.serial``), and nobody else writes servers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, select, type_coerce, update

from reconciler.model.execution import Reason, Status
from reconciler.store.bulk import chunks
from reconciler.store.claims import OPEN_INDEX
from reconciler.store.tables import Execution, Server, Task
from reconciler.store.takes import RUNNING_INDEX

BATCH = 500

_TASK = Task.__table__.c
_SERVER = Server.__table__.c
_ROW = Execution.__table__.c


@dataclass(frozen=True, slots=True)
class Place:
    """A server as a task's schedule sees it; ``open``: enabled and live."""

    name: str
    open: bool


@dataclass(frozen=True, slots=True)
class Timed:
    """When a task runs, as its row says; ``runnable``: it and its server are enabled and live.

    ``rest`` is the text of the column ``spec``, in which dst and jitter are.
    """

    task_id: int
    name: str
    server: str
    server_id: int
    runnable: bool
    schedule: str | None
    timezone: str
    rest: str
    next_slot: datetime | None
    generation: int
    revision_id: int | None
    path: str
    line: int


def lock_timed(
    connection: Connection, task_ids: Collection[int], server_ids: Collection[int] = ()
) -> list[Timed]:
    """The tasks with these ids and all tasks on these servers, locked until the transaction ends."""
    conditions = [_TASK.id.in_(some) for some in chunks(sorted(task_ids), BATCH)]
    conditions += [_TASK.server_id.in_(some) for some in chunks(sorted(server_ids), BATCH)]
    return _timed(connection, conditions, lock=True)


def read_timed(connection: Connection, task_ids: Collection[int]) -> list[Timed]:
    """The same of tasks that are locked already."""
    return _timed(connection, [_TASK.id.in_(some) for some in chunks(sorted(task_ids), BATCH)], lock=False)


def places(connection: Connection, server_ids: Iterable[int]) -> dict[int, Place]:
    """Servers by id."""
    found: dict[int, Place] = {}
    for some in chunks(sorted(set(server_ids)), BATCH):
        rows = connection.execute(
            select(_SERVER.id, _SERVER.name, _SERVER.status, _SERVER.deleted_at).where(_SERVER.id.in_(some))
        )
        found |= {row.id: Place(row.name, row.status == 1 and row.deleted_at is None) for row in rows}
    return found


def _timed(connection: Connection, conditions: Sequence[ColumnElement[bool]], *, lock: bool) -> list[Timed]:
    rows: dict[int, Any] = {}
    for condition in conditions:
        statement = select(
            _TASK.id, _TASK.name, _TASK.server_id, _TASK.status, _TASK.cron_expr, _TASK.timezone,
            _TASK.next_slot, _TASK.generation, _TASK.revision_id, _TASK.path, _TASK.line, _TASK.deleted_at,
            type_coerce(_TASK.spec, Text).label("rest"),
        ).where(condition).order_by(_TASK.id)  # fmt: skip
        found = connection.execute(statement.with_for_update() if lock else statement)
        rows.update((row.id, row) for row in found)
    servers = places(connection, (row.server_id for row in rows.values()))
    return [_one(row, servers[row.server_id]) for _, row in sorted(rows.items())]


def _one(row: Any, server: Place) -> Timed:
    return Timed(
        task_id=row.id,
        name=row.name,
        server=server.name,
        server_id=row.server_id,
        runnable=row.status == 1 and row.deleted_at is None and server.open,
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
    connection: Connection, tasks: Collection[int], servers: Collection[int], at: datetime
) -> None:
    """End what waits on stopped tasks and servers: skipped, ``disabled``. What somebody has taken runs on.

    All of it, manual runs too: who disables or deletes means that nothing more begins. Who asks for a run of
    a disabled task afterwards gets it.
    """
    waiting: set[int] = set()
    for some in chunks(sorted(tasks), BATCH):
        waiting |= _waiting(connection, _ROW.task_id.in_(some), OPEN_INDEX)
    for some in chunks(sorted(servers), BATCH):
        waiting |= _waiting(connection, _ROW.server_id.in_(some), RUNNING_INDEX)
    for some in chunks(sorted(waiting), BATCH):
        connection.execute(
            update(Execution)
            .where(_ROW.id.in_(some), *_UNTAKEN)
            .values(status=Status.SKIPPED, reason=Reason.DISABLED, finished_at=at)
        )


_UNTAKEN = (
    _ROW.status == Status.OPEN,
    _ROW.lease_owner.is_(None),
    _ROW.started_at.is_(None),
    # one that was sent and handed back may live on the host
    _ROW.start_sent_at.is_(None),
)


def _waiting(connection: Connection, condition: ColumnElement[bool], index: str) -> set[int]:
    """Looked for by themselves: an UPDATE cannot be told its index, and might lock the whole table."""
    found = connection.execute(
        select(_ROW.id).with_hint(Execution, index, "mysql").where(condition, *_UNTAKEN)
    )
    return set(found.scalars())
