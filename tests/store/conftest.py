"""Databases with our tables in them. DDL is the dearest part of a test, so they are emptied, not remade."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.clock import SystemClock
from reconciler.store.engine import Database
from reconciler.store.schema import upgrade
from reconciler.store.tables import Base
from tests.services.database import MariaDB
from tests.services.mysql import ExternalMySQL, MySQL

DIALECTS = [
    "sqlite",
    pytest.param("mariadb", marks=pytest.mark.mariadb),
    pytest.param("mysql", marks=pytest.mark.mysql),
]


class Migrated:
    """One migrated database of each kind for all tests of a worker process."""

    def __init__(self, request: pytest.FixtureRequest, folder: Path) -> None:
        self._request = request
        self._template = folder / "template.db"
        self._used: set[str] = set()

    def url(self, dialect: str, target: Path) -> str:
        """The URL of an empty database with tables; ``target`` is the file where it is SQLite."""
        if dialect == "sqlite":
            if not self._template.exists():
                _upgrade(f"sqlite:///{self._template}")
            shutil.copy(self._template, target)
            return f"sqlite:///{target}"
        url = str(self._request.getfixturevalue(f"migrated_{dialect}"))
        if url in self._used:
            _empty(url)
        self._used.add(url)
        return url


@pytest.fixture(scope="session")
def migrated_mariadb(mariadb: MariaDB) -> Iterator[str]:
    with mariadb.fresh() as url:
        _upgrade(url)
        yield url


@pytest.fixture(scope="session")
def migrated_mysql(mysql: MySQL | ExternalMySQL) -> Iterator[str]:
    with mysql.fresh() as url:
        _upgrade(url)
        yield url


def _upgrade(url: str) -> None:
    with closing(Database.open(url, SystemClock())) as db:
        upgrade(db)


def _empty(url: str) -> None:
    with closing(Database.open(url, SystemClock())) as db, db.write() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.exec_driver_sql(f"DELETE FROM {table.name}")


@pytest.fixture(scope="session")
def migrated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Migrated:
    return Migrated(request, tmp_path_factory.mktemp("migrated"))


@pytest.fixture(params=DIALECTS)
def url(request: pytest.FixtureRequest, migrated: Migrated, tmp_path: Path) -> str:
    """An empty database with our tables, on each of the three in turn."""
    return migrated.url(request.param, tmp_path / "state.db")


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    """The same, opened, by the machine's clock."""
    with closing(Database.open(url, SystemClock())) as database:
        yield database
