"""What a database's tables really look like, beside what the models say.

Alembic compares tables, columns, keys and indexes. It does not see fractions of seconds, character sets,
collations, storage engines and CHECKs, so those are read from the database's own catalogue.
"""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, Connection, Table, inspect, text

from reconciler.store.tables import SERVER_TABLE, Base
from reconciler.store.types import UtcDateTime

ENGINE = SERVER_TABLE["mysql_engine"]
COLLATION = SERVER_TABLE["mysql_collate"]
_TABLE = text(
    "SELECT engine, table_collation FROM information_schema.tables "
    "WHERE table_schema = DATABASE() AND table_name = :name"
)
_COLUMNS = text(
    "SELECT column_name AS name, datetime_precision AS fsp, collation_name AS collation "
    "FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = :name "
    "ORDER BY ordinal_position"
)


def differences(connection: Connection) -> list[str]:
    """One sentence for each difference; empty when the database is as the models say.

    Other tables in the database are nobody's business here.
    """
    context = MigrationContext.configure(
        connection,
        opts={"compare_type": True, "compare_server_default": True, "include_name": _is_ours},
    )
    there = set(inspect(connection).get_table_names())
    found = [
        _sentence(one)
        for one in _flat(compare_metadata(context, Base.metadata))
        # of a table that is missing its indexes need no mention
        if one[0] != "add_index" or one[1].table.name in there
    ]
    for table in Base.metadata.sorted_tables:
        if table.name in there:
            found += _checks(connection, table)
            if connection.dialect.name != "sqlite":
                found += _server_details(connection, table)
    return found


def _is_ours(name: str | None, kind: str, parents: Any) -> bool:
    return kind != "table" or name in Base.metadata.tables


def _flat(operations: list[Any]) -> list[tuple[Any, ...]]:
    """Alembic groups the changes of one column in a list."""
    return [one for group in operations for one in (group if isinstance(group, list) else [group])]


def _sentence(operation: tuple[Any, ...]) -> str:
    """``add_…`` is missing in the database, ``remove_…`` is there and not expected."""
    verb, what = operation[0], operation[1:]
    direction, _, noun = verb.partition("_")
    if direction == "modify":
        return f"column {what[1]}.{what[2]}: {noun} is {what[4]!r}, expected {what[5]!r}"
    end = "is missing" if direction == "add" else "is not expected"
    if noun == "table":
        return f"table {what[0].name} {end}"
    if noun == "column":
        return f"column {what[1]}.{what[2].name} {end}"
    return f"{noun.replace('fk', 'foreign key')} {what[0].name} of {what[0].table.name} {end}"


def _checks(connection: Connection, table: Table) -> list[str]:
    wanted = {str(check.name) for check in table.constraints if isinstance(check, CheckConstraint)}
    there = {check["name"] for check in inspect(connection).get_check_constraints(table.name)}
    return [f"check {name} of {table.name} is missing" for name in sorted(wanted - there)]


def _server_details(connection: Connection, table: Table) -> list[str]:
    found = []
    engine, collation = connection.execute(_TABLE, {"name": table.name}).one()
    if (engine, collation) != (ENGINE, COLLATION):
        found.append(f"table {table.name} is {engine} with {collation}, expected {ENGINE} with {COLLATION}")
    for row in connection.execute(_COLUMNS, {"name": table.name}):
        column = table.columns.get(row.name)
        if column is None:
            continue
        name = f"column {table.name}.{row.name}"
        if isinstance(column.type, UtcDateTime) and row.fsp != 6:
            found.append(f"{name} keeps {row.fsp} digits of a second, expected 6")
        if row.collation not in (None, COLLATION):
            found.append(f"{name} has collation {row.collation}, expected {COLLATION}")
    return found
