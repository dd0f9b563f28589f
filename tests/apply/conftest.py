"""A world per test: on each of the three databases, or on SQLite alone where the database does not matter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.apply.states import World
from tests.store.conftest import DIALECTS, Migrated, migrated, migrated_mariadb, migrated_mysql

__all__ = ["migrated", "migrated_mariadb", "migrated_mysql"]


@pytest.fixture(params=DIALECTS)
def world_url(request: pytest.FixtureRequest, migrated: Migrated, tmp_path: Path) -> str:
    """An empty database with our tables, on each of the three in turn."""
    return migrated.url(request.param, tmp_path / "state.db")


@pytest.fixture
def world(world_url: str) -> Iterator[World]:
    """On SQLite, MariaDB and MySQL in turn."""
    world = World.open(world_url)
    with closing(world.db):
        yield world


@pytest.fixture
def small_world(migrated: Migrated, tmp_path: Path) -> Iterator[World]:
    """On SQLite: for what is decided above the database."""
    world = World.open(migrated.url("sqlite", tmp_path / "state.db"))
    with closing(world.db):
        yield world
