"""The tables. What each column means stands in docs/adr/0003-tables.md and here, where it is not plain.

InnoDB, utf8mb4 and utf8mb4_bin are said for every table, because MariaDB's server default is latin1
and both servers' default collations are blind to case. utf8mb4_bin ignores trailing spaces, hence the
CHECKs on names.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    MetaData,
    SmallInteger,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from reconciler.store.types import Json, Key, LongText, MediumBytes, MediumText, PackedJson, UtcDateTime

SERVER_TABLE = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The root of all tables; constraints have predictable names on all three databases."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar = {datetime: UtcDateTime(), dict[str, Any]: Json(), list[Any]: Json()}


def _trimmed() -> CheckConstraint:
    return CheckConstraint("length(name) = length(trim(name)) AND length(name) > 0", name="name_trimmed")


class User(Base):
    """Who created objects: the author of the applied commit, else ``user@host``."""

    __tablename__ = "users"
    __table_args__ = (SERVER_TABLE,)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    username: Mapped[str] = mapped_column(String(255), unique=True)
    """The e-mail of the commit's author, or user@host."""
    display_name: Mapped[str] = mapped_column(String(255), default="")
    email: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime]


class Project(Base):
    """A tree of manifests and what was last applied of it."""

    __tablename__ = "projects"
    __table_args__ = (_trimmed(), SERVER_TABLE)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    source: Mapped[str] = mapped_column(String(1000), default="")
    """The git remote or folder that was applied last."""
    spec: Mapped[dict[str, Any]]
    spec_hash: Mapped[str] = mapped_column(String(64))
    commit: Mapped[str | None] = mapped_column(String(64))
    """The hash of the applied commit; NULL without git."""
    revision_id: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Server(Base):
    """A server, deleted ones too."""

    __tablename__ = "servers"
    __table_args__ = (_trimmed(), CheckConstraint("status IN (0, 1)", name="status"), SERVER_TABLE)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    """Unique over ALL rows: a name that comes back revives its row."""
    host: Mapped[str] = mapped_column(String(255))
    port: Mapped[int]
    username: Mapped[str | None] = mapped_column(String(100))
    status: Mapped[int] = mapped_column(SmallInteger, default=1, server_default="1")
    """0 disabled (or deleted), 1 enabled."""
    environment: Mapped[str] = mapped_column(String(100), default="")
    labels: Mapped[dict[str, Any]]
    spec: Mapped[dict[str, Any]]
    """What has no column of its own, annotations too."""
    spec_hash: Mapped[str] = mapped_column(String(64))
    """The hash of the canonical document at the last apply; a row that hashes otherwise has drifted."""
    generation: Mapped[int] = mapped_column(BigInteger, default=1)
    protected: Mapped[int] = mapped_column(SmallInteger, default=0)
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id"), index=True)
    """NULL: a deleted server belongs to nobody."""
    revision_id: Mapped[int | None] = mapped_column(BigInteger)
    """The revision of the row's last change."""
    path: Mapped[str] = mapped_column(String(1000), default="")
    line: Mapped[int] = mapped_column(default=0)
    created_by: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)


