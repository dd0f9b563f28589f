"""What the tables really are, as the servers' own catalogues say; and that a change by hand is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import CheckConstraint, inspect, text

from reconciler.clock import SystemClock
from reconciler.store.engine import Database
from reconciler.store.schema import VERSIONS, differences
from reconciler.store.tables import Base, Execution
from reconciler.store.types import UtcDateTime
from tests.store.conftest import DIALECTS, Migrated

OURS = {*Base.metadata.tables, VERSIONS.name}
NAMES_OF = "table_name AS tab, column_name AS col"


@pytest.fixture(params=DIALECTS[1:])
def server_db(request: pytest.FixtureRequest, migrated: Migrated, tmp_path: Path) -> Iterator[Database]:
    with closing(Database.open(migrated.url(request.param, tmp_path / "unused"), SystemClock())) as db:
        yield db


def rows(db: Database, query: str) -> list[Any]:
    with db.read() as connection:
        return list(connection.execute(text(query)))


def test_the_design_of_tables_is_complete() -> None:
    designed = {
        "users", "projects", "servers", "tasks", "task_executions", "revisions", "overrides", "leases",
        "conditions", "outbox", "live_output",
    }  # fmt: skip
    assert set(Base.metadata.tables) == designed


def test_migrations_and_models_say_the_same(db: Database) -> None:
    assert differences(db) == []


def test_every_table_is_innodb_and_binary_utf8_whatever_the_server_prefers(server_db: Database) -> None:
    found = rows(
        server_db,
        "SELECT table_name AS tab, engine AS e, table_collation AS k "
        "FROM information_schema.tables WHERE table_schema = DATABASE()",
    )
    assert {row.tab: (row.e, row.k) for row in found} == dict.fromkeys(OURS, ("InnoDB", "utf8mb4_bin"))
    default = rows(server_db, "SELECT @@collation_database")[0][0]
    assert default != "utf8mb4_bin", "or this proves nothing"


def test_every_text_is_binary_utf8_and_no_indexed_one_is_longer_than_255(server_db: Database) -> None:
    found = rows(
        server_db,
        f"SELECT {NAMES_OF}, character_set_name AS s, collation_name AS k, character_maximum_length AS n "
        "FROM information_schema.columns WHERE table_schema = DATABASE() AND collation_name IS NOT NULL",
    )
    assert len(found) > 40
    assert {(row.s, row.k) for row in found} == {("utf8mb4", "utf8mb4_bin")}
    length = {(row.tab, row.col): row.n for row in found}
    indexed = rows(
        server_db,
        f"SELECT {NAMES_OF}, sub_part AS p FROM information_schema.statistics "
        "WHERE table_schema = DATABASE()",
    )
    assert all(row.p is None and length.get((row.tab, row.col), 0) <= 255 for row in indexed)


def test_every_time_keeps_six_digits_of_a_second_and_none_fills_itself_in(server_db: Database) -> None:
    found = rows(
        server_db,
        f"SELECT {NAMES_OF}, data_type AS d, datetime_precision AS p, column_default AS v, extra AS x "
        "FROM information_schema.columns WHERE table_schema = DATABASE() AND datetime_precision IS NOT NULL",
    )
    modelled = {
        (table.name, column.name)
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, UtcDateTime)
    }
    assert {(row.tab, row.col) for row in found} == modelled
    assert {(row.d, row.p) for row in found} == {("datetime", 6)}
    assert {(row.v or "NULL", row.x) for row in found} == {("NULL", "")}


def test_long_texts_and_json_are_of_the_sizes_meant(server_db: Database) -> None:
    found = rows(
        server_db,
        f"SELECT {NAMES_OF}, data_type AS d FROM information_schema.columns "
        "WHERE table_schema = DATABASE() AND data_type LIKE '%%text' OR data_type = 'json'",
    )
    kinds = {(row.tab, row.col): row.d for row in found if row.tab in OURS}
    assert kinds.pop(("task_executions", "output")) == "mediumtext"
    assert kinds.pop(("task_executions", "error")) == "mediumtext"
    assert set(kinds.values()) == {"longtext"}
    assert kinds.keys() >= {
        ("tasks", "command"),
        ("tasks", "spec"),
        ("revisions", "changes"),
        ("outbox", "payload"),
    }


def test_every_check_is_there_and_enforced(server_db: Database) -> None:
    found = rows(
        server_db,
        "SELECT constraint_name AS n, check_clause AS k FROM information_schema.check_constraints "
        "WHERE constraint_schema = DATABASE()",
    )
    modelled = {
        str(check.name)
        for table in Base.metadata.sorted_tables
        for check in table.constraints
        if isinstance(check, CheckConstraint)
    }
    assert {row.n for row in found} == modelled
    assert len(modelled) == 6
    if server_db.dialect == "mysql":
        enforced = rows(
            server_db,
            "SELECT DISTINCT enforced FROM information_schema.table_constraints "
            "WHERE constraint_schema = DATABASE() AND constraint_type = 'CHECK'",
        )
        assert [row[0] for row in enforced] == ["YES"]


def test_keys_count_up_only_where_the_database_makes_them(server_db: Database) -> None:
    found = rows(
        server_db,
        f"SELECT {NAMES_OF} FROM information_schema.columns "
        "WHERE table_schema = DATABASE() AND extra LIKE '%%auto_increment%%'",
    )
    counted = {row.tab: row.col for row in found}
    others = {Execution.__tablename__, "leases"}
    assert counted == dict.fromkeys(set(Base.metadata.tables) - others, "id")


def test_no_reference_leaves_or_reaches_the_ledger(db: Database) -> None:
    with db.read() as connection:
        inspector = inspect(connection)
        references = {
            (table, reference["referred_table"])
            for table in inspector.get_table_names()
            for reference in inspector.get_foreign_keys(table)
        }
    assert all("task_executions" not in pair for pair in references)
    assert ("tasks", "servers") in references


def test_the_columns_that_the_design_names_are_as_it_says(db: Database) -> None:
    with db.read() as connection:
        columns = {
            (table, column["name"]): column
            for table in ("tasks", "servers", "task_executions")
            for column in inspect(connection).get_columns(table)
        }
    lengths = {("tasks", "name"): 100, ("tasks", "cron_expr"): 50}
    for key, length in {**lengths, ("servers", "name"): 100, ("servers", "host"): 255}.items():
        assert columns[key]["type"].length == length  # type: ignore[attr-defined]
    for key in [("tasks", "name"), ("tasks", "command"), ("tasks", "server_id"), ("tasks", "created_by")]:
        assert columns[key]["nullable"] is False
    for table in ("tasks", "servers"):
        assert (columns[table, "status"]["default"] or "").strip("'()") == "1"


# Changes by hand ---------------------------------------------------------------------------------


@contextmanager
def changed(db: Database, *statements: tuple[str, str]) -> Iterator[None]:
    """Each (what somebody did, how it is put back)."""
    try:
        with db.write() as connection:
            for done, _ in statements:
                connection.execute(text(done))
        yield
    finally:
        with db.write() as connection:
            for _, undone in reversed(statements):
                connection.execute(text(undone))
        assert differences(db) == []


def test_what_is_missing_or_too_much_is_told(db: Database) -> None:
    on = "" if db.dialect == "sqlite" else " ON tasks"
    with changed(
        db,
        (
            f"DROP INDEX ix_tasks_status_next_run{on}",
            "CREATE INDEX ix_tasks_status_next_run ON tasks (status, next_run)",
        ),
        ("CREATE INDEX mine ON tasks (timezone)", f"DROP INDEX mine{on}"),
        ("ALTER TABLE leases ADD COLUMN extra INTEGER", "ALTER TABLE leases DROP COLUMN extra"),
        ("CREATE TABLE oddity (id INTEGER)", "DROP TABLE oddity"),
    ):
        assert sorted(differences(db)) == [
            "column leases.extra is not expected",
            "index ix_tasks_status_next_run of tasks is missing",
            "index mine of tasks is not expected",
        ]


def test_what_alembic_does_not_see_is_told_too(server_db: Database) -> None:
    name = "ALTER TABLE tasks MODIFY name VARCHAR(100) CHARACTER SET utf8mb4 COLLATE {} NOT NULL"
    with changed(
        server_db,
        (
            "ALTER TABLE tasks DROP CONSTRAINT ck_tasks_status",
            "ALTER TABLE tasks ADD CONSTRAINT ck_tasks_status CHECK (status IN (0, 1))",
        ),
        (
            "ALTER TABLE tasks MODIFY next_run DATETIME NULL",
            "ALTER TABLE tasks MODIFY next_run DATETIME(6) NULL",
        ),
        (name.format("utf8mb4_general_ci"), name.format("utf8mb4_bin")),
        ("ALTER TABLE conditions ENGINE MyISAM", "ALTER TABLE conditions ENGINE InnoDB"),
    ):
        assert sorted(differences(server_db)) == [
            "check ck_tasks_status of tasks is missing",
            "column tasks.name has collation utf8mb4_general_ci, expected utf8mb4_bin",
            "column tasks.next_run keeps 0 digits of a second, expected 6",
            "table conditions is MyISAM with utf8mb4_bin, expected InnoDB with utf8mb4_bin",
        ]


def test_another_type_is_told(server_db: Database) -> None:
    with changed(
        server_db,
        ("ALTER TABLE tasks MODIFY line BIGINT NOT NULL", "ALTER TABLE tasks MODIFY line INTEGER NOT NULL"),
        (
            "ALTER TABLE tasks MODIFY spec_hash VARCHAR(64)",
            "ALTER TABLE tasks MODIFY spec_hash VARCHAR(64) NOT NULL",
        ),
    ):
        found = differences(server_db)
    assert len(found) == 2
    assert any(one.startswith("column tasks.line: type is BIGINT") for one in found)
    assert "column tasks.spec_hash: nullable is True, expected False" in found
