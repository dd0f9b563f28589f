"""The reading side of what was applied: tasks, servers, projects and revisions, one by one and in pages.

A page's ids come first, in the order of one index; the rows follow by key. Tasks are listed by project, name
and server, servers and projects by name, revisions newest first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, literal_column, or_, select

from reconciler.errors import NotFound
from reconciler.store import wire
from reconciler.store.bulk import chunks
from reconciler.store.conditions import cause_of, type_of
from reconciler.store.cursor import decode, encode
from reconciler.store.decode import SERVER_VALUES, TASK_VALUES, ServerFacts, TaskReader, server_views
from reconciler.store.labels import has_labels
from reconciler.store.overrides import not_ended
from reconciler.store.tables import Condition, Override, Project, Revision, Server, Task, User
from reconciler.store.told import TYPE
from reconciler.store.transitions import SEEN
from reconciler.store.types import LongText
from reconciler.store.views import (
    Page,
    ProjectView,
    RevisionView,
    ServerView,
    StoredCondition,
    SuspensionView,
    TaskView,
)

TASKS_IN_ORDER = "uq_tasks_project_id_name_server_id"
TASKS_BY_SERVER = "ix_tasks_server_id"
REVISIONS_OF_PROJECT = "ix_revisions_project_id_id"
_KEYS = 1000
_TASK_ROWS = select(wire.as_one(*TASK_VALUES))
_BY_ID = _TASK_ROWS.where(Task.id.in_(bindparam("ids", expanding=True)))
_LIVE_IDS = wire.Gathered(select(wire.as_one(Task.id)).where(Task.deleted_at.is_(None)))
_LIVE_ROWS = wire.Gathered(
    _TASK_ROWS.where(Task.deleted_at.is_(None), Task.id.between(bindparam("low"), bindparam("high")))
)
_SERVER_ROWS = (
    select(wire.as_one(*SERVER_VALUES))
    .outerjoin_from(Server, Project, Project.id == Server.project_id)
    .join(User, User.id == Server.created_by)
)
_LIVE_SERVERS = wire.Gathered(_SERVER_ROWS.where(Server.deleted_at.is_(None)))
"""Made once: recognising a statement that was made anew takes longer than running it."""


@dataclass(frozen=True, slots=True)
class ObjectFilter:
    """What a list of tasks or servers is about; all that is given must hold.

    ``ids`` are those of rows. ``deleted``: the deleted ones instead of the live ones. ``since``: changed (or
    deleted) since then.
    """

    ids: Sequence[int] | None = None
    project_id: int | None = None
    server_id: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    since: datetime | None = None
    deleted: bool = False


# -- tasks --------------------------------------------------------------------------------------


def list_tasks(
    conn: Connection, wanted: ObjectFilter, *, limit: int, after: str | None = None
) -> Page[TaskView]:
    """A page of ``TaskView``; ``after`` is the cursor of the page before. Raises UsageError for a bad one."""
    conditions = _conditions(Task, wanted)
    if wanted.server_id is not None:
        conditions.append(Task.server_id == wanted.server_id)
    if after is not None:
        project, name, server = decode("tasks", after, (int, str, int))
        conditions.append(
            or_(
                Task.project_id > project,
                and_(Task.project_id == project, Task.name > name),
                and_(Task.project_id == project, Task.name == name, Task.server_id > server),
            )
        )
    index = TASKS_IN_ORDER if wanted.server_id is None else TASKS_BY_SERVER
    query = (
        select(Task.id)
        .with_hint(Task, f"FORCE INDEX ({index})", "mysql")
        .where(*conditions)
        .order_by(Task.project_id, Task.name, Task.server_id)
        .limit(limit + 1)
    )
    ids = list(conn.scalars(query))
    items = tasks_by_id(conn, ids[:limit])
    last = items[-1] if len(ids) > limit else None
    more = None if last is None else encode("tasks", (last.project_id, last.name, last.server_id))
    return Page(tuple(items), more)


def tasks_by_id(conn: Connection, ids: Sequence[int]) -> list[TaskView]:
    """The rows with these ids, in the order of the ids; unknown ones are left out."""
    found: dict[int, TaskView] = {}
    for start in range(0, len(ids), _KEYS):
        some = {"ids": ids[start : start + _KEYS]}
        for view in _task_views(conn, wire.rows(conn.scalars(_BY_ID, some))):
            found[view.id] = view
    return [found[key] for key in ids if key in found]


def all_tasks(conn: Connection) -> list[TaskView]:
    """Every live task, by project, name and server."""
    ids = sorted(row[0] for row in _LIVE_IDS.read(conn))
    found: list[list[Any]] = []
    for some in chunks(ids, _KEYS):
        found += _LIVE_ROWS.read(conn, low=some[0], high=some[-1])
    return sorted(_task_views(conn, found), key=lambda task: (task.project, task.name, task.server))


def _task_views(conn: Connection, found: Iterable[list[Any]]) -> list[TaskView]:
    rows = list(found)
    query = select(Server.id, Server.name, Server.status, Server.deleted_at, Server.updated_at)
    server_ids = {row[2] for row in rows}
    if len(server_ids) <= _KEYS:
        query = query.where(Server.id.in_(server_ids))
    servers = {
        row.id: ServerFacts(row.name, bool(row.status) and row.deleted_at is None, row.updated_at)
        for row in conn.execute(query)
    }
    projects = {row[0]: row[1] for row in conn.execute(select(Project.id, Project.name))}
    users = {row[0]: row[1] for row in conn.execute(select(User.id, User.username))}
    reader = TaskReader(servers, projects, users)
    return [reader.view(row) for row in rows]


# -- servers ------------------------------------------------------------------------------------


def list_servers(
    conn: Connection, wanted: ObjectFilter, *, limit: int, after: str | None = None
) -> Page[ServerView]:
    """A page of ``ServerView`` by name."""
    conditions = _conditions(Server, wanted)
    if after is not None:
        conditions.append(Server.name > decode("servers", after, (str,))[0])
    query = _SERVER_ROWS.where(*conditions).order_by(Server.name).limit(limit + 1)
    items = server_views(wire.rows(conn.scalars(query)))
    more = encode("servers", (items[limit - 1].name,)) if len(items) > limit else None
    return Page(tuple(items[:limit]), more)


def servers_by_id(conn: Connection, ids: Sequence[int]) -> list[ServerView]:
    """Servers by name; unknown ids are left out."""
    rows = conn.scalars(_SERVER_ROWS.where(Server.id.in_(ids)).order_by(Server.name))
    return server_views(wire.rows(rows))


def all_servers(conn: Connection) -> list[ServerView]:
    """Every live server by name."""
    return sorted(server_views(_LIVE_SERVERS.read(conn)), key=lambda server: server.name)


# -- projects and revisions ---------------------------------------------------------------------


def list_projects(
    conn: Connection,
    *,
    ids: Sequence[int] | None = None,
    since: datetime | None = None,
    limit: int,
    after: str | None = None,
) -> Page[ProjectView]:
    """A page of ``ProjectView`` by name, each with its last revision and its live rows counted."""
    query = select(
        Project.id,
        Project.name,
        Project.source,
        Project.spec,
        Project.commit,
        Project.revision_id,
        Project.created_at,
        Project.updated_at,
    ).order_by(Project.name)
    if ids is not None:
        query = query.where(Project.id.in_(ids))
    if since is not None:
        query = query.where(Project.updated_at >= since)
    if after is not None:
        query = query.where(Project.name > decode("projects", after, (str,))[0])
    rows = list(conn.execute(query.limit(limit + 1)))
    more = encode("projects", (rows[limit - 1].name,)) if len(rows) > limit else None
    rows = rows[:limit]
    revisions = {
        view.id: view for view in revisions_by_id(conn, [row.revision_id for row in rows if row.revision_id])
    }
    servers, tasks = _counted(conn, Server), _counted(conn, Task)
    items = tuple(
        ProjectView(
            id=row.id,
            name=row.name,
            source=row.source,
            document=row.spec,
            commit=row.commit,
            created_at=row.created_at,
            updated_at=row.updated_at,
            revision=revisions.get(row.revision_id),
            servers=servers.get(row.id, 0),
            tasks=tasks.get(row.id, 0),
        )
        for row in rows
    )
    return Page(items, more)


def list_revisions(
    conn: Connection,
    *,
    ids: Sequence[int] | None = None,
    project_id: int | None = None,
    since: datetime | None = None,
    limit: int,
    after: str | None = None,
) -> Page[RevisionView]:
    """A page of ``RevisionView``, newest first."""
    index = "PRIMARY" if project_id is None else REVISIONS_OF_PROJECT
    query = (
        select(Revision.id)
        .with_hint(Revision, f"FORCE INDEX ({index})", "mysql")
        .order_by(Revision.id.desc())
        .limit(limit + 1)
    )
    if ids is not None:
        query = query.where(Revision.id.in_(ids))
    if project_id is not None:
        query = query.where(Revision.project_id == project_id)
    if since is not None:
        query = query.where(Revision.applied_at >= since)
    if after is not None:
        query = query.where(Revision.id < decode("revisions", after, (int,))[0])
    found = list(conn.scalars(query))
    more = encode("revisions", (found[limit - 1],)) if len(found) > limit else None
    views = {view.id: view for view in revisions_by_id(conn, found[:limit])}
    return Page(tuple(views[key] for key in found[:limit] if key in views), more)


def get_revision(conn: Connection, number: int) -> RevisionView:
    """One revision with its changes; raises NotFound."""
    row = conn.execute(
        _revision_rows().add_columns(Revision.changes).where(Revision.id == number)
    ).one_or_none()
    if row is None:
        raise NotFound(
            f"there is no revision {number}",
            hint="`get revisions` lists them",
            details={"revision": number},
        )
    return _revision_view(row, row.changes)


def revisions_by_id(conn: Connection, ids: Sequence[int]) -> list[RevisionView]:
    """Revisions without their changes; unknown ids are left out."""
    found: list[RevisionView] = []
    keys = sorted(set(ids))
    for start in range(0, len(keys), _KEYS):
        some = Revision.id.in_(keys[start : start + _KEYS])
        found += [_revision_view(row) for row in conn.execute(_revision_rows().where(some))]
    return found


def _revision_rows() -> Any:
    return select(
        Revision.id,
        Revision.commit,
        Revision.branch,
        Revision.author,
        Revision.message,
        Revision.dirty,
        Revision.applied_by,
        Revision.applied_at,
        Revision.digest,
        Revision.released,
        Revision.counts,
        Project.name.label("project"),
    ).join(Project, Project.id == Revision.project_id)


def _revision_view(row: Any, changes: Any = None) -> RevisionView:
    return RevisionView(
        id=row.id,
        project=row.project,
        commit=row.commit,
        branch=row.branch,
        author=row.author,
        message=row.message,
        dirty=bool(row.dirty),
        applied_by=row.applied_by,
        applied_at=row.applied_at,
        digest=row.digest,
        released=row.released,
        summary=row.counts,
        changes=changes,
    )


# -- what holds beside them ---------------------------------------------------------------------


def suspensions(conn: Connection, now: datetime) -> list[SuspensionView]:
    """The suspensions that have not ended at ``now``, also those that have not begun."""
    query = select(
        Override.reason, Override.by, Override.since, Override.until, Override.task_id, Override.project_id
    ).where(*not_ended(now))
    return [SuspensionView(**row._mapping) for row in conn.execute(query)]


def stored_conditions(conn: Connection) -> list[StoredCondition]:
    """What long-running processes wrote down of what only they know; not since when they saw exceptions."""
    query = select(
        Condition.kind,
        Condition.object_id,
        Condition.type,
        Condition.status,
        Condition.reason,
        Condition.message,
        Condition.observed_generation,
        Condition.last_transition,
    ).where(Condition.type.not_like(f"%{SEEN}"), Condition.type != TYPE)
    return [
        StoredCondition(**{**row._mapping, "type": type_of(row.type), "cause": cause_of(row.type)})
        for row in conn.execute(query)
    ]


def _conditions(kind: type[Task] | type[Server], wanted: ObjectFilter) -> list[ColumnElement[bool]]:
    gone = kind.deleted_at
    conditions: list[ColumnElement[bool]] = [gone.is_not(None) if wanted.deleted else gone.is_(None)]
    if wanted.ids is not None:
        conditions.append(kind.id.in_(wanted.ids))
    if wanted.project_id is not None:
        conditions.append(kind.project_id == wanted.project_id)
    if wanted.since is not None:
        conditions.append(or_(kind.updated_at >= wanted.since, gone >= wanted.since))
    return conditions + has_labels(kind.labels, wanted.labels)


def _counted(conn: Connection, kind: type[Task] | type[Server]) -> dict[int | None, int]:
    query = select(kind.project_id, func.count()).where(kind.deleted_at.is_(None)).group_by(kind.project_id)
    return {row[0]: row[1] for row in conn.execute(query)}


def _text(name: str) -> ColumnElement[str]:
    return literal_column(name, LongText).label(name.split(".")[-1])
