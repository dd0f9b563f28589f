"""What became of every task and server lately, in a handful of statements however many there are.

The newest row of each task is one dive into the slot's index, made inside the database for all tasks at once;
only tasks whose newest row says nothing of a finished run cost a second one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from zlib import crc32

from sqlalchemy import Connection, ScalarSelect, func, select
from sqlalchemy.orm import aliased

from reconciler.model.execution import Reason, Status, Trigger
from reconciler.store.decode import EXECUTION_VALUES, ExecutionReader, Labels
from reconciler.store.executions import executions_by_id
from reconciler.store.packed import SEPARATOR, packed
from reconciler.store.pages import BY_SERVER, BY_STATE
from reconciler.store.tables import Execution, Revision, Server, Task
from reconciler.store.views import ExecutionView, ServerView, TaskView

BY_SLOT = "uq_task_executions_task_id_scheduled_for_attempt"
_KEYS = 1000
MANY = 1000
"""Tasks whose rows are asked of ``KnownRows`` first; fewer are read from the database just as quickly."""
_FINISHED = (Status.SUCCESS, Status.FAILED)
_OF_A_SLOT = (Trigger.SCHEDULE, Trigger.CATCH_UP, Trigger.RETRY)


@dataclass(frozen=True, slots=True)
class TaskRuns:
    """``newest`` of all slots whatever became of it, ``finished`` the newest slot that succeeded or failed,
    ``open`` all that have not ended, oldest first."""

    newest: ExecutionView | None = None
    finished: ExecutionView | None = None
    open: tuple[ExecutionView, ...] = ()


class KnownRows(Protocol):
    """Rows that were read before, by task id, as texts of ours. It may know none, or wrong ones."""

    def read(self, task_ids: Sequence[int]) -> Mapping[int, str]:
        """What is known of these tasks."""
        ...

    def keep(self, rows: Mapping[int, str]) -> None:
        """Know these from now on."""
        ...


def task_runs(
    conn: Connection, tasks: Sequence[TaskView], *, every: bool = False, rows: KnownRows | None = None
) -> dict[int, TaskRuns]:
    """The runs of each task by its id. ``every``: these are all live tasks, so their ids need not be sent.

    ``rows`` is asked where the tasks are many. The database says which row is each task's newest; of that
    very row, and only if nothing can change it any more, a text that is known is as good as another look.
    """
    reader = _Reader(conn, tasks)
    if every and rows is not None and len(tasks) >= MANY:
        newest = reader.newest_known(rows)
    else:
        newest = reader.newest(None if every else list(reader.known))
    open_or_skipped = [task for task, run in newest.items() if run.status not in _FINISHED]
    finished = reader.newest(open_or_skipped, finished=True)
    unknown = set(open_or_skipped)
    open_ones = reader.open(every=every)
    return {
        task.id: TaskRuns(
            newest.get(task.id),
            (finished if task.id in unknown else newest).get(task.id),
            tuple(open_ones.get(task.id, ())),
        )
        for task in tasks
    }


def server_contacts(
    conn: Connection, servers: Sequence[ServerView], *, every: bool = False
) -> dict[int, ExecutionView]:
    """The newest execution that succeeded or failed on each server, by the server's id."""
    wanted = Server.deleted_at.is_(None) if every else Server.id.in_([server.id for server in servers])
    query = select(Server.id, _newest_contact()).where(wanted)
    found = {row[0]: row[1] for row in conn.execute(query)}
    views = {view.id: view for view in executions_by_id(conn, [key for key in found.values() if key])}
    return {server_id: views[key] for server_id, key in found.items() if key in views}


def recorded_slots(conn: Connection, slots: Mapping[int, datetime]) -> set[int]:
    """Of tasks and a slot each: the tasks with a row of their schedule for that slot or a later one."""
    found: set[int] = set()
    ids = list(slots)
    for start in range(0, len(ids), _KEYS):
        keys = ids[start : start + _KEYS]
        query = (
            select(Execution.task_id, func.max(Execution.scheduled_for))
            .with_hint(Execution, f"FORCE INDEX ({BY_SLOT})", "mysql")
            .where(
                Execution.task_id.in_(keys),
                Execution.scheduled_for >= min(slots[key] for key in keys),
                Execution.trigger.in_(_OF_A_SLOT),
            )
            .group_by(Execution.task_id)
        )
        found |= {row[0] for row in conn.execute(query) if row[1] >= slots[row[0]]}
    return found


def _newest_contact() -> ScalarSelect[int]:
    run = aliased(Execution)
    return (
        select(run.id)
        .with_hint(run, f"FORCE INDEX ({BY_SERVER})", "mysql")
        .where(run.server_id == Server.id, run.status.in_(_FINISHED))
        .order_by(run.server_id.desc(), run.id.desc())
        .limit(1)
        .scalar_subquery()
    )


