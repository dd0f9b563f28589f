"""A controller on git: from a push to the applied state, whatever is pushed and whatever breaks."""

from __future__ import annotations

import hashlib
import hmac
import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.driver import Program, eventually
from tests.services.git import GitRepository
from tests.services.git_host import git_host

SERVER = """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: shop}
---
apiVersion: reconciler/v1
kind: Server
metadata: {name: here}
spec: {host: localhost, connection: local}
"""
TASK = """\
apiVersion: reconciler/v1
kind: Task
metadata: {name: NAME}
spec: {server: here, command: "true"}
"""


@pytest.fixture
def repository(git_repo: GitRepository) -> GitRepository:
    git_repo.write("fleet/server.yaml", SERVER)
    git_repo.write("fleet/one.yaml", TASK.replace("NAME", "one"))
    git_repo.commit("first")
    return git_repo


@pytest.fixture
def one(program: Callable[..., Program], sqlite_url: str) -> Program:
    return program(sqlite_url)


def tasks(program: Program) -> list[str]:
    done = program("get", "tasks", "-o", "json")
    return [item["name"] for item in done.json["items"]] if done.code == 0 else []


def project(program: Program) -> dict[str, Any]:
    objects = program.json("status")["objects"]
    found: dict[str, Any] = next(item for item in objects if item["kind"] == "Project")
    return found


def condition(program: Program, type: str) -> dict[str, Any] | None:
    return next((item for item in project(program)["conditions"] if item["type"] == type), None)


def follow(program: Program, repository: GitRepository, *words: str) -> Any:
    place = str(repository.path)
    return program.start("up", "--git", place, "--path", "fleet", "--interval", "1s", *words)


def test_what_is_pushed_is_applied_with_its_commit(one: Program, repository: GitRepository) -> None:
    follow(one, repository)
    eventually(lambda: tasks(one) == ["one"])
    repository.write("fleet/two.yaml", TASK.replace("NAME", "two"))
    head = repository.commit("second")
    eventually(lambda: tasks(one) == ["one", "two"])
    revision = one.json("get", "revisions")["items"][0]
    assert (revision["commit"], revision["branch"], revision["dirty"]) == (head, "main", False)
    # what is not committed is not declared
    repository.write("fleet/three.yaml", TASK.replace("NAME", "three"))
    time.sleep(2.5)
    assert tasks(one) == ["one", "two"]


def test_an_invalid_commit_is_told_once_with_its_lines_and_the_last_good_state_stays(
    one: Program, repository: GitRepository
) -> None:
    process = follow(one, repository)
    eventually(lambda: tasks(one) == ["one"])
    good = repository.head
    repository.write("fleet/one.yaml", TASK.replace("NAME", "one").replace("command", "comand"))
    bad = repository.commit("broken")
    stalled = eventually(lambda: condition(one, "Stalled"))
    assert stalled["reason"] == "ManifestsInvalid"
    assert bad[:12] in stalled["message"]
    time.sleep(2.5)
    said = one.said(process)
    assert said.count("did you mean `command`?") == 1, said
    assert tasks(one) == ["one"]
    assert one.json("get", "revisions")["items"][0]["commit"] == good
    repository.git("revert", "--no-commit", bad)
    repository.commit("take it back")
    eventually(lambda: condition(one, "Stalled") is None)
    assert "as declared again" in one.said(process)


def test_a_repository_that_is_gone_stalls_nothing_else_and_comes_back(
    one: Program, repository: GitRepository, tmp_path: Path
) -> None:
    process = follow(one, repository)
    eventually(lambda: tasks(one) == ["one"])
    repository.path.rename(tmp_path / "away")
    assert eventually(lambda: condition(one, "Stalled"))["reason"] == "SourceUnavailable"
    assert one.said(process).count("does not answer") == 1
    (tmp_path / "away").rename(repository.path)
    repository.write("fleet/two.yaml", TASK.replace("NAME", "two"))
    repository.commit("second")
    eventually(lambda: tasks(one) == ["one", "two"], seconds=60)
    assert condition(one, "Stalled") is None


