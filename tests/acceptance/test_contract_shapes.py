"""Every JSON shape of the command line's contract, of real applies and real runs in a git work tree."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import contract
from tests.acceptance.contract import check, command
from tests.acceptance.driver import ROOT, documents, write_tree
from tests.manifest.trees import project, task
from tests.services.git import GitRepository

pytestmark = pytest.mark.timeout(120)

HERE = """\
apiVersion: reconciler/v1
kind: Server
metadata: {name: here, labels: {role: db}}
spec: {host: localhost, connection: local}
"""
GOOD = "echo out; echo err >&2"
BERLIN = "server: here\ncommand: echo nightly\nschedule: 30 2 * * *\ntimezone: Europe/Berlin\nafter: [good]"


def fleet(timeout: str, often: str = "6h") -> str:
    return documents(
        [
            project("prune: true"),
            HERE,
            HERE.replace("name: here", "name: there"),
            task(f"servers: [here, there]\ncommand: {GOOD}\nschedule: '@every {often}'", "good"),
            task(f"server: here\ncommand: exit 3\nschedule: '@every {often}'\ntimeout: {timeout}", "bad"),
            task(BERLIN, "备份"),
            task("server: there\ncommand: echo asked", "asked"),
        ]
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two commits, applied, some seconds of runs in between, and a third that waits for its apply."""
    folder = tmp_path_factory.mktemp("contract")
    with pytest.MonkeyPatch.context() as patched:
        for name in os.environ:
            if name.startswith("RECONCILER_"):
                patched.delenv(name)
        patched.setenv("RECONCILER_ALLOW_LOCAL", "1")
        patched.setenv("RECONCILER_DATABASE_URL", f"sqlite:///{folder}/state.db")
        git = GitRepository(folder / "repository")
        patched.chdir(git.path)
        write_tree(
            git.path, {"manifests/deep/fleet.yaml": fleet("1h", "1s"), ".gitignore": ".reconciler/\n*.plan\n"}
        )
        git.commit("the fleet")
        assert command("apply", "--yes").code == 0
        run_all()
        write_tree(git.path, {"manifests/deep/fleet.yaml": fleet("2h")})
        git.commit("longer")
        assert command("apply", "--yes").code == 0
        later = fleet("2h").replace("30 2 * * *", "30 3 * * *").replace("name: asked", "name: new")
        write_tree(git.path, {"manifests/deep/fleet.yaml": later})
        git.commit("later")
        yield git.path


def run_all() -> None:
    """Until each task of every second has run: on a busy machine some seconds may not be enough."""
    while not ended() >= {("good", "success"), ("bad", "failed")}:
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", "up", "manifests", "--for", "3s"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def ended() -> set[tuple[str, str]]:
    items = command("get", "executions", "-o", "json").json["items"]
    return {(item["task"], item["state"]) for item in items}


SHAPES: dict[str, tuple[Any, int]] = {
    "validate": (contract.VALIDATE, 0),
    "validate manifests manifests": (contract.VALIDATE, 0),
    "plan": (contract.PLAN, 0),
    "plan --exit-code": (contract.PLAN, 2),
    "plan --target Task/备份": (contract.PLAN, 0),
    "get tasks": (contract.TASKS, 0),
    "get tasks good bad": (contract.TASKS, 0),
    "get tasks billing/good@there": (contract.TASKS, 0),
    "get tasks --server here --project billing": (contract.TASKS, 0),
    "get tasks --deleted": (contract.TASKS, 0),
    "get tasks -l nothing=here": (contract.TASKS, 0),
    "get servers -l role=db --since 1d": (contract.LIST, 0),
    "get projects": (contract.LIST, 0),
    "get executions": (contract.EXECUTIONS, 0),
    "get executions bad --state failed": (contract.EXECUTIONS, 0),
    "get executions good@here --limit 2": (contract.EXECUTIONS, 0),
    "get revisions": (contract.REVISIONS, 0),
    "schedule": (contract.SCHEDULE, 0),
    "schedule --from 2026-03-28T23:00:00+01:00 --until 2026-03-29T02:30:00Z": (contract.SCHEDULE, 0),
    "explain bad": (contract.EXPLAIN, 0),
    "explain 备份": (contract.EXPLAIN, 0),
    "explain 备份 --at 2020-01-01T00:00:00+01:00": (contract.EXPLAIN, 0),
    "status": (contract.STATUS, 0),
    "describe task bad": (contract.TASKS["items"][0], 0),
    "describe server here": ({"name": "here"}, 0),
    "describe revision 1": (contract.REVISIONS["items"][0], 0),
    "version": ({"version": str}, 0),
    "settings": ({"items": [{"name": str, "origin": str}]}, 0),
}


