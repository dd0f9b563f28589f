"""``describe``: everything about one object, in both forms."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.cli.reading.conftest import Command
from tests.report.world import COMMIT, NOW, World

HOUR = timedelta(hours=1)


@pytest.fixture
def task(world: World) -> int:
    world.server("db-1", spec={"maxConcurrentRuns": 4}, labels={"role": "db"})
    return world.task(
        "backup",
        "db-1",
        spec={"command": "set -e\npg_dump app\n", "schedule": "30 2 * * *", "timezone": "Europe/Berlin"},
        labels={"tier": "gold"},
        annotations={"owner": "data"},
    )


def test_a_task_leads_back_to_its_line_commit_and_author(
    world: World, task: int, reconciler: Command
) -> None:
    world.run(task, NOW - HOUR, 10, id=7000000000000000001)
    out = reconciler("describe", "task", "backup").out
    for line in (
        "Task backup@db-1  Healthy, Synced",
        "  declared    tasks.yaml:3",
        f"  commit      {COMMIT}",
        "  author      Ann Lee <ann@example.net>",
        "  schedule    30 2 * * *  in Europe/Berlin",
        "  takes       10s on average",
        "      tier: gold",
        "    command: |",
        "      pg_dump app",
        "  2026-03-02 01:30:00 UTC  Mon 02:30 Europe/Berlin  in 13h",
        "  2026-03-29 01:00:00 UTC (2026-03-29 03:00 Europe/Berlin): clock goes forward",
        "  2026-10-25 00:30:00 UTC (2026-10-25 02:30 Europe/Berlin): this local time comes twice",
    ):
        assert line in out.splitlines(), line
    assert "7000000000000000001  backup@db-1  success" in out


def test_a_task_in_json_has_the_shape_of_get_and_more(world: World, task: int, reconciler: Command) -> None:
    world.run(task, NOW - HOUR, 10)
    world.suspend(task=task)
    shape = reconciler("describe", "task", "shop/backup@db-1", "-o", "json").json
    (item,) = reconciler("get", "tasks", "-o", "json").json["items"]
    assert {key: shape[key] for key in item} == item
    assert shape["commit"] == COMMIT
    assert shape["author"] == "Ann Lee <ann@example.net>"
    assert shape["annotations"] == {"owner": "data"}
    assert shape["spec"]["command"] == "set -e\npg_dump app\n"
    assert shape["averageSeconds"] == 10.0
    assert [run["state"] for run in shape["lastRuns"]] == ["success"]
    assert shape["suspensions"] == [
        {
            "by": "ann@laptop",
            "reason": "migration of the database",
            "since": "2026-03-01T11:00:00.000000Z",
            "until": None,
            "of": "task",
        }
    ]
    assert shape["nextRuns"] == []
    assert shape["dstEvents"][0] == {"at": "2026-03-29T01:00:00.000000Z", "note": "dst-gap"}


def test_a_hashed_schedule_shows_what_it_came_to(world: World, task: int, reconciler: Command) -> None:
    world.task("spread", "db-1", spec={"schedule": "H H(0-5) * * MON"})
    shape = reconciler("describe", "task", "spread", "-o", "json").json
    minute, hour, *rest = shape["resolvedSchedule"].split()
    assert (int(minute) < 60, int(hour) < 6, rest) == (True, True, ["*", "*", "1"])
    text = reconciler("describe", "task", "spread").out
    assert f"  schedule    H H(0-5) * * MON  = {shape['resolvedSchedule']}  in UTC" in text


def test_a_server_shows_its_tasks_and_last_runs(world: World, task: int, reconciler: Command) -> None:
    world.run(task, NOW - HOUR, 10)
    out = reconciler("describe", "server", "db-1").out
    assert "Server db-1  Healthy, Synced" in out
    assert "  address     deploy@10.0.0.1 port 22" in out
    assert "    maxConcurrentRuns: 4" in out
    assert "  backup  shop     30 2 * * *    in 14h" in out
    shape = reconciler("describe", "server", "db-1", "-o", "json").json
    assert shape["spec"]["maxConcurrentRuns"] == 4
    assert shape["tasks"] == [{"name": "backup", "project": "shop", "nextRun": "2026-03-02T02:00:00.000000Z"}]
    assert len(shape["lastRuns"]) == 1


def test_an_execution_shows_its_end_and_its_output(world: World, task: int, reconciler: Command) -> None:
    run = world.run(
        task, NOW - HOUR, 1.5, status=2, exit_code=3, output="dumping\n", error="no\x1b[2J space\n",
        output_bytes=8, error_bytes=9000, truncated=1, output_sha256="a" * 64,
    )  # fmt: skip
    out = reconciler("describe", "execution", str(run)).out
    assert f"Execution {run}  failed: exit code 3" in out
    assert "  error       9,000 bytes, 13 kept" in out
    assert "  no\\x1b[2J space" in out
    shape = reconciler("describe", "execution", str(run), "-o", "json").json
    assert (shape["output"], shape["error"]) == ("dumping\n", "no\x1b[2J space\n")
    assert (shape["outputSha256"], shape["errorSha256"]) == ("a" * 64, None)
    assert shape["author"] == "Ann Lee <ann@example.net>"


def test_an_execution_says_what_was_not_kept_and_why(world: World, task: int, reconciler: Command) -> None:
    remark = "its whole output is not in the archive: the archive /a cannot be written: no space is left"
    lines = "".join(f"line {number}\n" for number in range(30))
    run = world.run(task, NOW - HOUR, 1.5, output=lines, output_bytes=900_000, truncated=1, remark=remark)
    out = reconciler("describe", "execution", str(run)).out
    assert f"  remark      {remark}" in out
    assert f"  what was kept, its head and its tail: reconciler logs {run}" in out
    assert reconciler("describe", "execution", str(run), "-o", "json").json["remark"] == remark


def test_a_start_that_may_have_arrived_counts_and_says_so(
    world: World, task: int, reconciler: Command
) -> None:
    run = world.run(task, NOW - HOUR, status=0, started_at=None, finished_at=None, start_sent_at=NOW - HOUR)
    out = reconciler("describe", "execution", str(run)).out
    assert "  start sent  2026-03-01 11:00:00 UTC" in out
    assert "; it counts as started until its host says otherwise" in out
    shape = reconciler("describe", "execution", str(run), "-o", "json").json
    assert (shape["startSentAt"], shape["startedAt"]) == ("2026-03-01T11:00:00.000000Z", None)
    said = reconciler("explain", "backup", "--at", "2026-03-01T11:30:00Z").out
    assert "its start was sent at 2026-03-01 11:00:00 UTC, and it counts as started until" in said


def test_a_revision_shows_what_it_changed(world: World, reconciler: Command) -> None:
    changes: list[dict[str, Any]] = [
        {"action": "create", "kind": "Server", "name": "db-1", "server": None, "path": "s.yaml", "line": 2},
        {
            "action": "update",
            "kind": "Task",
            "name": "backup",
            "server": "db-1",
            "fields": {
                "spec.timeout": {"before": None, "after": "30m"},
                "spec.after": {"before": ["a"], "after": []},
                "spec.command": {
                    "before": "".join(f"echo step number {number}\n" for number in range(9)),
                    "after": "".join(
                        f"echo step number {'six' if number == 6 else number}\n" for number in range(9)
                    ),
                },
            },
        },
        "of a later version",  # type: ignore[list-item]
    ]
    number = world.revision(changes=changes, dirty=1)
    out = reconciler("describe", "revision", str(number)).out
    assert f"Revision {number}  2 create" in out
    assert f"  commit   {COMMIT} with local changes" in out
    assert "  create server db-1  s.yaml:2" in out
    assert '    spec.timeout: none → "30m"' in out
    assert "    spec.after: [a] → []" in out
    told = (
        "    spec.command:",
        "      …",
        "        echo step number 5",
        "      - echo step number 6",
        "      + echo step number six",
        "        echo step number 7",
        "      …",
    )
    assert "\n".join(told) in out
    shape = reconciler("describe", "revision", str(number), "-o", "json").json
    assert shape["changes"] == changes


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["task", "bakup"], 1, "there is no task 'bakup'"),
        (["server", "db-2"], 1, "there is no server 'db-2'"),
        (["execution", "7"], 1, "there is no execution 7"),
        (["execution", "backup"], 64, "'backup' is not the id of an execution"),
        (["revision", "x"], 64, "'x' is not the number of a revision"),
        (["revision", "777777"], 1, "there is no revision 777777"),
    ],
)
def test_an_unknown_object_is_an_exact_error(
    world: World, task: int, reconciler: Command, words: list[str], code: int, message: str
) -> None:
    said = reconciler("describe", *words)
    assert (said.code, said.out) == (code, "")
    assert message in said.err
