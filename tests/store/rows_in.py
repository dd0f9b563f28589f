"""The few rows that rows of other tables must point at, and what stands in a table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from reconciler.model.canonical import document_hash
from reconciler.model.state import Definition, Origin
from reconciler.store.engine import Database
from reconciler.store.objects import Placed, Stamp, insert_servers, insert_tasks
from reconciler.store.tables import Base, Project, Revision, Server, Task, User

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
ORIGIN_LINE = 7


def stamp(connection: Connection, project: str = "billing", at: datetime = NOON) -> Stamp:
    """A project, a user and a revision to write rows with; those that are there are taken."""
    user = connection.execute(select(User.id)).scalars().first()
    if user is None:
        user = _key(connection, User, username="ada@example.com", display_name="Ada", created_at=at)
    found = connection.execute(select(Project.id).where(Project.name == project)).scalar_one_or_none()
    if found is None:
        found = _key(
            connection,
            Project,
            name=project,
            source="",
            spec={},
            spec_hash="0" * 64,
            created_at=at,
            updated_at=at,
        )
    revision = _key(
        connection,
        Revision,
        project_id=found,
        applied_by="ada@here",
        applied_at=at,
        digest="0" * 64,
        counts={},
        changes=[],
    )
    return Stamp(found, revision, user, at)


def _key(connection: Connection, model: type[Base], **values: Any) -> int:
    result = connection.execute(insert(model).values(values))
    return int((result.inserted_primary_key or (0,))[0])


def definition(spec: dict[str, Any], **metadata: Any) -> Definition:
    """A canonical document (defaults left out by the caller) and its hash."""
    document = {"metadata": metadata, "spec": spec}
    return Definition(document, document_hash(document))


def placed(name: str, *, server_id: int | None = None, formerly: str | None = None, **spec: Any) -> Placed:
    """A server, or with ``server_id`` a task."""
    base = (
        {"host": "10.0.0.1", "username": "deploy"}
        if server_id is None
        else {"command": "true", "schedule": "0 2 * * *"}
    )
    return Placed(name, definition(base | spec), Origin("a.yaml", ORIGIN_LINE), formerly, server_id)


def a_server(connection: Connection, by: Stamp, name: str = "db-1", **spec: Any) -> int:
    """The id of a new server."""
    return insert_servers(connection, by, [placed(name, **spec)])[name]


def a_task(connection: Connection, by: Stamp, server_id: int, name: str = "backup", **spec: Any) -> int:
    """The id of a new task."""
    insert_tasks(connection, by, [placed(name, server_id=server_id, **spec)])
    return connection.execute(
        select(Task.id).where(
            Task.name == name, Task.server_id == server_id, Task.project_id == by.project_id
        )
    ).scalar_one()


def table_of(db: Database, model: type[Base], *columns: str) -> list[tuple[Any, ...]]:
    """The values of some columns, in the order of the ids."""
    table = model.__table__
    with db.read() as connection:
        rows = connection.execute(select(*(table.c[name] for name in columns)).order_by(table.c.id))
        return [tuple(row) for row in rows]


def names_of(db: Database, model: type[Server] | type[Task]) -> dict[int, str]:
    """id → name."""
    return {row[0]: row[1] for row in table_of(db, model, "id", "name")}
