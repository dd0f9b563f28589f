"""What became of every task and server lately, in a handful of statements however many there are.

The newest row of each task is one dive into the slot's index, made inside the database for all tasks at once;
only tasks whose newest row says nothing of a finished run cost a second one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from zlib import crc32

from sqlalchemy import Connection, ScalarSelect, String, bindparam, cast, func, select

from reconciler.model.execution import Reason, Status, Trigger
from reconciler.model.value import value
from reconciler.store import wire
from reconciler.store.bulk import chunks, number_list
from reconciler.store.decode import RUN_VALUES, RunReader
from reconciler.store.executions import executions_by_id
from reconciler.store.packed import SEPARATOR, joined, packed, parted
from reconciler.store.pages import BY_SERVER, BY_STATE
from reconciler.store.tables import Execution, Server, Task
from reconciler.store.views import RunView, ServerView, TaskView

BY_SLOT = "uq_task_executions_task_id_scheduled_for_attempt"
_KEYS = 1000
MANY = 1000
"""Tasks whose rows are asked of ``KnownRows`` first; fewer are read from the database just as quickly."""
_ROWS = 500
"""Rows in one text, under 400 KB: a list of 1,000 keys MariaDB makes a table of, and joins it."""
_ANY = (1 << 63) - 25
"""Stands for the keys in a statement that is written for many; no row has it as one."""
_RUN = cast(packed(*RUN_VALUES), String(508))
"""All that its columns can hold. Where more might come MariaDB joins rows in a file."""
_FINISHED = (int(Status.SUCCESS), int(Status.FAILED))
_OF_A_SLOT = (Trigger.SCHEDULE, Trigger.CATCH_UP, Trigger.RETRY)


@value
class TaskRuns:
    """``newest`` of all slots whatever became of it, ``finished`` the newest slot that succeeded or failed,
    ``open`` all that have not ended, oldest first."""

    newest: RunView | None = None
    finished: RunView | None = None
    open: tuple[RunView, ...] = ()


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
    many = len(tasks) >= MANY
    newest = reader.newest(None if every else list(reader.known), rows if many else None)
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
) -> dict[int, RunView]:
    """The newest execution that succeeded or failed on each server, by the server's id."""
    if every:
        rows = _CONTACTS_OF_LIVE.read(conn)
    else:
        rows = _CONTACTS_OF.read(conn, ids=[server.id for server in servers])
    found: dict[int, int | None] = dict(rows)
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
    rows = Execution.__table__.alias()
    run = rows.c
    return (
        select(run.id)
        .with_hint(rows, f"FORCE INDEX ({BY_SERVER})", "mysql")
        .where(run.server_id == Server.id, run.status.in_(_FINISHED))
        .order_by(run.server_id.desc(), run.id.desc())
        .limit(1)
        .scalar_subquery()
    )


def _newest_slot(finished: bool) -> ScalarSelect[int]:
    rows = Execution.__table__.alias()
    run = rows.c
    query = select(run.id).with_hint(rows, f"FORCE INDEX ({BY_SLOT})", "mysql").where(run.task_id == Task.id)
    if finished:
        query = query.where(run.status.in_(_FINISHED))
    # named from its first column on: MySQL does not see that the outer row has fixed it, and would sort
    order = (run.task_id.desc(), run.scheduled_for.desc(), run.attempt.desc())
    return query.order_by(*order).limit(1).scalar_subquery()


_CONTACTS = select(wire.as_one(Server.id, _newest_contact()))
_CONTACTS_OF = wire.Gathered(_CONTACTS.where(Server.id.in_(bindparam("ids", expanding=True))))
_CONTACTS_OF_LIVE = wire.Gathered(_CONTACTS.where(Server.deleted_at.is_(None)))
_NEWEST = tuple(select(wire.as_one(Task.id, _newest_slot(finished))) for finished in (False, True))
_NEWEST_OF = tuple(
    wire.Gathered(query.where(Task.id.in_(bindparam("ids", expanding=True)))) for query in _NEWEST
)
_RANGE = Task.id.between(bindparam("low"), bindparam("high"))
_NEWEST_OF_LIVE = tuple(wire.Gathered(query.where(Task.deleted_at.is_(None), _RANGE)) for query in _NEWEST)
"""By whether only what has succeeded or failed is asked for."""


