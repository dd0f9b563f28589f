"""Deleting in small steps: one process at a time, archives before rows, and whatever happens in between."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, insert, select

from reconciler.errors import DatabaseUnavailable, Refused
from reconciler.record import prune as steps
from reconciler.record import retention
from reconciler.record.archive import Archives, name_of
from reconciler.record.prune import LARGEST, MOST_SECONDS, SMALLEST, BatchSize
from reconciler.store import leases, prune
from reconciler.store.tables import Execution, Lease, Outbox
from tests.dispatch.fleet import START
from tests.record.conftest import World
from tests.record.histories import DAY, HOUR, Past, Shelf, pruner
from tests.services.clock import FakeClock

sqlite_only = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


@pytest.fixture
def past(world: World) -> Past:
    return Past(world.fleet)


def steps_of(world: World, one: Any, most: int = 50) -> int:
    """Steps until a pass is over; how many there were."""
    for number in range(1, most):
        one.step()
        with world.db.read() as connection:
            cursor, pause = prune.read_cursor(connection)
            left = timedelta(0) if pause is None else pause - world.db.now(connection)
        if cursor == 0 and left > timedelta(seconds=steps.PASS_SECONDS / 2):
            return number
    raise AssertionError("the pass does not end")


def test_a_pass_goes_on_where_another_process_stopped(
    world: World, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAGE", 2)
    past.keep(maxCount=1)
    tasks = world.fleet.tasks([f"t{n}" for n in range(6)])
    newest = [past.rows(task, 3)[-1] for task in tasks]
    pruner(world.db, world.clock, "first").step()
    assert [len(past.left(task)) for task in tasks] == [1, 1, 3, 3, 3, 3]
    assert steps_of(world, pruner(world.db, world.clock, "second")) == 3
    assert past.left() == sorted(newest)


def test_after_a_pass_nobody_looks_again_for_a_while(world: World, past: Past) -> None:
    past.keep(maxCount=1)
    task = world.fleet.task()
    steps_of(world, pruner(world.db, world.clock))
    past.rows(task, 3)
    for owner in ("me", "you"):
        assert pruner(world.db, world.clock, owner).step() > steps.PASS_SECONDS / 60
    assert len(past.left()) == 3
    if world.db.dialect == "sqlite":  # the servers have a clock of their own
        world.clock.advance(steps.PASS_SECONDS)
        steps_of(world, pruner(world.db, world.clock))
        assert len(past.left()) == 1


def test_only_one_process_prunes_and_a_dead_one_is_in_nobodys_way_for_long(world: World, past: Past) -> None:
    past.keep(maxCount=1)
    past.rows(world.fleet.task(), 3)

    def take(owner: str, seconds: float) -> Any:
        return world.db.transact(lambda c: leases.acquire(world.db, c, prune.LEASE, owner, seconds))

    assert take("dead", 3600.0) is not None
    assert pruner(world.db, world.clock).step() > 1
    with pytest.raises(Refused, match="another process prunes"):
        pruner(world.db, world.clock).run(patience=1.0)
    assert len(past.left()) == 3
    with world.db.write() as connection:
        connection.execute(
            Lease.__table__.update().where(Lease.name == prune.LEASE).values(until=START - HOUR)
        )
    assert pruner(world.db, world.clock).run().rows == 2
    assert take("next", 1.0) is not None, "it was given back"


@sqlite_only
def test_a_process_that_stood_still_deletes_no_further_batch(
    world: World, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "SMALLEST", 1)
    past.keep(maxCount=1)
    past.rows(world.fleet.task(), 10)
    one = pruner(world.db, world.clock)
    one._size.rows = 2
    pause = world.clock.sleep

    def stand_still(seconds: float) -> None:
        pause(seconds)
        world.clock.advance(steps.LEASE_SECONDS)
        with world.db.write() as connection:
            taken = {"owner": "you", "token": 99, "until": START + 3650 * DAY}
            connection.execute(Lease.__table__.update().where(Lease.name == prune.LEASE).values(taken))

    monkeypatch.setattr(world.clock, "sleep", stand_still)
    with pytest.raises(Refused, match="stood still"):
        one.run()
    assert len(past.left()) == 8


def test_batches_are_as_large_as_their_time_allows() -> None:
    size = BatchSize()
    for _ in range(10):
        size.took(size.rows, 0.001)
    assert size.rows == LARGEST
    size.took(LARGEST, 0.4)
    assert size.rows * 0.4 / LARGEST < MOST_SECONDS / 2
    size.took(size.rows, 100.0)
    assert size.rows == SMALLEST
    size.took(3, 0.0001)
    assert size.rows == SMALLEST, "three rows tell nothing of three thousand"
    size.took(SMALLEST, 0.0)
    assert size.rows == 2 * SMALLEST


def test_each_transaction_is_one_batch_with_a_pause_behind_it(world: World, past: Past) -> None:
    past.keep(maxCount=1)
    past.rows(world.fleet.task(), 1201, timedelta(seconds=30))
    deleted: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE"):
            deleted.append(statement)

    event.listen(world.db.engine, "before_cursor_execute", note)
    world.clock.slept.clear()
    assert pruner(world.db, world.clock).run().rows == 1200
    assert len(world.clock.slept) == 4, "100, 200, 400 rows and the rest: each was quickly gone"
    assert all("status <> 0" in statement and "archive IS NULL" in statement for statement in deleted)


# -- archives -----------------------------------------------------------------------------------


def archived(past: Past, task: int, count: int = 4) -> tuple[list[int], Shelf]:
    """Rows whose output is in an archive."""
    past.keep(maxCount=1)
    ids = [
        past.row(task, HOUR * (30 - n), archive=f"place-{n}", output_bytes=10, error_bytes=5)
        for n in range(count)
    ]
    return ids, Shelf(*(f"place-{n}" for n in range(count)))


def test_archives_go_with_their_rows(world: World, past: Past) -> None:
    ids, shelf = archived(past, world.fleet.task())
    said = retention.preview(world.db, world.clock)
    done = pruner(world.db, world.clock, shelf=shelf).run()
    assert past.left() == ids[-1:]
    assert shelf.places == {"place-3"}
    (tally,) = done.tasks.values()
    assert (tally.rows, tally.archives, tally.bytes, tally.oldest, tally.newest) == (3, 3, 45, ids[0], ids[2])
    assert said.tasks == done.tasks


@sqlite_only
def test_a_row_stays_while_its_archive_cannot_be_deleted_and_others_go(world: World, past: Past) -> None:
    task = world.fleet.task()
    plain = past.rows(task, 3, HOUR, 40 * HOUR)
    ids, shelf = archived(past, task)
    shelf.broken = True
    done = pruner(world.db, world.clock, shelf=shelf).run()
    assert past.left() == ids
    assert not set(plain) & set(past.left())
    assert (done.rows, done.stuck) == (3, 3)
    assert done.fault is not None
    assert len(shelf.asked) == 1, "one that does not answer is not asked for each row"
    shelf.broken = False
    assert pruner(world.db, world.clock, shelf=shelf).run().rows == 3
    assert past.left() == ids[-1:]


@sqlite_only
def test_without_an_archive_rows_that_have_one_stay(
    world: World, past: Past, caplog: pytest.LogCaptureFixture
) -> None:
    ids, _ = archived(past, world.fleet.task())
    steps_of(world, pruner(world.db, world.clock))
    assert past.left() == ids
    assert "cannot be pruned although the time is over: 3 executions" in caplog.text


class Killed(BaseException):
    """As a process that dies there: nothing catches it."""


@sqlite_only
def test_a_death_between_an_archive_and_its_row_leaves_neither_for_ever(world: World, past: Past) -> None:
    ids, shelf = archived(past, world.fleet.task())

    def die() -> None:
        raise Killed

    shelf.then = die
    with pytest.raises(Killed):
        pruner(world.db, world.clock, shelf=shelf).run()
    assert past.left() == ids
    assert shelf.places == {"place-1", "place-2", "place-3"}
    shelf.then = None
    assert pruner(world.db, world.clock, shelf=shelf).run().rows == 3
    assert past.left() == ids[-1:]
    assert shelf.places == {"place-3"}


def test_a_database_that_goes_after_the_archives_leaves_rows_for_the_next_pass(
    world: World, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, shelf = archived(past, world.fleet.task())
    original = prune.delete_rows

    def lost(*words: Any, **more: Any) -> int:
        original(*words, **more)
        raise DatabaseUnavailable("gone before the commit")

    monkeypatch.setattr(prune, "delete_rows", lost)
    with pytest.raises(DatabaseUnavailable):
        pruner(world.db, world.clock, shelf=shelf).run()
    assert past.left() == ids
    monkeypatch.setattr(prune, "delete_rows", original)
    assert pruner(world.db, world.clock, shelf=shelf).run().rows == 3
    assert past.left() == ids[-1:]


def test_an_archive_that_came_with_a_late_proof_is_not_orphaned(world: World, past: Past) -> None:
    """A lost run's true end may be recorded, with its archive, after the row was chosen."""
    past.keep(maxCount=1)
    task = world.fleet.task()
    chosen = past.row(task, 3 * HOUR, 2, "lost")
    past.row(task, 2 * HOUR, 2)
    past.row(task, HOUR)
    with world.db.write() as connection:
        connection.execute(Execution.__table__.update().where(Execution.id == chosen).values(archive="p"))
    world.db.transact(lambda connection: prune.delete_rows(connection, [chosen], archived=False))
    assert chosen in past.left()


