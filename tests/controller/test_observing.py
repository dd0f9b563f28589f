"""Exceptions begin and end while nobody asks: they are written down with their moment, and told once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from reconciler.controller import observing as module
from reconciler.controller.observing import Observer
from reconciler.model.condition import Condition, ConditionStatus, ConditionType
from reconciler.model.enums import Kind, NotifyOn
from reconciler.model.notification import Target, Targets
from reconciler.report.build import status_report
from reconciler.store import conditions, outbox, told, transitions
from reconciler.store.engine import Database
from reconciler.store.tables import Condition as Row
from reconciler.store.tables import Outbox, Project, Server, Task
from tests.report.world import NOW, World
from tests.services.clock import FakeClock
from tests.store.conftest import migrated, migrated_mariadb, migrated_mysql, url

__all__ = ["migrated", "migrated_mariadb", "migrated_mysql", "url"]

LATE = timedelta(seconds=60)
SECOND = timedelta(seconds=1)
ALL = [{"on": ["failure", "recovery", "overdue", "drift", "stalled", "guard"], "to": "ops"}]
BOSS = {"boss": Target(url="x://", events=frozenset(NotifyOn), projects=frozenset({"shop"}))}
sqlite_only = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW, auto=True)


@pytest.fixture
def world(url: str, clock: FakeClock) -> Iterator[World]:
    with closing(Database.open(url, clock)) as db:
        made = World(db)
        made.server("db-1")
        yield made


def observer(world: World, clock: FakeClock, targets: Targets | None = None, owner: str = "me") -> Observer:
    return Observer(world.db, clock, owner, LATE, {"ops": Target(url="x://")} if targets is None else targets)


def seen(world: World) -> dict[tuple[Kind, int, str], tuple[str, datetime]]:
    with world.db.read() as connection:
        return {
            (kind, key, type.value): (one.reason, one.since)
            for (kind, key, type), (_, one) in transitions.read(connection).items()
        }


def messages(world: World) -> list[tuple[str, str, str]]:
    with world.db.read() as connection:
        found = connection.execute(select(Outbox).order_by(Outbox.id))
        return [(row.kind, row.target, row.payload["reason"]) for row in found]


def condition(world: World, clock: FakeClock, kind: Kind, type: ConditionType) -> Condition:
    (item,) = status_report(world.db, clock.now(), LATE).of(kind)
    found = item.condition(type)
    assert found is not None
    return found


def test_what_is_normal_has_no_row_and_tells_nothing(world: World, clock: FakeClock) -> None:
    task = world.task("backup", "db-1", spec={"notify": ALL})
    world.run(task, NOW - timedelta(hours=10))
    assert observer(world, clock).step() >= module.LOOK_SECONDS
    assert seen(world) == {}
    assert messages(world) == []


def test_a_drift_has_the_moment_at_which_it_was_seen_until_it_is_over(world: World, clock: FakeClock) -> None:
    task = world.task("backup", "db-1", spec={"notify": ALL})
    one = observer(world, clock)
    one.step()
    world.change(Task, task, command="by hand")
    assert condition(world, clock, Kind.TASK, ConditionType.DRIFTED).last_transition is None
    clock.advance(10)
    one.step()
    at = clock.now()
    clock.advance(600)
    one.step()
    assert condition(world, clock, Kind.TASK, ConditionType.DRIFTED).last_transition == at
    assert condition(world, clock, Kind.TASK, ConditionType.SYNCED).last_transition == at
    assert seen(world) == {
        (Kind.TASK, task, "Drifted"): ("ChangedByHand", at),
        (Kind.TASK, task, "Synced"): ("Drifted", at),
    }
    assert messages(world) == [("drift", "ops", "ChangedByHand")]
    world.change(Task, task, command="true")
    one.step()
    assert seen(world) == {}
    clock.advance(60)
    world.change(Task, task, command="again")
    one.step()
    assert messages(world) == [("drift", "ops", "ChangedByHand")] * 2


def test_a_slot_that_nobody_claims_is_told_once_with_its_own_time(world: World, clock: FakeClock) -> None:
    due = NOW - timedelta(minutes=30)
    task = world.task("backup", "db-1", spec={"notify": ALL}, next_run=due, next_slot=due)
    for _ in range(3):
        observer(world, clock, BOSS).step()
        clock.advance(100)
    assert seen(world)[Kind.TASK, task, "Overdue"] == ("NotClaimed", due + LATE)
    assert sorted(messages(world)) == [("overdue", "boss", "NotClaimed"), ("overdue", "ops", "NotClaimed")]


def test_a_missed_slot_is_told_as_overdue(world: World, clock: FakeClock) -> None:
    task = world.task("backup", "db-1", spec={"notify": ALL})
    world.run(task, NOW - timedelta(hours=10), status=3, reason="missed")
    observer(world, clock).step()
    assert messages(world) == [("overdue", "ops", "Missed")]


def test_a_verdict_that_no_recorder_wrote_is_told_and_its_end_as_well(world: World, clock: FakeClock) -> None:
    task = world.task("backup", "db-1", spec={"notify": ALL})
    one = observer(world, clock)
    one.step()
    world.run(task, NOW - timedelta(seconds=60), status=2, reason="lost", exit_code=None)
    one.step()
    one.step()
    world.run(task, NOW - timedelta(seconds=30), status=2, reason="lost", exit_code=None)
    one.step()
    assert messages(world) == [("failure", "ops", "lost")] * 2
    with world.db.read() as connection:
        assert told.told(connection, [task]) == {task}
    (_, since) = seen(world)[Kind.TASK, task, "LastRunSucceeded"]
    assert since == NOW - timedelta(seconds=58)


def test_old_failures_cancelled_runs_and_attempts_that_are_tried_again_are_not_told(
    world: World, clock: FakeClock
) -> None:
    old, cancelled, again = (world.task(name, "db-1", spec={"notify": ALL}) for name in "abc")
    world.run(old, NOW - timedelta(hours=3), status=2)
    at = NOW - timedelta(seconds=50)
    world.run(cancelled, at, status=2, reason="cancelled", cancel_requested_by="ann", cancel_requested_at=at)
    world.run(again, at, status=2)
    world.run(again, at, status=0, attempt=2, trigger="retry", due_at=NOW + SECOND, seconds=None)
    observer(world, clock).step()
    assert messages(world) == []
    assert len(seen(world)) == 3


def test_a_stalled_project_is_told_for_each_cause_and_reason(world: World, clock: FakeClock) -> None:
    world.task("backup", "db-1", spec={"notify": ALL})
    project = world.id_of(Project, "shop")

    def say(reason: str, cause: str = "") -> None:
        said = Condition(ConditionType.STALLED, ConditionStatus.TRUE, reason, "why", None, None)
        world.db.transact(
            lambda connection: conditions.put(
                connection, Kind.PROJECT, project, said, clock.now(), cause=cause
            )
        )

    one = observer(world, clock)
    one.step()
    say("ManifestsInvalid")
    one.step()
    clock.advance(10)
    say("SchedulerLagging", "scheduler")
    one.step()
    say("GuardTripped")
    one.step()
    one.step()
    assert messages(world) == [
        ("stalled", "ops", "ManifestsInvalid"),
        ("stalled", "ops", "SchedulerLagging"),
        ("guard", "ops", "GuardTripped"),
    ]
    world.db.transact(
        lambda connection: conditions.clear(connection, Kind.PROJECT, project, ConditionType.STALLED)
    )
    one.step()
    clock.advance(10)
    say("GuardTripped")
    one.step()
    assert messages(world)[3:] == [("guard", "ops", "GuardTripped")]


def test_a_server_that_a_hand_changed_is_told_to_who_listens_to_its_project(
    world: World, clock: FakeClock
) -> None:
    world.change(Server, world.id_of(Server, "db-1"), port=99)
    observer(world, clock, BOSS).step()
    assert messages(world) == [("drift", "boss", "ChangedByHand")]
    assert condition(world, clock, Kind.SERVER, ConditionType.DRIFTED).last_transition == clock.now()


def test_one_process_looks_at_a_time(world: World, clock: FakeClock) -> None:
    first, second = observer(world, clock, owner="a"), observer(world, clock, owner="b")
    first.step()
    world.change(Server, world.id_of(Server, "db-1"), port=99)
    second.step()
    assert seen(world) == {}
    first.resign()
    second.step()
    assert len(seen(world)) == 2


@sqlite_only
def test_dying_at_any_step_loses_and_doubles_nothing(
    world: World, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        pass

    tasks = [world.task(f"t{n}", "db-1", spec={"notify": ALL}) for n in range(9)]
    for task in tasks:
        world.change(Task, task, command="by hand")
    monkeypatch.setattr(module, "_ROWS", 4)
    for place in ("transitions.write", "outbox.tell", "leases.holds"):
        room, name = place.split(".")
        real: Any = getattr(getattr(module, room), name)
        for after in range(3):
            calls = iter(range(100))

            def dying(
                *words: Any, real: Any = real, calls: Any = calls, after: int = after, **more: Any
            ) -> Any:
                done = real(*words, **more)
                if next(calls) == after:
                    raise Died
                return done

            with monkeypatch.context() as patch, pytest.raises(Died):
                patch.setattr(getattr(module, room), name, dying)
                observer(world, clock).step()
                raise Died
    observer(world, clock).step()
    assert len(messages(world)) == 9
    assert len(seen(world)) == 18


def test_messages_that_do_not_arrive_stall_their_project_and_are_not_told(
    world: World, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    def tell(target: str, key: str, project: str = "shop") -> None:
        message = outbox.Message("failure", target, key, {"project": project, "reason": "lost"})
        world.db.transact(lambda connection: outbox.tell(connection, [message], clock.now()))

    def ids() -> list[int]:
        with world.db.read() as connection:
            return list(connection.scalars(select(Outbox.id)))

    def stalled() -> Condition | None:
        (project,) = status_report(world.db, clock.now(), LATE).of(Kind.PROJECT)
        return project.condition(ConditionType.STALLED)

    one = observer(world, clock, BOSS)
    tell("boss", "1")
    for _ in range(3):
        one.step()
        assert stalled() is None
        with world.db.write() as connection:
            outbox.postpone(connection, ids(), clock.now(), "it answered 500")
    one.step()
    one.step()
    found = stalled()
    assert found is not None
    assert (found.reason, found.message) == (
        "NotDelivered",
        "notifications do not arrive at boss: 1 wait, 0 were given up (it answered 500)",
    )
    assert len(messages(world)) == 1
    with world.db.write() as connection:
        outbox.delivered(connection, ids(), clock.now())
    one.step()
    assert stalled() is None
    # a target that nobody knows
    tell("nobody", "2")
    world.task("backup", "db-1", spec={"notify": ALL})
    with caplog.at_level(logging.WARNING):
        one.step()
        one.step()
        clock.advance(25 * 3600)
        one.step()
    said = [record.getMessage() for record in caplog.records]
    assert said.count("tasks notify 'ops', and no [notify.ops] table is in the settings here") == 1
    assert "giving up 1 notifications to 'nobody' after 24 h: no settings know it" in said


@sqlite_only
def test_many_exceptions_are_written_in_parts_and_only_their_differences(
    world: World, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(30):
        world.run(world.task(f"t{n}", "db-1"), NOW - timedelta(seconds=30), status=2)
    monkeypatch.setattr(module, "_ROWS", 10)
    one = observer(world, clock)
    one.step()
    assert len(seen(world)) == 30
    with monkeypatch.context() as patch:
        patch.setattr(transitions, "write", None)
        one.step()
    with world.db.read() as connection:
        assert connection.scalar(select(func.count()).select_from(Row)) == 30
