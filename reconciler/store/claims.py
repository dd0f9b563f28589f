"""Claims: due tasks locked, slots written as ledger rows, next times moved, all by bulk statements.

Every function works inside the caller's transaction (``Database.transact``), which must be at READ
COMMITTED on the servers: at REPEATABLE READ gap locks make claimers deadlock. The order of locks is
always tasks, then executions, each ascending by id or due time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, RowMapping, Text, bindparam, func, select, type_coerce, update
from sqlalchemy.exc import IntegrityError

from reconciler.model.condition import ConditionStatus, ConditionType
from reconciler.model.enums import Kind
from reconciler.model.execution import Reason, Status, Trigger
from reconciler.model.value import value
from reconciler.schedule.concurrency import OpenSlot, OpenState
from reconciler.schedule.policy import Suspension
from reconciler.store import wire
from reconciler.store.bulk import Parameters, Times, chunks, number_list, update_by_id
from reconciler.store.faults import is_duplicate
from reconciler.store.tables import Condition, Execution, Override, Server, Task

DUE_INDEX = "FORCE INDEX (ix_tasks_status_next_run)"
OPEN_INDEX = "FORCE INDEX (ix_task_executions_status_task_id)"
"""Without the hints a server that thinks a table small sorts all that is due, and so locks all of it."""


@value
class DueTask:
    """A task's row, locked by this transaction. ``spec`` is the column's raw text, which may be spoilt."""

    id: int
    name: str
    project_id: int
    server_id: int
    cron_expr: str | None
    timezone: str
    spec: str
    next_slot: datetime | None
    next_run: datetime
    generation: int
    revision_id: int | None
    path: str
    line: int


@value
class NewExecution:
    """A ledger row to insert: waiting, or skipped where ``reason`` is given; ``note`` says more."""

    id: int
    task_id: int
    server_id: int
    trigger: Trigger
    scheduled_for: datetime
    due_at: datetime
    generation: int
    revision_id: int | None
    path: str
    line: int
    reason: Reason | None = None
    attempt: int = 1
    count: int = 1
    requested_by: str | None = None
    note: str | None = None


_TASK = Task.__table__.c
_DUE = (
    select(
        wire.as_one(
            _TASK.id,
            _TASK.name,
            _TASK.project_id,
            _TASK.server_id,
            _TASK.cron_expr,
            _TASK.timezone,
            type_coerce(_TASK.spec, Text),
            _TASK.next_slot,
            _TASK.next_run,
            _TASK.generation,
            _TASK.revision_id,
            _TASK.path,
            _TASK.line,
        )
    )
    .where(_TASK.status == 1, _TASK.next_run >= bindparam("floor"), _TASK.next_run <= bindparam("now"))
    .order_by(_TASK.next_run)
    .limit(bindparam("rows"))
    .with_hint(Task, DUE_INDEX, "mysql")
    .with_for_update(skip_locked=True)
)
_NEXT_DUE = (
    select(func.min(_TASK.next_run))
    .where(_TASK.status == 1, _TASK.next_run >= bindparam("floor"))
    .with_hint(Task, DUE_INDEX, "mysql")
)
_ROW = Execution.__table__.c
_OPEN = (
    select(
        _ROW.id,
        _ROW.task_id,
        _ROW.scheduled_for,
        _ROW.attempt,
        _ROW.trigger,
        (_ROW.lease_owner.isnot(None) | _ROW.started_at.isnot(None) | _ROW.start_sent_at.isnot(None)).label(
            "taken"
        ),
    )
    .where(
        _ROW.status == Status.OPEN,
        _ROW.task_id.in_(bindparam("tasks", expanding=True, literal_execute=True)),
    )
    .with_hint(Execution, OPEN_INDEX, "mysql")
)


_SERVER = Server.__table__.c
_NAMES = select(wire.as_one(_SERVER.id, _SERVER.name)).where(
    _SERVER.id.in_(bindparam("servers", expanding=True, literal_execute=True))
)


def due_tasks(connection: Connection, floor: datetime, now: datetime, rows: int) -> list[DueTask]:
    """At most ``rows`` due tasks, longest due first, locked; those that others hold are passed over.

    ``floor`` is a lower bound of their due times: entries that were moved stay in the index while any
    snapshot is open (a backup), and every scan from the beginning would wade through them.
    """
    found = connection.execute(_DUE, {"floor": floor, "now": now, "rows": rows}).scalars()
    times = wire.Moments()
    tasks = []
    for row in wire.rows(found.all()):
        row[7:9] = times[row[7]], times.known(row[8])
        tasks.append(DueTask(*row))
    return tasks


def next_due(connection: Connection, floor: datetime) -> datetime | None:
    """When the next task is due, not before ``floor``; None when nothing is scheduled."""
    return connection.execute(_NEXT_DUE, {"floor": floor}).scalar()


def due_times(connection: Connection) -> list[tuple[int, datetime]]:
    """When every task that is scheduled is due next, by task id."""
    query = select(_TASK.id, _TASK.next_run).where(_TASK.status == 1, _TASK.next_run.is_not(None))
    return [(row[0], row[1]) for row in connection.execute(query)]


def server_names(connection: Connection, ids: Iterable[int]) -> dict[int, str]:
    """The names of these servers, read without locks (applies hold them for a while)."""
    found = connection.execute(_NAMES, {"servers": sorted(set(ids))}).scalars()
    return dict(wire.rows(found.all()))


def open_slots(
    connection: Connection, task_ids: Sequence[int], alone: Mapping[int, OpenSlot] | None = None
) -> dict[int, list[OpenSlot]]:
    """The unfinished slots of these tasks, by task, oldest first.

    A row that somebody has taken counts as running: it may start at any moment. One that ended
    ``unreachable`` after its start counts as long as its host has not answered since. ``alone``: further
    tasks (ids), and the only row of each that has not ended, as it was just read.
    """
    slots = {task_id: [slot] for task_id, slot in alone.items()} if alone else {}
    rows = connection.execute(_OPEN, {"tasks": task_ids}).mappings().all() if task_ids else []
    origins = _first_triggers(connection, [row for row in rows if row["attempt"] > 1])
    unknown = _unknown(connection, [*task_ids, *slots])
    for row in sorted([*rows, *unknown], key=lambda row: (row["scheduled_for"], row["id"])):
        trigger = origins.get((row["task_id"], row["scheduled_for"]), row["trigger"])
        state = OpenState.RUNNING if row.get("taken") else OpenState.WAITING
        if "finished_at" in row:
            state = OpenState.UNKNOWN
        slot = OpenSlot(row["id"], row["scheduled_for"], state, Trigger(trigger))
        slots.setdefault(row["task_id"], []).append(slot)
    for task_id in {row["task_id"] for row in unknown}:
        slots[task_id].sort(key=lambda slot: (slot.scheduled_for, slot.execution_id))
    return slots


def _unknown(connection: Connection, task_ids: Sequence[int]) -> list[RowMapping]:
    """Ended runs of these tasks that may still live on hosts that fell silent before that and still are."""
    silent = {row.object_id: row.last_transition for row in connection.execute(_SILENT)}
    if not silent:
        return []
    found = connection.execute(_UNKNOWN, {"tasks": task_ids, "servers": sorted(silent)}).mappings()
    # both times are written by different processes, and the silence a moment after it began
    return [row for row in found if row["finished_at"] >= silent[row["server_id"]] - _SILENCE_TOLD]


_SILENCE_TOLD = timedelta(seconds=60)
_SILENT = select(Condition.object_id, Condition.last_transition).where(
    Condition.kind == Kind.SERVER,
    Condition.type == ConditionType.REACHABLE,
    Condition.status == ConditionStatus.FALSE,
)
_UNKNOWN = (
    select(
        _ROW.id,
        _ROW.task_id,
        _ROW.server_id,
        _ROW.scheduled_for,
        _ROW.attempt,
        _ROW.trigger,
        _ROW.finished_at,
    )
    .where(
        _ROW.status == Status.FAILED,
        _ROW.task_id.in_(bindparam("tasks", expanding=True)),
        _ROW.server_id.in_(bindparam("servers", expanding=True)),
        _ROW.reason == Reason.UNREACHABLE,
        _ROW.started_at.is_not(None),
    )
    .with_hint(Execution, OPEN_INDEX, "mysql")
)


def _first_triggers(connection: Connection, retries: Sequence[RowMapping]) -> dict[tuple[int, datetime], str]:
    """What made the first attempts of these slots."""
    if not retries:
        return {}
    found = connection.execute(
        select(_ROW.task_id, _ROW.scheduled_for, _ROW.trigger).where(
            _ROW.task_id.in_({row["task_id"] for row in retries}),
            _ROW.scheduled_for.in_({row["scheduled_for"] for row in retries}),
            _ROW.attempt == 1,
        )
    )
    return {(row.task_id, row.scheduled_for): row.trigger for row in found}


@dataclass(frozen=True, slots=True)
class Suspensions:
    """Suspensions in force for a batch of tasks."""

    everything: tuple[Suspension, ...]
    projects: Mapping[int, list[Suspension]]
    tasks: Mapping[int, list[Suspension]]

    def touching(self, project_id: int, task_id: int) -> tuple[Suspension, ...]:
        """All that touch this task."""
        if not (self.everything or self.projects or self.tasks):
            return ()
        return (*self.everything, *self.projects.get(project_id, ()), *self.tasks.get(task_id, ()))


def suspensions(connection: Connection, since: datetime) -> Suspensions:
    """Suspensions that touch anything due at ``since`` or later."""
    override = Override.__table__.c
    everything: list[Suspension] = []
    projects: dict[int, list[Suspension]] = {}
    tasks: dict[int, list[Suspension]] = {}
    rows = connection.execute(
        select(
            override.task_id,
            override.project_id,
            override.since,
            override.until,
            override.by,
            override.reason,
        ).where(override.kind == "suspend", override.until.is_(None) | (override.until > since))
    )
    for row in rows:
        pause = Suspension(row.since, row.until, _why(row))
        if row.task_id is not None:
            tasks.setdefault(row.task_id, []).append(pause)
        elif row.project_id is not None:
            projects.setdefault(row.project_id, []).append(pause)
        else:
            everything.append(pause)
    return Suspensions(tuple(everything), projects, tasks)


def _why(row: Row[*tuple[Any, ...]]) -> str:
    """``suspended with its project by ann@laptop until 2026-03-01 12:00:00 UTC: why``"""
    what = "" if row.task_id is not None else " with its project" if row.project_id else " with everything"
    until = "it is resumed" if row.until is None else f"{row.until:%Y-%m-%d %H:%M:%S} UTC"
    return f"suspended{what} by {row.by} until {until}: {row.reason}"[:_LONGEST_NOTE]


def insert_executions(connection: Connection, rows: Sequence[NewExecution], now: datetime) -> set[int]:
    """Insert ledger rows; returns the ids of those whose slot somebody else already has (not inserted).

    The caller holds the row locks of their tasks.
    """
    duplicates: set[int] = set()
    for chunk in chunks(rows, _INSERTED):
        try:
            _insert(connection, chunk, now)
        except IntegrityError as error:
            if not is_duplicate(error):
                raise
            duplicates |= _insert_rest(connection, chunk, now)
    return duplicates


def _insert_rest(connection: Connection, rows: Sequence[NewExecution], now: datetime) -> set[int]:
    """After a duplicate, which undid the whole statement: insert what is not there yet."""
    found = connection.execute(
        select(_ROW.task_id, _ROW.scheduled_for, _ROW.attempt).where(
            _ROW.task_id.in_({row.task_id for row in rows}),
            _ROW.scheduled_for.in_({row.scheduled_for for row in rows}),
        )
    )
    taken = {(row.task_id, row.scheduled_for, row.attempt) for row in found}
    rest = [row for row in rows if (row.task_id, row.scheduled_for, row.attempt) not in taken]
    if rest:
        _insert(connection, rest, now)
    return {row.id for row in rows} - {row.id for row in rest}


_LONGEST_NOTE = 1000
"""Characters of a suspension's reason and all in a skipped row."""
_INSERTED = 500
"""Rows in one INSERT: with the longest paths still far under the smallest packet limit (16 MB)."""
_COLUMNS = (
    "id, task_id, server_id, status, reason, `trigger`, requested_by, attempt, scheduled_for, due_at, "
    "finished_at, generation, revision_id, path, line, error, output_bytes, error_bytes, truncated, "
    "`count`, created_at"
)


