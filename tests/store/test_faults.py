"""Every exception of the three libraries becomes one of ours, and no message repeats what was stored."""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pymysql.err
import pytest
from sqlalchemy import exc, text

from reconciler.clock import SystemClock
from reconciler.errors import (
    DatabaseBusy,
    DatabaseForbidden,
    DatabaseOutdated,
    DatabaseRejected,
    DatabaseUnavailable,
    ReconcilerError,
)
from reconciler.store import driver, faults
from reconciler.store.engine import Database
from reconciler.store.faults import is_duplicate, lacks_table, mapped
from tests.store.conftest import DIALECTS, Migrated

SECRET = "hunter2"
PLACE = "db.example:3306/prod"


def exceptions_of(module: ModuleType, base: type[BaseException] = Exception) -> list[type[BaseException]]:
    return [
        each
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, base) and not issubclass(each, Warning)
    ]


DRIVERS = [*exceptions_of(pymysql.err, pymysql.err.Error), *exceptions_of(sqlite3, sqlite3.Error)]
ALCHEMY = exceptions_of(exc, exc.SQLAlchemyError)
WRAPPERS = [each for each in ALCHEMY if issubclass(each, exc.StatementError)]


def made(kind: type[BaseException]) -> BaseException:
    """An instance with a secret in it, wherever there is room."""
    if issubclass(kind, exc.DBAPIError):
        return kind(f"INSERT '{SECRET}'", {"x": SECRET}, pymysql.err.OperationalError(9999, SECRET))
    if issubclass(kind, exc.StatementError):
        return kind(SECRET, f"INSERT '{SECRET}'", {"x": SECRET}, TypeError(SECRET))
    if issubclass(kind, exc.NoReferencedColumnError):
        return kind(SECRET, SECRET, SECRET)
    if issubclass(kind, exc.NoReferencedTableError):
        return kind(SECRET, SECRET)
    if issubclass(kind, exc.UnsupportedCompilationError):
        return kind(type("Compiler", (), {}), str)
    if issubclass(kind, exc.CircularDependencyError):
        return kind(SECRET, [], [])
    if issubclass(
        kind, exc.AmbiguousColumnError | exc.DuplicateColumnError | exc.ConstraintColumnNotFoundError
    ):
        return kind(SECRET)
    return kind(9999, SECRET) if issubclass(kind, pymysql.err.Error) else kind(SECRET)


def told(error: BaseException) -> ReconcilerError:
    with pytest.raises(ReconcilerError) as caught, mapped(PLACE):
        raise error
    assert caught.value.__cause__ is error
    assert SECRET not in f"{caught.value.message} {caught.value.hint} {caught.value.details}"
    return caught.value


def test_the_lists_below_are_not_empty() -> None:
    assert len(DRIVERS) > 15
    assert len(ALCHEMY) > 40
    assert len(WRAPPERS) >= 9


