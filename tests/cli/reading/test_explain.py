"""``explain``: its shape, its text, its errors."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler.report.explain_text import _prose
from reconciler.store.tables import Task
from tests.cli.reading.conftest import Command, on_each_database
from tests.report.world import NOW, World

HOUR = timedelta(hours=1)
NIGHT = NOW - 11 * HOUR
"""Two o'clock that night in Berlin."""

SKIPPED = """\
backup@db-1 at 2026-03-01 02:00 Europe/Berlin (01:00:00 UTC)  skipped: overlap

  The slot of 2026-03-01 02:00 Europe/Berlin (01:00:00 UTC) was skipped, because of an overlap: in its \
way was execution 7, asked for by bob, which began at 2026-03-01 00:30:00 UTC and ended \
at 2026-03-01 01:30:00 UTC.
  `concurrency: queue` would have let it wait, `replace` would have ended the other, `allow` would have \
started it beside.

  previous slot  2026-02-28 02:00 Europe/Berlin (01:00:00 UTC), 35h ago
  next slot      2026-03-02 02:00 Europe/Berlin (01:00:00 UTC), in 13h

Next runs
  LOCAL                                   UTC                              NOTE
  Mon 2026-03-02 02:00 CET Europe/Berlin  2026-03-02 01:00:00 UTC  in 13h
"""


@pytest.fixture
def task(world: World) -> int:
    world.server("db-1")
    due = NIGHT + 24 * HOUR
    spec = {"schedule": "0 2 * * *", "timezone": "Europe/Berlin"}
    return world.task("backup", "db-1", spec=spec, next_slot=due, next_run=due)


@on_each_database
def test_the_shape_has_every_field(world: World, task: int, reconciler: Command) -> None:
    run = world.run(task, NIGHT)
    shape = reconciler("explain", "shop/backup@db-1", "--at", "2026-03-01T02:00:00+01:00", "-o", "json").json
    expected = {
        "task": "backup",
        "server": "db-1",
        "at": "2026-03-01T01:00:00.000000Z",
        "verdict": "ran",
        "reason": "completed",
        "execution": str(run),
        "previousSlot": "2026-02-28T01:00:00.000000Z",
        "nextSlot": "2026-03-02T01:00:00.000000Z",
        "note": None,
    }
    assert list(shape)[: len(expected)] == list(expected)
    assert {key: shape[key] for key in expected} == expected
    assert [item["id"] for item in shape["runs"]] == [str(run)]
    assert shape["nextRuns"][0]["at"] == "2026-03-02T01:00:00.000000Z"


def test_the_text_answers_like_a_person(world: World, task: int, reconciler: Command) -> None:
    begun = NIGHT - HOUR / 2
    world.run(task, begun, 3600, id=7, trigger="manual", requested_by="bob")
    world.run(task, NIGHT, status=3)
    out = reconciler("explain", "backup", "--at", "2026-03-01T01:00:00Z").out
    lines, expected = out.splitlines(), SKIPPED.splitlines()
    assert lines[: len(expected) - 2] == expected[:-2]
    assert lines[-5].split("  ")[1:3] == ["Mon 2026-03-02 02:00 CET Europe/Berlin", "2026-03-02 01:00:00 UTC"]


def test_the_next_slot_is_not_promised_while_a_suspension_covers_it(
    world: World, task: int, reconciler: Command
) -> None:
    world.run(task, NIGHT)
    world.suspend(
        project="shop", since=NOW - HOUR, until=NOW + 48 * HOUR, by="ann@laptop", reason="migration"
    )
    why = (
        "suspended with its project by ann@laptop from 2026-03-01 11:00:00 UTC until 2026-03-03 12:00:00 UTC:"
        " migration"
    )
    assert reconciler("explain", "backup", "-o", "json").json["nextSlotForbidden"] == why
    assert f"does not run: {why}" in reconciler("explain", "backup").out
    after = reconciler("explain", "backup", "--at", "2026-03-04T00:00:00Z", "-o", "json").json
    assert after["nextSlotForbidden"] is None


