"""One transaction: whatever breaks, at whatever statement, an apply leaves all of itself or nothing."""

from __future__ import annotations

import itertools
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from reconciler.errors import DatabaseUnavailable
from reconciler.store import leases
from tests.apply.states import World, commit, server, task, tree
from tests.services.commits import commits

START = tree(
    server("db-1"),
    server("db-2"),
    server("off"),
    server("gone"),
    *(task(name, schedule="@every 60s") for name in ("kept", "edited", "old", "leaves", "drifted")),
    task("on-off", "off", schedule="@every 60s"),
    commit=commit("1" * 40),
)
THEN = tree(
    server("db-1", port=2222),
    server("db-3", formerly="db-2"),
    server("off", enabled=False),
    server("newcomer"),
    task("kept", schedule="@every 60s"),
    task("edited", schedule="@every 90s"),
    task("new-name", formerly="old", schedule="@every 60s"),
    task("drifted", schedule="@every 60s"),
    task("created", "newcomer", schedule="0 2 * * *"),
    task("on-off", "off", schedule="@every 60s"),
    settings={"guard": {"maxDeletions": 5}},
    commit=commit("2" * 40),
)
"""Every kind of write: create, update, rename, delete, heal, slots that passed, waiting runs that end."""


class Broken(Exception):
    """The fault that a test injects."""


@contextmanager
def after_statement(world: World, number: int, fault: Callable[[Connection], None]) -> Iterator[list[str]]:
    """Call ``fault`` after the ``number``-th statement from now on; gives the list of all statements."""
    seen: list[str] = []

    def listen(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)
        if len(seen) == number:
            fault(connection)

    event.listen(world.db.engine, "after_cursor_execute", listen)
    try:
        yield seen
    finally:
        event.remove(world.db.engine, "after_cursor_execute", listen)


def prepared(world: World) -> None:
    """START applied, two minutes passed, one row changed by hand."""
    world.apply(START)
    world.clock.advance(130)
    world.sql("UPDATE tasks SET command = 'by hand' WHERE name = 'drifted'")


def content(world: World) -> dict[str, Any]:
    return world.dump(but=["leases"])


def test_a_failure_after_any_statement_leaves_nothing_behind(world: World) -> None:
    prepared(world)
    before = content(world)

    def fault(_: Connection) -> None:
        raise Broken

    for number in itertools.count(1):
        try:
            with after_statement(world, number, fault) as seen:
                applied = world.apply(THEN)
        except Broken:
            assert content(world) == before, f"after statement {number}: {seen[-1]}"
            assert world.db.transact(lambda connection: leases.live(world.db, connection, "apply/")) == []
        else:
            break
    assert number > 25
    assert applied.summary == {
        "create": 2, "update": 4, "rename": 2, "delete": 2, "restore": 0, "unchanged": 2,
    }  # fmt: skip
    assert world.apply(THEN).revision is None


def test_a_failure_while_looking_reaches_the_caller_and_the_lock_is_free(small_world: World) -> None:
    world = small_world
    world.apply(START)

    def fault(_: Connection) -> None:
        raise Broken

    with after_statement(world, 1, fault), pytest.raises(Broken):
        world.apply(THEN)
    assert world.apply(THEN).revision is not None


