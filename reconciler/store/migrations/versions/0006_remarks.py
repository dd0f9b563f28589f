"""Runs with an exit code keep what else is to be known: that their archive failed, or a disk was full.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa

from reconciler.store.migrations import once

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Of earlier runs it was not kept."""
    once.add_column("task_executions", sa.Column("remark", sa.String(1000)))