class _Reader:
    """Views of executions of known tasks, named after them without asking for the names again."""

    def __init__(self, conn: Connection, tasks: Sequence[TaskView]) -> None:
        self._conn = conn
        self._reader = RunReader()
        self.known = {task.id: task for task in tasks}

    def newest(
        self, ids: Sequence[int] | None, rows: KnownRows | None = None, *, finished: bool = False
    ) -> dict[int, RunView]:
        """The newest row by slot of each of these tasks (None: of all live ones) that has one: which it is,
        from the index alone; what is in it, from ``rows`` or by its key."""
        newest = self._newest_ids(ids, finished)
        found = {} if rows is None else self._from_known(rows, newest)
        texts = {}
        for text in self._texts([run for task, run in newest.items() if task not in found]):
            view = self._view(text)
            found[view.task_id] = view
            texts[view.task_id] = text
        if rows is not None:
            rows.keep({task: _sealed(text) for task, text in texts.items() if _is_final(found[task])})
        return found

    def _newest_ids(self, ids: Sequence[int] | None, finished: bool) -> dict[int, int]:
        """Task id → execution id. Apart from reading the rows: a server that joins dives twice for each."""
        found: list[list[int | None]] = []
        if ids is None:
            for some in chunks(sorted(self.known), _KEYS):
                found += _NEWEST_OF_LIVE[finished].read(self._conn, low=some[0], high=some[-1])
        else:
            for some in chunks(ids, _KEYS):
                found += _NEWEST_OF[finished].read(self._conn, ids=list(some))
        # a task that was added since the others were read is not in this report
        return {task: run for task, run in found if run is not None and task in self.known}

    def _texts(self, ids: Sequence[int]) -> Iterator[str]:
        """The packed rows with these ids."""
        query = (
            select(func.count(Execution.id), joined(_RUN))
            .with_hint(Execution, "FORCE INDEX (PRIMARY)", "mysql")
            .where(Execution.id.in_([_ANY]))
        )
        # written once, with the numbers in it: the driver takes longer to quote them than to read the rows
        written = str(query.compile(self._conn.engine, compile_kwargs={"literal_binds": True}))
        waiting = [list(some) for some in reversed(list(chunks(sorted(ids), _ROWS)))]
        while waiting:
            some = waiting.pop()
            statement = written.replace(str(_ANY), number_list(some))
            count, found = self._conn.exec_driver_sql(statement).one()
            texts = parted(found, count)
            if texts is not None:
                yield from texts
            elif len(some) == 1:
                yield from self._conn.scalars(select(_RUN).where(Execution.id == some[0]))
            else:
                half = len(some) // 2
                waiting += [some[half:], some[:half]]

    def _from_known(self, rows: KnownRows, newest: Mapping[int, int]) -> dict[int, RunView]:
        """Those that are known, and are these very ones, and will never change again."""
        found = {}
        for task_id, text in rows.read(list(newest)).items():
            view = self._checked(text)
            if view is not None and view.task_id == task_id and view.id == newest.get(task_id):
                found[task_id] = view
        return found

    def _checked(self, text: str) -> RunView | None:
        """The view of a final row; None for anything else."""
        body = text.partition(SEPARATOR)[2]
        if text != _sealed(body):
            return None
        try:
            view = self._view(body)
        except (ValueError, AssertionError, KeyError):
            return None
        return view if _is_final(view) else None

    def open(self, *, every: bool) -> dict[int, list[RunView]]:
        """What has not ended, by task, oldest first; far fewer rows than tasks, so they are read at once."""
        query = (
            select(Execution.task_id, _RUN)
            .with_hint(Execution, f"FORCE INDEX ({BY_STATE})", "mysql")
            # as a plain number: the driver writes a member of an enum as text, for which MariaDB sorts
            .where(Execution.status == int(Status.OPEN))
            .order_by(Execution.id)
        )
        if not every and len(self.known) <= _KEYS:
            query = query.where(Execution.task_id.in_(self.known))
        found = defaultdict(list)
        for task_id, text in self._conn.execute(query):
            if task_id in self.known:
                found[task_id].append(self._view(text))
        return found

    def _view(self, text: str) -> RunView:
        return self._reader.view(text, self.known)


def _sealed(body: str) -> str:
    """With a checksum: what was cut or mangled on its way looks like nothing of ours."""
    return f"{crc32(body.encode()):08x}{SEPARATOR}{body}"


def _is_final(view: RunView) -> bool:
    """Whether its row will never change again: ``lost`` and ``unreachable`` may be corrected."""
    unproven = view.reason in (Reason.LOST, Reason.UNREACHABLE)
    return view.status in (Status.SUCCESS, Status.FAILED, Status.SKIPPED) and not unproven
