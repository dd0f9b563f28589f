"""A fleet on each of the three databases, and ends to record."""

from __future__ import annotations

import pytest

from reconciler.store.engine import Database
from tests.dispatch.conftest import World, clock, world
from tests.dispatch.fleet import Fleet
from tests.store.conftest import db, migrated, migrated_mariadb, migrated_mysql, url

__all__ = ["World", "clock", "db", "migrated", "migrated_mariadb", "migrated_mysql", "url", "world"]


@pytest.fixture
def fleet(db: Database) -> Fleet:
    """The same, by the machine's clock."""
    return Fleet(db)
