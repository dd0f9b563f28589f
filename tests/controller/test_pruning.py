"""A controller prunes by itself, beside its other work; a worker never does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler.clock import SystemClock
from reconciler.store import prune
from tests.controller.conftest import Start, eventually
from tests.controller.executors import Quick
from tests.dispatch.fleet import Fleet
from tests.record.histories import Past

CLOCK = SystemClock()
sqlite_only = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


def test_two_controllers_prune_what_history_does_not_keep_while_slots_run(fleet: Fleet, start: Start) -> None:
    past = Past(fleet)
    past.keep(maxAge="7d")
    task = fleet.task(due=CLOCK.now() + timedelta(seconds=0.2), schedule="@every 1s", concurrency="allow")
    old = past.rows(task, 700)
    quick = Quick()
    start(quick)
    start(None)
    eventually(lambda: not set(old[:-1]) & set(past.left()))
    eventually(lambda: len(quick.ran) >= 2)
    assert set(quick.slots.values()) == {1}


@sqlite_only
def test_a_worker_prunes_nothing(fleet: Fleet, start: Start) -> None:
    past = Past(fleet)
    past.keep(maxAge="7d")
    past.rows(fleet.task(due=None), 5)
    worker = start(Quick(), schedule=False)
    worker.stop()
    assert len(past.left()) == 5
    with fleet.db.read() as connection:
        assert prune.read_cursor(connection) == (0, None)
