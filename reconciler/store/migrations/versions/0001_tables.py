"""The first tables: everything of the data model.

Revision ID: 0001
Revises: nothing
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import DATETIME, LONGTEXT, MEDIUMTEXT

from reconciler.store.migrations import once

revision = "0001"
down_revision = None

Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Time = sa.DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb")
Json = LongText = sa.Text().with_variant(LONGTEXT(), "mysql", "mariadb")
MediumText = sa.Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")
NAME_TRIMMED = "length(name) = length(trim(name)) AND length(name) > 0"


def upgrade() -> None:
    """Referenced tables first."""
    _users()
    _projects()
    _servers()
    _tasks()
    _task_executions()
    _revisions()
    _overrides()
    _leases()
    _conditions()
    _outbox()


def _users() -> None:
    once.create_table(
        "users",
        sa.Column("id", Key, nullable=False),
        sa.Column("username", sa.String(length=255), nullable=False),
        sa.Column("display_name", sa.String(length=255), nullable=False),
        sa.Column("email", sa.String(length=255)),
        sa.Column("created_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("username", name="uq_users_username"),
    )


def _projects() -> None:
    once.create_table(
        "projects",
        sa.Column("id", Key, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("source", sa.String(length=1000), nullable=False),
        sa.Column("spec", Json, nullable=False),
        sa.Column("spec_hash", sa.String(length=64), nullable=False),
        sa.Column("commit", sa.String(length=64)),
        sa.Column("revision_id", sa.BigInteger()),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("updated_at", Time, nullable=False),
        sa.CheckConstraint(NAME_TRIMMED, name="ck_projects_name_trimmed"),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
        sa.UniqueConstraint("name", name="uq_projects_name"),
    )


def _servers() -> None:
    once.create_table(
        "servers",
        sa.Column("id", Key, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("username", sa.String(length=100)),
        sa.Column("status", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("environment", sa.String(length=100), nullable=False),
        sa.Column("labels", Json, nullable=False),
        sa.Column("spec", Json, nullable=False),
        sa.Column("spec_hash", sa.String(length=64), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("protected", sa.SmallInteger(), nullable=False),
        sa.Column("project_id", Key),
        sa.Column("revision_id", sa.BigInteger()),
        sa.Column("path", sa.String(length=1000), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("created_by", Key, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("updated_at", Time, nullable=False),
        sa.Column("deleted_at", Time),
        sa.CheckConstraint(NAME_TRIMMED, name="ck_servers_name_trimmed"),
        sa.CheckConstraint("status IN (0, 1)", name="ck_servers_status"),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name="fk_servers_created_by"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_servers_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_servers"),
        sa.UniqueConstraint("name", name="uq_servers_name"),
    )
    once.create_index("servers", "created_by")
    once.create_index("servers", "deleted_at")
    once.create_index("servers", "project_id")


def _tasks() -> None:
    once.create_table(
        "tasks",
        sa.Column("id", Key, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("command", LongText, nullable=False),
        sa.Column("cron_expr", sa.String(length=50)),
        sa.Column("server_id", Key, nullable=False),
        sa.Column("status", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("last_run", Time),
        sa.Column("next_run", Time),
        sa.Column("next_slot", Time),
        sa.Column("timezone", sa.String(length=100), nullable=False),
        sa.Column("labels", Json, nullable=False),
        sa.Column("spec", Json, nullable=False),
        sa.Column("spec_hash", sa.String(length=64), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("protected", sa.SmallInteger(), nullable=False),
        sa.Column("project_id", Key, nullable=False),
        sa.Column("revision_id", sa.BigInteger()),
        sa.Column("path", sa.String(length=1000), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("created_by", Key, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("updated_at", Time, nullable=False),
        sa.Column("deleted_at", Time),
        sa.CheckConstraint(NAME_TRIMMED, name="ck_tasks_name_trimmed"),
        sa.CheckConstraint("status IN (0, 1)", name="ck_tasks_status"),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name="fk_tasks_created_by"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_tasks_project_id"),
        sa.ForeignKeyConstraint(["server_id"], ["servers.id"], name="fk_tasks_server_id"),
        sa.PrimaryKeyConstraint("id", name="pk_tasks"),
        sa.UniqueConstraint("project_id", "name", "server_id", name="uq_tasks_project_id_name_server_id"),
    )
    once.create_index("tasks", "created_by")
    once.create_index("tasks", "deleted_at")
    once.create_index("tasks", "server_id")
    once.create_index("tasks", "status", "next_run")


def _task_executions() -> None:
    once.create_table(
        "task_executions",
        sa.Column("id", Key, autoincrement=False, nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("server_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.String(length=32)),
        sa.Column("output", MediumText),
        sa.Column("error", MediumText),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("trigger", sa.String(length=16), nullable=False),
        sa.Column("requested_by", sa.String(length=255)),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("scheduled_for", Time, nullable=False),
        sa.Column("due_at", Time, nullable=False),
        sa.Column("start_sent_at", Time),
        sa.Column("started_at", Time),
        sa.Column("finished_at", Time),
        sa.Column("cancel_requested_at", Time),
        sa.Column("cancel_requested_by", sa.String(length=255)),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("revision_id", sa.BigInteger()),
        sa.Column("path", sa.String(length=1000), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(length=100)),
        sa.Column("lease_until", Time),
        sa.Column("output_bytes", sa.BigInteger(), nullable=False),
        sa.Column("error_bytes", sa.BigInteger(), nullable=False),
        sa.Column("output_sha256", sa.String(length=64)),
        sa.Column("error_sha256", sa.String(length=64)),
        sa.Column("truncated", sa.SmallInteger(), nullable=False),
        sa.Column("archive", sa.String(length=1000)),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.CheckConstraint("status IN (0, 1, 2, 3)", name="ck_task_executions_status"),
        sa.PrimaryKeyConstraint("id", name="pk_task_executions"),
        sa.UniqueConstraint(
            "task_id", "scheduled_for", "attempt", name="uq_task_executions_task_id_scheduled_for_attempt"
        ),
    )
    once.create_index("task_executions", "lease_until")
    once.create_index("task_executions", "server_id", "id")
    once.create_index("task_executions", "status", "due_at")
    once.create_index("task_executions", "status", "id")
    once.create_index("task_executions", "status", "server_id", "lease_until")
    once.create_index("task_executions", "status", "task_id")
    once.create_index("task_executions", "task_id", "id")


def _revisions() -> None:
    once.create_table(
        "revisions",
        sa.Column("id", Key, nullable=False),
        sa.Column("project_id", Key, nullable=False),
        sa.Column("commit", sa.String(length=64)),
        sa.Column("branch", sa.String(length=255)),
        sa.Column("author", sa.String(length=255)),
        sa.Column("message", LongText),
        sa.Column("dirty", sa.SmallInteger(), nullable=False),
        sa.Column("applied_by", sa.String(length=255), nullable=False),
        sa.Column("applied_at", Time, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("released", sa.String(length=64)),
        sa.Column("counts", Json, nullable=False),
        sa.Column("changes", Json, nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_revisions_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_revisions"),
    )
    once.create_index("revisions", "project_id", "id")


def _overrides() -> None:
    once.create_table(
        "overrides",
        sa.Column("id", Key, nullable=False),
        sa.Column("task_id", Key),
        sa.Column("project_id", Key),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("reason", LongText, nullable=False),
        sa.Column("by", sa.String(length=255), nullable=False),
        sa.Column("since", Time, nullable=False),
        sa.Column("until", Time),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_overrides_project_id"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name="fk_overrides_task_id"),
        sa.PrimaryKeyConstraint("id", name="pk_overrides"),
    )
    once.create_index("overrides", "project_id")
    once.create_index("overrides", "task_id")
    once.create_index("overrides", "until")


def _leases() -> None:
    once.create_table(
        "leases",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("until", Time),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    once.create_index("leases", "until")


def _conditions() -> None:
    once.create_table(
        "conditions",
        sa.Column("id", Key, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("object_id", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("message", LongText, nullable=False),
        sa.Column("observed_generation", sa.BigInteger()),
        sa.Column("last_transition", Time, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_conditions"),
        sa.UniqueConstraint("kind", "object_id", "type", name="uq_conditions_kind_object_id_type"),
    )


def _outbox() -> None:
    once.create_table(
        "outbox",
        sa.Column("id", Key, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("payload", Json, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt", Time),
        sa.Column("delivered_at", Time),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    once.create_index("outbox", "delivered_at", "next_attempt")
