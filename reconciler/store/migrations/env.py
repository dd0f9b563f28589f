"""What Alembic runs; ``store.schema.upgrade`` passes the connection, the table and the program's version.

On SQLite all of it is in the caller's one transaction. The servers commit at every DDL statement; there each
revision ends with a commit of its own row.
"""

from __future__ import annotations

from typing import Any

from alembic import context

attributes = context.config.attributes
versions = attributes["versions"]


def _sign(ctx: Any, step: Any, heads: Any, run_args: Any) -> None:
    """Say which program made this revision, in the transaction that says it is made."""
    ctx.connection.execute(versions.update().values(program=attributes["program"]))


context.configure(
    connection=attributes["connection"],
    version_table=versions.name,
    transaction_per_migration=True,
    on_version_apply=_sign,
)
with context.begin_transaction():
    context.run_migrations()
