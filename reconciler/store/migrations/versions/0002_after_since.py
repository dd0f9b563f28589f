"""Tasks remember since when their present ``after`` holds.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import DATETIME

from reconciler.store.migrations import once

revision = "0002"
down_revision = "0001"

Time = sa.DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """The row's last change is what the time was taken for until now."""
    once.add_column("tasks", sa.Column("after_since", Time))
    op.execute("UPDATE tasks SET after_since = updated_at WHERE after_since IS NULL")
