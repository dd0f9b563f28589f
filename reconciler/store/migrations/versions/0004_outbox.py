"""Messages have a target, are told once, and can be given up.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import DATETIME

from reconciler.store.migrations import once

revision = "0004"
down_revision = "0003"

Time = sa.DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """Until now every apply wrote a message that nobody was there to deliver: those go."""
    once.add_column("outbox", sa.Column("target", sa.String(length=100)))
    once.add_column("outbox", sa.Column("dedup", sa.String(length=255)))
    once.add_column("outbox", sa.Column("created_at", Time))
    once.add_column("outbox", sa.Column("given_up_at", Time))
    once.add_column("outbox", sa.Column("error", sa.String(length=500)))
    op.execute("DELETE FROM outbox WHERE target IS NULL")
    once.create_index("outbox", "target", "delivered_at", "next_attempt")
    once.create_index("outbox", "dedup", unique=True)
