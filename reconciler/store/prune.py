"""What retention reads and deletes: tasks in pages, the ends of each one's rows, rows by their keys.

Nothing here scans the ledger: a task costs two dives into its own part of an index, of which one passes over
as many entries as are kept. Rows go by primary key, and each DELETE looks again at what it was decided on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Connection,
    ScalarSelect,
    Select,
    Text,
    and_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    type_coerce,
    update,
)

from reconciler.model.execution import Reason, Status, Trigger
from reconciler.store.bulk import chunks, number_list
from reconciler.store.claims import OPEN_INDEX
from reconciler.store.overview import BY_SLOT
from reconciler.store.pages import BY_STATE_AND_TASK, BY_TASK
from reconciler.store.tables import Execution, Lease, Outbox, Project, Server, Task

LEASE = "prune"
CURSOR = "prune/cursor"
"""A row of ``leases`` that nobody owns: its token is the last task looked at, its until when to go on."""
_TASK = Task.__table__.c
_ROW = Execution.__table__.c
_OWN_SLOTS = (Trigger.SCHEDULE, Trigger.CATCH_UP, Trigger.RETRY)
_NAMED = 500
"""Keys in one statement: a list of 1,000 MariaDB makes a table of, and joins it."""
_UNPROVEN = (Reason.LOST, Reason.UNREACHABLE)


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task, deleted ones too. ``history``: its own as declared, None without one; ``after``: it may run
    after others.
    """

    id: int
    project_id: int
    history: object
    after: bool


@dataclass(frozen=True, slots=True)
class Ends:
    """The oldest execution of a task, and the newest one beyond the count; None where there is none."""

    oldest: int | None
    beyond: int | None


@dataclass(frozen=True, slots=True)
class Needed:
    """What rules and reports still look for among a task's rows, however old.

    ``ids`` are rows, ``slots`` those of unfinished ones with all their attempts. ``proven``: the newest row
    with a verdict of the host; an ``unreachable`` run that began and is newer may still live there.
    """

    ids: frozenset[int]
    slots: frozenset[datetime]
    proven: int


@dataclass(frozen=True, slots=True)
class OldRow:
    """A row that age or count lets go. ``bytes`` is what its run wrote, out and err."""

    id: int
    task_id: int
    slot: datetime
    status: int
    reason: str | None
    started_at: datetime | None
    finished_at: datetime | None
    archive: str | None
    bytes: int


def tasks_after(connection: Connection, cursor: int, count: int) -> list[TaskRow]:
    """The next tasks by id."""
    spec = type_coerce(_TASK.spec, Text)
    rows = connection.execute(
        select(
            _TASK.id,
            _TASK.project_id,
            case((func.instr(spec, '"history":') > 0, spec)),
            func.instr(spec, '"after":[') > 0,
        )
        .with_hint(Task, "FORCE INDEX (PRIMARY)", "mysql")
        .where(_TASK.id > cursor)
        .order_by(_TASK.id)
        .limit(count)
    )
    return [TaskRow(row[0], row[1], _history(row[2]), bool(row[3])) for row in rows]


def _history(text: str | None) -> object:
    if text is None:
        return None
    try:
        document = json.loads(text)
    except ValueError:
        return text  # a spoilt row: no history at all, which its reader refuses
    return declared_history(document)


def declared_history(document: object) -> object:
    """The ``history`` of a task's or project's document; None where it says nothing."""
    inner = document.get("spec", document) if isinstance(document, Mapping) else {}
    return inner.get("history") if isinstance(inner, Mapping) else None


def project_histories(connection: Connection) -> dict[int, object]:
    """The declared ``history`` of every project by id; None where it says nothing."""
    return {row[0]: declared_history(row[1]) for row in connection.execute(select(Project.id, Project.spec))}


def ends_of(connection: Connection, task_ids: Sequence[int], count: int) -> dict[int, Ends]:
    """Of each task the oldest row, and the newest of those that ``count`` newer ones follow."""
    rows = connection.execute(_ends(count), {"tasks": list(task_ids)})
    return {row[0]: Ends(row[1], row[2]) for row in rows}


