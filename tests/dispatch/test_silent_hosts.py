"""A run that may still live on a host that fell silent is no finished run."""

from __future__ import annotations

import pytest

from reconciler.model.enums import Kind
from reconciler.model.execution import Reason
from reconciler.report.reachable import reachable_as
from reconciler.store import conditions
from tests.dispatch.conftest import World
from tests.dispatch.fleet import at


def told(world: World, server: int, reason: Reason | None, seconds: float) -> None:
    with world.db.write() as connection:
        said = reachable_as(reason, "no answer", 1)
        conditions.put(connection, Kind.SERVER, server, said, at(seconds))


@pytest.mark.parametrize("concurrency", ["forbid", "queue", "allow"])
def test_a_run_that_may_live_on_a_silent_host_is_in_the_way_until_the_host_answers(
    world: World, concurrency: str
) -> None:
    server = world.fleet.server("web-1")
    task = world.fleet.task(due=0, concurrency=concurrency)
    world.fleet.execution(
        task, 1, scheduled_for=at(-60), status=2, reason="unreachable", started_at=at(-60), finished_at=at(-5)
    )
    told(world, server, Reason.UNREACHABLE, -30)
    world.claim_all()
    rows = [row for row in world.fleet.ledger(task) if row["id"] != 1]
    assert [row["reason"] for row in rows] == (["overlap"] if concurrency == "forbid" else [None])
    taken = world.taker().take(5, {}).taken
    assert len(taken) == (1 if concurrency == "allow" else 0)
    told(world, server, None, 1)
    if concurrency == "queue":
        assert len(world.taker().take(5, {}).taken) == 1


@pytest.mark.parametrize(
    ("row", "silent_since"),
    [
        ({"started_at": None, "finished_at": at(-5)}, -30),
        ({"started_at": at(-9000), "finished_at": at(-8000)}, -30),
        ({"started_at": at(-60), "finished_at": at(-5), "reason": "lost"}, -30),
    ],
    ids=["it never began", "the host has answered since", "the host answered"],
)
def test_other_ends_are_ends(world: World, row: dict[str, object], silent_since: float) -> None:
    server = world.fleet.server("web-1")
    task = world.fleet.task(due=0)
    columns = {"reason": "unreachable", **row}
    world.fleet.execution(task, 1, scheduled_for=at(-9000), status=2, **columns)
    told(world, server, Reason.UNREACHABLE, silent_since)
    world.claim_all()
    assert [item["reason"] for item in world.fleet.ledger(task) if item["id"] != 1] == [None]