@pytest.mark.parametrize("kind", [*DRIVERS, *ALCHEMY], ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_exception_of_the_libraries_is_mapped(kind: type[BaseException]) -> None:
    try:
        error = made(kind)
    except TypeError as unmade:  # a class of a newer release with other arguments
        pytest.fail(f"add how {kind.__name__} is made: {unmade}")
    assert told(error).message


@pytest.mark.parametrize("kind", [each for each in WRAPPERS if issubclass(each, exc.DBAPIError)])
@pytest.mark.parametrize("number", [1213, 2013, 1142, 1062, 9999])
def test_what_counts_is_the_drivers_number_whatever_wraps_it(kind: Any, number: int) -> None:
    plain = told(pymysql.err.OperationalError(number, "x"))
    wrapped = told(kind("SELECT 1", {}, pymysql.err.OperationalError(number, "x")))
    assert (type(plain), plain.message) == (type(wrapped), wrapped.message)


def test_our_own_errors_and_the_callers_pass_unchanged() -> None:
    for error in (DatabaseBusy("ours"), ValueError("theirs"), OSError(28, "theirs"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, mapped(PLACE):
            raise error
        assert caught.value is error


NUMBERS: list[tuple[type[ReconcilerError], set[int]]] = [
    (DatabaseBusy, faults.DEADLOCK),
    (
        DatabaseUnavailable,
        faults.LOST | faults.FULL | faults.WRITING | faults.READ_ONLY | faults.UNKNOWN_DATABASE,
    ),
    (DatabaseForbidden, faults.LOGIN | faults.FORBIDDEN),
    (DatabaseOutdated, faults.NO_SUCH_TABLE),
    (DatabaseRejected, set(faults.REFUSED) | faults.TOO_LONG | {1064, 9999, 0}),
]


@pytest.mark.parametrize(("ours", "numbers"), NUMBERS, ids=lambda value: getattr(value, "__name__", ""))
def test_every_number_of_the_servers_has_one_meaning(ours: type[ReconcilerError], numbers: set[int]) -> None:
    for number in numbers:
        error = told(pymysql.err.OperationalError(number, f"about {SECRET}"))
        assert type(error) is ours, number
        assert ours is DatabaseBusy or error.hint or ours is DatabaseRejected, (
            f"{number} says what to do next"
        )


def test_no_number_has_two_meanings() -> None:
    every = [number for _, numbers in NUMBERS for number in numbers]
    assert len(every) == len(set(every))


@pytest.mark.parametrize(
    ("message", "right", "kind", "name"),
    [
        ("SELECT command denied to user 'u'@'%' for table `db`.`tasks`", "SELECT", "table", "db.tasks"),
        (
            "INSERT, UPDATE command denied to user 'u'@'h' for table 'tasks'",
            "INSERT, UPDATE",
            "table",
            "tasks",
        ),
        ("SELECT command denied to user ''@'h' for column 'x' in table 'tasks'", "SELECT", "table", "tasks"),
        ("alter routine command denied to user 'u'@'h' for routine 'd.r'", "alter routine", "routine", "d.r"),
        (
            "SELECT with locking clause command denied to user 'u'@'h' for table 'leases'",
            "UPDATE",
            "table",
            "leases",
        ),
        ("CREATE command denied to user 'for table x'@'h' for table `d`.`t`", "CREATE", "table", "d.t"),
    ],
)
def test_a_missing_right_is_named(message: str, right: str, kind: str, name: str) -> None:
    error = told(pymysql.err.OperationalError(1142, message))
    assert error.message == f"the database user lacks the right {right} on {kind} {name} at {PLACE}"
    assert error.details == {"right": right, kind: name}
    assert "GRANT" in (error.hint or "")


def test_a_missing_right_without_a_table_and_one_in_another_language_are_told_too() -> None:
    needs = (
        "Access denied; you need (at least one of) the SUPER, BINLOG ADMIN privilege(s) for this operation"
    )
    assert "SUPER, BINLOG ADMIN" in told(pymysql.err.OperationalError(1227, needs)).message
    french = "La commande 'SELECT' est interdite à l'utilisateur: 'u'@'h' sur la table 'tasks'"
    assert told(pymysql.err.OperationalError(1142, french)).message.endswith(
        f"lacks a right (1142) at {PLACE}"
    )


# By the databases themselves ---------------------------------------------------------------------

USER = "INSERT INTO users (id, username, display_name, created_at) VALUES (:id, :name, :shown, '2026-01-01')"
TASK = (
    "INSERT INTO tasks (name, command, server_id, status, timezone, labels, spec, spec_hash, generation,"
    " protected, project_id, path, line, created_by, created_at, updated_at) VALUES"
    " (:name, '', 1, :status, 'UTC', '{}', '{}', '', 1, 0, 1, '', 0, 1, '2026-01-01', '2026-01-01')"
)


def test_a_duplicate_is_told_with_its_key_and_without_its_value(db: Database) -> None:
    values = {"id": 1, "name": f"{SECRET}' for key 'fake", "shown": ""}
    with db.write() as connection:
        connection.execute(text(USER), values)
    with pytest.raises(DatabaseRejected) as caught, db.write() as connection:
        try:
            connection.execute(text(USER), values | {"id": 2})
        except exc.IntegrityError as error:
            seen = is_duplicate(error), lacks_table(error)
            raise
    assert seen == (True, False)
    assert "refused a duplicate for " in caught.value.message
    assert "username" in caught.value.message
    assert SECRET not in caught.value.message
    assert "fake" not in caught.value.message


REFUSALS = {
    "nothing where something must be": (USER, {"id": None, "name": None, "shown": ""}, "a missing value"),
    "a name with a space at its end": (
        TASK,
        {"name": f"{SECRET} ", "status": 1},
        "a value that a CHECK forbids",
    ),
    "a name of nothing": (TASK, {"name": "", "status": 1}, "a value that a CHECK forbids"),
    "a status that is none": (TASK, {"name": "x", "status": 7}, "a value that a CHECK forbids"),
    "a server that is not there": (TASK, {"name": "x", "status": 1}, "a reference to nothing"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_refused_value_is_told_by_its_place_and_not_repeated(db: Database, what: str) -> None:
    statement, values, said = REFUSALS[what]
    with pytest.raises(DatabaseRejected) as caught, db.write() as connection:
        try:
            connection.execute(text(statement), values)
        except exc.DBAPIError as error:
            seen = is_duplicate(error), lacks_table(error)
            raise
    assert seen == (False, False)
    assert said in caught.value.message
    assert SECRET not in caught.value.message


@pytest.fixture(params=DIALECTS[1:])
def server_db(request: pytest.FixtureRequest, migrated: Migrated, tmp_path: Path) -> Iterator[Database]:
    with closing(Database.open(migrated.url(request.param, tmp_path / "unused"), SystemClock())) as db:
        yield db


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (f"UPDATE tasks SET name '{SECRET}'", "refused a statement"),
        (USER.replace(":name", f"REPEAT('{SECRET}', 100)"), "a value that is too long for username"),
        (USER.replace(":id", f"CONCAT('x', '{SECRET}')"), "a value of the wrong kind"),
        (USER.replace(":id", "POW(2, 70)"), "a number out of range"),
        (USER.replace("'2026-01-01'", f"'{SECRET}'"), "a value of the wrong kind for"),
        ("SELECT 1 FROM nowhere", "lacks a table or column"),
        ("SELECT nothing FROM tasks", "lacks a table or column"),
        ("SELECT 1 FROM tasks WHERE id = (SELECT 1 UNION SELECT 2)", "refused a statement"),
    ],
)
def test_the_servers_own_words_are_understood(server_db: Database, statement: str, said: str) -> None:
    values = {"id": 77, "name": "n", "shown": ""}
    used = {name: value for name, value in values.items() if f":{name}" in statement}
    with pytest.raises((DatabaseRejected, DatabaseOutdated)) as caught, server_db.write() as connection:
        connection.execute(text(statement), used)
    assert said in caught.value.message
    assert SECRET not in caught.value.message


def test_a_statement_longer_than_the_servers_packet_is_refused_before_it_is_sent(server_db: Database) -> None:
    ask, length = text("SELECT CONNECTION_ID(), @@max_allowed_packet"), text("SELECT LENGTH(:x)")
    with server_db.write() as connection:
        before = connection.execute(ask).one()
        fits = before[1] - driver.ROOM - len("SELECT LENGTH('')")
        assert connection.execute(length, {"x": "x" * fits}).scalar_one() == fits
        with pytest.raises(DatabaseRejected, match="max_allowed_packet"), mapped(PLACE):
            connection.execute(length, {"x": "x" * (fits + 1)})
        assert connection.execute(ask).one() == before, "the connection is still the same"


def test_a_statement_that_is_interrupted_may_be_repeated(server_db: Database) -> None:
    with pytest.raises(DatabaseUnavailable), server_db.write() as connection:
        me = connection.execute(text("SELECT CONNECTION_ID()")).scalar_one()
        connection.execute(text(f"KILL QUERY {me}"))
        connection.execute(text("SELECT 1"))
    with server_db.read() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


@pytest.mark.parametrize(
    ("number", "said"),
    [(1021, "no space left"), (1114, "no space left"), (1836, "is read-only"), (1290, "is read-only")],
)
def test_a_server_that_cannot_write_is_waited_for(server_db: Database, number: int, said: str) -> None:
    with pytest.raises(DatabaseUnavailable) as caught, server_db.write() as connection:
        connection.execute(
            text(f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = '{SECRET}'")
        )
    assert said in caught.value.message
    assert SECRET not in caught.value.message


def test_a_table_that_is_full_is_told_as_such(server_db: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="no space left"), server_db.write() as connection:
        connection.execute(text("SET SESSION max_heap_table_size = 16384"))
        connection.execute(text("CREATE TEMPORARY TABLE full_one (filler CHAR(250)) ENGINE = MEMORY"))
        row = f"('{'x' * 250}')"
        connection.execute(text(f"INSERT INTO full_one VALUES {','.join([row] * 2000)}"))