@lru_cache(maxsize=64)
def _ends(count: int) -> Select[*tuple[Any, ...]]:
    """Made once for each ``maxCount``: that takes as long as all else in a look at a page of tasks."""
    oldest = _one(BY_TASK, lambda row: (row.task_id, row.id))
    beyond = _one(BY_TASK, lambda row: (row.task_id.desc(), row.id.desc()), offset=count)
    return select(Task.id, oldest, beyond).where(Task.id.in_(bindparam("tasks", expanding=True)))


def needed(connection: Connection, tasks: Sequence[TaskRow]) -> dict[int, Needed]:
    """What must stay of these tasks; each answer is one dive into an index."""
    keys = [task.id for task in tasks]
    found = {row[0]: row[1:] for row in connection.execute(_newest(), {"tasks": keys})}
    dependent = [task.id for task in tasks if task.after]
    chained: dict[int, int | None] = {}
    if dependent:
        run = _one(BY_TASK, _by_id, lambda row: (row.trigger == Trigger.DEPENDENCY,))
        rows = connection.execute(select(Task.id, run).where(Task.id.in_(dependent)))
        chained = {row[0]: row[1] for row in rows}
    slots: dict[int, set[datetime]] = {}
    for row in connection.execute(
        select(_ROW.task_id, _ROW.scheduled_for)
        .with_hint(Execution, OPEN_INDEX, "mysql")
        .where(_ROW.status == Status.OPEN, _ROW.task_id.in_(keys))
    ):
        slots.setdefault(row[0], set()).add(row[1])
    return {
        key: Needed(
            frozenset(item for item in (*ids, chained.get(key)) if item is not None),
            frozenset(slots.get(key, ())),
            max(ids[2] or 0, ids[4] or 0),
        )
        for key, ids in found.items()
    }


@lru_cache(maxsize=1)
def _newest() -> Select[*tuple[Any, ...]]:
    newest = [
        _one(BY_TASK, _by_id),
        _one(BY_SLOT, _by_slot, lambda row: (row.trigger.in_(_OWN_SLOTS),)),
        _one_ended(Status.SUCCESS),
        _one_ended(Status.FAILED),
        _one_ended(Status.FAILED, lambda row: (row.reason.not_in(_UNPROVEN),)),
    ]
    return select(Task.id, *newest).where(Task.id.in_(bindparam("tasks", expanding=True)))


_OLD = (
    select(
        _ROW.id,
        _ROW.task_id,
        _ROW.scheduled_for,
        _ROW.status,
        _ROW.reason,
        _ROW.started_at,
        _ROW.finished_at,
        _ROW.archive,
        _ROW.output_bytes + _ROW.error_bytes,
    )
    .with_hint(Execution, f"FORCE INDEX ({BY_TASK})", "mysql")
    .where(_ROW.task_id == bindparam("task"), _ROW.id > bindparam("after"), _ROW.id < bindparam("limit"))
    .order_by(_ROW.task_id, _ROW.id)
    .limit(bindparam("rows"))
)


def old_rows(connection: Connection, task_id: int, after: int, limit: int, count: int) -> list[OldRow]:
    """Rows of a task with ``after < id < limit``, the oldest first."""
    found = connection.execute(_OLD, {"task": task_id, "after": after, "limit": limit, "rows": count})
    return [OldRow(*row) for row in found]


def delete_rows(connection: Connection, ids: Sequence[int], *, archived: bool) -> int:
    """Delete ended rows by key; how many went. Without ``archived`` those that have an archive stay.

    The key is named to the servers: of a small table they would read, and lock, all of it.
    """
    source = "DELETE FROM task_executions"
    if connection.dialect.name != "sqlite":
        source = "DELETE task_executions FROM task_executions FORCE INDEX (PRIMARY)"
    rest = "" if archived else " AND archive IS NULL"
    rest += f" AND status <> {int(Status.OPEN)}"
    return sum(
        connection.exec_driver_sql(f"{source} WHERE id IN ({number_list(some)}){rest}").rowcount
        for some in chunks(sorted(ids), _NAMED)
    )


