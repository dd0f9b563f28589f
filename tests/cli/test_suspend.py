"""`reconciler suspend` and `resume`: whose slots are skipped, until when, and that it ends by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.cli.main import main
from reconciler.dispatch.suspending import Wanted, resume, suspend
from reconciler.store.engine import Database
from reconciler.store.listing import suspensions
from tests.acceptance.conftest import program
from tests.acceptance.driver import Program, documents, eventually, write_tree
from tests.report.world import World
from tests.services.clock import FakeClock
from tests.store.conftest import db, migrated, migrated_mariadb, migrated_mysql, url

__all__ = ["db", "migrated", "migrated_mariadb", "migrated_mysql", "program", "url"]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SERVER = """\
apiVersion: reconciler/v1
kind: Server
metadata: {name: here}
spec: {host: localhost, connection: local}
"""
TASK = """\
apiVersion: reconciler/v1
kind: Task
metadata: {name: NAME, labels: {tier: TIER}}
spec: {server: here, schedule: "@every 1s", command: "true"}
"""


@pytest.fixture
def world(db: Database) -> World:
    made = World(db)
    made.server("web-1")
    made.task("backup", "web-1", labels={"tier": "gold"})
    made.task("report", "web-1", labels={"tier": "tin"})
    return made


def in_force(world: World, now: datetime = NOW) -> list[tuple[str | None, str | None]]:
    """Reason and end of what has not ended at ``now``."""
    with world.db.read() as connection:
        found = suspensions(connection, now)
    return sorted((item.reason, item.until.strftime("%H:%M") if item.until else None) for item in found)


def test_a_suspension_replaces_the_one_before_and_ends_by_itself(world: World) -> None:
    clock = FakeClock(NOW)
    for reason, seconds in (("first", 3600), ("second", 7200)):
        until, (changed,) = suspend(world.db, clock, Wanted(["backup"]), seconds, reason, "ann@laptop")
    assert (changed.name, changed.before) == ("task shop/backup@web-1", True)
    assert until == NOW + timedelta(hours=2)
    assert in_force(world) == [("second", "14:00")]
    assert in_force(world, until) == []


def test_resume_ends_exactly_what_is_named(world: World) -> None:
    clock = FakeClock(NOW)
    suspend(world.db, clock, Wanted(["backup"]), 3600, "task", "ann")
    suspend(world.db, clock, Wanted(projects=["shop"]), 3600, "project", "ann")
    suspend(world.db, clock, Wanted(everything=True), 3600, "all", "ann")
    clock.advance(60)
    assert [item.before for item in resume(world.db, clock, Wanted(["backup"]))] == [True]
    assert [item.before for item in resume(world.db, clock, Wanted(["backup"]))] == [False]
    assert in_force(world, clock.now()) == [("all", "13:00"), ("project", "13:00")]
    # what it covered stays covered: a slot of that minute, claimed late, is still skipped
    assert ("task", "12:01") in in_force(world)
    resume(world.db, clock, Wanted(everything=True))
    resume(world.db, clock, Wanted(projects=["shop"]))
    assert in_force(world, clock.now()) == []


def test_labels_select_tasks_as_they_are_now(world: World) -> None:
    clock = FakeClock(NOW)
    _, changed = suspend(world.db, clock, Wanted(labels={"tier": "gold"}), 60, "r", "ann")
    assert [item.name for item in changed] == ["task shop/backup@web-1"]


Type = Callable[..., tuple[int, str, str]]


@pytest.fixture
def type_in(world: World, url: str, capsys: pytest.CaptureFixture[str]) -> Type:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(["--database", url, *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_it_says_what_is_suspended_until_when(type_in: Type) -> None:
    code, out, _ = type_in(
        "suspend", "backup", "--for", "2h", "--reason", "migration  of\nthe disk", "-o", "json"
    )
    (item,) = json.loads(out)["items"]
    assert (code, item["name"], item["reason"]) == (0, "task shop/backup@web-1", "migration of the disk")
    assert type_in("suspend", "backup", "--for", "1h", "--reason", "x")[1].endswith(
        "(in place of the suspension before)\n"
    )
    (task,) = [
        item for item in json.loads(type_in("status", "-o", "json")[1])["objects"] if item["name"] == "backup"
    ]
    (message,) = [item["message"] for item in task["conditions"] if item["type"] == "Suspended"]
    assert message.startswith("by ")
    assert message.endswith(": x")
    assert type_in("resume", "backup") == (0, "task shop/backup@web-1 is resumed\n", "")
    assert type_in("resume", "--all") == (0, "everything was not suspended as a whole\n", "")


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_resuming_everything_says_what_is_suspended_beside_it(type_in: Type) -> None:
    """`everything is resumed` sent a person to bed, and the project stood still."""
    for whom in ("--all", "--project=shop"):
        assert type_in("suspend", whom, "--for", "2h", "--reason", "x")[0] == 0
    assert "suspended in this time or a part of it: " in type_in("schedule")[1]
    assert type_in("resume", "--all") == (
        0,
        "everything is no longer suspended as a whole\n",
        "1 other suspension is still in force: `reconciler status` shows whom they hold\n",
    )
    assert type_in("resume", "--project", "shop") == (0, "project shop is resumed\n", "")
    assert "suspended" not in type_in("schedule")[1]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["suspend", "backup", "--reason", "x"], 64, "--for"),
        (["suspend", "backup", "--for", "2h"], 64, "--reason"),
        (["suspend", "backup", "--for", "2h", "--reason", " "], 64, "--reason takes"),
        (["suspend", "backup", "--for", "0s", "--reason", "x"], 64, "--for"),
        (["suspend", "backup", "--for", "soon", "--reason", "x"], 64, "soon"),
        (["suspend", "--for", "2h", "--reason", "x"], 64, "suspend what?"),
        (["suspend", "backup", "--all", "--for", "2h", "--reason", "x"], 64, "--all is everything"),
        (["suspend", "nothing", "--for", "2h", "--reason", "x"], 1, "nothing"),
        (["suspend", "--project", "none", "--for", "2h", "--reason", "x"], 1, "none"),
        (["suspend", "-l", "a=b", "--for", "2h", "--reason", "x"], 1, "no task has the labels a=b"),
        (["resume"], 64, "resume what?"),
    ],
)
def test_what_cannot_be_suspended_is_told(type_in: Type, words: list[str], code: int, said: str) -> None:
    got, out, err = type_in(*words)
    assert (got, out) == (code, "")
    assert said in err


def states(one: Program, task: str) -> list[tuple[str, str]]:
    return [(item["state"], item["reason"]) for item in one.executions(task)]


@pytest.mark.mariadb
def test_slots_of_what_is_suspended_are_skipped_over_a_restart_and_then_run_again(
    program: Callable[..., Program], mariadb_url: str, tmp_path: Path
) -> None:
    one = program(mariadb_url)
    one("db", "upgrade").ok()
    tasks = [TASK.replace("NAME", name).replace("TIER", name) for name in ("gold", "tin")]
    tree = write_tree(tmp_path / "tree", {"fleet.yaml": documents([SERVER, *tasks])})
    one.start("up", str(tree))
    eventually(lambda: one("get", "tasks", "-o", "json").json["items"])
    eventually(lambda: ("success", "completed") in states(one, "gold"))
    one("suspend", "gold", "--for", "1h", "--reason", "maintenance").ok()
    eventually(lambda: ("skipped", "suspended") in states(one, "gold"))
    (task,) = [item for item in one.json("status")["objects"] if item["name"] == "gold"]
    assert task["health"] == "Suspended"
    one.close()

    begun = one.executions("gold")[0]["scheduledFor"]
    one.start("up", str(tree))
    later = eventually(lambda: [item for item in one.executions("gold") if item["scheduledFor"] > begun])
    assert {item["reason"] for item in later} <= {"suspended", "missed"}
    assert ("success", "completed") in states(one, "tin")[:5]
    # a manual run does not care
    assert one("run", "gold", "--wait").code == 0
    one("resume", "gold").ok()
    eventually(lambda: states(one, "gold")[0] == ("success", "completed"))
    assert one.json("plan", str(tree))["drift"] == []
