"""When exceptions began, as an observer saw them: rows of ``conditions`` with a cause of their own.

A report is computed from rows, and some of them do not tell since when: a row that a hand changed has no time
of it. One process at a time (controller.observing) writes such moments down; what is normal has no row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from reconciler.model.condition import ConditionStatus, ConditionType
from reconciler.model.enums import Kind
from reconciler.store.bulk import chunks
from reconciler.store.tables import Condition

SEEN = "/seen"
"""What the stored types of these rows end with."""
_ROWS = 500

Key = tuple[Kind, int, ConditionType]
"""Which condition of which object."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An exception: ``since`` is when it began, ``message`` what tells one occasion from the next."""

    status: ConditionStatus
    reason: str
    message: str
    since: datetime
    generation: int | None = None


def read(connection: Connection) -> dict[Key, tuple[int, Seen]]:
    """All that is written down, each with the id of its row."""
    columns = (
        Condition.id, Condition.kind, Condition.object_id, Condition.type, Condition.status,
        Condition.reason, Condition.message, Condition.last_transition, Condition.observed_generation,
    )  # fmt: skip
    known = {f"{type}{SEEN}": type for type in ConditionType}
    found = {}
    for row in connection.execute(select(*columns).where(Condition.type.in_(sorted(known)))):
        key = Kind(row.kind), row.object_id, known[row.type]
        seen = Seen(
            ConditionStatus(row.status), row.reason, row.message, row.last_transition, row.observed_generation
        )
        found[key] = row.id, seen
    return found


def write(
    connection: Connection,
    begun: Mapping[Key, Seen],
    changed: Mapping[int, Seen],
    over: Sequence[int],
) -> None:
    """Add what began, replace the rows (by id) of what changed, delete those (ids) of what is over."""
    if begun:
        rows = [
            {"kind": kind, "object_id": object_id, "type": f"{type}{SEEN}", **_values(seen)}
            for (kind, object_id, type), seen in begun.items()
        ]
        connection.execute(insert(Condition), rows)
    if changed:
        table = Condition.__table__
        statement = (
            update(table)
            .where(table.c.id == bindparam("row"))
            .values({name: bindparam(f"new_{name}") for name in _values(next(iter(changed.values())))})
        )
        connection.execute(
            statement,
            [
                {"row": row, **{f"new_{name}": value for name, value in _values(seen).items()}}
                for row, seen in sorted(changed.items())
            ],
        )
    for ids in chunks(sorted(over), _ROWS):
        connection.execute(delete(Condition).where(Condition.id.in_(ids)))


def since(
    connection: Connection, kind: Kind, ids: Collection[int]
) -> dict[tuple[int, ConditionType], datetime]:
    """When the exceptions of these objects began."""
    known = {f"{type}{SEEN}": type for type in ConditionType}
    found = {}
    for some in chunks(sorted(ids), _ROWS):
        query = select(Condition.object_id, Condition.type, Condition.last_transition).where(
            Condition.kind == kind, Condition.object_id.in_(some), Condition.type.in_(sorted(known))
        )
        found.update(
            {(row.object_id, known[row.type]): row.last_transition for row in connection.execute(query)}
        )
    return found


def _values(seen: Seen) -> dict[str, object]:
    return {
        "status": seen.status,
        "reason": seen.reason,
        "message": seen.message,
        "observed_generation": seen.generation,
        "last_transition": seen.since,
    }
