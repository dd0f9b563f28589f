"""Rows of many tasks that come as one text: nothing is cut, whatever they hold."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from reconciler.report.build import status_report
from reconciler.store import overview
from tests.report.world import NOW, World

LATE = timedelta(seconds=60)
HOUR = timedelta(hours=1)


def newest(world: World) -> dict[str, tuple[Any, ...]]:
    """What the report says of each task's run."""
    report = status_report(world.db, NOW, LATE)
    return {
        item.address: (item.last.id, item.last.reason, item.last.cancel_requested_by, item.last.created_at)
        for item in report.objects
        if item.last is not None
    }


@pytest.fixture
def runs(world: World) -> dict[str, tuple[Any, ...]]:
    """Seven tasks with two runs each; in the newest one every column is as long as it may be."""
    world.server("db-1")
    found = {}
    for number in range(7):
        task = world.task(f"t-{number}", "db-1")
        world.run(task, NOW - 2 * HOUR)
        who = f"{number}" + "𝔞" * 254
        key = world.run(
            task, NOW - HOUR, status=2, reason="cancelled", cancel_requested_by=who, exit_code=-(2**31),
            attempt=2**31 - 1, generation=2**31 - 1,
        )  # fmt: skip
        found[f"t-{number}@db-1"] = key, "cancelled", who, NOW - HOUR
    return found


def test_rows_as_long_as_they_can_be_arrive_whole(world: World, runs: dict[str, tuple[Any, ...]]) -> None:
    assert newest(world) == runs


@pytest.mark.parametrize("rows", [1, 2, 3, 500])
def test_however_many_come_at_once(
    world: World, runs: dict[str, tuple[Any, ...]], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "_ROWS", rows)
    monkeypatch.setattr(overview, "_KEYS", rows)
    assert newest(world) == runs


@pytest.mark.parametrize("most", [100, 1400])
def test_a_server_that_joins_little_is_asked_for_less(
    world: World, runs: dict[str, tuple[Any, ...]], most: int
) -> None:
    """Texts that were cut are noticed by their ends, and read again in smaller parts."""
    if world.db.dialect == "sqlite":
        pytest.skip("SQLite cuts nothing")

    @event.listens_for(world.db.engine, "begin")
    def joins_little(connection: Any) -> None:
        connection.execute(text(f"SET SESSION group_concat_max_len = {most}"))

    assert newest(world) == runs


def test_separators_in_what_people_wrote_do_no_harm(world: World) -> None:
    world.server("db-1")
    task = world.task("t", "db-1")
    key = world.run(task, NOW - HOUR, status=2, reason="cancelled", cancel_requested_by="ann\x1e\x1fleigh")
    assert newest(world) == {"t@db-1": (key, "cancelled", "ann  leigh", NOW - HOUR)}


def test_ids_far_apart_are_found_as_well(world: World) -> None:
    world.server("db-1")
    near = world.task("near", "db-1")
    far = world.task("far", "db-1", id=near + 5_000_000)
    keys = {f"{name}@db-1": world.run(task, NOW - HOUR) for name, task in (("near", near), ("far", far))}
    assert {name: found[0] for name, found in newest(world).items()} == keys
