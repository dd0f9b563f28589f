"""Writing servers and tasks: inserted, changed, renamed, soft-deleted and revived, many at a time.

Every function runs inside the transaction of an apply and knows nothing of plans: the room ``apply``
says what becomes of which row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, select, update

from reconciler.model.canonical import canonical_json
from reconciler.model.state import Definition, Origin
from reconciler.store.bulk import Piece, Times, Words, chunks, update_by_id
from reconciler.store.rows import server_columns, task_columns
from reconciler.store.tables import Server, Task

BATCH = 500
"""Ids in one statement."""
PATH = 1000
"""Characters of the column ``path``."""
REWRITE_ROWS = 250
REWRITE_BYTES = 1_000_000
"""Bounds of one UPDATE: a script may have megabytes, and a packet has 16 MiB on MariaDB."""

SERVERS = Server.__table__
TASKS = Task.__table__


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who changes rows, when, and in which revision; the same for all rows of one apply."""

    project_id: int
    revision_id: int
    user_id: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Placed:
    """An object as it shall stand in its row. ``server_id`` and the next slot only for tasks.

    ``formerly`` is remembered, so that a ``formerly`` that was followed is not followed again. ``next_slot``
    and ``next_run`` count for new rows; those of existing rows are moved afterwards (``store.rescheduling``).
    """

    name: str
    definition: Definition
    origin: Origin
    formerly: str | None = None
    server_id: int | None = None
    next_slot: datetime | None = None
    next_run: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A row that is to hold ``placed`` and its new ``generation``; ``moved``: its name or server changes."""

    row_id: int
    placed: Placed
    generation: int
    moved: bool = False


def insert_servers(connection: Connection, stamp: Stamp, servers: Sequence[Placed]) -> dict[str, int]:
    """New servers; returns their ids by name."""
    if not servers:
        return {}
    connection.execute(SERVERS.insert(), [_new_row(one, _server_values(one), stamp) for one in servers])
    ids: dict[str, int] = {}
    for names in chunks([server.name for server in servers], BATCH):
        found = connection.execute(select(Server.name, Server.id).where(Server.name.in_(names)))
        ids |= {row.name: row.id for row in found}
    return ids


def insert_tasks(connection: Connection, stamp: Stamp, tasks: Sequence[Placed]) -> None:
    """New rows of tasks. The driver cuts them into statements of about a megabyte."""
    if not tasks:
        return
    rows = [
        _new_row(one, _task_values(one), stamp)
        | {"next_slot": one.next_slot, "next_run": one.next_run, "after_since": stamp.at}
        for one in tasks
    ]
    connection.execute(TASKS.insert(), rows)


def _new_row(placed: Placed, values: dict[str, Any], stamp: Stamp) -> dict[str, Any]:
    return {
        "name": placed.name,
        **values,
        "generation": 1,
        "project_id": stamp.project_id,
        "revision_id": stamp.revision_id,
        "created_by": stamp.user_id,
        "created_at": stamp.at,
        "updated_at": stamp.at,
    }


def rewrite_servers(connection: Connection, stamp: Stamp, rows: Sequence[Rewritten]) -> None:
    """Existing rows, live or deleted, hold what is declared now."""
    _rewrite(connection, SERVERS, _server_values, stamp, rows)


def rewrite_tasks(connection: Connection, stamp: Stamp, rows: Sequence[Rewritten]) -> None:
    """Existing rows, live or deleted, hold what is declared now."""
    _rewrite(connection, TASKS, _task_values, stamp, rows)


def _rewrite(
    connection: Connection,
    table: Table,
    values_of: Callable[[Placed], dict[str, Any]],
    stamp: Stamp,
    rows: Sequence[Rewritten],
) -> None:
    _free_names(connection, table, sorted(row.row_id for row in rows if row.moved))
    pieces = _Pieces()
    values = {row.row_id: pieces.of_row(_changed_row(row, values_of(row.placed), stamp)) for row in rows}
    for batch in _batches(values):
        update_by_id(connection, table.name, batch)


def _changed_row(row: Rewritten, values: dict[str, Any], stamp: Stamp) -> dict[str, Any]:
    return {
        "name": row.placed.name,
        **values,
        "generation": row.generation,
        "project_id": stamp.project_id,
        "revision_id": stamp.revision_id,
        "updated_at": stamp.at,
        "deleted_at": None,
    }


def _free_names(connection: Connection, table: Table, ids: Sequence[int]) -> None:
    """Names of their own for rows that may be about to swap them: unique keys hold after every statement.

    ``@`` is in no declared name, so these cannot clash with one.
    """
    for some in chunks(ids, BATCH):
        update_by_id(connection, table.name, {row_id: {"name": f"'@{row_id:d}'"} for row_id in some})


class _Pieces:
    """Values as pieces of a statement; equal texts and times are made once."""

    def __init__(self) -> None:
        self._times = Times()

    def of_row(self, values: Mapping[str, Any]) -> dict[str, Piece]:
        return {column: self._of(value) for column, value in values.items()}

    def _of(self, value: Any) -> Piece:
        if value is None:
            return None
        if isinstance(value, str):
            return Words(value)
        if isinstance(value, int):
            return f"{value:d}"
        if isinstance(value, datetime):
            return self._times(value)
        return Words(canonical_json(value))


def _batches(rows: Mapping[int, dict[str, Piece]]) -> Iterator[dict[int, dict[str, Piece]]]:
    """The rows in the order of their ids, in pieces that fit into one statement."""
    batch: dict[int, dict[str, Piece]] = {}
    size = 0
    for row_id in sorted(rows):
        row = rows[row_id]
        # a character has at most four bytes, and most have one
        length = sum(2 * len(value) for value in row.values() if value is not None)
        if batch and (len(batch) >= REWRITE_ROWS or size + length > REWRITE_BYTES):
            yield batch
            batch, size = {}, 0
        batch[row_id] = row
        size += length
    if batch:
        yield batch


def _server_values(placed: Placed) -> dict[str, Any]:
    return _with_place(server_columns(placed.definition.document), placed)


def _task_values(placed: Placed) -> dict[str, Any]:
    return {**_with_place(task_columns(placed.definition.document), placed), "server_id": placed.server_id}


def _with_place(columns: dict[str, Any], placed: Placed) -> dict[str, Any]:
    """The document's columns and what stands beside it: hash, place in the tree, followed ``formerly``."""
    if placed.formerly is not None:
        columns["spec"] = {**columns["spec"], "formerly": placed.formerly}
    return {
        **columns,
        "spec_hash": placed.definition.hash,
        "path": _fitting(placed.origin.path),
        "line": placed.origin.line,
    }


