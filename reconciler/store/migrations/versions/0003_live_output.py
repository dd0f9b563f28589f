"""Output on its way to people who follow a run.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import MEDIUMBLOB

from reconciler.store.migrations import once

revision = "0003"
down_revision = "0002"

Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Ids never come again, also not on SQLite: a follower asks for what is behind the last one it saw."""
    once.create_table(
        "live_output",
        sa.Column("id", Key, nullable=False),
        sa.Column("execution_id", sa.BigInteger(), nullable=False),
        sa.Column("stream", sa.SmallInteger(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary().with_variant(MEDIUMBLOB(), "mysql", "mariadb"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_live_output"),
        sqlite_autoincrement=True,
    )
    once.create_index("live_output", "execution_id", "id")
