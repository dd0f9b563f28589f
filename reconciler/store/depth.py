"""How much waits in the database: the figures that tell whether anybody comes too late."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from reconciler.model.execution import Status
from reconciler.store.tables import Execution, Outbox


@dataclass(frozen=True, slots=True)
class Depth:
    """``waiting``: runs that are due and not begun; ``oldest``: when the longest due of them was due;
    ``outbox``: messages to people that are to be delivered.
    """

    waiting: int = 0
    oldest: datetime | None = None
    outbox: int = 0


def depth(connection: Connection, now: datetime) -> Depth:
    """Two statements, each on an index; what has not ended is little."""
    waiting, oldest = connection.execute(
        select(func.count(), func.min(Execution.due_at)).where(
            Execution.status == Status.OPEN, Execution.due_at <= now, Execution.started_at.is_(None)
        )
    ).one()
    outbox = connection.execute(
        select(func.count())
        .select_from(Outbox)
        .where(Outbox.delivered_at.is_(None), Outbox.next_attempt.is_not(None))
    ).scalar_one()
    return Depth(waiting, oldest, outbox)
