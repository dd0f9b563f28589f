"""Which executions a page of a list has: their ids, newest first, at a cost that the ledger's length does not
decide.

Each way reads one index from its newest end, named to the servers with FORCE INDEX: left to themselves they
sort a million rows for a page of fifty. What is asked for by task (names, labels, a project) is merged from
the newest of each task; of more tasks than a page has rows only from those whose newest fits it, found by
one dive each, and down to the oldest of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import nlargest
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, Select, select

from reconciler.model.execution import State, Status
from reconciler.store.bulk import chunks
from reconciler.store.ids import first_id_at
from reconciler.store.labels import has_labels
from reconciler.store.tables import Execution, Task

BY_TASK = "ix_task_executions_task_id_id"
BY_SERVER = "ix_task_executions_server_id_id"
BY_STATE = "ix_task_executions_status_id"
BY_STATE_AND_SERVER = "ix_task_executions_status_server_id_lease_until"
BY_STATE_AND_TASK = "ix_task_executions_status_task_id"
BY_ID = "PRIMARY"

FEW_TASKS = 200
"""Up to so many tasks are merged at once; of more the newest rows of all are looked through before."""
LOOKED_THROUGH = 5_000
"""So many of the newest rows: where tasks are busy alike they fill a page; else it costs about 20 ms."""
_MERGED = 100
"""Tasks in one statement; SQLite takes at most 500."""
_ANY = (1 << 63) - 25
"""Stands for a task in a statement that is written for many; no row has it as a number."""


@dataclass(frozen=True, slots=True)
class ExecutionFilter:
    """What a list is about; all that is given must hold. ``labels`` are those of the tasks."""

    task_ids: Sequence[int] | None = None
    server_id: int | None = None
    project_id: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    state: State | None = None
    since: datetime | None = None


_OPEN = {State.WAITING, State.RUNNING}
# plain numbers: the driver writes a member of an enum as text, for which MariaDB sorts
_STATUS = {
    State.WAITING: int(Status.OPEN),
    State.RUNNING: int(Status.OPEN),
    State.SUCCESS: int(Status.SUCCESS),
    State.FAILED: int(Status.FAILED),
    State.SKIPPED: int(Status.SKIPPED),
}


def page_ids(conn: Connection, wanted: ExecutionFilter, below: int | None, count: int) -> list[int]:
    """The newest ``count`` ids, descending, below that id."""
    bounds = _bounds(wanted, below)
    tasks = _task_conditions(wanted)
    if not tasks:
        return list(conn.scalars(_in_order(wanted, bounds).limit(count)))
    # a server's rows are looked through sooner than all tasks for their labels
    by_server = wanted.server_id is not None and wanted.task_ids is None
    found = _look_through(conn, wanted, bounds, tasks, count) if by_server else None
    if found is not None:
        return found
    if wanted.task_ids is not None and len(tasks) == 1:
        few = list(dict.fromkeys(wanted.task_ids))
    else:
        few = list(conn.scalars(select(Task.id).where(*tasks).limit(FEW_TASKS + 1)))
    many = len(few) > FEW_TASKS
    if len(few) == 1 and not many:
        of_one = _of_task(wanted, bounds).where(Execution.task_id == few[0])
        return list(conn.scalars(of_one.limit(count)))
    if many and not by_server:
        found = _look_through(conn, wanted, bounds, tasks, count)
        if found is not None:
            return found
    if many or len(few) > count:
        newest = _busiest(conn, wanted, bounds, tasks if many else [Task.id.in_(few)], count)
        few = list(newest)
        if len(few) == count:
            # each of them has one that is as new as this
            bounds = [*bounds, Execution.id >= min(newest.values())]
    return _merged(conn, wanted, bounds, few, count)


def newest_ids(index: str, conditions: Iterable[ColumnElement[bool]]) -> Select[int]:
    """Ids, newest first, read along an index in which everything before the id is fixed."""
    return (
        select(Execution.id)
        .with_hint(Execution, f"FORCE INDEX ({index})", "mysql")
        .where(*conditions)
        .order_by(Execution.id.desc())
    )


_Bounds = list[ColumnElement[bool]]


def _bounds(wanted: ExecutionFilter, below: int | None) -> _Bounds:
    bounds: _Bounds = []
    if below is not None:
        bounds.append(Execution.id < below)
    if wanted.since is not None:
        bounds.append(Execution.id >= first_id_at(wanted.since))
    return bounds


def _rows(wanted: ExecutionFilter) -> _Bounds:
    """What a row itself must be."""
    fits: _Bounds = []
    if wanted.state is not None:
        fits.append(Execution.status == _STATUS[wanted.state])
        if wanted.state is State.WAITING:
            fits.append(Execution.started_at.is_(None))
        elif wanted.state is State.RUNNING:
            fits.append(Execution.started_at.is_not(None))
    if wanted.server_id is not None:
        fits.append(Execution.server_id == wanted.server_id)
    return fits


def _in_order(wanted: ExecutionFilter, bounds: _Bounds) -> Select[int]:
    """The ledger from its newest end, by state and server."""
    conditions = [*_rows(wanted), *bounds]
    if wanted.state in _OPEN:
        index = BY_STATE
    elif wanted.server_id is None:
        index = BY_ID if wanted.state is None else BY_STATE
    elif wanted.state is None:
        index = BY_SERVER
    else:
        index = BY_STATE_AND_SERVER
        # what has ended has no lease: said, because only then the index is in the order of the ids
        conditions.append(Execution.lease_until.is_(None))
    return newest_ids(index, conditions)


def _look_through(
    conn: Connection,
    wanted: ExecutionFilter,
    bounds: _Bounds,
    tasks: Sequence[ColumnElement[bool]],
    count: int,
) -> list[int] | None:
    """The page, if the newest ``LOOKED_THROUGH`` rows fill it, or if there are no more; else None."""
    last = conn.scalar(_in_order(wanted, bounds).offset(LOOKED_THROUGH).limit(1))
    near = bounds if last is None else [*bounds, Execution.id > last]
    query = (
        _in_order(wanted, near)
        # the ledger first, in order, each row's task looked up: the other way round sorts everything
        .prefix_with("STRAIGHT_JOIN", dialect="mysql")
        .join(Task, Task.id == Execution.task_id)
        .where(*tasks)
        .limit(count)
    )
    found = list(conn.scalars(query))
    return found if last is None or len(found) == count else None


def _busiest(
    conn: Connection,
    wanted: ExecutionFilter,
    bounds: _Bounds,
    tasks: Sequence[ColumnElement[bool]],
    count: int,
) -> dict[int, int]:
    """The ``count`` tasks with the newest rows, and these: a page of so many has rows of no others."""
    newest = _newest_of_task(wanted, bounds).label("newest")
    query = select(Task.id, newest).where(*tasks).order_by(newest.desc()).limit(count)
    return {row[0]: row[1] for row in conn.execute(query) if row[1] is not None}


def _newest_of_task(wanted: ExecutionFilter, bounds: _Bounds) -> ScalarSelect[Any]:
    query = _of_task(wanted, bounds).where(Execution.task_id == Task.id)
    return query.limit(1).correlate(Task).scalar_subquery()


def _of_task(wanted: ExecutionFilter, bounds: _Bounds) -> Select[int]:
    index = BY_TASK if wanted.state is None else BY_STATE_AND_TASK
    # named from its first column on: MySQL does not see that the outer row has fixed it, and would sort
    order = (Execution.task_id.desc(), Execution.id.desc())
    return (
        select(Execution.id)
        .with_hint(Execution, f"FORCE INDEX ({index})", "mysql")
        .where(*_rows(wanted), *bounds)
        .order_by(*order)
    )


def _merged(
    conn: Connection, wanted: ExecutionFilter, bounds: _Bounds, tasks: Sequence[int], count: int
) -> list[int]:
    """The newest of these tasks together, each read from its own end of an index."""
    found: list[int] = []
    for some in chunks(tasks, _MERGED):
        # what is older than a full page is of no interest any more
        floor = [Execution.id > found[-1]] if len(found) == count else []
        one = _of_task(wanted, [*bounds, *floor]).where(Execution.task_id == _ANY).limit(count)
        # written once, with its numbers in it: building a hundred of them takes longer than reading them
        written = str(one.compile(conn.engine, compile_kwargs={"literal_binds": True}))
        # SQLite takes no brackets; the servers would put what is not in some into a table of its own
        whole = f"SELECT id FROM ({written})" if conn.dialect.name == "sqlite" else f"({written})"
        parts = " UNION ALL ".join([whole.replace(str(_ANY), f"{task:d}") for task in some])
        # sorted there: a row takes the driver longer than the server
        page = conn.exec_driver_sql(f"{parts} ORDER BY id DESC LIMIT {count:d}").scalars()
        found = nlargest(count, [*found, *page])
    return found


def _task_conditions(wanted: ExecutionFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.task_ids is not None:
        conditions.append(Task.id.in_(wanted.task_ids))
    if wanted.project_id is not None:
        conditions.append(Task.project_id == wanted.project_id)
    return conditions + has_labels(Task.labels, wanted.labels)
