"""A process whose fleet is full of hosts that do not answer: the others' runs are not held back."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.clock import SystemClock
from reconciler.controller.pool import Pool, Run
from reconciler.dispatch.taker import Taken
from reconciler.execute.executors import Executors
from reconciler.model.execution import Trigger
from reconciler.settings import Settings
from tests.controller.conftest import Start, eventually
from tests.controller.test_loops import job
from tests.dispatch.fleet import Fleet
from tests.services.sshd import Sshd

CLOCK = SystemClock()
sqlite_only = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
DEAD = 200


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port of every local address that takes connections and never says a word."""
    with socket.create_server(("", 0), backlog=1024) as listener:
        yield listener.getsockname()[1]


def over_ssh(folder: Path) -> Executors:
    return Executors(Settings(secrets_dir=folder), CLOCK, environment={})


@sqlite_only
@pytest.mark.ssh
def test_two_hundred_dead_hosts_delay_no_run_elsewhere(
    fleet: Fleet, start: Start, sshd: Sshd, black_hole: int
) -> None:
    """A dead host takes 30 s to be given up. All of them are in the way first, several runs each, and the one
    that answers has ended its runs when none of theirs has."""
    auth = {"auth": {"privateKey": {"file": "client"}}}
    for number in range(DEAD):
        name = f"dead-{number}"
        fleet.server(name, **auth, hostKeys=[sshd.host_key])
        fleet.change_server(name, host=f"127.0.3.{number + 1}", port=black_hole)
        fleet.tasks([f"{name}-a", f"{name}-b"], name, due=CLOCK.now(), schedule="@every 1h")
    fleet.server("alive", **auth, hostKeys=[sshd.host_key])
    fleet.change_server("alive", host=sshd.host, port=sshd.port, username=sshd.user)
    alive = fleet.tasks([f"alive-{n}" for n in range(10)], "alive", due=CLOCK.now(), schedule="@every 1h")
    with closing(over_ssh(sshd.folder)) as executor:
        runtime = start(executor, workers=8)
        eventually(lambda: all(fleet.states(task)["completed"] for task in alive), 28)
        assert fleet.states()["unreachable"] == 0
        taken = fleet.states()["taken"]
        # one run each is finding out whether its host answers; the others wait where they keep no thread
        assert taken == DEAD
        assert fleet.states()["waiting"] == DEAD
        runtime.stop(5.0, finish=False)
    assert fleet.states()["cancelled"] + fleet.states()["waiting"] == 2 * DEAD


# ---- places


class Waiter:
    """Work for a pool: each run waits until it is let through, then works until it may end."""

    def __init__(self, *, in_line: bool = True) -> None:
        self.let_through = threading.Event()
        self.may_end = threading.Event()
        self.stop = threading.Event()
        self.in_line = in_line
        self.lock = threading.Lock()
        self.working = 0
        self.most = 0
        self.ended = 0
        self.pool = Pool(2, self.work, lambda: None, CLOCK)

    def work(self, run: Run) -> None:
        with self.pool.waiting(self.stop, long=False, in_line=self.in_line):
            self.let_through.wait(20)
        with self.lock:
            self.working += 1
            self.most = max(self.most, self.working)
        self.may_end.wait(20)
        with self.lock:
            self.working -= 1
            self.ended += 1

    def submit(self, count: int) -> None:
        for number in range(count):
            eventually(lambda: self.pool.free > 0)
            server = 100 + number
            self.pool.submit(Run(Taken(job(number + 1), server, 1, Trigger.SCHEDULE, 0.0), 0.0))


@pytest.fixture
def waiter() -> Iterator[Callable[..., Waiter]]:
    made: list[Waiter] = []

    def make(**options: bool) -> Waiter:
        made.append(Waiter(**options))
        return made[-1]

    yield make
    for one in made:
        one.stop.set()
        one.let_through.set()
        one.may_end.set()
        one.pool.close()


def test_runs_that_wait_for_their_hosts_lend_their_places_and_take_them_back_in_line(
    waiter: Callable[..., Waiter],
) -> None:
    one = waiter()
    one.submit(7)
    eventually(lambda: len(one.pool.held_up()) == 7)
    assert one.pool.held_up() == set(range(100, 107))
    one.let_through.set()
    eventually(lambda: one.working == 2)
    # nobody new comes in while some that waited have no place
    assert one.pool.free <= 0
    one.may_end.set()
    eventually(lambda: one.ended == 7)
    assert one.most == 2
    eventually(lambda: one.pool.free == 2)
    # threads that only waiting made necessary are gone
    eventually(lambda: one.pool._threads <= 3)


def test_runs_that_go_on_at_their_hosts_work_beside_the_others(waiter: Callable[..., Waiter]) -> None:
    one = waiter(in_line=False)
    one.submit(4)
    eventually(lambda: len(one.pool.held_up()) == 4)
    one.let_through.set()
    eventually(lambda: one.working == 4)
    assert one.pool.free == -2


def test_who_is_cancelled_while_it_waits_for_a_place_does_not_wait_on(waiter: Callable[..., Waiter]) -> None:
    one = waiter()
    one.submit(3)
    eventually(lambda: len(one.pool.held_up()) == 3)
    one.let_through.set()
    eventually(lambda: one.working == 2)
    one.stop.set()
    eventually(lambda: one.working == 3)


def test_a_wait_in_another_thread_lends_nothing(waiter: Callable[..., Waiter]) -> None:
    one = waiter()
    with one.pool.waiting(threading.Event(), long=True, in_line=True):
        assert one.pool.next_free() is None
        assert one.pool.free == 2


def test_a_wait_that_fails_needs_no_place() -> None:
    said: list[str] = []

    def work(run: Run) -> None:
        try:
            with pool.waiting(threading.Event(), long=True, in_line=True):
                raise TimeoutError
        except TimeoutError:
            said.append("ended")

    pool = Pool(1, work, lambda: None, CLOCK)
    pool.submit(Run(Taken(job(1), 7, 1, Trigger.SCHEDULE, 0.0), 0.0))
    eventually(lambda: said == ["ended"] and pool.free == 1)
    pool.close()
