"""The reading side of the ledger: pages, single rows, output. Newest first is ``ORDER BY id DESC``.

Each list is read from one index, named to the servers with FORCE INDEX: left to themselves they sort a
million rows for a page of fifty. A page's ids come first, from the index alone; the rows follow by key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, select

from reconciler.errors import NotFound
from reconciler.model.execution import State, Status
from reconciler.store.cursor import decode, encode
from reconciler.store.decode import EXECUTION_VALUES, ExecutionReader, Labels
from reconciler.store.ids import first_id_at
from reconciler.store.labels import has_labels
from reconciler.store.packed import packed
from reconciler.store.tables import Execution, Project, Revision, Server, Task
from reconciler.store.views import ExecutionView, OutputView, Page

BY_TASK = "ix_task_executions_task_id_id"
BY_SERVER = "ix_task_executions_server_id_id"
BY_STATE = "ix_task_executions_status_id"
BY_STATE_AND_SERVER = "ix_task_executions_status_server_id_lease_until"
BY_ID = "PRIMARY"

FEW_TASKS = 200
"""Up to so many tasks a list is read from each task's own part of the index; of more from the newest down."""
_KEYS = 1000
"""Ids in one IN list."""


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
_STATUS = {
    State.WAITING: Status.OPEN,
    State.RUNNING: Status.OPEN,
    State.SUCCESS: Status.SUCCESS,
    State.FAILED: Status.FAILED,
    State.SKIPPED: Status.SKIPPED,
}


def list_executions(
    conn: Connection, wanted: ExecutionFilter, *, limit: int, after: str | None = None
) -> Page[ExecutionView]:
    """A page of executions, newest first; ``after`` is the cursor of the page before.

    Raises UsageError for a cursor that is none.
    """
    below = None if after is None else int(decode("executions", after, (int,))[0])
    query = _ids_query(conn, wanted, below)
    if query is None:
        return Page(())
    ids = list(conn.scalars(query.limit(limit + 1)))
    items = executions_by_id(conn, ids[:limit])
    more = encode("executions", (ids[limit - 1],)) if len(ids) > limit else None
    return Page(tuple(items), more)


def last_executions(conn: Connection, task_id: int, count: int = 10) -> list[ExecutionView]:
    """The newest of a task, newest first."""
    query = _newest_ids(BY_TASK, [Execution.task_id == task_id]).limit(count)
    return executions_by_id(conn, list(conn.scalars(query)))


def last_of_server(conn: Connection, server_id: int, count: int = 10) -> list[ExecutionView]:
    """The newest on a server, newest first."""
    query = _newest_ids(BY_SERVER, [Execution.server_id == server_id]).limit(count)
    return executions_by_id(conn, list(conn.scalars(query)))


def latest_run(conn: Connection, task_id: int, *, waiting: bool = False) -> ExecutionView | None:
    """The newest execution of a task that has begun or ended, not skipped ones; ``waiting``: or waits."""
    open_ones = Execution.status == Status.OPEN
    if not waiting:
        open_ones = and_(open_ones, Execution.started_at.is_not(None))
    begun = Execution.status.in_((Status.SUCCESS, Status.FAILED)) | open_ones
    query = _newest_ids(BY_TASK, [Execution.task_id == task_id, begun]).limit(1)
    found = executions_by_id(conn, list(conn.scalars(query)))
    return found[0] if found else None


def find_execution(conn: Connection, execution_id: int) -> ExecutionView | None:
    """The execution with that id, or None."""
    found = executions_by_id(conn, [execution_id])
    return found[0] if found else None


def get_execution(conn: Connection, execution_id: int) -> ExecutionView:
    """The execution with that id; raises NotFound."""
    found = find_execution(conn, execution_id)
    if found is None:
        raise NotFound(
            f"there is no execution {execution_id}",
            hint="`get executions` lists them; old ones are pruned as the project's history says",
            details={"execution": str(execution_id)},
        )
    return found


def executions_by_id(conn: Connection, ids: Sequence[int]) -> list[ExecutionView]:
    """The rows with these ids, in the order of the ids; unknown ones are left out."""
    reader = ExecutionReader()
    found: dict[int, ExecutionView] = {}
    for keys in _chunks(ids):
        for row in conn.execute(_views().where(Execution.id.in_(keys))):
            view = reader.view(row[0], Labels(*row[1:]))
            found[view.id] = view
    return [found[key] for key in ids if key in found]


def read_output(conn: Connection, execution_id: int) -> OutputView:
    """Both stored streams, whole (at most 1 MiB each)."""
    row = conn.execute(
        select(Execution.output, Execution.error).where(Execution.id == execution_id)
    ).one_or_none()
    return OutputView(None, None) if row is None else OutputView(row.output, row.error)


