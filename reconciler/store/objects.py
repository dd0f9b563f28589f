"""Writing servers and tasks: inserted, changed, renamed, soft-deleted and revived, many at a time.

Every function runs inside the transaction of an apply and knows nothing of plans: the room ``apply``
says what becomes of which row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, bindparam, select, update

from reconciler.model.state import Definition, Origin
from reconciler.store.bulk import chunks
from reconciler.store.rows import server_columns, task_columns
from reconciler.store.tables import Server, Task

BATCH = 500
"""Rows in one statement: far under max_allowed_packet, and few round trips."""

SERVERS: Table = Server.__table__  # type: ignore[assignment]
TASKS: Table = Task.__table__  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who changes rows, when, and in which revision; the same for all rows of one apply."""

    project_id: int
    revision_id: int
    user_id: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Placed:
    """An object as it shall stand in its row. ``server_id`` only for tasks.

    ``formerly`` is remembered, so that a ``formerly`` that was followed is not followed again.
    """

    name: str
    definition: Definition
    origin: Origin
    formerly: str | None = None
    server_id: int | None = None


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A row that is to hold ``placed``; ``generation`` is its new one."""

    row_id: int
    placed: Placed
    generation: int


def insert_servers(connection: Connection, stamp: Stamp, servers: Sequence[Placed]) -> dict[str, int]:
    """New servers; returns their ids by name."""
    _insert(connection, SERVERS, [_new_row(server, _server_values(server), stamp) for server in servers])
    ids: dict[str, int] = {}
    for some in chunks([server.name for server in servers], BATCH):
        ids |= {row.name: row.id for row in connection.execute(
            select(Server.name, Server.id).where(Server.name.in_(some))
        )}  # fmt: skip
    return ids


def insert_tasks(connection: Connection, stamp: Stamp, tasks: Sequence[Placed]) -> None:
    """New rows of tasks, without a next slot: that is computed for all touched rows together."""
    _insert(connection, TASKS, [_new_row(task, _task_values(task), stamp) for task in tasks])


def _insert(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    for some in chunks(rows, BATCH):
        connection.execute(table.insert(), list(some))


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
    _rewrite(connection, SERVERS, stamp, [(row, _server_values(row.placed)) for row in rows])


def rewrite_tasks(connection: Connection, stamp: Stamp, rows: Sequence[Rewritten]) -> None:
    """Existing rows, live or deleted, hold what is declared now."""
    _rewrite(connection, TASKS, stamp, [(row, _task_values(row.placed)) for row in rows])


def _rewrite(
    connection: Connection, table: Table, stamp: Stamp, rows: Sequence[tuple[Rewritten, dict[str, Any]]]
) -> None:
    if not rows:
        return
    _free_names(connection, table, [row.row_id for row, _ in rows])
    values = [
        {
            "row_id": row.row_id,
            "name": row.placed.name,
            **columns,
            "generation": row.generation,
            "project_id": stamp.project_id,
            "revision_id": stamp.revision_id,
            "updated_at": stamp.at,
            "deleted_at": None,
        }
        for row, columns in rows
    ]
    statement = (
        update(table)
        .where(table.c.id == bindparam("row_id"))
        .values({name: bindparam(name) for name in values[0] if name != "row_id"})
    )
    connection.execute(statement, values)


def _free_names(connection: Connection, table: Table, ids: Sequence[int]) -> None:
    """Names of their own for rows that may be about to swap them: unique keys hold after every statement.

    ``@`` is in no declared name, so these cannot clash with one.
    """
    rows = [{"row_id": row_id, "free": f"@{row_id}"} for row_id in ids]
    statement = update(table).where(table.c.id == bindparam("row_id")).values(name=bindparam("free"))
    connection.execute(statement, rows)


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
        "path": placed.origin.path,
        "line": placed.origin.line,
    }


def delete_tasks(connection: Connection, stamp: Stamp, ids: Iterable[int]) -> None:
    """Soft: the row, its id and its history stay; nothing of it runs any more."""
    for some in chunks(sorted(ids), BATCH):
        connection.execute(
            update(Task)
            .where(Task.id.in_(some))
            .values(
                deleted_at=stamp.at,
                updated_at=stamp.at,
                status=0,
                next_slot=None,
                next_run=None,
                revision_id=stamp.revision_id,
            )
        )


def delete_servers(connection: Connection, stamp: Stamp, ids: Iterable[int]) -> None:
    """Soft; a deleted server belongs to nobody, so whoever declares it next owns it."""
    for some in chunks(sorted(ids), BATCH):
        connection.execute(
            update(Server)
            .where(Server.id.in_(some))
            .values(
                deleted_at=stamp.at,
                updated_at=stamp.at,
                status=0,
                project_id=None,
                revision_id=stamp.revision_id,
            )
        )


def new_task_ids(connection: Connection, stamp: Stamp) -> list[int]:
    """The ids of the rows that this revision inserted."""
    found = connection.execute(
        select(Task.id).where(
            Task.project_id == stamp.project_id,
            Task.revision_id == stamp.revision_id,
            Task.created_at == stamp.at,
            Task.generation == 1,
        )
    )
    return list(found.scalars())