def test_a_row_that_has_not_ended_is_never_deleted_whatever_was_chosen(world: World, past: Past) -> None:
    row = past.row(world.fleet.task(), HOUR, 0)
    for archived_too in (False, True):
        world.db.transact(lambda c, flag=archived_too: prune.delete_rows(c, [row], archived=flag))
    assert past.left() == [row]


@sqlite_only
def test_the_real_archive_loses_both_streams_and_only_those(world: World, past: Past, tmp_path: Path) -> None:
    past.keep(maxCount=1)
    task = world.fleet.task()
    archives = Archives(str(tmp_path / "archive"), world.clock)
    places = {}
    for ago in (3, 2, 1):
        row = past.row(task, HOUR * ago)
        kept = tmp_path / "archive" / f"{name_of(row)}"
        kept.parent.mkdir(parents=True, exist_ok=True)
        for ending in (".out.gz", ".err.gz"):
            kept.with_name(kept.name + ending).write_bytes(b"")
        places[row] = str(kept)
        world.fleet.change_execution(row, archive=str(kept))
    spoilt = past.row(task, HOUR * 4, archive="/etc/passwd")
    done = pruner(world.db, world.clock, delete_archive=archives.delete).run()
    assert (done.rows, done.stuck) == (3, 0)
    (left,) = past.left()
    files = sorted(path for path in (tmp_path / "archive").rglob("*") if path.is_file())
    assert [str(path) for path in files] == [places[left] + ".err.gz", places[left] + ".out.gz"]
    assert spoilt not in past.left()
    assert Path("/etc/passwd").exists()


