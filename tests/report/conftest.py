"""A migrated database of each kind, and a small world in it."""

from __future__ import annotations

import pytest

from reconciler.store.engine import Database
from tests.report.world import World
from tests.store.conftest import db, migrated, migrated_mariadb, migrated_mysql, url

__all__ = ["db", "migrated", "migrated_mariadb", "migrated_mysql", "url"]


@pytest.fixture
def world(db: Database) -> World:
    """The project ``shop``, applied three days ago; everything else is the test's own."""
    return World(db)
