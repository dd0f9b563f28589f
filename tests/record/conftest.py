"""A fleet on each of the three databases, and ends to record."""

from __future__ import annotations

from tests.dispatch.conftest import World, clock, world
from tests.store.conftest import db, migrated, migrated_mariadb, migrated_mysql, url

__all__ = ["World", "clock", "db", "migrated", "migrated_mariadb", "migrated_mysql", "url", "world"]