def _newest_slot(finished: bool) -> ScalarSelect[int]:
    run = aliased(Execution)
    query = select(run.id).with_hint(run, f"FORCE INDEX ({BY_SLOT})", "mysql").where(run.task_id == Task.id)
    if finished:
        query = query.where(run.status.in_(_FINISHED))
    # named from its first column on: MySQL does not see that the outer row has fixed it, and would sort
    order = (run.task_id.desc(), run.scheduled_for.desc(), run.attempt.desc())
    return query.order_by(*order).limit(1).scalar_subquery()


class _Reader:
    """Views of executions of known tasks, named after them without asking for the names again."""

    def __init__(self, conn: Connection, tasks: Sequence[TaskView]) -> None:
        self._conn = conn
        self._reader = ExecutionReader()
        self.known = {task.id: task for task in tasks}

    def newest(self, ids: Sequence[int] | None, *, finished: bool = False) -> dict[int, ExecutionView]:
        """The newest row by slot of each of these tasks (None: of all live ones) that has one."""
        query = (
            _rows()
            .select_from(Task)
            .join(Execution, Execution.id == _newest_slot(finished))
            .outerjoin(Revision, Revision.id == Execution.revision_id)
        )
        if ids is None:
            return self._by_task(query.where(Task.deleted_at.is_(None)))
        found: dict[int, ExecutionView] = {}
        for start in range(0, len(ids), _KEYS):
            found |= self._by_task(query.where(Task.id.in_(ids[start : start + _KEYS])))
        return found

    def newest_known(self, rows: KnownRows) -> dict[int, ExecutionView]:
        """``newest`` of all live tasks: which rows, from the index alone; what is in them, from ``rows``."""
        query = select(packed(Task.id, _newest_slot(False))).where(Task.deleted_at.is_(None))
        pairs = (text.split(SEPARATOR) for text in self._conn.scalars(query))
        ids = {int(task): int(run) for task, run in pairs if run and int(task) in self.known}
        found: dict[int, ExecutionView] = {}
        for task_id, text in rows.read(list(ids)).items():
            view = self._from_text(task_id, text)
            if view is not None and view.id == ids.get(task_id):
                found[task_id] = view
        missing = [run for task, run in ids.items() if task not in found]
        texts: dict[int, str] = {}
        query = _rows().outerjoin(Revision, Revision.id == Execution.revision_id)
        for start in range(0, len(missing), _KEYS):
            for row in self._conn.execute(query.where(Execution.id.in_(missing[start : start + _KEYS]))):
                found[row[0]] = view = self._view(row)
                if _is_final(view):
                    texts[row[0]] = _sealed(f"{row[2]}{SEPARATOR}{row[1] or ''}")
        rows.keep(texts)
        return found

    def _from_text(self, task_id: int, text: str) -> ExecutionView | None:
        """The view of a final row of that task; None for anything else."""
        body = text.partition(SEPARATOR)[2]
        values, _, commit = body.rpartition(SEPARATOR)
        if text != _sealed(body):
            return None
        try:
            view = self._view((task_id, commit or None, values))
        except (ValueError, AssertionError, KeyError):
            return None
        return view if view.task_id == task_id and _is_final(view) else None

    def open(self, *, every: bool) -> dict[int, list[ExecutionView]]:
        """What has not ended, by task, oldest first; far fewer rows than tasks, so they are read at once."""
        query = (
            _rows()
            .outerjoin(Revision, Revision.id == Execution.revision_id)
            .with_hint(Execution, f"FORCE INDEX ({BY_STATE})", "mysql")
            .where(Execution.status == Status.OPEN)
            .order_by(Execution.id)
        )
        if not every and len(self.known) <= _KEYS:
            query = query.where(Execution.task_id.in_(self.known))
        found = defaultdict(list)
        for row in self._conn.execute(query):
            if row[0] in self.known:
                found[row[0]].append(self._view(row))
        return found

    def _by_task(self, query: Any) -> dict[int, ExecutionView]:
        # a task that was added since the others were read is not in this report
        return {row[0]: self._view(row) for row in self._conn.execute(query) if row[0] in self.known}

    def _view(self, row: Any) -> ExecutionView:
        task_id, commit, values = row
        task = self.known[task_id]
        return self._reader.view(values, Labels(task.name, task.server, task.project, commit))


def _sealed(body: str) -> str:
    """With a checksum: what was cut or mangled on its way looks like nothing of ours."""
    return f"{crc32(body.encode()):08x}{SEPARATOR}{body}"


def _is_final(view: ExecutionView) -> bool:
    """Whether its row will never change again: ``lost`` and ``unreachable`` may be corrected."""
    unproven = view.reason in (Reason.LOST, Reason.UNREACHABLE)
    return view.status in (Status.SUCCESS, Status.FAILED, Status.SKIPPED) and not unproven


def _rows() -> Any:
    return select(Execution.task_id, Revision.commit, packed(*EXECUTION_VALUES))
