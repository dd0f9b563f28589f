"""From the outbox to a receiver: at least once, in practice once, never a storm, never for ever."""

from __future__ import annotations

import json
import logging
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import select

from reconciler.clock import SystemClock
from reconciler.errors import DatabaseUnavailable, NotDelivered, SecretUnavailable, SettingsInvalid
from reconciler.notify.delivery import Delivery
from reconciler.notify.note import Note
from reconciler.notify.through_apprise import Apprise, require
from reconciler.notify.webhook import Webhook
from reconciler.record.batch import Ended
from reconciler.store import outbox
from reconciler.store.engine import Database
from reconciler.store.tables import Outbox
from tests.controller.conftest import eventually
from tests.dispatch.conftest import World
from tests.notify.conftest import Receiver, put, sent
from tests.services.clock import FakeClock

sqlite_only = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


class Memory:
    """A target in memory; ``error`` is raised while it is set."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.error: Exception | None = None

    def send(self, note: Note) -> None:
        if self.error is not None:
            raise self.error
        self.notes.append(note)


def deliverer(db: Database, clock: FakeClock, sender: object, owner: str = "me") -> Delivery:
    return Delivery(db, clock, random.Random(1), owner, "ops", sender)  # type: ignore[arg-type]


def test_five_hundred_failures_are_five_messages_and_one_digest(world: World) -> None:
    target = Memory()
    one = deliverer(world.db, world.clock, target)
    put(world.db, world.clock.now(), *(f"t{n}" for n in range(250)))
    one.step()
    put(world.db, world.clock.now(), *(f"t{n}" for n in range(500)))
    for _ in range(90):
        one.step()
        world.clock.advance(1)
    assert [note.kind for note in target.notes] == ["failure"] * 5 + ["digest"]
    assert target.notes[-1].title == "495 events: 495 failure"
    assert all(sent(world.db))
    assert len(sent(world.db)) == 500


@sqlite_only
def test_a_target_that_takes_nothing_is_tried_for_a_day_and_told_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    target = Memory()
    target.error = NotDelivered("it answered 500")
    one, clock = deliverer(world.db, world.clock, target), world.clock
    put(world.db, clock.now(), "a", "b")
    with caplog.at_level(logging.WARNING, "reconciler.notify"):
        tries = 0
        for _ in range(8 * 60 + 30):
            one.step()
            clock.advance(180)
        with world.db.read() as connection:
            rows = connection.execute(select(Outbox.attempts, Outbox.error, Outbox.given_up_at)).all()
            (said,) = outbox.undelivered(connection, 1, clock.now() - timedelta(hours=3))
    tries = [row.attempts for row in rows]
    assert all(30 < count < 400 for count in tries), tries
    assert all(row.given_up_at is not None and row.error == "it answered 500" for row in rows)
    assert (said.target, said.project, said.waiting, said.given_up) == ("ops", "shop", 0, 2)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "notifications to ops are not delivered: it answered 500; trying again for 24 h"
    assert lines[-1].startswith("giving up ")
    assert len(lines) <= 3
    # what comes later goes out when the target is well again
    target.error = None
    put(world.db, clock.now(), "c")
    clock.advance(600)
    one.step()
    assert [note.data["task"] for note in target.notes] == ["c"]


@sqlite_only
def test_what_came_while_the_target_was_away_is_one_digest_when_it_is_back(world: World) -> None:
    target = Memory()
    target.error = SecretUnavailable("the secret {env: X} is not there")
    one, clock = deliverer(world.db, world.clock, target), world.clock
    for n in range(100):
        put(world.db, clock.now(), f"t{n}", f"u{n}", f"v{n}")
        one.step()
        clock.advance(30)
    target.error = None
    for _ in range(240):
        one.step()
        clock.advance(5)
    assert all(sent(world.db))
    assert len(target.notes) <= 12
    assert sum(note.data["events"]["failure"] if note.kind == "digest" else 1 for note in target.notes) == 300


def test_two_controllers_send_each_message_once(world: World) -> None:
    target = Memory()
    pair = [deliverer(world.db, world.clock, target, owner) for owner in ("a", "b")]
    for n in range(20):
        put(world.db, world.clock.now(), f"t{n}")
        threads = [threading.Thread(target=one.step) for one in pair]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        world.clock.advance(30)
    assert Counter(note.data["task"] for note in target.notes) == {f"t{n}": 1 for n in range(20)}


def test_the_same_event_is_written_once_by_many_at_once(world: World) -> None:
    names = [f"t{n}" for n in range(100)]
    threads = [
        threading.Thread(target=put, args=(world.db, world.clock.now(), *random.Random(n).sample(names, 100)))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sent(world.db)) == 100


def test_whoever_dies_between_sending_and_marking_makes_it_come_again_with_the_same_id(world: World) -> None:
    """Dies at every step in turn: nothing is lost."""
    target = Memory()
    put(world.db, world.clock.now(), "a")

    class Died(BaseException):
        pass

    class Dying:
        def send(self, note: Note) -> None:
            target.send(note)
            raise Died

    with pytest.raises(Died):
        deliverer(world.db, world.clock, Dying(), "first").step()
    # its lease has not ended yet: the next one waits
    deliverer(world.db, world.clock, target, "second").step()
    assert len(target.notes) == 1
    from reconciler.store.tables import Lease

    with world.db.write() as connection:
        connection.execute(Lease.__table__.update().values(until=None))
    deliverer(world.db, world.clock, target, "second").step()
    assert [note.id for note in target.notes] == [target.notes[0].id] * 2
    assert sent(world.db) == [True]


@sqlite_only
@pytest.mark.slow
def test_a_receiver_gets_all_from_processes_that_are_killed_and_killed(
    db: Database, url: str, receiver: Receiver
) -> None:
    clock, seed = SystemClock(), random.Random(3)
    names = [f"t{n}" for n in range(40)]
    put(db, clock.now(), *names[:5])
    got: set[str] = set()
    for turn in range(4):
        words = [sys.executable, "-m", "tests.notify.sender", url, receiver.url, f"owner-{turn}"]
        with subprocess.Popen(words) as process:
            before = len(receiver.got)
            put(db, clock.now(), names[5 + turn])
            # killed at a moment after it sent something, or before
            deadline = clock.monotonic() + 20
            while len(receiver.got) == before and clock.monotonic() < deadline:
                clock.sleep(0.02)
            clock.sleep(seed.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.notify.sender", url, receiver.url, "last"]
    ) as process:
        eventually(lambda: all(sent(db)), 90)
        process.kill()
    ids: dict[str, set[str]] = {}
    for one in receiver.got:
        data = json.loads(one["body"])["data"]
        told = [data] if "task" in data else data["worst"]
        got |= {item["task"] for item in told}
        for item in told:
            ids.setdefault(item["task"], set()).add(one["headers"]["webhook-id"])
    assert got == set(names[:9])


@sqlite_only
@pytest.mark.parametrize("mode", ["500", "close", "302"])
def test_a_receiver_that_refuses_gets_it_when_it_is_well_again(
    world: World, receiver: Receiver, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Webhook(lambda: receiver.url, lambda: "s3cr3t", world.clock)
    one = deliverer(world.db, world.clock, hook)
    put(world.db, world.clock.now(), "a")
    receiver.behave(mode)
    one.step()
    receiver.behave("200")
    world.clock.advance(30)
    one.step()
    assert sent(world.db) == [True]
    first, second = receiver.got
    assert first["headers"]["webhook-id"] == second["headers"]["webhook-id"]
    assert first["body"] == second["body"]
    assert "S3CRET" not in caplog.text


@sqlite_only
def test_apprise_delivers_to_what_it_knows(
    world: World, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    target = Apprise(lambda: f"json://u:S3CRET@127.0.0.1:{receiver.port}/x")
    one = deliverer(world.db, world.clock, target)
    put(world.db, world.clock.now(), "a")
    receiver.behave("500")
    one.step()
    assert sent(world.db) == [False]
    receiver.behave("200")
    world.clock.advance(30)
    one.step()
    assert sent(world.db) == [True]
    body = receiver.bodies[-1]
    assert body["title"] == "FAILED a@web-1 (shop): exit code"
    assert "reconciler explain a@web-1" in body["message"]
    assert body["type"] == "failure"
    with pytest.raises(NotDelivered, match="does not understand") as caught:
        Apprise(lambda: "nothing://S3CRET").send(Note("1", "failure", "t", "x", world.clock.now()))
    assert "S3CRET" not in str(caught.value) + caplog.text


def test_a_message_shows_the_run_as_the_ledger_has_it(world: World) -> None:
    from reconciler.model.execution import CapturedStream, Reason
    from reconciler.record.ledger import DatabaseLedger
    from tests.record.runs import ended, job

    task = world.fleet.task()
    world.fleet.execution(task, 7, path="tasks.yaml", line=12)
    target = Memory()
    end: Ended = ended(
        7,
        Reason.EXIT_CODE,
        of=job(7, task, notify=[{"on": ["failure"], "to": "ops"}]),
        stdout=CapturedStream("out\n", 4),
        stderr=CapturedStream("one\n\nbad \x1b[31mred\n", 12),
    )
    DatabaseLedger(world.db, world.clock, world.ids).write([], [end])
    deliverer(world.db, world.clock, target).step()
    (note,) = target.notes
    assert "exit code 3" in note.title
    assert "Last lines of its error output:\n  one\n  bad \\x1b[31mred\n" in note.text
    assert "Declared at: tasks.yaml:12\n" in note.text
    assert "reconciler logs 7 " in note.text


def test_a_url_without_apprise_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingsInvalid, match="needs Apprise, which is not installed") as caught:
        require()
    assert caught.value.hint == "pip install 'reconciler[notify]', or use `webhook`"


@sqlite_only
def test_a_database_that_is_away_after_the_sending_makes_nothing_come_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Memory()
    one = deliverer(world.db, world.clock, target)
    put(world.db, world.clock.now(), "a")

    def away(*_: object) -> None:
        raise DatabaseUnavailable("the database is away")

    with monkeypatch.context() as patch, pytest.raises(DatabaseUnavailable):
        patch.setattr(outbox, "delivered", away)
        one.step()
    assert (len(target.notes), sent(world.db)) == (1, [False])
    one.step()
    assert (len(target.notes), sent(world.db)) == (1, [True])
