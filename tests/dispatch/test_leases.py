"""Leases end by themselves: what vanished processes held is given back or ended with a truthful word."""

from __future__ import annotations

import pytest

from reconciler.dispatch.leases import Keeper, Worker, live_workers, local_workers
from reconciler.dispatch.reaper import Reaper
from reconciler.store import leases
from reconciler.store.node import NodeIds
from tests.dispatch.conftest import World
from tests.dispatch.fleet import START, at


def keeper(world: World, owner: str = "me", *, local: bool = False) -> Keeper:
    return Keeper(
        world.db, world.clock, owner, NodeIds(world.db, world.clock, owner, 5), Worker(owner, local)
    )


def lapse(world: World, execution_id: int) -> None:
    """As if the owner had last renewed long ago, by the database's clock."""
    with world.db.read() as connection:
        past = world.db.now(connection)
    from datetime import timedelta

    world.fleet.change_execution(execution_id, lease_until=past - timedelta(seconds=1))


def test_a_renewal_tells_what_is_still_ours_and_what_is_to_be_cancelled(world: World) -> None:
    tasks = world.fleet.tasks(["a", "b", "c", "d"])
    for number, task in enumerate(tasks):
        world.fleet.execution(task, number + 1, lease_owner="me", lease_until=at(1))
    world.fleet.change_execution(2, lease_owner="other")
    world.fleet.change_execution(3, status=1, lease_owner=None, lease_until=None)
    world.fleet.change_execution(4, cancel_requested_at=START, cancel_requested_by="ann@desk")
    still = keeper(world).renew([1, 2, 3, 4])
    assert still.ids == {1, 4}
    assert still.cancels == {4: "ann@desk"}
    with world.db.read() as connection:
        assert (world.fleet.row(1)["lease_until"] - world.db.now(connection)).total_seconds() > 10
    assert world.fleet.row(2)["lease_until"] == at(1)


def test_an_executing_process_is_seen_while_it_lives(world: World) -> None:
    me, ssh_only = keeper(world, "me", local=True), keeper(world, "you")
    me.renew([])
    ssh_only.renew([])
    with world.db.read() as connection:
        assert live_workers(world.db, connection) == ["worker/me/local", "worker/you"]
        assert local_workers(world.db, connection) == ["worker/me/local"]
    me.leave([], [])
    ssh_only.leave([], [])
    with world.db.read() as connection:
        assert live_workers(world.db, connection) == []


def test_leaving_hands_back_what_never_began(world: World) -> None:
    task, other = world.fleet.tasks(["a", "b"])
    world.fleet.execution(task, 1, lease_owner="me", lease_until=at(9), start_sent_at=START)
    world.fleet.execution(other, 2, lease_owner="me", lease_until=at(9), started_at=START)
    assert keeper(world).leave([1, 2], []) == 1
    assert world.fleet.states() == {"waiting": 1, "running": 1}
    assert world.fleet.row(1)["start_sent_at"] is None


def test_leaving_hands_back_what_goes_on_without_us_to_be_attached_to(world: World) -> None:
    task, other = world.fleet.tasks(["a", "b"], concurrency="allow")
    world.fleet.execution(task, 1, lease_owner="me", lease_until=at(9), start_sent_at=START)
    world.fleet.execution(
        other, 2, lease_owner="me", lease_until=at(9), start_sent_at=START, started_at=START
    )
    assert keeper(world).leave([], [1, 2]) == 2
    jobs = {taken.job.execution_id: taken.job for taken in world.taker("you").take(5, {}).taken}
    assert [(job.start_sent, job.started_at) for _, job in sorted(jobs.items())] == [
        (True, None),
        (True, START),
    ]
    assert {world.fleet.row(key)["lease_owner"] for key in (1, 2)} == {"you"}


def test_what_may_live_on_its_host_is_attached_to_whatever_limits_and_switches_say(world: World) -> None:
    server = world.fleet.server("busy", enabled=False, maxConcurrentRuns=1)
    task = world.fleet.task("t", "busy", enabled=False)
    for number in (1, 2):
        world.fleet.execution(task, number, scheduled_for=at(number), start_sent_at=START, started_at=START)
    world.fleet.execution(task, 3, scheduled_for=at(3))
    taken = world.taker().take(5, {}).taken
    assert sorted(item.job.execution_id for item in taken) == [1, 2]
    assert {item.server_id for item in taken} == {server}
    assert world.fleet.row(3)["reason"] == "disabled"


