"""Every exit code of the command line's contract, and the error that goes with it, as text and as JSON."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from reconciler import bootstrap
from reconciler.apply.lock import locked
from reconciler.settings import load_settings
from tests.acceptance import contract
from tests.acceptance.contract import Said, check, command
from tests.acceptance.driver import documents, write_tree
from tests.manifest.trees import project, server, task
from tests.services.git import GitRepository


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with an empty database of its own, and none of the caller's settings."""
    for name in os.environ:
        if name.startswith("RECONCILER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def tree(
    tasks: int, servers: int = 1, *, name: str = "billing", first: str = "", spec: str = "prune: true"
) -> Path:
    """``m``: a project of so many rows; ``first`` are the braces' words of the first task's metadata."""
    parts = [project(spec, name), *(server(f"s{number}") for number in range(servers))]
    parts += [
        task("server: s0\ncommand: x", f"t{number}" + (first if not number else ""))
        for number in range(tasks)
    ]
    return write_tree(Path("m"), {"all.yaml": documents(parts)})


def applied(*words: str) -> Said:
    said = command("apply", "m", "--yes", *words)
    assert said.code == 0, said.err
    return said


def error_of(said: Said, code: int) -> dict[str, Any]:
    """The error of a command with ``-o json``: on stdout, in its shape; told on stderr as well."""
    assert said.code == code, said.err
    check(said.json, contract.ERROR)
    error: dict[str, Any] = said.json["error"]
    assert f"error: {error['message']}" in said.err
    return error


USAGE = """
nonsense
validate --nonsense
validate -o xml
plan m m
plan -o sarif
plan --target
plan --target t
plan --target Thing/t
plan --target Server/a@b
apply -o markdown
apply --allow-deletions
apply m --commit
get
get things
get tasks --limit 0
get tasks --limit -1
get tasks --limit many
get tasks --limit 100001
get tasks --after nonsense
get tasks -l nonsense
get tasks -l a!=b
get tasks -l a=1,a=2
get tasks --since 1
get tasks --since yesterday
get tasks --state running
get executions --state done
get servers --server s
get projects -l a=b
get executions --deleted
describe task
describe thing x
describe execution x
describe revision x
schedule --from 2026-03-29
schedule --from 2026-03-29T02:00:00
schedule --from 2026-03-29T02:00:00Z --until 2026-03-29T02:00:00Z
schedule --until 1970-01-01T00:00:00Z
explain
explain t --at noon
explain t --at 0001-01-01T00:00:00+05:00
schedule --from 9999-12-31T23:59:59-05:00
logs t --page 0
logs t --tail 1 --page 1
cancel x
run
version x
--database
--nonsense
status -o yaml
db
db nonsense
up --interval 0s
controller --interval 0s
""".strip().splitlines()


@pytest.mark.parametrize("words", ["validate", "plan", "apply --yes", "up --for 1s", "controller --for 1s"])
def test_an_empty_path_is_not_the_present_folder(words: str) -> None:
    """`reconciler apply --yes "$TREE"` where TREE is not set."""
    write_tree(Path(), {"all.yaml": documents([server("s0")])})
    said = command(*words.split(), "")
    assert (said.code, said.out) == (64, "")
    assert "PATH" in said.err
    assert not Path(".reconciler").exists()


def test_times_are_rfc_3339_in_small_letters_too() -> None:
    said = command(
        "schedule", "--from", "2026-03-29t00:00:00z", "--until", "2026-03-29t05:00:00+05:00", "-o", "json"
    )
    assert said.code == 64, "the same instant"
    said = command(
        "schedule", "--from", "2026-03-29t00:00:00z", "--until", "2026-03-29t05:00:00z", "-o", "json"
    )
    assert (said.code, said.json["from"]) == (0, "2026-03-29T00:00:00.000000Z")


@pytest.mark.parametrize("words", ["", *USAGE])
def test_wrong_usage_is_64_and_changes_nothing(words: str) -> None:
    said = command(*words.split())
    assert said.code == 64
    assert words == "" or (said.out == "" and said.err.startswith("error: "))
    assert not Path(".reconciler").exists() or words.startswith(("get", "describe", "cancel", "logs"))


@pytest.mark.parametrize(
    "words", ["get tasks --limit 0 -o json", "plan -o json --nonsense", "get -ojson", "--output=json x"]
)
def test_wrong_usage_is_json_too_where_json_was_asked_for(words: str) -> None:
    assert error_of(command(*words.split()), 64)["code"] == "usage"


def test_an_empty_database_url_is_no_database() -> None:
    tree(1)
    for words in (["--database", "", "plan", "m"], ["plan", "m", "--database", ""]):
        assert command(*words).code == 64
    assert not Path(".reconciler").exists()


