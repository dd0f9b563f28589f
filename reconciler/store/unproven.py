"""Runs that ended ``unreachable`` after their start: their hosts may still tell how they really ended."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from reconciler.model.execution import Reason, Status
from reconciler.store.ids import first_id_at
from reconciler.store.tables import Execution

LOOKED_AT = 20_000
"""Failed runs that one look goes through, the newest first."""
_INDEX = "FORCE INDEX (ix_task_executions_status_id)"
_ROW = Execution.__table__.c


def unreachable_since(connection: Connection, since: datetime, most: int) -> list[int]:
    """The ids of the newest that were made after ``since``, the newest first."""
    values = {"first": first_id_at(since), "most": most}
    return list(connection.execute(_UNREACHABLE, values).scalars())


_FAILED = (
    select(_ROW.id, _ROW.reason, _ROW.started_at)
    .with_hint(Execution, _INDEX, "mysql")
    .where(_ROW.status == Status.FAILED, _ROW.id >= bindparam("first"))
    .order_by(_ROW.id.desc())
    .limit(LOOKED_AT)
    .subquery("f")
)
_UNREACHABLE = (
    select(_FAILED.c.id)
    .where(_FAILED.c.reason == Reason.UNREACHABLE, _FAILED.c.started_at.is_not(None))
    .order_by(_FAILED.c.id.desc())
    .limit(bindparam("most"))
)