@pytest.mark.parametrize("words", SHAPES)
def test_a_command_prints_its_shape_and_nothing_else(words: str, place: Path) -> None:
    shape, code = SHAPES[words]
    said = command(*words.split(), "-o", "json")
    assert (said.code, said.err) == (code, "")
    check(said.json, shape, words)


def test_executions_say_all_that_is_known_of_them(place: Path) -> None:
    first, second = (
        item["commit"] for item in reversed(command("get", "revisions", "-o", "json").json["items"])
    )
    assert first != second
    items = command("get", "executions", "-o", "json").json["items"]
    ids = [int(item["id"]) for item in items]
    assert ids == sorted(ids, reverse=True)
    for item in items:
        assert (item["commit"], item["path"], item["project"]) == (first, "deep/fleet.yaml", "billing")
        assert "@" not in item["task"]
        assert item["status"] == {"success": 1, "failed": 2, "skipped": 3}.get(item["state"], 0)
        assert (item["reason"] is None) is (item["status"] == 0)
    good = next(item for item in items if item["task"] == "good" and item["state"] == "success")
    assert (good["outputBytes"], good["errorBytes"], good["exitCode"]) == (4, 4, 0)
    bad = next(item for item in items if item["task"] == "bad" and item["state"] == "failed")
    assert (bad["reason"], bad["exitCode"], bad["trigger"], bad["count"]) == ("exit-code", 3, "schedule", 1)
    line = (place / "manifests/deep/fleet.yaml").read_text().splitlines()[bad["line"] - 1]
    assert line == "apiVersion: reconciler/v1"
    check(command("describe", "execution", bad["id"], "-o", "json").json, contract.EXECUTION)


def test_pages_follow_each_other_without_gap_or_double(place: Path) -> None:
    for kind, key in {"executions": "id", "tasks": "id", "revisions": "id", "servers": "name"}.items():
        whole = command("get", kind, "-o", "json").json["items"]
        paged: list[Any] = []
        after: list[str] = []
        while True:
            page = command("get", kind, "--limit", "1", *after, "-o", "json").json
            assert len(page["items"]) == 1
            paged += page["items"]
            if page["next"] is None:
                break
            after = ["--after", page["next"]]
        assert [one[key] for one in paged] == [one[key] for one in whole]


def test_tasks_name_who_made_them_and_their_present_place(place: Path) -> None:
    items = command("get", "tasks", "-o", "json").json["items"]
    assert [(item["name"], item["server"]) for item in items] == [
        ("asked", "there"), ("bad", "here"), ("good", "here"), ("good", "there"), ("备份", "here"),
    ]  # fmt: skip
    assert {item["createdBy"] for item in items} == {"ada@example.org"}
    assert {item["name"]: item["generation"] for item in items} == {
        "asked": 1,
        "bad": 2,
        "good": 2,
        "备份": 1,
    }
    lasting = next(item for item in items if item["name"] == "asked")
    assert (lasting["schedule"], lasting["nextRun"], lasting["lastRun"]) == (None, None, None)


def test_revisions_name_commit_author_and_counts(place: Path) -> None:
    newest = command("get", "revisions", "-o", "json").json["items"][0]
    assert (newest["author"], newest["message"], newest["branch"], newest["dirty"]) == (
        "Ada Lovelace <ada@example.org>", "longer", "main", False,
    )  # fmt: skip
    assert newest["summary"] == {
        "create": 0, "update": 3, "rename": 0, "delete": 0, "restore": 0, "unchanged": 4, "heal": 0,
    }  # fmt: skip


def test_a_plan_tells_each_change_field_by_field_and_its_effect(place: Path) -> None:
    plan = command("plan", "-o", "json").json
    assert [(one["action"], one["kind"], one["name"], one["server"]) for one in plan["changes"]] == [
        ("create", "Task", "new", "there"),
        ("update", "Task", "备份", "here"),
        ("delete", "Task", "asked", "there"),
    ]  # fmt: skip
    moved = plan["changes"][1]
    assert moved["fields"] == {"spec.schedule": {"before": "30 2 * * *", "after": "30 3 * * *"}}
    assert {event["note"] for event in moved["effect"]["dst"]} <= {"dst-gap", "dst-repeat"}
    assert [len(moved["effect"]["nextFires"][when]) for when in ("before", "after")] == [5, 5]
    assert plan["guard"] == {**plan["guard"], "tripped": False, "deletions": 1, "limit": 10, "percent": 20}
    # no time, commit or effect is part of the digest
    assert command("plan", "-o", "json").json["digest"] == plan["digest"]