def test_history_pushed_back_to_the_past_is_refused(one: Program, repository: GitRepository) -> None:
    first = repository.head
    follow(one, repository)
    repository.write("fleet/two.yaml", TASK.replace("NAME", "two"))
    repository.commit("second")
    eventually(lambda: tasks(one) == ["one", "two"])
    repository.git("reset", "--quiet", "--hard", first)
    assert eventually(lambda: condition(one, "Stalled"))["reason"] == "BehindApplied"
    assert tasks(one) == ["one", "two"]
    # another history that does not lie behind is what the branch now says
    repository.write("fleet/three.yaml", TASK.replace("NAME", "three"))
    repository.commit("another")
    eventually(lambda: tasks(one) == ["one", "three"])


def test_a_repository_replaced_by_an_empty_one_deletes_nothing(
    one: Program, repository: GitRepository
) -> None:
    follow(one, repository)
    eventually(lambda: tasks(one) == ["one"])
    repository.git("rm", "--quiet", "-r", "fleet")
    repository.write("fleet/.keep", "")
    repository.write("fleet/project.yaml", SERVER.split("---")[0])
    repository.commit("emptied")
    assert eventually(lambda: condition(one, "Stalled"))["reason"] == "GuardTripped"
    assert tasks(one) == ["one"]


def test_a_hundred_commits_in_a_burst_end_at_the_last(one: Program, repository: GitRepository) -> None:
    follow(one, repository)
    eventually(lambda: tasks(one) == ["one"])
    for number in range(100):
        repository.write("fleet/one.yaml", TASK.replace("NAME", "one").replace('"true"', f"echo {number}"))
        repository.commit(str(number))
    command = eventually(
        lambda: [item for item in one.json("get", "tasks")["items"] if item["command"] == "echo 99"]
    )
    assert command
    revisions = one.json("get", "revisions", "--limit", "500")["items"]
    assert revisions[0]["commit"] == repository.head
    assert len(revisions) < 100


