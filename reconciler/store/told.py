"""Of which tasks people were told a failure, and not yet that it is over.

A row of ``conditions`` with a type of its own, which no report shows: it outlives messages and executions,
and asking for it is one look into an index.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from reconciler.model.enums import Kind
from reconciler.store.bulk import chunks
from reconciler.store.tables import Condition

TYPE = "FailureTold"
_ROWS = 500


def failed(connection: Connection, task_ids: Collection[int], now: datetime) -> None:
    """People are told that these tasks failed."""
    missing = sorted(set(task_ids) - told(connection, task_ids))
    for ids in chunks(missing, _ROWS):
        _insert(connection, ids, now)


def _insert(connection: Connection, ids: Sequence[int], now: datetime) -> None:
    values = {"kind": Kind.TASK, "type": TYPE, "status": "True", "reason": "", "message": ""}
    rows = [{**values, "object_id": task_id, "last_transition": now} for task_id in ids]
    try:
        with connection.begin_nested():
            connection.execute(insert(Condition), rows)
    except IntegrityError:
        # another end of one of these tasks is told at this moment
        if len(ids) > 1:
            for task_id in ids:
                _insert(connection, [task_id], now)


def told(connection: Connection, task_ids: Collection[int]) -> set[int]:
    """Those of these tasks of which a failure was told, and no recovery since."""
    found: set[int] = set()
    for ids in chunks(sorted(task_ids), _ROWS):
        found.update(connection.scalars(select(Condition.object_id).where(*_of(ids))))
    return found


def recovered(connection: Connection, task_ids: Collection[int]) -> set[int]:
    """These tasks succeeded: those whose failure was told until now, each to one caller only."""
    over: set[int] = set()
    for ids in chunks(sorted(task_ids), _ROWS):
        query = select(Condition.object_id).where(*_of(ids)).order_by(Condition.object_id)
        # who waited here for another finds them gone
        mine = list(connection.scalars(query.with_for_update()))
        if mine:
            connection.execute(delete(Condition).where(*_of(mine)))
        over.update(mine)
    return over


def _of(ids: Collection[int]) -> tuple[ColumnElement[bool], ...]:
    return Condition.kind == Kind.TASK, Condition.object_id.in_(ids), Condition.type == TYPE