def test_a_living_lease_is_left_alone(world: World) -> None:
    task = world.fleet.task()
    world.fleet.execution(task, 1, trigger="manual")
    world.taker().take(1, {})
    assert Reaper(world.db, world.clock).reap().given_back == ()
    assert world.fleet.states() == {"taken": 1}


LAPSED = [
    # (durable, columns of a lapsed row, what becomes of it, a word of its error)
    (True, {}, "waiting", None),
    (True, {"start_sent_at": START}, "waiting", None),
    (True, {"start_sent_at": START, "started_at": START}, "running", None),
    (True, {"cancel_requested_at": START}, "cancelled", "before it began"),
    # only the host knows whether there is something to end
    (True, {"start_sent_at": START, "cancel_requested_at": START}, "waiting", None),
    (True, {"cancel_requested_at": START, "started_at": START}, "running", None),
    (False, {}, "waiting", None),
    (False, {"start_sent_at": START}, "lost", "whether it began"),
    (False, {"start_sent_at": START, "started_at": START}, "lost", "how it ended"),
    (False, {"cancel_requested_at": START}, "cancelled", "before it began"),
    (False, {"cancel_requested_at": START, "started_at": START}, "lost", "how it ended"),
]


@pytest.mark.parametrize(("durable", "columns", "expected", "said"), LAPSED)
def test_a_lapsed_lease(
    world: World, durable: bool, columns: dict[str, object], expected: str, said: str | None
) -> None:
    world.fleet.server("web-1", durable=durable)
    task = world.fleet.task()
    world.fleet.execution(task, 1, lease_owner="dead-host-7", lease_until=START, **columns)
    lapse(world, 1)
    reaper = Reaper(world.db, world.clock)
    reaper.reap()
    row = world.fleet.row(1)
    assert world.fleet.states() == {expected: 1}
    assert (row["lease_owner"], row["lease_until"]) == (None, None)
    if said:
        assert said in row["error"]
        assert row["finished_at"] is not None
        if "started_at" in columns:
            assert world.fleet.task_row(task)["last_run"] == START
    else:
        # what was done about it stays known: the next owner has to ask the host
        assert row["start_sent_at"] == columns.get("start_sent_at")
    again = reaper.reap()
    assert again.given_back == again.ended == ()


def test_a_renewal_between_the_look_and_the_act_wins(world: World) -> None:
    world.fleet.server("web-1", durable=False)
    task = world.fleet.task()
    world.fleet.execution(task, 1, lease_owner="slow", lease_until=START, started_at=START)
    lapse(world, 1)
    reaper = Reaper(world.db, world.clock)
    act = reaper._end

    def renewed_first(row: object, waiting: bool) -> bool:
        keeper(world, "slow").renew([1])
        return act(row, waiting)  # type: ignore[arg-type]

    reaper._end = renewed_first  # type: ignore[method-assign]
    assert reaper.reap().ended == ()
    assert world.fleet.states() == {"running": 1}


def test_after_an_outage_the_reaper_waits_one_lease(world: World) -> None:
    reaper = Reaper(world.db, world.clock)
    if world.db.dialect == "sqlite":
        assert reaper.may_reap(float("-inf"))
    assert not reaper.may_reap(world.clock.monotonic())
    assert not reaper.may_reap(float("inf"))
    since = world.clock.monotonic()
    world.clock.advance(16)
    with world.db.read() as connection:
        from reconciler.store.held import uptime_seconds

        settled = uptime_seconds(connection) >= 15
    assert reaper.may_reap(since) is settled


def test_a_lost_node_number_is_replaced(world: World) -> None:
    mine = keeper(world, "me")
    ids = mine._ids
    before = ids.take(1)[0]
    with world.db.write() as connection:
        from reconciler.store.tables import Lease

        connection.execute(
            Lease.__table__.update().where(Lease.name == ids._held.name).values(owner="thief", token=9)
        )
    mine.renew([])
    assert (ids.one() >> 12) & 511 != (before >> 12) & 511


def test_processes_long_gone_are_forgotten(world: World) -> None:
    with world.db.write() as connection:
        leases.acquire(world.db, connection, "worker/old", "old", -7200)
        leases.acquire(world.db, connection, "worker/new", "new", 15)
        leases.acquire(world.db, connection, "project/1", "x", -7200)
    Reaper(world.db, world.clock).tidy()
    with world.db.read() as connection:
        names = set(connection.exec_driver_sql("SELECT name FROM leases").scalars())
    assert "worker/old" not in names
    assert {"worker/new", "project/1"} <= names
