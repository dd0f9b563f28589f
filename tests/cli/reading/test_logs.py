"""``logs``: what a run wrote, exactly; everything about the run goes to standard error."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from reconciler.clock import SystemClock
from reconciler.store.tables import Execution
from tests.cli.reading.conftest import Command
from tests.report.world import NOW, World

HOUR = timedelta(hours=1)


@pytest.fixture
def task(world: World) -> int:
    world.server("db-1")
    return world.task("backup", "db-1")


def test_the_output_comes_first_then_the_error_and_nothing_else(
    world: World, task: int, reconciler: Command
) -> None:
    run = world.run(task, NOW - HOUR, output="one\ntwo", error="备份 failed\n", status=2, exit_code=4)
    for target in ("backup", str(run), "shop/backup@db-1"):
        said = reconciler("logs", target)
        assert (said.code, said.out) == (0, "one\ntwo\n备份 failed\n")
        assert f"execution {run} of backup@db-1: failed: exit code 4" in said.err
    assert reconciler("logs", "backup", "--stream", "out").out == "one\ntwo"
    assert reconciler("logs", "backup", "--stream", "err").out == "备份 failed\n"


def test_pages_and_tail_cut_lines_of_both_streams(world: World, task: int, reconciler: Command) -> None:
    world.run(task, NOW, output="".join(f"out {n}\n" for n in range(5)), error="err 0\nerr\x0b1")
    pages = [reconciler("logs", "backup", "--page", str(n), "--page-size", "3").out for n in (1, 2, 3)]
    assert pages == ["out 0\nout 1\nout 2\n", "out 3\nout 4\nerr 0\n", "err\x0b1\n"]
    assert reconciler("logs", "backup", "--tail", "2").out == "err 0\nerr\x0b1\n"
    assert reconciler("logs", "backup", "--tail", "99", "--stream", "err").out == "err 0\nerr\x0b1\n"
    assert reconciler("logs", "backup", "--page", "1", "--page-size", "9" * 30).out.count("\n") == 7
    said = reconciler("logs", "backup", "--page", "4", "--page-size", "3")
    assert said.code == 64
    assert "there is no page 4: 7 lines are 3 pages of 3" in said.err


def test_what_was_left_out_is_told_with_counts(world: World, task: int, reconciler: Command) -> None:
    world.run(
        task, NOW, output="a…b", output_bytes=52_428_800, truncated=1, archive="/archive/7.gz", error="x",
        error_bytes=1,
    )  # fmt: skip
    said = reconciler("logs", "backup")
    assert "out: 5 of 52,428,800 bytes were kept, head and tail" in said.err
    assert "'/archive/7.gz' is not the place of an archive; this is what the row keeps:" in said.err
    assert "err:" not in said.err
    assert "52,428,800" not in reconciler("logs", "backup", "--stream", "err").err


def test_a_task_means_its_latest_run_and_not_what_was_skipped_or_waits(
    world: World, task: int, reconciler: Command
) -> None:
    world.run(task, NOW - 3 * HOUR, output="older\n")
    world.run(task, NOW - 2 * HOUR, output="latest\n")
    world.run(task, NOW - HOUR, status=3)
    world.run(task, NOW, status=0, seconds=None)
    assert reconciler("logs", "backup").out == "latest\n"


def test_a_task_that_never_ran_says_what_happened_instead(
    world: World, task: int, reconciler: Command
) -> None:
    said = reconciler("logs", "backup")
    assert (said.code, said.out) == (1, "")
    assert "task backup@db-1 has no run yet" in said.err
    world.run(task, NOW, status=3, reason="missed")
    assert "its newest entry is skipped: missed" in reconciler("logs", "backup").err


def test_a_running_one_says_that_its_output_comes_at_the_end(
    world: World, task: int, reconciler: Command
) -> None:
    world.run(task, NOW, status=0)
    said = reconciler("logs", "backup")
    assert (said.code, said.out) == (0, "")
    assert "its output is stored when it ends; --follow shows it while it runs" in said.err


def test_following_waits_for_the_end(
    world: World, task: int, reconciler: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world.run(task, NOW, status=0, seconds=None)
    steps: Iterator[dict[str, Any]] = iter(
        [
            {"started_at": NOW},
            {"status": 1, "reason": "completed", "exit_code": 0, "finished_at": NOW, "output": "done\n"},
        ]
    )

    def sleep(self: SystemClock, seconds: float) -> None:
        with world.db.write() as conn:
            conn.execute(update(Execution).where(Execution.id == run).values(**next(steps)))

    monkeypatch.setattr(SystemClock, "sleep", sleep)
    said = reconciler("logs", "backup", "--follow")
    assert (said.code, said.out) == (0, "done\n")
    assert [line for line in said.err.splitlines() if line.endswith("…")] == [
        f"execution {run} is waiting …",
        f"execution {run} is running …",
    ]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["bakup"], 1, "there is no task 'bakup'"),
        (["123"], 1, "there is no execution and no task 123"),
        (["backup", "--tail", "1", "--page", "1"], 64, "exclude each other"),
        (["backup", "--page-size", "1"], 64, "--page-size needs --page"),
    ],
)
def test_what_cannot_be_is_an_exact_error(
    world: World, task: int, reconciler: Command, words: list[str], code: int, message: str
) -> None:
    said = reconciler("logs", *words)
    assert (said.code, said.out) == (code, "")
    assert message in said.err