class Task(Base):
    """A task on one server, deleted ones too: desired state, schedule and identity of its history."""

    __tablename__ = "tasks"
    __table_args__ = (
        _trimmed(),
        CheckConstraint("status IN (0, 1)", name="status"),
        UniqueConstraint("project_id", "name", "server_id"),
        # MySQL has no partial index: what must not run has next_run NULL, and the scan a lower bound
        Index(None, "status", "next_run"),
        SERVER_TABLE,
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    command: Mapped[str] = mapped_column(LongText)
    """What /bin/sh runs, or a script's text."""
    cron_expr: Mapped[str | None] = mapped_column(String(50))
    server_id: Mapped[int] = mapped_column(ForeignKey("servers.id"), index=True)
    status: Mapped[int] = mapped_column(SmallInteger, default=1, server_default="1")
    """0 disabled (or deleted), 1 enabled."""
    last_run: Mapped[datetime | None]
    """Start of the newest started run, manual ones too."""
    next_run: Mapped[datetime | None]
    """When the next slot is due: next_slot + jitter. NULL: nothing will run by itself."""
    next_slot: Mapped[datetime | None]
    """The next slot's nominal time."""
    after_since: Mapped[datetime | None]
    """Since when the present `after` holds: successes that finished earlier do not count for it."""
    timezone: Mapped[str] = mapped_column(String(100), default="UTC")
    labels: Mapped[dict[str, Any]]
    spec: Mapped[dict[str, Any]]
    """What has no column of its own, annotations too."""
    spec_hash: Mapped[str] = mapped_column(String(64))
    generation: Mapped[int] = mapped_column(BigInteger, default=1)
    protected: Mapped[int] = mapped_column(SmallInteger, default=0)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    revision_id: Mapped[int | None] = mapped_column(BigInteger)
    path: Mapped[str] = mapped_column(String(1000), default="")
    line: Mapped[int] = mapped_column(default=0)
    created_by: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)


class Execution(Base):
    """The ledger: one row for every attempt of every slot, and for every slot that did not run.

    No foreign key leaves this table: claims would wait for applies and applies for claims.
    """

    __tablename__ = "task_executions"
    __table_args__ = (
        CheckConstraint("status IN (0, 1, 2, 3)", name="status"),
        # the slot, barred twice: the claim looks, and the database refuses a second row
        UniqueConstraint("task_id", "scheduled_for", "attempt"),
        Index(None, "task_id", "id"),  # the last ten of a task
        Index(None, "server_id", "id"),  # the last ten of a server
        Index(None, "lease_until"),  # the reaper; NULL in all that is not taken
        Index(None, "status", "due_at"),  # the waiting, oldest first
        Index(None, "status", "task_id"),  # the unfinished of a task, for overlap: one look per claimed task
        Index(None, "status", "server_id", "lease_until"),  # the running of a server, counted from the index
        Index(None, "status", "id"),  # lists by state
        SERVER_TABLE,
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True, autoincrement=False)
    """Made by the program (store.ids): ascending in time, unique without a round trip."""
    task_id: Mapped[int] = mapped_column(BigInteger)
    server_id: Mapped[int] = mapped_column(BigInteger)
    """As it was then."""
    status: Mapped[int] = mapped_column(SmallInteger, default=0)
    """0 not ended, 1 success, 2 failed, 3 skipped."""
    reason: Mapped[str | None] = mapped_column(String(32))
    output: Mapped[str | None] = mapped_column(MediumText, deferred=True)
    error: Mapped[str | None] = mapped_column(MediumText, deferred=True)
    exit_code: Mapped[int | None]
    trigger: Mapped[str] = mapped_column(String(16))
    requested_by: Mapped[str | None] = mapped_column(String(255))
    attempt: Mapped[int] = mapped_column(default=1)
    scheduled_for: Mapped[datetime]
    due_at: Mapped[datetime]
    start_sent_at: Mapped[datetime | None]
    """A start went out; until the host answers nobody knows whether it began."""
    started_at: Mapped[datetime | None]
    """The host acknowledged the start, by our clock."""
    machine: Mapped[str | None] = mapped_column(String(200))
    """Of a run with ``connection: local`` that was taken: where its processes and its folder are."""
    finished_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    cancel_requested_by: Mapped[str | None] = mapped_column(String(255))
    generation: Mapped[int] = mapped_column(BigInteger, default=1)
    revision_id: Mapped[int | None] = mapped_column(BigInteger)
    path: Mapped[str] = mapped_column(String(1000), default="")
    line: Mapped[int] = mapped_column(default=0)
    lease_owner: Mapped[str | None] = mapped_column(String(100))
    lease_until: Mapped[datetime | None]
    output_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    error_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    output_sha256: Mapped[str | None] = mapped_column(String(64))
    error_sha256: Mapped[str | None] = mapped_column(String(64))
    truncated: Mapped[int] = mapped_column(SmallInteger, default=0)
    """1: the row holds less than the run wrote."""
    archive: Mapped[str | None] = mapped_column(String(1000))
    count: Mapped[int] = mapped_column(BigInteger, default=1)
    """How many slots this row stands for: more than 1 only where very many were missed at once."""
    created_at: Mapped[datetime]


