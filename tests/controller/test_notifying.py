"""The threads that deliver: a target that hangs delays nobody else, and no end of the process."""

from __future__ import annotations

import random
import threading
from datetime import timedelta

import pytest

from reconciler.clock import SystemClock
from reconciler.controller.notifying import Notifying
from reconciler.controller.observing import Observer
from reconciler.controller.outage import Outage
from reconciler.notify.delivery import Delivery
from reconciler.notify.note import Note
from reconciler.store import leases
from reconciler.store.engine import Database
from tests.controller.conftest import eventually
from tests.notify.conftest import put, sent

CLOCK = SystemClock()
sqlite_only = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


class Target:
    """Takes notes, hangs until the test ends, or raises ``error``."""

    def __init__(self, *, hangs: bool = False, error: Exception | None = None) -> None:
        self._error = error
        self.notes: list[Note] = []
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self._hangs = hangs

    def send(self, note: Note) -> None:
        self.reached.set()
        if self._hangs:
            self.go_on.wait(60)
        if self._error is not None:
            raise self._error
        self.notes.append(note)


def notifying(db: Database, targets: dict[str, Target], owner: str) -> Notifying:
    found = [
        Delivery(db, CLOCK, random.Random(), owner, name, target) for name, target in sorted(targets.items())
    ]
    observer = Observer(db, CLOCK, owner, timedelta(seconds=60), {})
    return Notifying(observer, found, CLOCK, Outage(CLOCK))


@sqlite_only
def test_a_target_that_hangs_delays_no_other_and_no_end(db: Database) -> None:
    hung = [Target(hangs=True) for _ in range(4)]
    well = Target()
    targets = {f"hung-{n}": target for n, target in enumerate(hung)} | {"well": well}
    for name in targets:
        put(db, CLOCK.now(), "a", target=name)
    one = notifying(db, targets, "one")
    one.start()
    for target in hung:
        assert target.reached.wait(30)
    eventually(lambda: len(well.notes) == 1, 30)
    put(db, CLOCK.now(), "b", target="well")
    eventually(lambda: len(well.notes) == 2, 30)
    stopping = threading.Thread(target=one.stop)
    stopping.start()
    stopping.join(30)
    # all four still hang, so the end did not wait for them
    assert not stopping.is_alive()
    assert not any(target.notes for target in hung)
    with db.read() as connection:
        held = {lease.name for lease in leases.live(db, connection, "notify/")}
    # what is being sent stays ours until it is known, everything else is free for others at once
    assert held == {f"notify/hung-{n}" for n in range(4)}
    for target in hung:
        target.go_on.set()
    eventually(lambda: all(sent(db)), 30)


@sqlite_only
def test_another_process_goes_on_where_one_ended(db: Database) -> None:
    first, second = Target(), Target()
    one, two = notifying(db, {"ops": first}, "one"), notifying(db, {"ops": second}, "two")
    put(db, CLOCK.now(), "a")
    one.start()
    eventually(lambda: all(sent(db)), 30)
    two.start()
    one.stop()
    put(db, CLOCK.now(), "b")
    eventually(lambda: all(sent(db)), 30)
    two.stop()
    assert [note.data["task"] for note in first.notes + second.notes] == ["a", "b"]
    assert len(second.notes) == 1