def _fitting(path: str) -> str:
    """A path of more characters than the column has keeps its end, where the file's name is."""
    return path if len(path) <= PATH else "…" + path[1 - PATH :]


def after_holds_from(connection: Connection, ids: Iterable[int], at: datetime) -> None:
    """For what these tasks run ``after``, only successes count that finish from now on."""
    for some in chunks(sorted(ids), BATCH):
        connection.execute(update(TASKS).where(TASKS.c.id.in_(some)).values(after_since=at))


def delete_tasks(connection: Connection, stamp: Stamp, ids: Iterable[int]) -> None:
    """Soft: the row, its id and its history stay; nothing of it runs any more."""
    _delete(connection, TASKS, stamp, ids, {"next_slot": None, "next_run": None})


def delete_servers(connection: Connection, stamp: Stamp, ids: Iterable[int]) -> None:
    """Soft; a deleted server belongs to nobody, so whoever declares it next owns it."""
    _delete(connection, SERVERS, stamp, ids, {"project_id": None})


def _delete(
    connection: Connection, table: Table, stamp: Stamp, ids: Iterable[int], more: Mapping[str, None]
) -> None:
    values = {
        "deleted_at": stamp.at,
        "updated_at": stamp.at,
        "status": 0,
        "revision_id": stamp.revision_id,
        **more,
    }
    for some in chunks(sorted(ids), BATCH):
        connection.execute(update(table).where(table.c.id.in_(some)).values(values))