class Revision(Base):
    """One applied change: what, by whom, from which commit."""

    __tablename__ = "revisions"
    __table_args__ = (Index(None, "project_id", "id"), SERVER_TABLE)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    commit: Mapped[str | None] = mapped_column(String(64))
    branch: Mapped[str | None] = mapped_column(String(255))
    author: Mapped[str | None] = mapped_column(String(255))
    """``Name <email>``"""
    message: Mapped[str | None] = mapped_column(LongText)
    dirty: Mapped[int] = mapped_column(SmallInteger, default=0)
    applied_by: Mapped[str] = mapped_column(String(255))
    applied_at: Mapped[datetime]
    digest: Mapped[str] = mapped_column(String(64))
    released: Mapped[str | None] = mapped_column(String(64))
    """The digest that released a tripped guard."""
    counts: Mapped[dict[str, Any]]
    changes: Mapped[list[Any]] = mapped_column(PackedJson)


class Override(Base):
    """A suspension of a task, a project or everything."""

    __tablename__ = "overrides"
    __table_args__ = (SERVER_TABLE,)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    task_id: Mapped[int | None] = mapped_column(ForeignKey("tasks.id"), index=True)
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(LongText)
    by: Mapped[str] = mapped_column(String(255))
    since: Mapped[datetime]
    until: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)


class Lease(Base):
    """Named claims that end by themselves; also node numbers and the change counter (store.leases)."""

    __tablename__ = "leases"
    __table_args__ = (SERVER_TABLE,)

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    owner: Mapped[str] = mapped_column(String(255), default="")
    token: Mapped[int] = mapped_column(BigInteger, default=0)
    """The fencing token: grows with each new owner. Of the change counter: its value."""
    until: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)


class LiveOutput(Base):
    """Pieces of output on their way to people who follow a run (store.live); never for long."""

    __tablename__ = "live_output"
    __table_args__ = (
        Index(None, "execution_id", "id"),
        {**SERVER_TABLE, "sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    execution_id: Mapped[int] = mapped_column(BigInteger)
    stream: Mapped[int] = mapped_column(SmallInteger)
    """1 output, 2 error."""
    start: Mapped[int] = mapped_column(BigInteger)
    """Its place in the masked stream, in bytes."""
    data: Mapped[bytes] = mapped_column(MediumBytes)


class Condition(Base):
    """A stored condition and its last transition."""

    __tablename__ = "conditions"
    __table_args__ = (UniqueConstraint("kind", "object_id", "type"), SERVER_TABLE)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    object_id: Mapped[int] = mapped_column(BigInteger)
    type: Mapped[str] = mapped_column(String(32))
    status: Mapped[str] = mapped_column(String(8))
    reason: Mapped[str] = mapped_column(String(64), default="")
    message: Mapped[str] = mapped_column(LongText)
    observed_generation: Mapped[int | None] = mapped_column(BigInteger)
    last_transition: Mapped[datetime]


class Outbox(Base):
    """What people are still to be told; written in the transaction that causes it."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index(None, "delivered_at", "next_attempt"),
        Index(None, "target", "delivered_at", "next_attempt"),  # what waits for one target
        Index(None, "dedup", unique=True),
        SERVER_TABLE,
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    payload: Mapped[dict[str, Any]]
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt: Mapped[datetime | None]
    """When it is to be tried; NULL: delivered or given up."""
    delivered_at: Mapped[datetime | None]
    target: Mapped[str | None] = mapped_column(String(100))
    """NAME of the ``[notify.NAME]`` table."""
    dedup: Mapped[str | None] = mapped_column(String(255))
    """What it tells to whom, so that it is told once."""
    created_at: Mapped[datetime | None]
    given_up_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(String(500))
    """Why the last attempt failed."""