@pytest.mark.parametrize("world_url", ["mariadb"], indirect=True)
def test_a_connection_lost_after_any_statement_applies_once_or_says_so(world: World) -> None:
    prepared(world)
    expected_commands = {"kept", "edited", "new-name", "drifted", "created", "on-off"}

    def cut(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert driver is not None
        number = driver.thread_id()
        with world.db.engine.connect() as other:
            other.exec_driver_sql(f"KILL {number:d}")

    for number in itertools.count(2, 3):  # a third of them: each is an outage of its own
        lost = False
        revisions = len(world.rows("SELECT id FROM revisions"))
        with after_statement(world, number, cut) as seen:
            try:
                world.apply(THEN)
            except DatabaseUnavailable:
                lost = True  # while looking or in the clean-up: those are not repeated
        live = {row["name"] for row in world.rows("SELECT name FROM tasks WHERE deleted_at IS NULL")}
        written = len(world.rows("SELECT id FROM revisions")) - revisions
        assert written == (0 if lost and live != expected_commands else 1), f"statement {number}: {seen}"
        if lost:
            world.sql("UPDATE leases SET until = NULL")
            world.apply(THEN)
        if len(seen) < number:
            break
        world.apply(START)
    assert number > 25


def at_the_apply(answer: str, *, then: str = "well") -> Iterator[str]:
    """The lock's and the node's commits go well, then the apply's own gets ``answer``."""
    return iter(["well", "well", answer, then])


SERVERS = pytest.mark.parametrize("world_url", ["mariadb", "mysql"], indirect=True)


@SERVERS
def test_a_commit_whose_answer_was_lost_is_recognised_and_reported_as_what_it_did(world: World) -> None:
    prepared(world)
    with commits(world.db, at_the_apply("done, answer lost")):
        applied = world.apply(THEN)
    (newest, first) = world.rows("SELECT id, digest FROM revisions ORDER BY id DESC")
    assert applied.revision is not None
    assert (applied.revision.id, applied.plan.digest) == (newest["id"], newest["digest"])
    assert applied.summary["create"] == 2
    assert newest["id"] > first["id"]


@SERVERS
def test_a_commit_that_never_arrived_is_repeated(world: World) -> None:
    prepared(world)
    with commits(world.db, at_the_apply("lost")):
        applied = world.apply(THEN)
    assert applied.revision is not None
    assert applied.summary["create"] == 2
    assert len(world.rows("SELECT id FROM revisions")) == 2


@SERVERS
@pytest.mark.parametrize("answer", ["lost", "done, answer lost"])
def test_a_database_that_goes_away_at_the_commit_leaves_an_honest_error(world: World, answer: str) -> None:
    prepared(world)

    def answers() -> Iterator[str]:
        yield from at_the_apply(answer, then="lost")
        world.db.engine.dispose()

    with (
        commits(world.db, answers()),
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(DatabaseUnavailable) as error,
    ):
        # the second try does not even connect
        tries = itertools.count()
        really = world.db.write

        def write() -> Any:
            if next(tries) == 3:
                raise DatabaseUnavailable("the database cannot be reached")
            return really()

        patch.setattr(world.db, "write", write)
        world.apply(THEN)
    assert "all of it was applied or nothing" in error.value.message
    assert "reconciler plan" in (error.value.hint or "")
    world.clock.advance(600)
    again = world.apply(THEN)
    assert (again.revision is None) is (answer != "lost")


def test_trouble_while_giving_back_the_lock_does_not_turn_success_into_failure(small_world: World) -> None:
    world = small_world
    with pytest.MonkeyPatch.context() as patch:

        def away(*_: object) -> None:
            raise DatabaseUnavailable("the database cannot be reached")

        patch.setattr("reconciler.apply.lock._let_go", away)
        assert world.apply(START).revision is not None
    assert world.db.transact(lambda connection: leases.live(world.db, connection, "apply/")) == []


KILLED = """
import random, sys
from sqlalchemy import event
from reconciler.clock import SystemClock
from reconciler.store.engine import Database
from reconciler.apply.apply import apply
from reconciler.apply.request import ApplyRequest
from tests.apply.test_all_or_nothing import THEN
import os, signal

db = Database.open(sys.argv[1], SystemClock())
seen = 0

def listen(*_):
    global seen
    seen += 1
    if seen == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

event.listen(db.engine, "after_cursor_execute", listen)
apply(db, ApplyRequest(THEN, "killed@ci", "killed@ci"), SystemClock(), random.Random())
print(seen)
"""


def test_a_killed_apply_leaves_nothing_and_the_lock_ends_by_itself(world: World, world_url: str) -> None:
    prepared(world)
    before = content(world)
    number = random.Random(world_url).randrange(18, 36)
    root = Path(__file__).resolve().parents[2]
    words = [sys.executable, "-c", KILLED, world_url, str(number)]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done
    assert eventually(lambda: content(world) == before)
    # nobody waits for a dead one for ever
    world.sql("UPDATE leases SET until = '2020-01-01 00:00:00.000000' WHERE name LIKE 'apply/%'")
    applied = world.apply(THEN)
    assert applied.revision is not None
    assert world.apply(THEN).revision is None


def eventually(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    """The server notices a dead client in its own time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(DatabaseUnavailable):
            if holds():
                return True
        time.sleep(0.02)
    return False