FAILED = {
    "validate nowhere": "source-unreadable",
    "validate m nowhere": "source-unreadable",
    "validate m/all.yaml": "source-unreadable",
    "plan nowhere": "source-unreadable",
    "plan m/all.yaml": "source-unreadable",
    "apply nowhere": "source-unreadable",
    "apply m/all.yaml": "source-unreadable",
    "apply m --commit HEAD": "source-unreadable",
    "plan m --target Task/nope": "not-found",
    "plan m --target Task/t0@nope": "not-found",
    "get tasks nope": "not-found",
    "get tasks t0@nope": "not-found",
    "get tasks nope/t0": "not-found",
    "get servers nope": "not-found",
    "get projects nope": "not-found",
    "get revisions 77": "not-found",
    "get executions nope": "not-found",
    "get tasks --server nope": "not-found",
    "get tasks --project nope": "not-found",
    "describe task nope": "not-found",
    "describe server nope": "not-found",
    "describe revision 77": "not-found",
    "describe execution 77": "not-found",
    "explain nope": "not-found",
    "run nope": "not-found",
    "cancel 77": "not-found",
    "apply m": "refused",
    "plan m --database nonsense": "database-rejected",
    "plan m --database postgresql://h/d": "database-rejected",
    "get tasks --database mysql://u@127.0.0.1:1/d": "database-unavailable",
}


@pytest.mark.parametrize("words", FAILED)
def test_what_fails_is_1_with_a_word_for_scripts(words: str) -> None:
    tree(1)
    applied()
    tree(2)
    assert error_of(command(*words.split(), "-o", "json"), 1)["code"] == FAILED[words]
    assert command("get", "revisions", "-o", "json").json["items"][0]["id"] == 1


def test_an_address_that_fits_several_names_them_all() -> None:
    tree(1, name="one")
    applied()
    write_tree(
        Path("m"),
        {"all.yaml": documents([project("prune: true", "two"), task("server: one/s0\ncommand: x", "t0")])},
    )
    applied()
    for words in ("describe task t0", "explain t0@s0", "run t0", "get executions t0"):
        error = error_of(command(*words.split(), "-o", "json"), 1)
        assert error["code"] == "ambiguous"
        assert error["details"] == {"address": words.split()[-1], "candidates": ["one/t0@s0", "two/t0@s0"]}
    assert command("describe", "task", "two/t0@s0").code == 0


def test_a_tree_with_problems_is_1_and_nothing_is_applied() -> None:
    tree(1, first=", colour: red").joinpath("b.yaml").write_text("kind: Server\n")
    said = command("validate", "m", "-o", "json")
    assert said.code == 1
    check(said.json, contract.VALIDATE)
    for words in (["plan", "m"], ["apply", "m", "--yes"]):
        error = error_of(command(*words, "-o", "json"), 1)
        assert (error["code"], len(error["details"]["problems"])) == (
            "manifests-invalid",
            len(said.json["problems"]),
        )
    assert command("get", "revisions", "-o", "json").json == {"items": [], "next": None}


def test_changes_and_drift_are_2_where_that_is_asked_for() -> None:
    tree(1)
    assert command("plan", "m", "--exit-code").code == 2
    assert command("plan", "m").code == 0
    applied()
    clean = command("plan", "m", "--exit-code", "-o", "json")
    assert clean.code == 0
    with sqlite3.connect(".reconciler/state.db") as database:
        database.execute("UPDATE tasks SET command = 'evil'")
    drifted = command("plan", "m", "--exit-code", "-o", "json")
    assert drifted.code == 2
    assert drifted.json["changes"] == []
    assert drifted.json["drift"][0]["fields"] == {"spec.command": {"before": "evil", "after": "x"}}
    assert drifted.json["digest"] != clean.json["digest"]
    assert command("apply", "m").code == 1, "putting back is a change: somebody must agree"
    assert applied("-o", "json").json["revision"]["id"] == 2
    assert command("plan", "m", "--exit-code").code == 0


GUARD: dict[str, tuple[int, int, dict[str, str], bool]] = {
    "four of five": (4, 0, {}, False),
    "five of 25, exactly 20 %": (24, 19, {}, False),
    "five of 24": (23, 18, {}, True),
    "ten of a hundred": (99, 89, {}, False),
    "eleven of a hundred": (99, 88, {}, True),
    "none is allowed": (30, 29, {"spec": "guard: {maxDeletions: 0}"}, True),
    "its own new limits": (30, 20, {"then": "guard: {maxDeletions: 99, maxDeletionPercent: 99}"}, True),
    "nothing is pruned": (30, 0, {"then": "prune: false"}, False),
}  # fmt: skip


@pytest.mark.parametrize("case", GUARD)
def test_too_many_deletions_are_3(case: str) -> None:
    before, after, specs, trips = GUARD[case]
    tree(before, spec=specs.get("spec", "prune: true"))
    applied()
    tree(after, spec=specs.get("then", specs.get("spec", "prune: true")))
    plan = command("plan", "m", "-o", "json")
    assert (plan.code, plan.json["guard"]["tripped"]) == (0, trips)
    said = command("apply", "m", "--yes", "-o", "json")
    if not trips:
        assert said.code == 0
        return
    error = error_of(said, 3)
    assert error["details"] == {"guard": plan.json["guard"], "digest": plan.json["digest"]}
    assert plan.json["guard"]["release"] == plan.json["digest"]
    assert f"reconciler apply m --allow-deletions {plan.json['digest'][:12]}\n" in said.err


