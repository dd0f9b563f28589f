"""Workers killed and connections cut at random: every command once on its host, all of its output recorded.

30 seconds here; `make chaos-ssh SECONDS=600` for longer, SEED= to repeat one.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.driver import Program, documents, eventually, lines, write_tree
from tests.services.proxy import TcpProxy
from tests.services.sshd import Sshd

SECONDS = int(os.environ.get("RECONCILER_CHAOS_SECONDS", "30"))
TASKS = 6
LINES = 3000


def a_tree(folder: Path, sshd: Sshd, proxy: TcpProxy, ledger: Path) -> Path:
    """A server behind the proxy, and tasks that write down on their host that they ran."""
    server = f"""\
apiVersion: reconciler/v1
kind: Server
metadata: {{name: host-1}}
spec:
  host: {proxy.host}
  port: {proxy.port}
  username: {sshd.user}
  auth: {{privateKey: {{file: client}}}}
  hostKeys: ["{sshd.host_key}"]
"""
    tasks = [
        f"""\
apiVersion: reconciler/v1
kind: Task
metadata: {{name: tick-{number}}}
spec:
  server: host-1
  schedule: "@every 2s"
  timeout: 5m
  command: |
    echo "$RECONCILER_EXECUTION_ID" >> {ledger}
    seq -f %09.0f {LINES}
    sleep {number % 3}.{number}
    seq -f %09.0f {LINES} >&2
"""
        for number in range(TASKS)
    ]
    return write_tree(folder, {"fleet.yaml": documents([server, *tasks])})


@pytest.mark.ssh
@pytest.mark.timeout(SECONDS + 240)
def test_killed_workers_and_cut_connections_lose_and_double_nothing(
    program: Callable[..., Program],
    mariadb_url: str,
    start_sshd: Callable[..., Sshd],
    tcp_proxy: Callable[[int], TcpProxy],
    tmp_path: Path,
) -> None:
    seed = int(os.environ.get("RECONCILER_CHAOS_SEED") or random.randrange(10**6))
    print(f"seed {seed}")
    dice = random.Random(seed)
    sshd = start_sshd("MaxStartups 100")
    proxy = tcp_proxy(sshd.port)
    ledger = tmp_path / "ledger"
    tree = a_tree(tmp_path / "tree", sshd, proxy, ledger)
    one = program(mariadb_url, RECONCILER_SECRETS_DIR=str(sshd.folder))
    one("db", "upgrade").ok()
    controller = one.start("controller", "--no-execute", str(tree))
    workers = [one.start("worker"), one.start("worker")]
    eventually(lambda: lines(ledger), 60)

    kills = cuts = 0
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        time.sleep(dice.uniform(0.2, 2.0))
        if dice.random() < 0.3:
            victim = dice.randrange(len(workers))
            workers[victim].send_signal(signal.SIGKILL if dice.random() < 0.8 else signal.SIGTERM)
            workers[victim].wait()
            workers[victim] = one.start("worker")
            kills += 1
        else:
            proxy.cut()
            cuts += 1
    assert kills
    assert cuts
    stop(controller)
    # what is claimed is run to its end, by whoever is left
    eventually(lambda: not [item for item in one.executions() if item["status"] == 0], 150)
    for worker in workers:
        stop(worker)

    executions = one.executions()
    ran = Counter(lines(ledger))
    assert [key for key, count in ran.items() if count != 1] == []
    ended = [item for item in executions if item["status"] in (1, 2)]
    wrong = [item for item in ended if item["id"] in ran and item["state"] != "success"]
    assert wrong == []
    # whatever did not run says so truthfully
    assert {item["reason"] for item in ended if item["id"] not in ran} <= {"unreachable", "start-failed"}
    assert ran.keys() <= {item["id"] for item in ended}
    for item in ended:
        if item["id"] in ran:
            assert (item["outputBytes"], item["errorBytes"]) == (LINES * 10, LINES * 10), item
    assert len(ran) > TASKS


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    # one that is just starting has no handler yet
    assert process.wait(40) in (0, -signal.SIGTERM)
