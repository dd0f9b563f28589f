"""The database → ObservedState, in a few queries and without ORM objects."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Row, Select, literal_column, or_, select

from reconciler.collector import without_collector
from reconciler.model.canonical import Document, document_hash
from reconciler.model.project import ProjectSpec
from reconciler.model.state import (
    Definition,
    ForeignTask,
    ObservedProject,
    ObservedServer,
    ObservedState,
    ObservedTask,
    Origin,
    TaskKey,
)
from reconciler.store.handmade import Columns, Read
from reconciler.store.rows import server_document, task_document
from reconciler.store.tables import Project, Server, Task
from reconciler.store.types import LongText


def observe(connection: Connection, project: str, formerly: str | None = None) -> ObservedState:
    """Everything planning needs to know for one project.

    Called inside one transaction (``Database.snapshot``, or that of an apply). A project that is still
    stored under its former name is found by ``formerly`` where no project has the new name.
    """
    projects = _projects(connection)
    found = projects.get(project)
    if found is None and formerly is not None:
        found = projects.get(formerly)
    with without_collector():
        names = {stored.id: stored.name for stored in projects.values()}
        servers = _servers(connection, names)
        server_names = {server.id: server.name for server in servers.values()}
        tasks = {} if found is None else _tasks(connection, found, server_names)
        foreign = _foreign_tasks(connection, found, names, server_names)
    others = {name: stored for name, stored in projects.items() if stored is not found}
    return ObservedState(
        project=found, servers=servers, tasks=tasks, foreign_tasks=foreign, other_projects=others
    )


def _projects(connection: Connection) -> dict[str, ObservedProject]:
    columns = (
        Project.id, Project.name, Project.spec_hash, Project.revision_id, Project.commit, Project.source,
    )  # fmt: skip
    specs = Columns()
    found: dict[str, ObservedProject] = {}
    for row in connection.execute(_raw(select(*columns), "projects.spec").order_by(Project.id)):
        spec = _project_spec(specs[row.spec])
        found[row.name] = ObservedProject(
            id=row.id,
            name=row.name,
            spec=spec or ProjectSpec(),
            spec_hash=row.spec_hash,
            revision_id=row.revision_id,
            commit=row.commit,
            source=row.source,
            spoilt=spec is None,
        )
    return found


def _project_spec(read: Read) -> ProjectSpec | None:
    """The project's settings; None where a hand spoilt them."""
    try:
        return None if read.unreadable is not None else ProjectSpec.model_validate(read.value)
    except ValueError:
        return None


def _raw(statement: Select[*tuple[Any, ...]], *columns: str) -> Select[*tuple[Any, ...]]:
    """More columns of the statement, as the driver gives them.

    The result processor of a type costs a call for every value; here equal values (most tasks have the
    same labels and rest, and many their next time) are decoded once.
    """
    return statement.add_columns(
        *(literal_column(name, LongText).label(name.split(".")[-1]) for name in columns)
    )


class _Times(dict[Any, datetime | None]):
    """A column's times as the driver gives them → aware UTC; each once, because most rows share theirs."""

    def __init__(self, connection: Connection) -> None:
        self._read = Task.next_slot.type.dialect_impl(connection.dialect).result_processor(
            connection.dialect, None
        )

    def __missing__(self, value: Any) -> datetime | None:
        time: datetime | None = value if self._read is None else self._read(value)
        self[value] = time
        return time


def _rows(connection: Connection, statement: Select[*tuple[Any, ...]]) -> Iterator[Row[*tuple[Any, ...]]]:
    """Many rows at a time: asking for each costs as much as reading it."""
    return chain.from_iterable(connection.execute(statement).partitions(1000))


