"""The reading side of the ledger: pages, single rows, output. Newest first is ``ORDER BY id DESC``.

A page's ids come first, from an index alone (``store.pages``); the rows follow by key, and their output only
where it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, select

from reconciler.errors import NotFound
from reconciler.model.execution import Status
from reconciler.store.cursor import decode, encode
from reconciler.store.decode import EXECUTION_VALUES, ExecutionReader, Labels
from reconciler.store.packed import packed
from reconciler.store.pages import BY_SERVER, BY_TASK, ExecutionFilter, newest_ids, page_ids
from reconciler.store.tables import Execution, Project, Revision, Server, Task
from reconciler.store.views import ExecutionView, OutputView, Page

_KEYS = 1000
"""Ids in one IN list."""
_VIEWS = (
    select(packed(*EXECUTION_VALUES), Task.name, Server.name, Project.name, Revision.commit)
    .join(Task, Task.id == Execution.task_id)
    .join(Server, Server.id == Execution.server_id)
    .join(Project, Project.id == Task.project_id)
    .outerjoin(Revision, Revision.id == Execution.revision_id)
    .where(Execution.id.in_(bindparam("ids", expanding=True)))
)
"""Everything of executions but their output, with the names of what they belong to.

Made once: recognising a large statement that was made anew takes longer than the answer.
"""


def list_executions(
    conn: Connection, wanted: ExecutionFilter, *, limit: int, after: str | None = None
) -> Page[ExecutionView]:
    """A page of executions, newest first; ``after`` is the cursor of the page before.

    Raises UsageError for a cursor that is none.
    """
    below = None if after is None else int(decode("executions", after, (int,))[0])
    ids = page_ids(conn, wanted, below, limit + 1)
    items = executions_by_id(conn, ids[:limit])
    more = encode("executions", (ids[limit - 1],)) if len(ids) > limit else None
    return Page(tuple(items), more)


def last_executions(conn: Connection, task_id: int, count: int = 10) -> list[ExecutionView]:
    """The newest of a task, newest first."""
    query = newest_ids(BY_TASK, [Execution.task_id == task_id]).limit(count)
    return executions_by_id(conn, list(conn.scalars(query)))


def last_of_server(conn: Connection, server_id: int, count: int = 10) -> list[ExecutionView]:
    """The newest on a server, newest first."""
    query = newest_ids(BY_SERVER, [Execution.server_id == server_id]).limit(count)
    return executions_by_id(conn, list(conn.scalars(query)))


def latest_run(conn: Connection, task_id: int, *, waiting: bool = False) -> ExecutionView | None:
    """The newest execution of a task that has begun or ended, not skipped ones; ``waiting``: or waits."""
    open_ones = Execution.status == Status.OPEN
    if not waiting:
        open_ones = and_(open_ones, Execution.started_at.is_not(None))
    begun = Execution.status.in_((Status.SUCCESS, Status.FAILED)) | open_ones
    query = newest_ids(BY_TASK, [Execution.task_id == task_id, begun]).limit(1)
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
        for row in conn.execute(_VIEWS, {"ids": keys}):
            view = reader.view(row[0], Labels(*row[1:]))
            found[view.id] = view
    return [found[key] for key in ids if key in found]


def read_output(conn: Connection, execution_id: int) -> OutputView:
    """Both stored streams, whole (at most 1 MiB each), and the remark."""
    query = select(Execution.output, Execution.error, Execution.remark).where(Execution.id == execution_id)
    row = conn.execute(query).one_or_none()
    return OutputView(None, None) if row is None else OutputView(row.output, row.error, row.remark)


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
    ids = list(conn.scalars(newest_ids(BY_TASK, done).limit(of)))
    lengths = [view.duration_seconds for view in executions_by_id(conn, ids)]
    known = [seconds for seconds in lengths if seconds is not None]
    return sum(known) / len(known) if known else None


def _right(conn: Connection, column: Any, characters: int) -> ColumnElement[str]:
    # substr(x, -n) is empty on the servers where x is shorter than n; right() is unknown to SQLite
    if conn.dialect.name == "sqlite":
        return func.substr(column, -characters)
    return func.right(column, characters)


def _chunks(ids: Sequence[int]) -> Iterable[list[int]]:
    keys = iter(ids)
    while chunk := list(islice(keys, _KEYS)):
        yield chunk
