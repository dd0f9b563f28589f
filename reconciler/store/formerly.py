"""The memory of renames: a row remembers the ``formerly`` that named it, until the tree no longer says it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, Table, bindparam, literal_column, select, update

from reconciler.model.canonical import canonical_json
from reconciler.model.state import ObservedServer, ObservedTask
from reconciler.store.bulk import chunks
from reconciler.store.objects import SERVERS, TASKS
from reconciler.store.types import LongText

BATCH = 500


def forget(connection: Connection, rows: Iterable[ObservedServer | ObservedTask]) -> None:
    """Clear the memory of these rows, and nothing else of them: it is no part of what was declared."""
    listed = list(rows)
    _forget(connection, SERVERS, [row.id for row in listed if isinstance(row, ObservedServer)])
    _forget(connection, TASKS, [row.id for row in listed if isinstance(row, ObservedTask)])


def _forget(connection: Connection, table: Table, ids: Sequence[int]) -> None:
    text = literal_column(f"{table.name}.spec", LongText).label("text")
    for some in chunks(sorted(ids), BATCH):
        found = connection.execute(select(table.c.id, text).where(table.c.id.in_(some)).with_for_update())
        changes = []
        for row in found:
            rest = json.loads(row.text)
            rest.pop("formerly", None)
            changes.append({"row": row.id, "rest": canonical_json(rest)})
        if changes:
            statement = update(table).where(table.c.id == bindparam("row"))
            connection.execute(statement.values(spec=bindparam("rest", type_=LongText)), changes)