def test_sentences_fit_the_terminal() -> None:
    assert _prose("The slot was skipped, because it overlaps.", None) == [
        "  The slot was skipped, because it overlaps."
    ]
    assert _prose("The slot was skipped, because it overlaps.", 20) == [
        "  The slot was", "  skipped, because", "  it overlaps.",
    ]  # fmt: skip


def test_the_night_that_has_no_two_o_clock(world: World, task: int, reconciler: Command) -> None:
    said = reconciler("explain", "backup", "--at", "2026-03-28T12:00:00Z", "-o", "json").json
    assert (said["verdict"], said["nextSlot"]) == ("not-due", "2026-03-29T01:00:00.000000Z")
    assert said["nextRuns"][0]["note"] == "dst-gap"
    out = reconciler("explain", "backup", "--at", "2026-03-29T01:00:00Z").out
    assert "upcoming: scheduled" in out
    assert "  Clock goes forward (dst-gap)." in out
    assert "Sun 2026-03-29 03:00 CEST Europe/Berlin" in out


def test_without_a_time_it_is_the_newest_slot_until_now(world: World, task: int, reconciler: Command) -> None:
    world.change(Task, task, next_slot=NIGHT, next_run=NIGHT)
    shape = reconciler("explain", "backup", "-o", "json").json
    assert (shape["at"], shape["verdict"], shape["reason"], shape["execution"]) == (
        "2026-03-01T12:00:00.000000Z", "overdue", "not-claimed", None,
    )  # fmt: skip
    assert shape["slot"] == "2026-03-01T01:00:00.000000Z"


def test_a_slot_before_the_task_was_applied_is_marked(world: World, task: int, reconciler: Command) -> None:
    out = reconciler("explain", "backup", "--at", "2026-02-25T12:00:00Z").out
    (line,) = [line for line in out.splitlines() if line.startswith("  previous slot")]
    assert line.endswith("  by the present schedule, not in force then")
    out = reconciler("explain", "backup", "--at", "2026-02-28T12:00:00Z").out
    assert "not in force" not in out


def test_attempts_are_listed(world: World, task: int, reconciler: Command) -> None:
    world.run(task, NIGHT, status=2)
    world.run(task, NIGHT, attempt=2, status=2, trigger="retry")
    out = reconciler("explain", "backup").out
    assert "Attempts" in out
    assert out.count("failed: exit code 1") == 2


def test_a_task_on_several_servers_is_ambiguous(world: World, task: int, reconciler: Command) -> None:
    world.server("db-2")
    world.task("backup", "db-2")
    said = reconciler("explain", "backup", "-o", "json")
    assert (said.code, said.json["error"]["message"]) == (1, "'backup' fits 2 tasks")
    assert said.json["error"]["details"]["candidates"] == ["shop/backup@db-1", "shop/backup@db-2"]
    assert reconciler("explain", "backup@db-2").code == 0


def test_a_deleted_task_still_answers_for_its_history(world: World, task: int, reconciler: Command) -> None:
    run = world.run(task, NIGHT)
    world.change(Task, task, deleted_at=NOW - HOUR, status=0, next_run=None, next_slot=None)
    at = ("--at", "2026-03-01T01:00:00Z")
    assert reconciler("explain", "backup", *at, "-o", "json").json["execution"] == str(run)
    shape = reconciler("explain", "backup", "--at", "2026-03-02T01:00:00Z", "-o", "json").json
    assert (shape["verdict"], shape["reason"], shape["nextSlot"]) == ("not-due", "deleted", None)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["bakup"], 1, "there is no task 'bakup'"),
        (["a b@c@d"], 64, "'a b@c@d' is no task"),
        (["backup", "--at", "2026-03-01T02:00:00"], 64, "is not an RFC 3339 time"),
        (["backup", "--at", "9999-01-01T00:00:00Z"], 64, "--at is a time from 1970-01-02 to 9980-01-01"),
        ([], 64, "required: TASK"),
    ],
)
def test_a_bad_argument_is_an_exact_error(
    world: World, task: int, reconciler: Command, words: list[str], code: int, message: str
) -> None:
    said = reconciler("explain", *words)
    assert said.code == code
    assert message in said.err
