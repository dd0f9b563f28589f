"""Projects, revisions and users: who applied what to which tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from reconciler.model.canonical import Document, document_hash
from reconciler.model.state import Commit
from reconciler.store.tables import Project, Revision, User


@dataclass(frozen=True, slots=True)
class RevisionRecord:
    """What a revision remembers. ``released`` is the digest that released a tripped guard."""

    commit: Commit | None
    applied_by: str
    applied_at: datetime
    digest: str
    counts: Mapping[str, int]
    changes: list[dict[str, Any]]
    released: str | None = None


def ensure_user(connection: Connection, username: str, display_name: str, at: datetime) -> int:
    """The id of the user; made where there is none. Usernames are compared exactly."""
    wanted = select(User.id).where(User.username == username)
    found = connection.execute(wanted).scalar_one_or_none()
    if found is not None:
        return found
    values = {
        "username": username,
        "display_name": display_name,
        "email": username if "@" in username else None,
        "created_at": at,
    }
    try:
        with connection.begin_nested():
            connection.execute(insert(User).values(values))
    except IntegrityError:
        # another project's apply made the same user a moment ago
        pass
    return connection.execute(wanted).scalar_one()


def ensure_project(connection: Connection, name: str, at: datetime) -> int:
    """The id of a project that is applied for the first time; its spec is written by ``record_applied``."""
    connection.execute(
        insert(Project).values(
            name=name, source="", spec={}, spec_hash=document_hash({}), created_at=at, updated_at=at
        )
    )
    return connection.execute(select(Project.id).where(Project.name == name)).scalar_one()


def record_applied(
    connection: Connection,
    project_id: int,
    name: str,
    document: Document,
    source: str,
    commit: Commit | None,
    revision_id: int,
    at: datetime,
) -> None:
    """What is applied now: the project's settings, its source and its commit (NULL of a dirty tree)."""
    connection.execute(
        update(Project)
        .where(Project.id == project_id)
        .values(
            name=name,
            spec=document,
            spec_hash=document_hash(document),
            source=source,
            commit=None if commit is None else commit.hash,
            revision_id=revision_id,
            updated_at=at,
        )
    )


def insert_revision(connection: Connection, project_id: int, record: RevisionRecord) -> int:
    """A new revision; returns its id."""
    commit = record.commit
    result = connection.execute(
        insert(Revision).values(
            project_id=project_id,
            commit=None if commit is None else commit.hash,
            branch=None if commit is None else commit.branch,
            author=None if commit is None else commit.author[:255],
            message=None if commit is None else commit.message,
            dirty=int(commit is not None and commit.dirty),
            applied_by=record.applied_by[:255],
            applied_at=record.applied_at,
            digest=record.digest,
            released=record.released,
            counts=dict(record.counts),
            changes=record.changes,
        )
    )
    (revision_id,) = result.inserted_primary_key or (0,)
    return int(revision_id)