def _insert(connection: Connection, rows: Sequence[NewExecution], now: datetime) -> None:
    parameters = Parameters(connection)
    time = Times()
    created = time(now)
    lines = []
    for row in rows:
        if row.reason is None:
            state = "0,NULL"
            finished = "NULL"
        else:
            state, finished = f"3,'{row.reason.value}'", created
        revision = "NULL" if row.revision_id is None else f"{row.revision_id:d}"
        lines.append(
            f"({row.id:d},{row.task_id:d},{row.server_id:d},{state},'{row.trigger.value}',"
            f"{parameters.place(row.requested_by)},{row.attempt:d},{time(row.scheduled_for)},{time(row.due_at)},"
            f"{finished},{row.generation:d},{revision},{parameters.place(row.path)},{row.line:d},"
            f"{parameters.place(row.note)},0,{len((row.note or '').encode()):d},0,{row.count:d},{created})"
        )
    connection.exec_driver_sql(
        f"INSERT INTO task_executions ({_COLUMNS}) VALUES {','.join(lines)}", tuple(parameters.values)
    )


def advance(connection: Connection, times: Sequence[tuple[int, datetime | None, datetime | None]]) -> None:
    """Set (task id, next_slot, next_run). Tasks that share their times take one statement together."""
    time = Times()
    groups: dict[tuple[datetime | None, datetime | None], list[int]] = {}
    for task_id, next_slot, next_run in times:
        groups.setdefault((next_slot, next_run), []).append(task_id)
    single: dict[int, dict[str, str]] = {}
    for (next_slot, next_run), ids in groups.items():
        slot, run = time(next_slot), time(next_run)
        if len(ids) < 10:
            single.update({task_id: {"next_slot": slot, "next_run": run} for task_id in ids})
            continue
        connection.exec_driver_sql(
            f"UPDATE tasks SET next_slot = {slot}, next_run = {run} WHERE id IN ({number_list(ids)})"
        )
    for chunk in chunks(sorted(single), 125):
        update_by_id(connection, "tasks", {task_id: single[task_id] for task_id in chunk})


def supersede(connection: Connection, ids: Sequence[int], now: datetime) -> None:
    """Close waiting rows as skipped ``superseded``; those taken meanwhile are left alone."""
    for chunk in chunks(sorted(ids), 500):
        connection.execute(
            update(Execution)
            .where(
                _ROW.id.in_(chunk),
                _ROW.status == Status.OPEN,
                _ROW.lease_owner.is_(None),
                _ROW.started_at.is_(None),
                _ROW.start_sent_at.is_(None),
            )
            .values(status=Status.SKIPPED, reason=Reason.SUPERSEDED, finished_at=now, lease_until=None)
        )


def request_cancels(connection: Connection, ids: Sequence[int], by: str, now: datetime) -> None:
    """Ask the owners of running rows to end them; the first request stands."""
    for chunk in chunks(sorted(ids), 500):
        connection.execute(
            update(Execution)
            .where(_ROW.id.in_(chunk), _ROW.status == Status.OPEN, _ROW.cancel_requested_at.is_(None))
            .values(cancel_requested_at=now, cancel_requested_by=by)
        )