def read_hashes(conn: Connection, execution_id: int) -> tuple[str | None, str | None]:
    """SHA-256 (hex) of the whole of output and error."""
    query = select(Execution.output_sha256, Execution.error_sha256).where(Execution.id == execution_id)
    row = conn.execute(query).one_or_none()
    return (None, None) if row is None else (row[0], row[1])


def tails(conn: Connection, ids: Sequence[int], characters: int = 1500) -> dict[int, OutputView]:
    """The last characters of both streams of each execution, cut by the database."""
    found: dict[int, OutputView] = {}
    for keys in _chunks(ids):
        query = select(
            Execution.id,
            _right(conn, Execution.output, characters),
            _right(conn, Execution.error, characters),
        ).where(Execution.id.in_(keys))
        for row in conn.execute(query):
            found[row[0]] = OutputView(row[1], row[2])
    return found


def average_seconds(conn: Connection, task_id: int, of: int = 20) -> float | None:
    """The mean duration of the newest successful runs of a task; None without any."""
    done = [Execution.task_id == task_id, Execution.status == Status.SUCCESS]
    ids = list(conn.scalars(_newest_ids(BY_TASK, done).limit(of)))
    lengths = [view.duration_seconds for view in executions_by_id(conn, ids)]
    known = [seconds for seconds in lengths if seconds is not None]
    return sum(known) / len(known) if known else None


def _right(conn: Connection, column: Any, characters: int) -> ColumnElement[str]:
    # substr(x, -n) is empty on the servers where x is shorter than n; right() is unknown to SQLite
    if conn.dialect.name == "sqlite":
        return func.substr(column, -characters)
    return func.right(column, characters)


def _newest_ids(index: str, conditions: Iterable[ColumnElement[bool]]) -> Select[int]:
    return (
        select(Execution.id)
        .with_hint(Execution, f"FORCE INDEX ({index})", "mysql")
        .where(*conditions)
        .order_by(Execution.id.desc())
    )


def _ids_query(conn: Connection, wanted: ExecutionFilter, below: int | None) -> Select[int] | None:
    """The ids of a list in order, without a limit; None where nothing can fit."""
    bounds: list[ColumnElement[bool]] = []
    if below is not None:
        bounds.append(Execution.id < below)
    if wanted.since is not None:
        bounds.append(Execution.id >= first_id_at(wanted.since))
    bounds += _state(wanted.state)
    if wanted.server_id is not None:
        bounds.append(Execution.server_id == wanted.server_id)
    tasks = _task_conditions(wanted)
    if not tasks:
        return _newest_ids(_index_of(wanted), bounds)
    ids = list(conn.scalars(select(Task.id).where(*tasks).limit(FEW_TASKS + 1)))
    if not ids:
        return None
    if len(ids) <= FEW_TASKS:
        fits = Execution.task_id == ids[0] if len(ids) == 1 else Execution.task_id.in_(ids)
        return _newest_ids(BY_TASK, [fits, *bounds])
    return (
        _newest_ids(_index_of(wanted), bounds)
        # the ledger first, in order, each row's task looked up: the other way round sorts everything
        .prefix_with("STRAIGHT_JOIN", dialect="mysql")
        .join(Task, Task.id == Execution.task_id)
        .where(*tasks)
    )


def _index_of(wanted: ExecutionFilter) -> str:
    if wanted.state in _OPEN:
        return BY_STATE
    if wanted.server_id is not None:
        rare = wanted.state in (State.FAILED, State.SKIPPED)
        return BY_STATE_AND_SERVER if rare else BY_SERVER
    return BY_ID if wanted.state is None else BY_STATE


def _state(state: State | None) -> list[ColumnElement[bool]]:
    if state is None:
        return []
    fits: list[ColumnElement[bool]] = [Execution.status == _STATUS[state]]
    if state in _OPEN:
        waits = state is State.WAITING
        fits.append(Execution.started_at.is_(None) if waits else Execution.started_at.is_not(None))
    return fits


def _task_conditions(wanted: ExecutionFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.task_ids is not None:
        conditions.append(Task.id.in_(wanted.task_ids))
    if wanted.project_id is not None:
        conditions.append(Task.project_id == wanted.project_id)
    return conditions + has_labels(Task.labels, wanted.labels)


def _views() -> Any:
    """Everything of an execution but its output, with the names of what it belongs to."""
    return (
        select(packed(*EXECUTION_VALUES), Task.name, Server.name, Project.name, Revision.commit)
        .join(Task, Task.id == Execution.task_id)
        .join(Server, Server.id == Execution.server_id)
        .join(Project, Project.id == Task.project_id)
        .outerjoin(Revision, Revision.id == Execution.revision_id)
    )


def _chunks(ids: Sequence[int]) -> Iterable[list[int]]:
    keys = iter(ids)
    while chunk := list(islice(keys, _KEYS)):
        yield chunk
