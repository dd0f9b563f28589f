"""What a database user needs: SELECT alone for looking, and an error that names what is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pymysql
import pytest
from sqlalchemy import select, text

from reconciler.clock import SystemClock
from reconciler.errors import DatabaseForbidden
from reconciler.store.engine import Database
from reconciler.store.leases import acquire, holder, live, raise_counter, read_counter
from reconciler.store.schema import Fit, check, differences, ensure, upgrade
from reconciler.store.tables import Base, Lease, Task
from tests.store.conftest import DIALECTS

USER, PASSWORD = "guest", "its s3cret"


@dataclass
class Guest:
    """A database and a user of its server who has only the rights that a test grants."""

    server: Any
    url: str
    login: str
    opened: list[Database] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.url.partition("?")[0].rpartition("/")[2]

    def grant(self, rights: str, on: str = "*") -> None:
        self.server.execute(f"GRANT {rights} ON `{self.name}`.{on} TO '{USER}'@'%'")

    def open(self, url: str | None = None) -> Database:
        db = Database.open(url or self.login, SystemClock())
        self.opened.append(db)
        return db

    def owner(self) -> Database:
        return self.open(self.url)


@pytest.fixture(params=DIALECTS[1:])
def guest(request: pytest.FixtureRequest) -> Iterator[Guest]:
    server = request.getfixturevalue(request.param)
    with server.fresh() as url:
        server.execute(f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'")
        try:
            login = url.replace(f"//{server.user}", f"//{USER}:{PASSWORD.replace(' ', '%20')}", 1)
            made = Guest(server, url, login)
            yield made
            for db in made.opened:
                db.close()
        finally:
            with contextlib.suppress(pymysql.Error):
                server.execute(f"DROP USER '{USER}'@'%'")


def forbidden(work: Callable[[], Any]) -> DatabaseForbidden:
    with pytest.raises(DatabaseForbidden) as caught:
        work()
    said = f"{caught.value.message} {caught.value.hint} {caught.value.details}"
    assert "s3cret" not in said
    assert "GRANT" in (caught.value.hint or "")
    return caught.value


def test_select_alone_is_enough_for_looking_at_everything(guest: Guest) -> None:
    upgrade(guest.owner())
    guest.grant("SELECT")
    db = guest.open()
    ensure(db)
    assert check(db).fit is Fit.CURRENT
    assert differences(db) == []
    for look in (db.read, db.snapshot):
        with look() as connection:
            for table in Base.metadata.sorted_tables:
                connection.execute(select(table)).all()
            assert holder(db, connection, "project/x") is None
            assert live(db, connection, "node/") == []
            assert read_counter(connection) == 0
            assert db.now(connection)


def test_a_write_without_the_right_names_right_and_table_and_changes_nothing(guest: Guest) -> None:
    upgrade(guest.owner())
    guest.grant("SELECT")
    db = guest.open()
    error = forbidden(lambda: db.transact(raise_counter))
    assert error.details["right"] == "UPDATE"
    assert error.details["table"].endswith("leases")
    assert "UPDATE on table" in error.message

    def take() -> None:
        with db.write() as connection:
            acquire(db, connection, "x", "me", 1)

    guest.grant("UPDATE", on="leases")
    assert forbidden(take).details["right"] == "INSERT"
    guest.grant("INSERT", on="leases")
    take()
    with db.read() as connection:
        assert connection.scalars(select(Lease.name)).all() == ["x"]


def test_a_table_that_may_not_even_be_read_is_named(guest: Guest) -> None:
    upgrade(guest.owner())
    for table in ("reconciler_schema", "leases"):
        guest.grant("SELECT", on=table)
    db = guest.open()
    ensure(db)

    def look() -> None:
        with db.read() as connection:
            connection.execute(select(Task.id))

    error = forbidden(look)
    assert error.details["right"] == "SELECT"
    assert error.details["table"].endswith("tasks")


def test_a_user_without_any_right_on_the_database_is_told_at_once(guest: Guest) -> None:
    upgrade(guest.owner())
    assert "may not use the database" in forbidden(lambda: ensure(guest.open())).message


def test_an_upgrade_says_what_it_lacks_and_goes_on_when_it_is_granted(guest: Guest) -> None:
    guest.grant("SELECT, INSERT, UPDATE, DELETE")
    errors: list[DatabaseForbidden] = []
    done = None
    while done is None:
        assert len(errors) < 8, errors
        try:
            done = upgrade(guest.open())
        except DatabaseForbidden as error:
            errors.append(error)
            guest.grant(error.details["right"])
    lacking = [error.details["right"] for error in errors]
    assert all(f"lacks the right {right}" in str(error) for error, right in zip(errors, lacking, strict=True))
    assert all(right in (errors[0].hint or "") for right in lacking)
    assert {"CREATE", "INDEX"} <= set(lacking) <= {"CREATE", "INDEX", "REFERENCES", "ALTER"}
    assert differences(guest.owner()) == []


def test_our_sessions_need_no_right_at_all(guest: Guest) -> None:
    guest.server.execute("CREATE TABLE anything (id INT)", database=guest.name)
    guest.grant("SELECT", on="anything")
    with closing(guest.open()) as db, db.snapshot() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
