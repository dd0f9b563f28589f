"""The tables. What each column means stands in docs/adr/0003-tables.md and here, where it is not plain.

InnoDB, utf8mb4 and utf8mb4_bin are said for every table, because MariaDB's server default is latin1
and both servers' default collations are blind to case. utf8mb4_bin ignores trailing spaces, hence the
CHECKs on names.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnClause,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    UniqueConstraint,
)

from reconciler.store.declared import Base as Base  # with all tables, once these are defined
from reconciler.store.declared import column, optional
from reconciler.store.types import Json, Key, LongText, MediumBytes, MediumText, PackedJson, UtcDateTime

SERVER_TABLE = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}


def _trimmed() -> CheckConstraint:
    return CheckConstraint("length(name) = length(trim(name)) AND length(name) > 0", name="name_trimmed")


class User(Base):
    """Who created objects: the author of the applied commit, else ``user@host``."""

    __tablename__ = "users"
    __table_args__ = (SERVER_TABLE,)

    id: ColumnClause[int] = column(Key, primary_key=True)
    username: ColumnClause[str] = column(String(255), unique=True)
    """The e-mail of the commit's author, or user@host."""
    display_name: ColumnClause[str] = column(String(255), default="")
    email: ColumnClause[str | None] = optional(String(255))
    created_at: ColumnClause[datetime] = column(UtcDateTime)


class Project(Base):
    """A tree of manifests and what was last applied of it."""

    __tablename__ = "projects"
    __table_args__ = (_trimmed(), SERVER_TABLE)

    id: ColumnClause[int] = column(Key, primary_key=True)
    name: ColumnClause[str] = column(String(100), unique=True)
    source: ColumnClause[str] = column(String(1000), default="")
    """The git remote or folder that was applied last."""
    spec: ColumnClause[dict[str, Any]] = column(Json)
    spec_hash: ColumnClause[str] = column(String(64))
    commit: ColumnClause[str | None] = optional(String(64))
    """The hash of the applied commit; NULL without git."""
    revision_id: ColumnClause[int | None] = optional(BigInteger)
    created_at: ColumnClause[datetime] = column(UtcDateTime)
    updated_at: ColumnClause[datetime] = column(UtcDateTime)


