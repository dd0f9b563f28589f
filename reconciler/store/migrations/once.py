"""DDL that may be run again after it was killed in the middle.

Each function looks first whether it has already happened. ``IF NOT EXISTS`` is not enough: MySQL has no such
words for indexes.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

OPTIONS: dict[str, Any] = {
    f"{dialect}_{name}": value
    for dialect in ("mysql", "mariadb")
    for name, value in {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"}.items()
}


def create_table(name: str, *parts: Any, **options: Any) -> None:
    """A table that leaves nothing to the server's defaults, unless it is there."""
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *parts, **OPTIONS, **options)


def add_column(table: str, column: sa.Column[Any]) -> None:
    """A column, unless it is there."""
    if column.name not in {found["name"] for found in sa.inspect(op.get_bind()).get_columns(table)}:
        op.add_column(table, column)


def create_index(table: str, *columns: str, unique: bool = False) -> None:
    """The index ``ix_TABLE_COLUMNS``, unless it is there."""
    name = f"ix_{table}_{'_'.join(columns)}"
    if name not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, list(columns), unique=unique)