def test_only_signed_commits_are_applied_where_they_are_asked_for(
    one: Program, repository: GitRepository, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    signers = tmp_path / "signers"
    signers.write_text(f"ann@example.org {Path(f'{key}.pub').read_text()}")
    repository.git("config", "gpg.format", "ssh")
    repository.git("config", "user.signingkey", str(key))
    repository.git("config", "commit.gpgsign", "true")
    repository.commit("signed")
    process = follow(one, repository, "--require-signed", str(signers))
    eventually(lambda: tasks(one) == ["one"])
    verified = eventually(lambda: condition(one, "SourceVerified"))
    assert (verified["status"], verified["message"]) == ("True", "signed by ann@example.org")

    repository.git("config", "commit.gpgsign", "false")
    repository.write("fleet/two.yaml", TASK.replace("NAME", "two"))
    repository.commit("unsigned")
    eventually(lambda: (condition(one, "SourceVerified") or {})["status"] == "False")
    refused = condition(one, "SourceVerified")
    assert refused is not None
    assert refused["reason"] == "Unsigned"
    assert tasks(one) == ["one"]
    assert one.said(process).count("has no signature") == 1

    repository.git("config", "commit.gpgsign", "true")
    repository.commit("signed again")
    eventually(lambda: tasks(one) == ["one", "two"])
    assert condition(one, "Stalled") is None


def test_a_webhook_makes_a_push_known_at_once(
    program: Callable[..., Program], sqlite_url: str, repository: GitRepository, tmp_path: Path
) -> None:
    # a remote that nobody can watch: over the file protocol, at an interval that never comes
    bare = tmp_path / "ops" / "fleet.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", str(repository.path), str(bare)], check=True)
    heads = bare / "refs" / "heads"
    one = program(
        sqlite_url,
        RECONCILER_LISTEN="127.0.0.1:0",
        RECONCILER_WEBHOOK_SECRET="env:HOOK",
        RECONCILER_SECRET_HOOK="s3cret",
    )
    process = one.start(
        "controller", "--git", f"file://localhost{bare}", "--path", "fleet", "--interval", "1h"
    )
    eventually(lambda: tasks(one) == ["one"])
    port = one.said(process).partition("listening on http://127.0.0.1:")[2].split()[0]
    repository.write("fleet/two.yaml", TASK.replace("NAME", "two"))
    repository.commit("second")
    repository.git("push", "--quiet", str(bare), "main")
    assert heads.exists()
    time.sleep(1)
    assert tasks(one) == ["one"]
    body = json.dumps(
        {"ref": "refs/heads/main", "repository": {"clone_url": f"file://localhost{bare}"}}
    ).encode()
    signature = "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/hooks/git",
        body,
        {"X-Hub-Signature-256": signature, "X-GitHub-Event": "push", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 202
    eventually(lambda: tasks(one) == ["one", "two"])


def test_several_projects_in_one_controller_do_not_hold_each_other_up(
    one: Program, repository: GitRepository, tmp_path: Path
) -> None:
    other = GitRepository(tmp_path / "other")
    other.write("a.yaml", "apiVersion: reconciler/v1\nkind: Nonsense\n")
    other.commit("broken from the start")
    process = one.start(
        *("controller", "--git", str(other.path), "--git", str(repository.path), "--path", "fleet"),
        *("--git", str(tmp_path / "nowhere"), "--branch", "x", "--interval", "1s"),
    )
    eventually(lambda: tasks(one) == ["one"])
    assert "Nonsense" in eventually(lambda: one.said(process))
    assert process.poll() is None


def test_wrong_words_are_told_at_once(one: Program, repository: GitRepository, tmp_path: Path) -> None:
    def error(*words: str) -> tuple[int, str]:
        done = one(*words)
        return done.code, done.err

    assert error("up", "--branch", "x")[0] == 64
    assert error("up", str(tmp_path), "--git", str(repository.path))[0] == 64
    assert error("up", "--git", "ext::sh -c id")[0] == 1
    assert error("up", "--git", "x", "--require-signed", str(tmp_path / "absent"))[0] == 1
    code, said = error("controller", str(tmp_path), "--require-signed", str(tmp_path / "absent"))
    assert (code, "is a folder of files" in said) == (1, False)
    (tmp_path / "signers").write_text("a ssh-ed25519 AAAA\n")
    code, said = error("controller", str(tmp_path), "--require-signed", str(tmp_path / "signers"))
    assert (code, "is a folder of files" in said) == (64, True)


def test_sighup_with_another_git_table_gets_in_where_the_old_one_did_not(
    program: Callable[..., Program], sqlite_url: str, repository: GitRepository
) -> None:
    one = program(sqlite_url, RECONCILER_SECRET_OLD_TOKEN="expired", RECONCILER_SECRET_NEW_TOKEN="fresh")
    settings = one.folder / "reconciler.toml"

    def table(url: str, token: str) -> str:
        return f'[git.forge]\nurl = "{url}"\nusername = "bot"\npassword = {{env = "{token}"}}\n'

    with git_host(repository.path, "bot:fresh") as url:
        settings.write_text(table(url, "OLD_TOKEN"))
        process = one.start("up", "--git", url, "--path", "fleet", "--interval", "1s")
        eventually(lambda: "cannot be fetched" in one.said(process) or "Authentication" in one.said(process))
        assert tasks(one) == []
        # what cannot be used leaves everything as it is
        settings.write_text(table(url, "NO_TOKEN"))
        process.send_signal(signal.SIGHUP)
        eventually(lambda: "the settings stay as they are" in one.said(process))
        settings.write_text(table(url, "NEW_TOKEN"))
        process.send_signal(signal.SIGHUP)
        eventually(lambda: "the settings were read again; changed: git" in one.said(process))
        eventually(lambda: tasks(one) == ["one"])
        # and from then on
        repository.write("fleet/two.yaml", TASK.replace("NAME", "two"))
        repository.commit("second")
        eventually(lambda: tasks(one) == ["one", "two"])
        assert not {"expired", "fresh"} & set(one.said(process).split())