def _servers(connection: Connection, projects: dict[int, str]) -> dict[str, ObservedServer]:
    columns = (
        Server.id, Server.name, Server.host, Server.port, Server.username, Server.environment, Server.status,
        Server.protected, Server.project_id, Server.spec_hash, Server.generation, Server.path, Server.line,
        Server.revision_id, Server.deleted_at,
    )  # fmt: skip
    all_labels, rests = Columns(), Columns("spec")
    servers: dict[str, ObservedServer] = {}
    for row in connection.execute(
        _raw(select(*columns), "servers.labels", "servers.spec").order_by(Server.id)
    ):
        labels, rest = all_labels[row.labels], rests[row.spec]
        document = server_document(
            row.host, row.port, row.username, row.environment, _declared_status(row.status, row.deleted_at),
            labels.value, row.protected, rest.value,
        )  # fmt: skip
        _show_unreadable(document, labels, rest)
        servers[row.name] = ObservedServer(
            id=row.id,
            name=row.name,
            project=projects.get(row.project_id),
            definition=Definition(document, document_hash(document)),
            applied_hash=row.spec_hash,
            generation=row.generation,
            protected=bool(row.protected),
            origin=Origin(row.path, row.line),
            revision_id=row.revision_id,
            deleted_at=row.deleted_at,
            renamed_from=_formerly(rest),
            spoilt=rest.unreadable is not None,
        )
    return servers


def _show_unreadable(document: Document, labels: Read, rest: Read) -> None:
    """A column that nobody can read is drift, also where all it should say are defaults.

    The text stands beside metadata and spec, so that the hash differs and the plan can show it.
    """
    texts = {"labels": labels.unreadable, "spec": rest.unreadable}
    if labels.unreadable is not None or rest.unreadable is not None:
        document["unreadable"] = {name: text for name, text in texts.items() if text is not None}


def _formerly(rest: Read) -> str | None:
    formerly = rest.value.get("formerly")
    return formerly if isinstance(formerly, str) else None


def _declared_status(status: int, deleted_at: datetime | None) -> int:
    """A deletion sets the status to 0 as well; nobody declared that."""
    return status if deleted_at is None else 1


def _tasks(
    connection: Connection, project: ObservedProject, server_names: dict[int, str]
) -> dict[TaskKey, ObservedTask]:
    columns = (
        Task.id, Task.name, Task.server_id, Task.command, Task.cron_expr, Task.timezone, Task.status,
        Task.protected, Task.spec_hash, Task.generation, Task.path, Task.line, Task.revision_id,
    )  # fmt: skip
    raw = ("deleted_at", "next_slot", "next_run", "labels", "spec")
    statement = _raw(select(*columns), *(f"tasks.{name}" for name in raw))
    all_labels, rests, times = Columns(), Columns("spec"), _Times(connection)
    tasks: dict[TaskKey, ObservedTask] = {}
    for row in _rows(connection, statement.where(Task.project_id == project.id).order_by(Task.id)):
        (
            id_, name, server_id, command, cron_expr, timezone, status, protected, spec_hash, generation,
            path, line, revision_id, deleted, next_slot, next_run, labels, spec,
        ) = row  # fmt: skip
        deleted_at = times[deleted]
        status = _declared_status(status, deleted_at)
        read, rest = all_labels[labels], rests[spec]
        document = task_document(command, cron_expr, timezone, status, read.value, protected, rest.value)
        if read.unreadable is not None or rest.unreadable is not None:
            _show_unreadable(document, read, rest)
        server = server_names[server_id]
        tasks[name, server] = ObservedTask(
            id=id_,
            name=name,
            server=server,
            server_id=server_id,
            project=project.name,
            definition=Definition(document, document_hash(document)),
            applied_hash=spec_hash,
            generation=generation,
            protected=bool(protected),
            origin=Origin(path, line),
            revision_id=revision_id,
            deleted_at=deleted_at,
            next_slot=times[next_slot],
            next_run=times[next_run],
            renamed_from=_formerly(rest),
            spoilt=rest.unreadable is not None,
        )
    return tasks


def _foreign_tasks(
    connection: Connection,
    project: ObservedProject | None,
    projects: dict[int, str],
    server_names: dict[int, str],
) -> tuple[ForeignTask, ...]:
    """Live tasks of other projects on servers that this project owns, or that nobody owns."""
    own = None if project is None else project.id
    rows = connection.execute(
        select(Task.project_id, Task.name, Task.server_id)
        .join(Server, Server.id == Task.server_id)
        .where(
            Task.deleted_at.is_(None),
            Task.project_id != own if own is not None else Task.id.is_not(None),
            or_(Server.project_id == own, Server.project_id.is_(None)),
        )
        .order_by(Task.id)
    )
    return tuple(ForeignTask(projects[row.project_id], row.name, server_names[row.server_id]) for row in rows)
