"""Of which tasks people were told a failure, and not yet that it is over.

A row of ``conditions`` with a type of its own, which no report shows: it outlives messages and executions,
and asking for it is one look into an index.
"""

from __future__ import annotations

from collections.abc import Collection
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
    for task_id in sorted(set(task_ids) - told(connection, task_ids)):
        values = {"kind": Kind.TASK, "object_id": task_id, "type": TYPE, "status": "True", "message": ""}
        try:
            with connection.begin_nested():
                connection.execute(insert(Condition).values(**values, reason="", last_transition=now))
        except IntegrityError:
            # another end of the same task is told at this moment
            continue


def told(connection: Connection, task_ids: Collection[int]) -> set[int]:
    """Those of these tasks of which a failure was told, and no recovery since."""
    found: set[int] = set()
    for ids in chunks(sorted(task_ids), _ROWS):
        found.update(connection.scalars(select(Condition.object_id).where(*_of(ids))))
    return found


def recovered(connection: Connection, task_ids: Collection[int]) -> set[int]:
    """These tasks succeeded: those whose failure was told until now, each to one caller only."""
    over = set()
    for task_id in sorted(told(connection, task_ids)):
        if connection.execute(delete(Condition).where(*_of([task_id]))).rowcount:
            over.add(task_id)
    return over


def _of(ids: Collection[int]) -> tuple[ColumnElement[bool], ...]:
    return Condition.kind == Kind.TASK, Condition.object_id.in_(ids), Condition.type == TYPE
