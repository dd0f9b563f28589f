"""Whole runtimes on real databases, by the real clock."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from reconciler.clock import SystemClock
from reconciler.controller.runtime import Runtime
from reconciler.settings import Settings
from reconciler.store.engine import Database
from tests.controller.executors import Quick
from tests.dispatch.fleet import Fleet
from tests.store.conftest import db, migrated, migrated_mariadb, migrated_mysql, url

__all__ = ["db", "migrated", "migrated_mariadb", "migrated_mysql", "url"]


@pytest.fixture
def fleet(db: Database) -> Fleet:
    return Fleet(db)


Start = Callable[..., Runtime]


@pytest.fixture
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Starts runtimes, each on a pool of its own as a process has; ends them after the test."""
    with ExitStack() as stack:

        def starter(
            executor: Quick | None, *, workers: int = 8, own_url: str | None = None, **options: Any
        ) -> Runtime:
            place = own_url or request.getfixturevalue("url")
            database = stack.enter_context(closing(Database.open(place, SystemClock())))
            settings = Settings(workers=workers, allow_local=True, state_dir=tmp_path / "state")
            runtime = Runtime(database, settings, SystemClock(), executor, random.Random(), **options)
            runtime.start()
            stack.callback(runtime.stop, 1.0, finish=False)
            return runtime

        yield starter


def eventually(condition: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait until it is true; fails after ``seconds``."""
    clock = SystemClock()
    deadline = clock.monotonic() + seconds
    while not condition():
        assert clock.monotonic() < deadline, "it did not come to that in time"
        clock.sleep(0.02)
