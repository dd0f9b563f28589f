"""Projects, revisions and users: who applied what to which tree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, CursorResult, insert, select, update
from sqlalchemy.exc import IntegrityError

from reconciler.model.canonical import Document, document_hash
from reconciler.model.revision import RevisionNote
from reconciler.model.state import Commit
from reconciler.store.faults import is_duplicate
from reconciler.store.tables import Project, Revision, User

TEXT = 255
PLACE = 1000
"""Characters of the columns; what people write elsewhere may be longer, and must not stop an apply."""


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


@dataclass(frozen=True, slots=True)
class Person:
    """Who created something: ``username`` is an e-mail address, or ``user@host`` without ``email``."""

    username: str
    name: str = ""
    email: str | None = None


@dataclass(frozen=True, slots=True)
class AppliedState:
    """What is applied of a project now.

    ``commit`` is HEAD's hash, of a dirty tree too; None without git. ``settings`` None: the stored ones stay.
    """

    name: str
    settings: Document | None
    source: str
    commit: str | None
    revision_id: int
    at: datetime


def ensure_user(connection: Connection, person: Person, at: datetime) -> int:
    """The id of the user; made where there is none. Usernames are compared exactly."""
    username = person.username[:TEXT].rstrip() or "unknown"
    wanted = select(User.id).where(User.username == username)
    found = connection.execute(wanted).scalar_one_or_none()
    if found is not None:
        return found
    values = {
        "username": username,
        "display_name": person.name[:TEXT],
        "email": person.email[:TEXT] if person.email else None,
        "created_at": at,
    }
    try:
        with connection.begin_nested():
            connection.execute(insert(User).values(values))
    except IntegrityError as error:
        # somebody else made the same user a moment ago
        if not is_duplicate(error):
            raise
    return connection.execute(wanted).scalar_one()


def insert_project(connection: Connection, name: str, at: datetime) -> int:
    """The id of a project that is applied for the first time; its spec is written by ``record_applied``."""
    result = connection.execute(
        insert(Project).values(
            name=name, source="", spec={}, spec_hash=document_hash({}), created_at=at, updated_at=at
        )
    )
    return _new_id(result)


def record_applied(connection: Connection, project_id: int, applied: AppliedState) -> None:
    """What is applied now: the project's settings, its source and its commit."""
    values: dict[str, Any] = {
        "name": applied.name,
        "source": applied.source[:PLACE],
        "commit": applied.commit,
        "revision_id": applied.revision_id,
        "updated_at": applied.at,
    }
    if applied.settings is not None:
        values |= {"spec": applied.settings, "spec_hash": document_hash(applied.settings)}
    connection.execute(update(Project).where(Project.id == project_id).values(values))


def insert_revision(connection: Connection, project_id: int, record: RevisionRecord) -> int:
    """A new revision; returns its id."""
    commit = record.commit
    result = connection.execute(
        insert(Revision).values(
            project_id=project_id,
            commit=None if commit is None else commit.hash,
            branch=None if commit is None or commit.branch is None else commit.branch[:TEXT],
            author=None if commit is None else commit.author[:TEXT],
            message=None if commit is None else commit.message,
            dirty=int(commit is not None and commit.dirty),
            applied_by=record.applied_by[:TEXT],
            applied_at=record.applied_at,
            digest=record.digest,
            released=record.released,
            counts=dict(record.counts),
            changes=record.changes,
        )
    )
    return _new_id(result)


def is_revision(connection: Connection, number: int, digest: str, applied_by: str, at: datetime) -> bool:
    """Whether this very revision is there: numbers that were rolled back may be given again."""
    found = connection.execute(
        select(Revision.id).where(
            Revision.id == number,
            Revision.digest == digest,
            Revision.applied_by == applied_by[:TEXT],
            Revision.applied_at == at,
        )
    )
    return found.first() is not None


def revision_notes(connection: Connection, numbers: Iterable[int]) -> dict[int, RevisionNote]:
    """Who applied these revisions, by id; unknown ones are absent."""
    columns = Revision.id, Revision.applied_by, Revision.applied_at, Revision.commit, Revision.author
    rows = connection.execute(select(*columns).where(Revision.id.in_(sorted(set(numbers)))))
    return {row.id: RevisionNote(*row) for row in rows}


def _new_id(result: CursorResult[Any]) -> int:
    key = result.inserted_primary_key
    assert key is not None  # of a single INSERT the driver always knows it
    return int(key[0])


def find_project(connection: Connection, name: str | None, source: str | None) -> int | None:
    """The id of the project of that name, else of the one last applied from ``source``."""
    by_name = select(Project.id).where(Project.name == name)
    found = connection.execute(by_name).scalar_one_or_none() if name is not None else None
    if found is not None or source is None:
        return found
    by_source = select(Project.id).where(Project.source == source[:PLACE]).order_by(Project.id).limit(1)
    return connection.execute(by_source).scalar_one_or_none()


def applied_commit(connection: Connection, name: str) -> str | None:
    """The commit that the project of that name was last applied from."""
    return connection.execute(select(Project.commit).where(Project.name == name)).scalar_one_or_none()


def sources(connection: Connection, names: Iterable[str]) -> dict[str, str]:
    """Where these projects come from; unknown ones are left out."""
    query = select(Project.name, Project.source).where(Project.name.in_(sorted(names)))
    return {row.name: row.source for row in connection.execute(query)}


def commits(connection: Connection, revisions: Iterable[int]) -> dict[int, str]:
    """The whole hashes of these revisions; those without git are left out."""
    query = select(Revision.id, Revision.commit).where(Revision.id.in_(sorted(revisions)))
    return {number: commit for number, commit in connection.execute(query) if commit is not None}
