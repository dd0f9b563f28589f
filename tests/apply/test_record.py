"""Who did it: users and revisions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler.apply import remember
from tests.apply.states import NOON, World, commit, server, task, tree


def creator(world: World, table: str = "tasks") -> dict[str, Any]:
    return world.one(
        f"SELECT u.username, u.display_name, u.email FROM users u JOIN {table} t ON t.created_by = u.id"
    )


ADA = {"username": "ada@example.net", "display_name": "Ada", "email": "ada@example.net"}
OTTO = {"username": "otto@ci", "display_name": "", "email": None}
COMMITS = {
    "a clean commit": (commit(), ADA),
    "a dirty tree": (commit(dirty=True), OTTO),
    "no git": (None, OTTO),
    "a commit without an e-mail": (commit(email=""), OTTO),
}


@pytest.mark.parametrize("case", COMMITS)
def test_created_by_is_the_commits_author_or_else_who_applied(small_world: World, case: str) -> None:
    made, who = COMMITS[case]
    small_world.apply(tree(server("db-1"), task("a"), commit=made))
    assert creator(small_world) == creator(small_world, "servers") == who


def test_a_later_author_does_not_become_the_creator(small_world: World) -> None:
    small_world.apply(tree(server("db-1"), task("a"), commit=commit()))
    small_world.apply(tree(server("db-1"), task("a", timeout="2h"), commit=commit(email="eva@example.net")))
    assert creator(small_world) == ADA
    assert len(small_world.rows("SELECT id FROM users")) == 2


def test_users_are_told_apart_exactly(world: World) -> None:
    for number, email in enumerate(
        ["ada@example.net", "Ada@example.net", "adá@example.net", "ada@example.net"]
    ):
        world.apply(tree(server("db-1", port=number + 1), commit=commit(email=email)))
    assert len(world.rows("SELECT id FROM users")) == 3


def test_a_revision_tells_all_of_it(world: World) -> None:
    world.apply(tree(server("db-1"), task("a"), commit=commit("1" * 40)))
    world.sql("UPDATE servers SET port = 99")
    world.clock.advance(60)
    applied = world.apply(
        tree(server("db-1"), task("a", timeout="2h"), task("b"), commit=commit("2" * 40, dirty=True))
    )
    assert applied.revision is not None
    row = world.one(
        "SELECT id, project_id, `commit`, branch, author, message, dirty, applied_by, digest, released,"
        " counts, changes FROM revisions ORDER BY id DESC LIMIT 1"
    )
    changes, counts = json.loads(row.pop("changes")), json.loads(row.pop("counts"))
    assert row == {
        "id": applied.revision.id,
        "project_id": world.one("SELECT id FROM projects")["id"],
        "commit": "2" * 40,
        "branch": "main",
        "author": "Ada <ada@example.net>",
        "message": "change 2222",
        "dirty": 1,
        "applied_by": "otto@ci",
        "digest": applied.plan.digest,
        "released": None,
    }
    assert counts == {
        "create": 1, "update": 1, "rename": 0, "delete": 0, "restore": 0, "unchanged": 0, "heal": 1,
    }  # fmt: skip
    assert [(one["action"], one["kind"], one["name"], one["server"]) for one in changes] == [
        ("update", "Task", "a", "db-1"),
        ("create", "Task", "b", "db-1"),
        ("heal", "Server", "db-1", None),
    ]
    assert changes[0]["fields"] == {"spec.timeout": {"before": "1h", "after": "2h"}}
    assert changes[2]["fields"] == {"spec.port": {"before": 99, "after": 22}}
    assert {(one["path"], one["line"]) for one in changes} == {("tasks.yaml", 1), ("servers.yaml", 1)}
    assert applied.revision.applied_at == world.clock.now() != NOON
    assert world.rows("SELECT kind FROM outbox") == []


def test_every_row_leads_to_the_revision_of_its_last_change(small_world: World) -> None:
    small_world.apply(tree(server("db-1"), task("a"), task("b")))
    small_world.apply(tree(server("db-1"), task("a", timeout="2h"), task("b")))
    assert small_world.server_row()["revision_id"] == small_world.task_row("b")["revision_id"] == 1
    assert small_world.task_row("a")["revision_id"] == 2
    assert small_world.one("SELECT revision_id FROM projects") == {"revision_id": 2}


def test_long_words_of_other_programs_do_not_stop_an_apply(world: World) -> None:
    long = commit(email="x" * 300 + "@example.net")
    applied = world.apply(
        tree(server("db-1", at=("d/" * 600 + "x.yaml", 1)), commit=long, source="s" * 2000),
        applied_by="o" * 300,
        owner="o" * 300,
    )
    assert applied.revision is not None
    assert world.apply(tree(server("db-1"), commit=long)).revision is None


def test_a_revision_of_very_much_stays_within_bounds(
    small_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remember, "WITH_FIELDS", 4000)
    monkeypatch.setattr(remember, "ENOUGH", 8000)
    long = "x" * (remember.LONGEST + 5000)
    small_world.apply(
        tree(server("db-1"), *(task(f"t{number}") for number in range(60)), task("a", command=long))
    )
    changes = json.loads(small_world.one("SELECT changes FROM revisions")["changes"])
    assert sum(bool(one["fields"]) for one in changes) > 5
    assert changes[-1]["action"] == "omitted"
    assert "more changes" in changes[-1]["reason"]
    assert len(changes) < 60


def test_a_long_text_keeps_its_beginning_and_its_end(small_world: World) -> None:
    long = "begin" + "x" * remember.LONGEST + "end"
    small_world.apply(tree(server("db-1"), task("a", command=long)))
    assert small_world.task_row("a")["command"] == long
    (_, made) = json.loads(small_world.one("SELECT changes FROM revisions")["changes"])
    kept = made["fields"]["spec.command"]["after"]
    assert kept.startswith("begin")
    assert kept.endswith("end")
    assert "8 characters left out" in kept


def test_no_secret_is_in_any_row_only_the_name_of_its_source(small_world: World) -> None:
    small_world.apply(tree(server("db-1"), task("a", secrets={"PGPASSWORD": {"env": "ONE"}})))
    small_world.apply(tree(server("db-1"), task("a", secrets={"PGPASSWORD": {"env": "TWO"}})))
    changes = json.loads(small_world.one("SELECT changes FROM revisions WHERE id = 2")["changes"])
    assert changes[0]["fields"] == {"spec.secrets.PGPASSWORD.env": {"before": "ONE", "after": "TWO"}}