def settled_before(connection: Connection, moment: datetime, count: int) -> list[int]:
    """Messages that were delivered, or given up, before ``moment``: the oldest delivered ones first."""
    query = select(Outbox.id).where(Outbox.delivered_at < moment).order_by(Outbox.delivered_at).limit(count)
    found = list(connection.scalars(query))
    if len(found) < count:
        found += connection.scalars(select(Outbox.id).where(*_given_up(moment)).limit(count - len(found)))
    return found


def count_settled(connection: Connection, moment: datetime) -> int:
    """How many messages were delivered, or given up, before ``moment``."""
    settled = or_(Outbox.delivered_at < moment, and_(*_given_up(moment)))
    return int(connection.execute(select(func.count()).select_from(Outbox).where(settled)).scalar_one())


def _given_up(moment: datetime) -> tuple[Any, ...]:
    # the first two lead the index to the few that wait no more
    return Outbox.delivered_at.is_(None), Outbox.next_attempt.is_(None), Outbox.given_up_at < moment


def delete_messages(connection: Connection, ids: Sequence[int]) -> int:
    """Delete messages that wait no more, by key; how many went."""
    settled = or_(Outbox.delivered_at.is_not(None), Outbox.given_up_at.is_not(None))
    return connection.execute(delete(Outbox).where(Outbox.id.in_(ids), settled)).rowcount


@dataclass(frozen=True, slots=True)
class Names:
    """What people call a task."""

    project: str
    task: str
    server: str


def names_of(connection: Connection, task_ids: Sequence[int]) -> dict[int, Names]:
    """The names of tasks, deleted ones too."""
    rows = connection.execute(
        select(Task.id, Project.name, Task.name, Server.name)
        .join(Project, Project.id == Task.project_id)
        .join(Server, Server.id == Task.server_id)
        .where(Task.id.in_(task_ids))
    )
    return {row[0]: Names(*row[1:]) for row in rows}


# -- where a pass stands ------------------------------------------------------------------------


def read_cursor(connection: Connection) -> tuple[int, datetime | None]:
    """The last task that was looked at in this pass, and not before when to go on."""
    row = connection.execute(select(Lease.token, Lease.until).where(Lease.name == CURSOR)).one_or_none()
    return (0, None) if row is None else (row[0], row[1])


def write_cursor(connection: Connection, task_id: int, moment: datetime) -> None:
    """Go on behind this task, not before ``moment``. Only who holds the lease calls it."""
    values = {"token": task_id, "until": moment}
    if connection.execute(update(Lease).where(Lease.name == CURSOR).values(values)).rowcount == 0:
        connection.execute(Lease.__table__.insert().values(name=CURSOR, owner="", **values))


def _one(index: str, order: Any, more: Any = None, offset: int = 0) -> ScalarSelect[int]:
    """The first row of the outer task in an order that one index has, as a dive inside the statement."""
    rows = Execution.__table__.alias()
    row = rows.c
    query = select(row.id).with_hint(rows, f"FORCE INDEX ({index})", "mysql").where(row.task_id == Task.id)
    if more is not None:
        query = query.where(*more(row))
    query = query.order_by(*order(row)).limit(1)
    if offset:
        query = query.offset(offset)
    return query.scalar_subquery()


def _one_ended(status: Status, more: Any = None) -> ScalarSelect[int]:
    def conditions(row: Any) -> tuple[Any, ...]:
        # as a plain number: the driver writes a member of an enum as text, for which MariaDB would sort
        return (row.status == int(status), *(() if more is None else more(row)))

    return _one(
        BY_STATE_AND_TASK, lambda row: (row.status.desc(), row.task_id.desc(), row.id.desc()), conditions
    )


def _by_id(row: Any) -> tuple[Any, ...]:
    return row.task_id.desc(), row.id.desc()


def _by_slot(row: Any) -> tuple[Any, ...]:
    return row.task_id.desc(), row.scheduled_for.desc(), row.attempt.desc()
