"""What became of every task and server lately, in a handful of statements however many there are.

The newest row of each task is one dive into the slot's index, made inside the database for all tasks at once;
only tasks whose newest row says nothing of a finished run cost a second one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, ScalarSelect, func, select
from sqlalchemy.orm import aliased

from reconciler.model.execution import Status, Trigger
from reconciler.store.decode import EXECUTION_TEXTS, EXECUTION_VALUES, ExecutionReader, Labels
from reconciler.store.executions import BY_SERVER, BY_STATE, executions_by_id
from reconciler.store.packed import packed
from reconciler.store.tables import Execution, Revision, Server, Task
from reconciler.store.views import ExecutionView, ServerView, TaskView

BY_SLOT = "uq_task_executions_task_id_scheduled_for_attempt"
_KEYS = 1000
_FINISHED = (Status.SUCCESS, Status.FAILED)
_OF_A_SLOT = (Trigger.SCHEDULE, Trigger.CATCH_UP, Trigger.RETRY)


@dataclass(frozen=True, slots=True)
class TaskRuns:
    """``newest`` of all slots whatever became of it, ``finished`` the newest slot that succeeded or failed,
    ``open`` all that have not ended, oldest first."""

    newest: ExecutionView | None = None
    finished: ExecutionView | None = None
    open: tuple[ExecutionView, ...] = ()


def task_runs(conn: Connection, tasks: Sequence[TaskView], *, every: bool = False) -> dict[int, TaskRuns]:
    """The runs of each task by its id. ``every``: these are all live tasks, so their ids need not be sent."""
    reader = _Reader(conn, tasks)
    newest = _newest_slots(conn, list(reader.known), every=every)
    first = reader.by_id(newest.values())
    # a row may have been pruned between the two statements
    seen = {task: first[key] for task, key in newest.items() if key in first}
    unfinished = [task for task, run in seen.items() if run.status not in _FINISHED]
    finished = _newest_slots(conn, unfinished, finished=True)
    second = reader.by_id(finished.values())
    open_ones = reader.open(every=every)
    runs = {}
    for task in tasks:
        latest = seen.get(task.id)
        ended = second.get(finished[task.id]) if task.id in finished else latest
        runs[task.id] = TaskRuns(latest, ended, tuple(open_ones.get(task.id, ())))
    return runs


def server_contacts(
    conn: Connection, servers: Sequence[ServerView], *, every: bool = False
) -> dict[int, ExecutionView]:
    """The newest execution that succeeded or failed on each server, by the server's id."""
    run = aliased(Execution)
    newest = (
        select(run.id)
        .with_hint(run, f"FORCE INDEX ({BY_SERVER})", "mysql")
        .where(run.server_id == Server.id, run.status.in_(_FINISHED))
        .order_by(run.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    wanted = Server.deleted_at.is_(None) if every else Server.id.in_([server.id for server in servers])
    found = {row[0]: row[1] for row in conn.execute(select(Server.id, newest).where(wanted))}
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


def _newest_slots(
    conn: Connection, ids: Sequence[int], *, finished: bool = False, every: bool = False
) -> dict[int, int | None]:
    """The id of each task's newest row by slot, None for a task without one."""
    query = select(Task.id, _newest_slot(finished))
    if every:
        return {row[0]: row[1] for row in conn.execute(query.where(Task.deleted_at.is_(None)))}
    found: dict[int, int | None] = {}
    for start in range(0, len(ids), _KEYS):
        rows = conn.execute(query.where(Task.id.in_(ids[start : start + _KEYS])))
        found |= {row[0]: row[1] for row in rows}
    return found


def _newest_slot(finished: bool) -> ScalarSelect[int]:
    run = aliased(Execution)
    query = select(run.id).with_hint(run, f"FORCE INDEX ({BY_SLOT})", "mysql").where(run.task_id == Task.id)
    if finished:
        query = query.where(run.status.in_(_FINISHED))
    return query.order_by(run.scheduled_for.desc(), run.attempt.desc()).limit(1).scalar_subquery()


class _Reader:
    """Views of executions of known tasks, named after them without asking for the names again."""

    def __init__(self, conn: Connection, tasks: Sequence[TaskView]) -> None:
        self._conn = conn
        self._reader = ExecutionReader()
        self.known = {task.id: task for task in tasks}

    def by_id(self, ids: Iterable[int | None]) -> dict[int | None, ExecutionView]:
        """The executions with these ids."""
        keys = [key for key in ids if key is not None]
        found: dict[int | None, ExecutionView] = {}
        for start in range(0, len(keys), _KEYS):
            wanted = Execution.id.in_(keys[start : start + _KEYS])
            for row in self._conn.execute(_rows().where(wanted)):
                view = self._view(row)
                found[view.id] = view
        return found

    def open(self, *, every: bool) -> dict[int, list[ExecutionView]]:
        """What has not ended, by task, oldest first; far fewer rows than tasks, so they are read at once."""
        query = (
            _rows()
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

    def _view(self, row: Any) -> ExecutionView:
        task_id, commit, *values = row
        task = self.known[task_id]
        return self._reader.view(values, Labels(task.name, task.server, task.project, commit))


def _rows() -> Any:
    return select(Execution.task_id, Revision.commit, packed(*EXECUTION_VALUES), *EXECUTION_TEXTS).outerjoin(
        Revision, Revision.id == Execution.revision_id
    )