class Server(Base):
    """A server, deleted ones too."""

    __tablename__ = "servers"
    __table_args__ = (_trimmed(), CheckConstraint("status IN (0, 1)", name="status"), SERVER_TABLE)

    id: ColumnClause[int] = column(Key, primary_key=True)
    name: ColumnClause[str] = column(String(100), unique=True)
    """Unique over ALL rows: a name that comes back revives its row."""
    host: ColumnClause[str] = column(String(255))
    port: ColumnClause[int] = column(Integer)
    username: ColumnClause[str | None] = optional(String(100))
    status: ColumnClause[int] = column(SmallInteger, default=1, server_default="1")
    """0 disabled (or deleted), 1 enabled."""
    environment: ColumnClause[str] = column(String(100), default="")
    labels: ColumnClause[dict[str, Any]] = column(Json)
    spec: ColumnClause[dict[str, Any]] = column(Json)
    """What has no column of its own, annotations too."""
    spec_hash: ColumnClause[str] = column(String(64))
    """The hash of the canonical document at the last apply; a row that hashes otherwise has drifted."""
    generation: ColumnClause[int] = column(BigInteger, default=1)
    protected: ColumnClause[int] = column(SmallInteger, default=0)
    project_id: ColumnClause[int | None] = optional(ForeignKey("projects.id"), index=True)
    """NULL: a deleted server belongs to nobody."""
    revision_id: ColumnClause[int | None] = optional(BigInteger)
    """The revision of the row's last change."""
    path: ColumnClause[str] = column(String(1000), default="")
    line: ColumnClause[int] = column(Integer, default=0)
    created_by: ColumnClause[int] = column(ForeignKey("users.id"), index=True)
    created_at: ColumnClause[datetime] = column(UtcDateTime)
    updated_at: ColumnClause[datetime] = column(UtcDateTime)
    deleted_at: ColumnClause[datetime | None] = optional(UtcDateTime, index=True)


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

    id: ColumnClause[int] = column(Key, primary_key=True)
    name: ColumnClause[str] = column(String(100))
    command: ColumnClause[str] = column(LongText)
    """What /bin/sh runs, or a script's text."""
    cron_expr: ColumnClause[str | None] = optional(String(50))
    server_id: ColumnClause[int] = column(ForeignKey("servers.id"), index=True)
    status: ColumnClause[int] = column(SmallInteger, default=1, server_default="1")
    """0 disabled (or deleted), 1 enabled."""
    last_run: ColumnClause[datetime | None] = optional(UtcDateTime)
    """Start of the newest started run, manual ones too."""
    next_run: ColumnClause[datetime | None] = optional(UtcDateTime)
    """When the next slot is due: next_slot + jitter. NULL: nothing will run by itself."""
    next_slot: ColumnClause[datetime | None] = optional(UtcDateTime)
    """The next slot's nominal time."""
    after_since: ColumnClause[datetime | None] = optional(UtcDateTime)
    """Since when the present `after` holds: successes that finished earlier do not count for it."""
    timezone: ColumnClause[str] = column(String(100), default="UTC")
    labels: ColumnClause[dict[str, Any]] = column(Json)
    spec: ColumnClause[dict[str, Any]] = column(Json)
    """What has no column of its own, annotations too."""
    spec_hash: ColumnClause[str] = column(String(64))
    generation: ColumnClause[int] = column(BigInteger, default=1)
    protected: ColumnClause[int] = column(SmallInteger, default=0)
    project_id: ColumnClause[int] = column(ForeignKey("projects.id"))
    revision_id: ColumnClause[int | None] = optional(BigInteger)
    path: ColumnClause[str] = column(String(1000), default="")
    line: ColumnClause[int] = column(Integer, default=0)
    created_by: ColumnClause[int] = column(ForeignKey("users.id"), index=True)
    created_at: ColumnClause[datetime] = column(UtcDateTime)
    updated_at: ColumnClause[datetime] = column(UtcDateTime)
    deleted_at: ColumnClause[datetime | None] = optional(UtcDateTime, index=True)


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

    id: ColumnClause[int] = column(Key, primary_key=True, autoincrement=False)
    """Made by the program (store.ids): ascending in time, unique without a round trip."""
    task_id: ColumnClause[int] = column(BigInteger)
    server_id: ColumnClause[int] = column(BigInteger)
    """As it was then."""
    status: ColumnClause[int] = column(SmallInteger, default=0)
    """0 not ended, 1 success, 2 failed, 3 skipped."""
    reason: ColumnClause[str | None] = optional(String(32))
    output: ColumnClause[str | None] = optional(MediumText)
    error: ColumnClause[str | None] = optional(MediumText)
    exit_code: ColumnClause[int | None] = optional(Integer)
    trigger: ColumnClause[str] = column(String(16))
    requested_by: ColumnClause[str | None] = optional(String(255))
    attempt: ColumnClause[int] = column(Integer, default=1)
    scheduled_for: ColumnClause[datetime] = column(UtcDateTime)
    due_at: ColumnClause[datetime] = column(UtcDateTime)
    start_sent_at: ColumnClause[datetime | None] = optional(UtcDateTime)
    """A start went out; until the host answers nobody knows whether it began."""
    started_at: ColumnClause[datetime | None] = optional(UtcDateTime)
    """The host acknowledged the start, by our clock."""
    machine: ColumnClause[str | None] = optional(String(200))
    """Of a run with ``connection: local`` that was taken: where its processes and its folder are."""
    finished_at: ColumnClause[datetime | None] = optional(UtcDateTime)
    cancel_requested_at: ColumnClause[datetime | None] = optional(UtcDateTime)
    cancel_requested_by: ColumnClause[str | None] = optional(String(255))
    generation: ColumnClause[int] = column(BigInteger, default=1)
    revision_id: ColumnClause[int | None] = optional(BigInteger)
    path: ColumnClause[str] = column(String(1000), default="")
    line: ColumnClause[int] = column(Integer, default=0)
    lease_owner: ColumnClause[str | None] = optional(String(100))
    lease_until: ColumnClause[datetime | None] = optional(UtcDateTime)
    output_bytes: ColumnClause[int] = column(BigInteger, default=0)
    error_bytes: ColumnClause[int] = column(BigInteger, default=0)
    output_sha256: ColumnClause[str | None] = optional(String(64))
    error_sha256: ColumnClause[str | None] = optional(String(64))
    truncated: ColumnClause[int] = column(SmallInteger, default=0)
    """1: the row holds less than the run wrote."""
    archive: ColumnClause[str | None] = optional(String(1000))
    remark: ColumnClause[str | None] = optional(String(1000))
    """What else is to be known of a run that has an exit code; of others it stands in front of ``error``."""
    count: ColumnClause[int] = column(BigInteger, default=1)
    """How many slots this row stands for: more than 1 only where very many were missed at once."""
    created_at: ColumnClause[datetime] = column(UtcDateTime)


