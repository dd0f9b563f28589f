"""The whole way through MariaDB and a real sshd."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.driver import ROOT, Program, eventually, write_tree
from tests.services.sshd import Sshd

pytestmark = pytest.mark.timeout(180)

SERVER = """\
apiVersion: reconciler/v1
kind: Server
metadata: {{name: host-1}}
spec:
  host: {host}
  port: {port}
  username: {user}
  auth: {{privateKey: {{file: client}}}}
  hostKeys: ["{key}"]
"""

TASK = """\
apiVersion: reconciler/v1
kind: Task
metadata: {{name: {name}}}
spec:
  server: host-1
{spec}
"""


def a_server(sshd: Sshd) -> str:
    return SERVER.format(host=sshd.host, port=sshd.port, user=sshd.user, key=sshd.host_key)


def a_task(name: str, *spec: str) -> str:
    return TASK.format(name=name, spec="\n".join(f"  {line}" for line in spec))


@pytest.fixture
def over_ssh(program: Callable[..., Program], mariadb_url: str, sshd: Sshd) -> Program:
    """A program on MariaDB that holds the key for the sshd; local commands are not allowed."""
    one = program(mariadb_url, RECONCILER_SECRETS_DIR=str(sshd.folder), RECONCILER_ALLOW_LOCAL="0")
    one("db", "upgrade").ok()
    return one


def test_scheduled_runs_failures_floods_timeouts_deletion_and_return(
    over_ssh: Program, sshd: Sshd, tmp_path: Path
) -> None:
    flood = "head -c 52428800 /dev/zero | tr '\\0' x"
    tree = write_tree(
        tmp_path / "tree",
        {
            "server.yaml": a_server(sshd),
            "tick.yaml": a_task(
                "tick", 'schedule: "@every 1s"', 'command: echo "slot $RECONCILER_SCHEDULED_FOR"'
            ),
            "fail.yaml": a_task("fail", 'schedule: "@every 2s"', "command: echo to stderr >&2; exit 7"),
            "flood.yaml": a_task("flood", f"command: {flood}", "output: {maxBytes: 64KiB}"),
            "slow.yaml": a_task("slow", "command: sleep 60", "timeout: 2s", "killGrace: 1s"),
        },
    )
    up = over_ssh.start("up", str(tree))
    eventually(lambda: task(over_ssh, "tick"))
    eventually(lambda: len(over_ssh.executions("tick", "--state", "success")) >= 3, seconds=40)
    eventually(lambda: over_ssh.executions("fail", "--state", "failed"))

    failed = over_ssh.executions("fail", "--state", "failed")[0]
    assert (failed["status"], failed["reason"], failed["exitCode"]) == (2, "exit-code", 7)
    assert "to stderr" in over_ssh("logs", failed["id"], "--stream", "err").ok().out
    assert failed["path"] == "fail.yaml"

    flooded = over_ssh.json("run", "flood", "--wait")["items"][0]
    assert flooded["state"] == "success"
    row = over_ssh.json("get", "executions", "flood")["items"][0]
    assert row["outputBytes"] == 52_428_800
    assert row["truncated"] is True
    assert len(over_ssh("logs", "flood", "--stream", "out").ok().out) < 70_000

    slow = over_ssh("run", "slow", "--wait", "-o", "json")
    assert slow.code == 1
    assert slow.json["items"][0]["reason"] == "timed-out"

    before = task(over_ssh, "tick")
    shutil.move(tree / "tick.yaml", tmp_path / "tick.yaml")
    eventually(lambda: over_ssh.json("get", "tasks", "--deleted")["items"])
    gone = [item for item in over_ssh.json("get", "tasks", "--deleted")["items"] if item["name"] == "tick"]
    assert gone[0]["deletedAt"] is not None
    assert gone[0]["nextRun"] is None
    shutil.move(tmp_path / "tick.yaml", tree / "tick.yaml")
    back = eventually(lambda: task(over_ssh, "tick"))
    assert back["id"] == before["id"]
    assert back["nextRun"] is not None
    earlier = len(over_ssh.executions("tick"))
    eventually(lambda: len(over_ssh.executions("tick")) > earlier)

    up.terminate()
    assert up.wait(30) == 0
    assert over_ssh.executions("--state", "running") == []


def task(program: Program, name: str) -> dict[str, Any] | None:
    items = [item for item in program.json("get", "tasks")["items"] if item["name"] == name]
    return items[0] if items else None


def test_the_example_runs_as_its_readme_says(
    program: Callable[..., Program], sshd: Sshd, tmp_path: Path
) -> None:
    tree = tmp_path / "ssh"
    shutil.copytree(ROOT / "examples/ssh", tree)
    server = tree / "server.yaml"
    text = server.read_text().replace("port: 2222", f"port: {sshd.port}")
    text = text.replace("username: deploy", f"username: {sshd.user}").replace("id_ed25519}", "client}")
    server.write_text(text)
    one = program(RECONCILER_SECRETS_DIR=str(sshd.folder), RECONCILER_KNOWN_HOSTS=str(sshd.known_hosts))
    one("plan", str(tree)).ok()
    one("up", str(tree), "--for", "9s").ok()
    executions = one.executions()
    ended = {item["task"]: item["state"] for item in executions if item["status"] in (1, 2)}
    assert set(ended) == {
        "disk-usage",
        "backup-orders",
        "certificate-expiry",
        "compress-logs",
        "sync-inventory",
        "备份数据库",
    }
    assert ended.pop("sync-inventory") == "failed"
    assert set(ended.values()) == {"success"}, [i for i in executions if i["state"] == "failed"]


def test_an_unknown_host_key_is_refused_and_says_what_to_do(
    over_ssh: Program, sshd: Sshd, start_sshd: Callable[..., Sshd], tmp_path: Path
) -> None:
    other = start_sshd()
    tree = write_tree(
        tmp_path / "tree",
        {
            "server.yaml": a_server(sshd).replace(sshd.host_key, other.host_key),
            "t.yaml": a_task("t", "command: 'true'"),
        },
    )
    up = over_ssh.start("up", str(tree))
    eventually(lambda: task(over_ssh, "t"))
    result = over_ssh("run", "t", "--wait", "-o", "json")
    assert result.code == 1
    assert result.json["items"][0]["reason"] == "host-key"
    assert sshd.fingerprint in over_ssh("logs", "t").ok().out
    up.terminate()
    assert up.wait(30) == 0
