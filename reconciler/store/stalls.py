"""What holds up every project alike: ``Stalled`` on all of them, by one cause."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from reconciler.model.condition import Condition, ConditionStatus, ConditionType
from reconciler.model.enums import Kind
from reconciler.store import conditions
from reconciler.store.tables import Project


def stall_all(connection: Connection, cause: str, reason: str, message: str, now: datetime) -> None:
    """Say of every project that it is held up. ``cause`` is of the caller alone: at most 24 characters."""
    said = Condition(ConditionType.STALLED, ConditionStatus.TRUE, reason, message, None, None)
    for project_id in connection.execute(select(Project.id).order_by(Project.id)).scalars().all():
        conditions.put(connection, Kind.PROJECT, project_id, said, now, cause=cause)


def release_all(connection: Connection, cause: str) -> None:
    """It holds nobody up any more."""
    for project_id in conditions.objects_with(connection, Kind.PROJECT, ConditionType.STALLED, cause=cause):
        conditions.clear(connection, Kind.PROJECT, project_id, ConditionType.STALLED, cause=cause)
