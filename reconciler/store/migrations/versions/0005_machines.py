"""Runs of ``connection: local`` remember the machine they began on.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa

from reconciler.store.migrations import once

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Of those that run while this is done nobody knows it: they are attached to by whoever takes them."""
    once.add_column("task_executions", sa.Column("machine", sa.String(200)))
