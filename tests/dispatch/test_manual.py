"""What people ask for: `run` and `cancel`."""

from __future__ import annotations

import pytest

from reconciler.dispatch.manual import Asked, cancel_executions, request_runs, watch
from reconciler.errors import Ambiguous, NotFound, ReconcilerError, Refused, UsageError
from reconciler.model.execution import State
from reconciler.store import leases
from tests.dispatch.conftest import World
from tests.dispatch.fleet import START, at


def live(world: World, name: str = "worker/w/local") -> None:
    with world.db.write() as connection:
        leases.acquire(world.db, connection, name, "w", 15)


def ask(world: World, *addresses: str) -> list[Asked]:
    return request_runs(world.db, world.clock, world.ids, addresses, "ann@desk")


def counter(world: World) -> int:
    with world.db.read() as connection:
        return leases.read_counter(connection)


def test_a_manual_run_waits_to_be_taken_and_wakes_everyone(world: World) -> None:
    live(world)
    task = world.fleet.task(enabled=False, schedule=None)
    before = counter(world)
    (asked,) = ask(world, "backup")
    assert (asked.task, asked.server, asked.state) == ("backup", "web-1", State.WAITING)
    (row,) = world.fleet.ledger(task)
    assert (row["trigger"], row["requested_by"], row["status"]) == ("manual", "ann@desk", 0)
    assert row["due_at"] == START
    assert row["scheduled_for"] > START  # no slot of a schedule is ever there
    assert counter(world) > before
    (taken,) = world.taker().take(1, {}).taken
    assert taken.job.execution_id == asked.execution_id


@pytest.mark.parametrize("address", ["backup", "backup@web-1", "shop/backup@web-1", "shop/backup"])
def test_a_task_is_addressed_in_every_form(world: World, address: str) -> None:
    live(world)
    world.fleet.task()
    assert len(ask(world, address)) == 1


def test_the_same_task_twice_is_one_run(world: World) -> None:
    live(world)
    world.fleet.task()
    assert len(ask(world, "backup", "backup@web-1")) == 1


REFUSED = [
    ("nothing", NotFound, "there is no task 'nothing'"),
    ("everywhere", Ambiguous, "fits 2 tasks"),
    ("a@b@c", UsageError, "a@b@c"),
    ("idle", Refused, "server 'off' is disabled"),
    ("spoilt", Refused, "no valid spec"),
]


@pytest.mark.parametrize(("address", "error", "said"), REFUSED)
def test_a_run_that_cannot_be_is_refused_and_nothing_is_inserted(
    world: World, address: str, error: type[ReconcilerError], said: str
) -> None:
    live(world)
    world.fleet.server("off", enabled=False)
    world.fleet.task("good")
    world.fleet.task("everywhere", "web-1")
    world.fleet.task("everywhere", "web-2")
    world.fleet.task("idle", "off")
    world.fleet.change_task(world.fleet.task("spoilt"), spec={"spec": {"retries": 3}})
    with pytest.raises(error, match=said) as caught:
        ask(world, "good", address)
    if error is Ambiguous:
        assert "shop/everywhere@web-1, shop/everywhere@web-2" in (caught.value.hint or "")
    assert world.fleet.ledger() == []


def test_without_a_live_worker_nothing_is_inserted(world: World) -> None:
    world.fleet.task()
    with world.db.write() as connection:
        leases.acquire(world.db, connection, "worker/dead", "dead", -1)
    with pytest.raises(Refused, match="no live worker"):
        ask(world, "backup")
    assert world.fleet.ledger() == []


def test_a_local_run_needs_a_worker_that_may(world: World) -> None:
    live(world, "worker/w")
    world.fleet.server("here", connection="local")
    world.fleet.task("t", "here")
    with pytest.raises(Refused, match="connection: local"):
        ask(world, "t")
    live(world, "worker/x/local")
    assert ask(world, "t")[0].state is State.WAITING