def test_a_release_names_that_very_plan_by_twelve_characters_or_more() -> None:
    tree(30)
    applied()
    tree(10)
    digest = command("plan", "m", "-o", "json").json["digest"]
    for wrong in ("", digest[:11], "0" * 12, "no digest", digest + "0", f"{digest[:12]}x"):
        assert command("apply", "m", "--yes", "--allow-deletions", wrong).code == 3
    tree(9)
    assert command("apply", "m", "--yes", "--allow-deletions", digest).code == 3, "another plan"
    # from another checkout
    tree(10)
    Path("m").rename("elsewhere")
    released = command("apply", "elsewhere", "--yes", "--allow-deletions", digest[:12])
    assert released.code == 0
    assert "The guard is released by --allow-deletions: " in released.out
    assert "if it is meant" not in released.out
    assert command("describe", "revision", "2", "-o", "json").json["released"] == digest


def test_an_emptied_tree_and_a_protected_row_are_3() -> None:
    tree(1, first=", protected: true")
    applied()
    write_tree(Path("m"), {"all.yaml": documents([project("prune: true"), server("s0")])})
    plan = command("plan", "m", "-o", "json").json
    error = error_of(command("apply", "m", "--yes", "--allow-deletions", plan["digest"], "-o", "json"), 3)
    assert "t0@s0" in str(error["message"])
    assert plan["guard"]["release"] is None, "no digest releases a protection"
    tree(1)
    applied()
    write_tree(Path("m"), {"all.yaml": project("prune: true")})
    error = error_of(command("apply", "m", "--yes", "-o", "json"), 3)
    applied("--allow-deletions", error["details"]["digest"])
    assert command("get", "tasks", "-o", "json").json["items"] == []


def test_a_saved_plan_is_4_only_where_what_it_touches_moved() -> None:
    def write(one: str, two: str) -> None:
        parts = [project("prune: true"), server("s0"), task(f"server: s0\ncommand: {one}", "one")]
        write_tree(Path("m"), {"all.yaml": documents([*parts, task(f"server: s0\ncommand: {two}", "two")])})

    write("a", "a")
    applied()
    write("b", "a")
    assert command("plan", "m", "--out", "first.json").code == 0
    assert command("plan", "m", "--out", "second.json").code == 0
    write("a", "b")
    applied()
    assert command("apply", "first.json", "--yes").code == 0, "another task changed"
    write("c", "b")
    applied()
    said = command("apply", "second.json", "--yes", "-o", "json")
    error = error_of(said, 4)
    (stale,) = error["details"]["stale"]
    assert (stale["kind"], stale["name"], stale["server"], stale["revision"]) == ("Task", "one", "s0", 4)
    assert stale["fields"] == ["spec.command"]
    assert stale["now"]["fields"] == {"spec.command": {"before": "c", "after": "b"}}
    for broken in (
        "",
        "[]",
        "{}",
        json.dumps({"format": 99, "kind": "plan"}),
        Path("second.json").read_text()[:300],
    ):
        Path("broken.json").write_text(broken)
        assert command("apply", "broken.json", "--yes").code == 1
    assert command("apply", "second.json", "--commit", "HEAD").code == 64


def test_a_commit_from_the_past_is_4_unless_it_is_named() -> None:
    git = GitRepository(Path.cwd())
    git.write(".gitignore", ".reconciler/\n")
    tree(1)
    old = git.commit("old")
    applied()
    tree(2)
    new = git.commit("new")
    applied()
    git.git("checkout", "--quiet", old)
    error = error_of(command("apply", "m", "--yes", "-o", "json"), 4)
    assert error["details"] == {"commit": old, "applied": new}
    assert command("plan", "m").code == 0
    git.git("checkout", "--quiet", "main")
    assert applied("--commit", old[:10], "-o", "json").json["revision"]["commit"] == old
    assert applied("-o", "json").json["revision"]["commit"] == new
    assert command("apply", "m", "--yes", "--commit", "0" * 40).code == 1


def test_a_lock_that_somebody_holds_is_5_and_says_who_and_until_when() -> None:
    tree(1)
    applied()
    tree(2)
    with (
        bootstrap.database(load_settings()) as db,
        locked(db, "billing", None, "eva@desk (apply)", 1, random.Random()),
    ):
        error = error_of(command("apply", "m", "--yes", "-o", "json"), 5)
        assert command("plan", "m").code == 0
    assert "eva@desk (apply)" in str(error["message"])
    assert applied().code == 0


def test_a_newer_database_is_refused_with_both_versions() -> None:
    tree(1)
    applied()
    with sqlite3.connect(".reconciler/state.db") as database:
        database.execute("UPDATE reconciler_schema SET version_num = '9999', program = '77.7'")
    for words in ("plan m", "get tasks", "status", "apply m --yes", "db upgrade"):
        said = command(*words.split())
        assert said.code == 1
        assert "77.7" in said.err, words
