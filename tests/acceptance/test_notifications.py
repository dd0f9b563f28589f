"""The whole way: a commit, a run that fails, and what whoever is on call reads."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable

import pytest

from tests.acceptance.driver import Program, eventually
from tests.notify.conftest import Receiver, receiver
from tests.services.git import GitRepository

__all__ = ["receiver"]

SERVER = """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: shop}
spec: {guard: {maxDeletions: 1}}
---
apiVersion: reconciler/v1
kind: Server
metadata: {name: here}
spec: {host: localhost, connection: local}
"""
TASK = """\
apiVersion: reconciler/v1
kind: Task
metadata: {name: backup}
spec:
  server: here
  command: |
    COMMAND
  secrets: {TOKEN: {env: TOKEN}}
  notify: [{on: [failure, recovery, guard, stalled], to: ops}]
"""
OTHER = """\
apiVersion: reconciler/v1
kind: Task
metadata: {name: NAME}
spec: {server: here, command: "true"}
"""
SETTINGS = """\
[notify.ops]
webhook = {env = "HOOK"}
secret = {env = "SIGNS"}
"""


@pytest.mark.slow
def test_on_call_reads_of_a_failure_its_end_and_a_guard_once_each(
    program: Callable[..., Program], sqlite_url: str, git_repo: GitRepository, receiver: Receiver
) -> None:
    git_repo.write("fleet/server.yaml", SERVER)
    git_repo.write("fleet/backup.yaml", TASK.replace("COMMAND", 'echo "disk full, $TOKEN" >&2; exit 3'))
    for name in ("a", "b", "c"):
        git_repo.write(f"fleet/{name}.yaml", OTHER.replace("NAME", name))
    head = git_repo.commit("first")
    secrets = {
        "RECONCILER_SECRET_HOOK": receiver.url,
        "RECONCILER_SECRET_SIGNS": "s3cr3t",
        "RECONCILER_SECRET_TOKEN": "hunter22",
    }
    one = program(sqlite_url, **secrets)
    (one.folder / "reconciler.toml").write_text(SETTINGS)
    words = ("up", "--git", str(git_repo.path), "--path", "fleet", "--interval", "1s")
    controllers = [one.start(*words), one.start(*words)]
    eventually(lambda: one("run", "backup").code == 0)
    eventually(lambda: len(receiver.got) == 1)
    (got,) = receiver.got
    content = f"{got['headers']['webhook-id']}.{got['headers']['webhook-timestamp']}.{got['body']}"
    signed = base64.b64encode(hmac.new(b"s3cr3t", content.encode(), hashlib.sha256).digest()).decode()
    assert got["headers"]["webhook-signature"] == f"v1,{signed}"
    data = receiver.bodies[0]["data"]
    assert data["title"] == "FAILED backup@here (shop): exit code 3"
    assert "Last lines of its error output:\n  disk full, ***" in data["text"]
    assert f"backup.yaml:1 at commit {head[:12]}" in data["text"]
    assert one("logs", data["execution"]["id"]).ok().out

    git_repo.write("fleet/backup.yaml", TASK.replace("COMMAND", "true"))
    git_repo.commit("mended")
    eventually(lambda: len(one.json("get", "revisions")["items"]) == 2)
    eventually(lambda: one("run", "backup").code == 0)
    eventually(lambda: len(receiver.got) == 2)
    assert receiver.bodies[1]["data"]["title"].startswith("RECOVERED backup@here (shop)")

    for name in ("a", "b", "c"):
        (git_repo.path / f"fleet/{name}.yaml").unlink()
    git_repo.commit("too much")
    eventually(lambda: len(receiver.got) == 3, 40)
    assert receiver.bodies[2]["data"]["title"].startswith("GUARD TRIPPED project shop (shop)")
    assert "--allow-deletions" in receiver.bodies[2]["data"]["text"]
    assert len(controllers) == 2
    assert "hunter22" not in str(receiver.got)
    assert len({one["headers"]["webhook-id"] for one in receiver.got}) == 3
