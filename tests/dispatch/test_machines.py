"""A local run that may have begun is attached to on its own machine, and on no other."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.dispatch.machine import machine_name
from reconciler.dispatch.reaper import STRANDED_MARGIN, Reaper
from tests.dispatch.conftest import World
from tests.dispatch.fleet import START
from tests.dispatch.test_leases import keeper, lapse

HERE, THERE = "me@here/1", "me@there/2"


def ids(world: World, machine: str | None, owner: str = "me") -> list[int]:
    return [item.job.execution_id for item in world.taker(owner, machine=machine).take(9, {}).taken]


def local_run(world: World) -> int:
    world.fleet.server("local", connection="local")
    world.fleet.execution(world.fleet.task("t", "local", timeout="5m"), 1)
    assert ids(world, HERE, "one") == [1]
    assert world.fleet.row(1)["machine"] == HERE
    return 1


def database_time(world: World, **columns: float) -> None:
    """Set times to so many seconds before the database's now."""
    with world.db.read() as connection:
        now = world.db.now(connection)
    world.fleet.change_execution(
        1, **{name: now - timedelta(seconds=seconds) for name, seconds in columns.items()}
    )


@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_lapsed_local_run_goes_to_its_machine_only(world: World, acknowledged: bool) -> None:
    local_run(world)
    if acknowledged:
        world.fleet.change_execution(1, started_at=START)
    lapse(world, 1)
    # whichever process notices
    assert Reaper(world.db, world.clock).reap().given_back == (1,)
    assert ids(world, THERE) == []
    # a process of this machine that may not run locally cannot ask it either
    assert ids(world, None) == []
    assert world.fleet.row(1)["lease_owner"] is None
    assert ids(world, HERE, "two") == [1]
    assert world.fleet.row(1)["machine"] == HERE


def test_a_local_run_that_was_left_behind_goes_to_its_machine_only(world: World) -> None:
    local_run(world)
    assert keeper(world, "one").leave([], [1]) == 1
    assert ids(world, THERE) == []
    assert ids(world, HERE, "two") == [1]


def test_a_local_run_that_never_began_may_begin_anywhere(world: World) -> None:
    local_run(world)
    assert keeper(world, "one").leave([1], []) == 1
    assert ids(world, THERE, "two") == [1]
    assert world.fleet.row(1)["machine"] == THERE


def test_other_runs_of_the_server_do_not_wait_for_the_silent_machine(world: World) -> None:
    local_run(world)
    keeper(world, "one").leave([], [1])
    world.fleet.execution(world.fleet.task("other", "local"), 2)
    assert ids(world, THERE, "two") == [2]


def test_what_its_machine_still_runs_counts_on_its_server(world: World) -> None:
    world.fleet.server("local", connection="local", maxConcurrentRuns=1)
    world.fleet.execution(world.fleet.task("t", "local"), 1)
    assert ids(world, HERE, "one") == [1]
    keeper(world, "one").leave([], [1])
    world.fleet.execution(world.fleet.task("other", "local"), 2)
    assert ids(world, THERE, "two") == []


def test_a_local_run_ends_lost_once_its_time_is_over_and_its_machine_silent(world: World) -> None:
    local_run(world)
    lapse(world, 1)
    reaper = Reaper(world.db, world.clock)
    reaper.reap()
    database_time(world, started_at=300 + STRANDED_MARGIN - 30, lease_until=200)
    assert reaper.reap().ended == ()
    database_time(world, started_at=300 + STRANDED_MARGIN + 1)
    assert reaper.reap().ended == (1,)
    assert world.fleet.states() == {"lost": 1}
    row = world.fleet.row(1)
    assert "on the machine me@here/1" in row["error"]
    assert (row["lease_owner"], row["lease_until"]) == (None, None)
    assert world.fleet.task_row(row["task_id"])["last_run"] == row["started_at"]


def test_its_machine_may_come_back_between_the_look_and_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_run(world)
    lapse(world, 1)
    reaper = Reaper(world.db, world.clock)
    reaper.reap()
    database_time(world, start_sent_at=300 + STRANDED_MARGIN + 1)
    act = reaper._write_end

    def taken_first(*words: object) -> bool:
        assert ids(world, HERE, "two") == [1]
        return act(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(reaper, "_write_end", taken_first)
    assert reaper.reap().ended == ()
    assert world.fleet.states() == {"taken": 1}


def name_of(home: Path, *before: str) -> str:
    code = "from reconciler.dispatch.machine import machine_name; print(machine_name())"
    return subprocess.run(
        [*before, sys.executable, "-c", code],
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_a_machine_is_the_same_for_each_process_that_sees_its_runs(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    (tmp_path / "way").symlink_to(home)
    first = name_of(home)
    assert first == name_of(home) == name_of(tmp_path / "way")
    assert "@" in first
    assert len(first) <= 150
    # the runs of another home cannot be seen
    assert name_of(other) != first
    assert machine_name() == machine_name()


def test_a_container_on_the_same_machine_is_another_one(tmp_path: Path) -> None:
    inside = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives no namespace of processes")
    assert name_of(tmp_path, *inside) != name_of(tmp_path)