@pytest.mark.parametrize(
    ("concurrency", "states"),
    [
        ("forbid", {"running": 1, "overlap": 1}),
        ("allow", {"running": 1, "waiting": 1}),
        ("queue", {"running": 1, "waiting": 1}),
        ("replace", {"running": 1, "waiting": 1}),
    ],
)
def test_a_manual_run_obeys_concurrency(world: World, concurrency: str, states: dict[str, int]) -> None:
    live(world)
    task = world.fleet.task(concurrency=concurrency)
    world.fleet.execution(task, 7, started_at=START, lease_owner="x", lease_until=at(9))
    (asked,) = ask(world, "backup")
    assert world.fleet.states(task) == states
    assert asked.state is (State.SKIPPED if concurrency == "forbid" else State.WAITING)
    assert (world.fleet.row(7)["cancel_requested_at"] is not None) is (concurrency == "replace")


def test_two_manual_runs_at_the_same_instant_are_two_slots(world: World) -> None:
    live(world)
    task = world.fleet.task(concurrency="allow")
    ask(world, "backup")
    ask(world, "backup")
    assert world.fleet.states(task) == {"waiting": 2}
    assert len({row["scheduled_for"] for row in world.fleet.ledger(task)}) == 2


def test_waiting_follows_a_slot_to_the_verdict_of_its_last_attempt(world: World) -> None:
    live(world)
    task = world.fleet.task()
    (asked,) = ask(world, "backup")
    slot = {"scheduled_for": asked.scheduled_for}
    heard: list[tuple[State, str | None]] = []

    def changed(item: Asked) -> None:
        heard.append((item.state, item.reason))
        if item.state is State.RUNNING:
            world.fleet.change_execution(asked.execution_id, status=2, reason="exit-code", exit_code=3)
            world.fleet.execution(task, asked.execution_id + 1, attempt=2, trigger="retry", **slot)
        elif item.state is State.WAITING:
            world.fleet.change_execution(asked.execution_id + 1, status=1, reason="completed", exit_code=0)

    world.fleet.change_execution(asked.execution_id, started_at=START)
    (done,) = watch(world.db, world.clock, [asked], changed)
    assert heard == [(State.RUNNING, None), (State.WAITING, None), (State.SUCCESS, "completed")]
    assert (done.execution_id, done.state, done.exit_code) == (asked.execution_id + 1, State.SUCCESS, 0)


def test_cancel_closes_what_waits_and_asks_the_owner_of_what_runs(world: World) -> None:
    tasks = world.fleet.tasks(["a", "b", "c", "d"])
    world.fleet.execution(tasks[0], 1)
    world.fleet.execution(tasks[1], 2, started_at=START, lease_owner="x", lease_until=at(9))
    world.fleet.execution(tasks[2], 3, lease_owner="x", lease_until=at(9))
    world.fleet.execution(tasks[3], 4, status=1, reason="completed")
    before = counter(world)
    found = cancel_executions(world.db, world.clock, [1, 2, 3, 4, 1], "ann@desk")
    assert [(item.execution_id, item.before) for item in found] == [
        (1, State.WAITING),
        (2, State.RUNNING),
        (3, State.RUNNING),
        (4, State.SUCCESS),
    ]
    assert world.fleet.states() == {"cancelled": 1, "running": 1, "taken": 1, "completed": 1}
    assert "ann@desk" in world.fleet.row(1)["error"]
    assert [world.fleet.row(n)["cancel_requested_by"] for n in (1, 2, 3, 4)] == ["ann@desk"] * 3 + [None]
    assert counter(world) > before


def test_a_cancelled_waiting_run_is_never_taken(world: World) -> None:
    task = world.fleet.task()
    world.fleet.execution(task, 1)
    cancel_executions(world.db, world.clock, [1], "me")
    assert world.taker().take(5, {}).taken == ()


def test_the_first_request_to_cancel_stands(world: World) -> None:
    world.fleet.execution(world.fleet.task(), 1, started_at=START, lease_owner="x", lease_until=at(9))
    cancel_executions(world.db, world.clock, [1], "ann")
    cancel_executions(world.db, world.clock, [1], "bob")
    assert world.fleet.row(1)["cancel_requested_by"] == "ann"


def test_an_unknown_execution_cancels_nothing(world: World) -> None:
    world.fleet.execution(world.fleet.task(), 1)
    with pytest.raises(NotFound, match="there is no execution 8, 9"):
        cancel_executions(world.db, world.clock, [1, 8, 9], "me")
    assert world.fleet.states() == {"waiting": 1}
