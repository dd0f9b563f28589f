"""Loops survive every failure, and say so once."""

from __future__ import annotations

import logging
import threading

import pytest

from reconciler.clock import SystemClock
from reconciler.controller.loop import Loop
from reconciler.controller.outage import Outage, pause_after
from reconciler.controller.pool import Pool, Run, Runs
from reconciler.dispatch.taker import Taken
from reconciler.errors import DatabaseBusy, DatabaseUnavailable
from reconciler.model.execution import Trigger
from tests.controller.conftest import eventually
from tests.record.runs import job
from tests.services.clock import FakeClock


def test_an_outage_is_told_at_its_begin_and_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    outage = Outage(clock)
    assert outage.steady_since == float("-inf")
    for _ in range(50):
        outage.failed(DatabaseUnavailable("the database went away"))
    assert outage.present
    assert outage.steady_since == float("inf")
    clock.advance(7)
    outage.succeeded()
    outage.succeeded()
    assert outage.steady_since == clock.monotonic()
    assert [record.message for record in caplog.records] == [
        "the database went away; trying again until it answers",
        "the database answers again, after 7.0 s and 50 failed calls",
    ]


def test_locks_held_by_others_are_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    outage = Outage(clock)
    for _ in range(50):
        outage.failed(DatabaseBusy("a lock was held too long"))
        clock.advance(2)
    assert not outage.present
    assert len(caplog.records) == 2


def test_pauses_grow_to_five_seconds() -> None:
    assert [pause_after(n) for n in (1, 2, 3, 5, 6, 1000)] == [0.25, 0.5, 1.0, 4.0, 5.0, 5.0]


def test_a_step_that_fails_is_tried_again_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock(auto=True)
    outage = Outage(clock)
    steps: list[int] = []

    def step() -> float | None:
        steps.append(1)
        if len(steps) <= 3:
            raise ZeroDivisionError("oh")
        if len(steps) <= 6:
            raise DatabaseUnavailable("gone")
        loop.end()
        return None

    loop = Loop("try", step, clock, outage)
    with caplog.at_level(logging.WARNING):
        loop.start()
        loop.join(10)
    assert len(steps) == 7
    assert [record.message for record in caplog.records] == [
        "the try loop failed and goes on: ZeroDivisionError: oh",
        "gone; trying again until it answers",
    ]


def test_a_wake_during_a_step_is_not_lost() -> None:
    clock = SystemClock()
    steps: list[int] = []

    def step() -> float | None:
        steps.append(1)
        if len(steps) == 1:
            loop.wake()
        return None

    loop = Loop("try", step, clock, Outage(clock))
    loop.start()
    eventually(lambda: len(steps) == 2, 5)
    loop.end()
    loop.join(5)
    assert not loop.is_alive()


def test_a_pool_makes_no_more_threads_than_it_needs() -> None:
    done: list[int] = []
    freed: list[int] = []
    pool = Pool(
        3, lambda run: done.append(run.job.execution_id), lambda: freed.append(pool.free), SystemClock()
    )
    for number in range(5):
        pool.submit(held(number + 1))
        eventually(lambda number=number: len(freed) == number + 1)
    assert done == [1, 2, 3, 4, 5]
    assert pool._threads == 1
    assert freed[-1] == 3
    pool.close()


def test_runs_that_wait_for_each_other_are_all_at_work_at_once() -> None:
    size = 40
    together = threading.Barrier(size + 1)
    pool = Pool(size, lambda run: (together.wait(60), None)[1], lambda: None, SystemClock())
    # the second time all of its threads are there, and idle
    for _ in range(2):
        for number in range(size):
            pool.submit(held(number + 1))
        together.wait(60)
        eventually(lambda: pool.free == size)
    assert pool._threads == size
    pool.close()


def test_runs_know_what_keeps_threads_busy() -> None:
    runs = Runs()
    first, second = held(1), held(2)
    runs.add(first)
    runs.add(second)
    assert runs.per_server() == {7: 2}
    second.executing = False
    assert runs.per_server() == {7: 1}
    runs.renewed([1, 99], 5.0)
    assert (first.lease_until, second.lease_until) == (5.0, 0.0)
    assert runs.remove(1) is first
    assert runs.ids() == [2]


def held(execution_id: int) -> Run:
    return Run(Taken(job(execution_id), 7, 1, Trigger.SCHEDULE, 0.0), 0.0)
