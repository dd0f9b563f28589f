"""Conditions that long-running processes write down: one row for each object, type and cause.

Most conditions are computed from the rows whenever somebody asks (report.judge). What only a running process
can know, that a host is silent or a scheduler late, stands here with the time it began.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from reconciler.model.condition import Condition as Said
from reconciler.model.condition import ConditionType
from reconciler.model.enums import Kind
from reconciler.store.tables import Condition

_SEPARATOR = "/"


def put(
    connection: Connection, kind: Kind, object_id: int, said: Said, now: datetime, *, cause: str = ""
) -> bool:
    """Write ``said`` down; whether its status or reason is new. What changes nothing writes nothing.

    ``last_transition`` becomes ``now`` when the status changes and stays otherwise; that of ``said`` does not
    count. ``cause`` (short, such as "scheduler") keeps apart what several writers say of one type, so that
    nobody takes back what another found.
    """
    before = _read(connection, kind, object_id, said.type, cause)
    values = {
        "status": said.status,
        "reason": said.reason,
        "message": said.message,
        "observed_generation": said.observed_generation,
    }
    if before is None:
        key = {"kind": kind, "object_id": object_id, "type": _stored_type(said.type, cause)}
        try:
            with connection.begin_nested():
                connection.execute(insert(Condition).values(**key, **values, last_transition=now))
            return True
        except IntegrityError:
            # somebody was quicker, and may have said something else
            before = _read(connection, kind, object_id, said.type, cause)
    if before == values:
        return False
    changed = before is None or before["status"] != said.status
    transition = {"last_transition": now} if changed else {}
    connection.execute(
        update(Condition).where(_of(kind, object_id, said.type, cause)).values(**values, **transition)
    )
    return changed or (before is not None and before["reason"] != said.reason)


def clear(
    connection: Connection, kind: Kind, object_id: int, type: ConditionType, *, cause: str = ""
) -> bool:
    """It is true no more; whether it had been written down. Looks before it locks."""
    if _read(connection, kind, object_id, type, cause) is None:
        return False
    done = connection.execute(delete(Condition).where(_of(kind, object_id, type, cause)))
    return done.rowcount > 0


def objects_with(connection: Connection, kind: Kind, type: ConditionType, *, cause: str = "") -> list[int]:
    """Ids of the objects of which this is written down, ascending."""
    found = connection.execute(
        select(Condition.object_id).where(Condition.kind == kind, Condition.type == _stored_type(type, cause))
    )
    return sorted(found.scalars())


def type_of(stored: str) -> str:
    """The condition's type in the column ``type``, without the cause."""
    return stored.partition(_SEPARATOR)[0]


def cause_of(stored: str) -> str:
    """The cause in the column ``type``; empty where there is none."""
    return stored.partition(_SEPARATOR)[2]


def _stored_type(type: ConditionType, cause: str) -> str:
    return f"{type}{_SEPARATOR}{cause}" if cause else str(type)


def _of(kind: Kind, object_id: int, type: ConditionType, cause: str) -> ColumnElement[bool]:
    return and_(
        Condition.kind == kind,
        Condition.object_id == object_id,
        Condition.type == _stored_type(type, cause),
    )


def _read(
    connection: Connection, kind: Kind, object_id: int, type: ConditionType, cause: str
) -> dict[str, object] | None:
    row = connection.execute(
        select(Condition.status, Condition.reason, Condition.message, Condition.observed_generation).where(
            _of(kind, object_id, type, cause)
        )
    ).one_or_none()
    return None if row is None else dict(row._mapping)