# -- messages, ends -----------------------------------------------------------------------------


def test_messages_go_a_week_after_they_were_delivered_or_given_up_and_others_never(
    world: World, past: Past
) -> None:
    old, new = START - 8 * DAY, START - 6 * DAY
    with world.db.write() as connection:
        for delivered in (old, old, new, None):
            connection.execute(
                insert(Outbox).values(kind="k", payload={}, next_attempt=old, delivered_at=delivered)
            )
        for given_up in (old, new):
            connection.execute(insert(Outbox).values(kind="k", payload={}, given_up_at=given_up))
    assert retention.preview(world.db, world.clock).messages == 3
    assert pruner(world.db, world.clock).run().messages == 3
    with world.db.read() as connection:
        assert connection.scalar(select(func.count()).select_from(Outbox)) == 3


@sqlite_only
def test_a_process_that_ends_stops_between_two_batches(world: World, past: Past) -> None:
    past.keep(maxCount=1)
    tasks = world.fleet.tasks(["a", "b"])
    for task in tasks:
        past.rows(task, 400, timedelta(seconds=100))
    one = pruner(world.db, world.clock, stopping=lambda: True)
    one._size.rows = 100
    one.step()
    assert len(past.left()) == 700
    with world.db.read() as connection:
        assert prune.read_cursor(connection)[0] == tasks[0] - 1, "the rest of the same task comes next"
        assert leases.holder(world.db, connection, prune.LEASE) is None


@sqlite_only
def test_rows_that_cannot_go_keep_nobody_from_the_others(
    world: World, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "STEP_SECONDS", -1.0)
    stuck, other = world.fleet.tasks(["stuck", "other"])
    archived(past, stuck, 9)
    past.rows(other, 5)
    one = pruner(world.db, FakeClock(auto=True))
    one._size.rows = 2
    steps_of(world, one)
    assert len(past.left(stuck)) == 9
    assert len(past.left(other)) == 1


@sqlite_only
def test_a_look_that_finds_nothing_is_followed_by_a_long_rest(
    world: World, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To look for work is to cost next to nothing; what goes is not held up."""
    page = retention.Selection.page

    def slow(selection: retention.Selection, cursor: int) -> list[prune.TaskRow]:
        world.clock.advance(0.02)
        return page(selection, cursor)

    monkeypatch.setattr(retention.Selection, "page", slow)
    past.keep(maxCount=1)
    task = world.fleet.task()
    past.rows(task, 3)
    assert steps.Pruner(world.db, world.clock, "me").step() == pytest.approx(0.02)
    world.clock.advance(steps.PASS_SECONDS)
    with world.db.write() as connection:
        prune.write_cursor(connection, 0, START)
    assert steps.Pruner(world.db, world.clock, "me").step() == pytest.approx(3.0)
