"""A fleet on each of the three databases, by a clock that the test moves or by the real one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from reconciler.clock import Clock
from reconciler.dispatch.scheduler import Scheduler
from reconciler.dispatch.taker import Taker
from reconciler.store.engine import Database
from reconciler.store.ids import ExecutionIds
from tests.dispatch.fleet import Fleet
from tests.services.clock import FakeClock
from tests.store.conftest import db, migrated, migrated_mariadb, migrated_mysql, url

__all__ = ["db", "migrated", "migrated_mariadb", "migrated_mysql", "url"]


@dataclass
class World:
    """One process's view: the fleet, a clock, and what schedules and takes."""

    fleet: Fleet
    db: Database
    clock: FakeClock
    ids: ExecutionIds
    scheduler: Scheduler

    def taker(self, owner: str = "me", workers: int = 1000, *, machine: str | None = "me@here/1") -> Taker:
        return Taker(self.db, self.clock, owner, 15.0, workers, machine)

    def another_scheduler(self, db: Database | None = None, batch: int = 500) -> Scheduler:
        return scheduler(db or self.db, self.clock, 2, batch)

    def claim_all(self) -> int:
        """Everything that is due now; how many tasks that were."""
        total = 0
        while True:
            claimed = self.scheduler.claim()
            total += claimed.tasks
            if claimed.complete:
                return total


def scheduler(db: Database, clock: Clock, node: int, batch: int = 500) -> Scheduler:
    return Scheduler(db, clock, ExecutionIds(node, clock), 60.0, batch=batch)


@pytest.fixture
def clock() -> FakeClock:
    """Stands at ``fleet.START``; sleeping in the test's own thread moves it."""
    return FakeClock(auto=True)


@pytest.fixture
def world(url: str, clock: FakeClock) -> Iterator[World]:
    with closing(Database.open(url, clock)) as database:
        ids = ExecutionIds(1, clock)
        yield World(Fleet(database), database, clock, ids, Scheduler(database, clock, ids, 60.0))