class Revision(Base):
    """One applied change: what, by whom, from which commit."""

    __tablename__ = "revisions"
    __table_args__ = (Index(None, "project_id", "id"), SERVER_TABLE)

    id: ColumnClause[int] = column(Key, primary_key=True)
    project_id: ColumnClause[int] = column(ForeignKey("projects.id"))
    commit: ColumnClause[str | None] = optional(String(64))
    branch: ColumnClause[str | None] = optional(String(255))
    author: ColumnClause[str | None] = optional(String(255))
    """``Name <email>``"""
    message: ColumnClause[str | None] = optional(LongText)
    dirty: ColumnClause[int] = column(SmallInteger, default=0)
    applied_by: ColumnClause[str] = column(String(255))
    applied_at: ColumnClause[datetime] = column(UtcDateTime)
    digest: ColumnClause[str] = column(String(64))
    released: ColumnClause[str | None] = optional(String(64))
    """The digest that released a tripped guard."""
    counts: ColumnClause[dict[str, Any]] = column(Json)
    changes: ColumnClause[list[Any]] = column(PackedJson)


class Override(Base):
    """A suspension of a task, a project or everything."""

    __tablename__ = "overrides"
    __table_args__ = (SERVER_TABLE,)

    id: ColumnClause[int] = column(Key, primary_key=True)
    task_id: ColumnClause[int | None] = optional(ForeignKey("tasks.id"), index=True)
    project_id: ColumnClause[int | None] = optional(ForeignKey("projects.id"), index=True)
    kind: ColumnClause[str] = column(String(16))
    reason: ColumnClause[str] = column(LongText)
    by: ColumnClause[str] = column(String(255))
    since: ColumnClause[datetime] = column(UtcDateTime)
    until: ColumnClause[datetime | None] = optional(UtcDateTime, index=True)


class Lease(Base):
    """Named claims that end by themselves; also node numbers and the change counter (store.leases)."""

    __tablename__ = "leases"
    __table_args__ = (SERVER_TABLE,)

    name: ColumnClause[str] = column(String(255), primary_key=True)
    owner: ColumnClause[str] = column(String(255), default="")
    token: ColumnClause[int] = column(BigInteger, default=0)
    """The fencing token: grows with each new owner. Of the change counter: its value."""
    until: ColumnClause[datetime | None] = optional(UtcDateTime, index=True)


class LiveOutput(Base):
    """Pieces of output on their way to people who follow a run (store.live); never for long."""

    __tablename__ = "live_output"
    __table_args__ = (
        Index(None, "execution_id", "id"),
        {**SERVER_TABLE, "sqlite_autoincrement": True},
    )

    id: ColumnClause[int] = column(Key, primary_key=True)
    execution_id: ColumnClause[int] = column(BigInteger)
    stream: ColumnClause[int] = column(SmallInteger)
    """1 output, 2 error."""
    start: ColumnClause[int] = column(BigInteger)
    """Its place in the masked stream, in bytes."""
    data: ColumnClause[bytes] = column(MediumBytes)


class Condition(Base):
    """A stored condition and its last transition."""

    __tablename__ = "conditions"
    __table_args__ = (UniqueConstraint("kind", "object_id", "type"), SERVER_TABLE)

    id: ColumnClause[int] = column(Key, primary_key=True)
    kind: ColumnClause[str] = column(String(16))
    object_id: ColumnClause[int] = column(BigInteger)
    type: ColumnClause[str] = column(String(32))
    status: ColumnClause[str] = column(String(8))
    reason: ColumnClause[str] = column(String(64), default="")
    message: ColumnClause[str] = column(LongText)
    observed_generation: ColumnClause[int | None] = optional(BigInteger)
    last_transition: ColumnClause[datetime] = column(UtcDateTime)


class Outbox(Base):
    """What people are still to be told; written in the transaction that causes it."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index(None, "delivered_at", "next_attempt"),
        Index(None, "target", "delivered_at", "next_attempt"),  # what waits for one target
        Index(None, "dedup", unique=True),
        SERVER_TABLE,
    )

    id: ColumnClause[int] = column(Key, primary_key=True)
    kind: ColumnClause[str] = column(String(32))
    payload: ColumnClause[dict[str, Any]] = column(Json)
    attempts: ColumnClause[int] = column(Integer, default=0)
    next_attempt: ColumnClause[datetime | None] = optional(UtcDateTime)
    """When it is to be tried; NULL: delivered or given up."""
    delivered_at: ColumnClause[datetime | None] = optional(UtcDateTime)
    target: ColumnClause[str | None] = optional(String(100))
    """NAME of the ``[notify.NAME]`` table."""
    dedup: ColumnClause[str | None] = optional(String(255))
    """What it tells to whom, so that it is told once."""
    created_at: ColumnClause[datetime | None] = optional(UtcDateTime)
    given_up_at: ColumnClause[datetime | None] = optional(UtcDateTime)
    error: ColumnClause[str | None] = optional(String(500))
    """Why the last attempt failed."""