def test_a_schedule_is_in_order_and_tells_the_clock_change(place: Path) -> None:
    said = command(
        "schedule", "--from", "2026-03-29T00:00:00Z", "--until", "2026-03-29T01:00:01Z", "-o", "json"
    )
    items = said.json["items"]
    assert [item["at"] for item in items] == sorted(item["at"] for item in items)
    (night,) = [item for item in items if item["task"] == "备份"]
    assert night == {
        **night,
        "at": "2026-03-29T01:00:00.000000Z",
        "scheduledFor": "2026-03-29T01:00:00.000000Z",
        "localTime": "2026-03-29T03:00:00.000000+02:00",
        "timezone": "Europe/Berlin",
        "note": "dst-gap",
    }
    assert all(item["at"] < "2026-03-29T01:00:01" for item in items)


def test_a_run_that_nobody_could_take_is_an_error_and_inserts_nothing(place: Path) -> None:
    before = command("get", "executions", "-o", "json").out
    said = command("run", "asked", "-o", "json")
    assert said.code == 1
    check(said.json, contract.ERROR)
    assert command("get", "executions", "-o", "json").out == before


def test_paths_of_problems_are_relative_to_the_tree_or_to_the_repository(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(place, {"manifests/bad/x.yaml": "kind: [\n"})
    try:
        for words, path in {
            ("validate", "-o", "json"): "bad/x.yaml",
            ("validate", "manifests/bad", "-o", "json"): "x.yaml",
            ("validate", "manifests", "manifests", "-o", "json"): "manifests/bad/x.yaml",
        }.items():
            said = command(*words)
            assert said.code == 1
            check(said.json, contract.VALIDATE)
            assert {problem["path"] for problem in said.json["problems"]} == {path}
        sarif = command("validate", "-o", "sarif").json
        location = sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
        assert location["artifactLocation"]["uri"] == "manifests/bad/x.yaml"
        assert "file=manifests/bad/x.yaml," in command("validate", "-o", "github").out
        assert command("validate", "-o", "gitlab").json[0]["location"]["path"] == "manifests/bad/x.yaml"
        for words in (("plan",), ("apply", "--yes")):
            error = command(*words, "-o", "json")
            assert error.code == 1
            check(error.json, contract.ERROR)
            check(error.json["error"]["details"]["problems"], [contract.PROBLEM])
        # the tree outside git: relative to the current folder
        monkeypatch.chdir(tmp_path)
        write_tree(tmp_path, {"a/x.yaml": "kind: [\n"})
        assert "file=a/x.yaml," in command("validate", "a", "-o", "github").out
    finally:
        (place / "manifests/bad/x.yaml").unlink()


@pytest.fixture
def own_database(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the place's, for a test that changes it: the others run before it, or after it."""
    copy = tmp_path / "state.db"
    with closing(sqlite3.connect(place.parent / "state.db")) as old, closing(sqlite3.connect(copy)) as new:
        old.backup(new)
    monkeypatch.setenv("RECONCILER_DATABASE_URL", f"sqlite:///{copy}")


@pytest.mark.usefixtures("own_database")
def test_an_apply_prints_its_revision_and_the_plan_that_was_approved(tmp_path: Path) -> None:
    file = tmp_path / "x.plan"
    plan = command("plan", "--out", file, "-o", "json").json
    check(json.loads(file.read_text()), {"format": 1, "digest": plan["digest"]})
    applied = command("apply", file, "--yes", "-o", "json")
    assert (applied.code, applied.err) == (0, "")
    check(applied.json, contract.APPLY)
    assert (applied.json["digest"], applied.json["summary"]) == (plan["digest"], plan["summary"])
    nothing = command("apply", "-o", "json")
    assert nothing.code == 0, "nothing changes: nobody needs to be asked"
    check(nothing.json, contract.APPLY)
    assert nothing.json["revision"] is None
    changes = command("describe", "revision", str(applied.json["revision"]["id"]), "-o", "json").json[
        "changes"
    ]
    assert [(one["action"], one["name"]) for one in changes] == [
        ("create", "new"),
        ("update", "备份"),
        ("delete", "asked"),
    ]
    deleted = command("get", "tasks", "--deleted", "-o", "json").json["items"]
    assert [(item["name"], item["nextRun"]) for item in deleted] == [("asked", None)]
    check(deleted, contract.TASKS["items"])
    assert all(item["deletedAt"] for item in deleted)
