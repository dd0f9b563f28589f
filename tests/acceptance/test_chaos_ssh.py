"""Controllers and workers killed, connections cut: a command runs once, its output whole, no slot is lost.

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
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.driver import Program, documents, eventually, lines, write_tree
from tests.services.proxy import TcpProxy
from tests.services.sshd import Sshd

SECONDS = int(os.environ.get("RECONCILER_CHAOS_SECONDS", "30"))
TASKS = 6
EVERY = timedelta(seconds=2)
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
def test_killed_controllers_and_workers_and_cut_connections_lose_and_double_nothing(
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
    # the first schedules and executes; what it had claimed or ran when it is killed is for the others
    words = [("controller", str(tree)), ("worker",), ("worker",)]
    processes = [one.start(*each) for each in words]
    eventually(lambda: lines(ledger), 60)

    kills = [0, 0, 0]
    cuts = 0
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        time.sleep(dice.uniform(0.2, 2.0))
        if dice.random() < 0.3:
            victim = dice.randrange(len(processes))
            kills[victim] += 1
            # the controller dies at least once, also in a short run; and never with a word
            kill = victim == 0 or dice.random() < 0.8
            processes[victim].send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            processes[victim].wait()
            processes[victim] = one.start(*words[victim])
        else:
            proxy.cut()
            cuts += 1
    if not kills[0]:
        kills[0] += 1
        processes[0].kill()
        processes[0].wait()
        processes[0] = one.start(*words[0])
        time.sleep(5)
    print(f"killed: controller {kills[0]}, workers {kills[1] + kills[2]} times; connections cut {cuts} times")
    assert cuts
    stop(processes[0])
    # what is claimed is run to its end, by whoever is left
    eventually(lambda: not [item for item in one.executions() if item["status"] == 0], 150)
    for process in processes[1:]:
        stop(process)

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
    told = Counter(item["reason"] for item in executions)
    print(f"{len(executions)} rows, {len(ran)} commands ran: {dict(told)}")
    assert_no_slot_vanished(executions)


def assert_no_slot_vanished(executions: list[dict[str, Any]]) -> None:
    """Of each task every slot between its first and its last has a row, or is counted in one."""
    rows: dict[str, dict[datetime, int]] = {}
    for item in executions:
        if item["attempt"] == 1:
            at = datetime.fromisoformat(item["scheduledFor"])
            slots = rows.setdefault(item["task"], {})
            assert at not in slots, f"two rows for one slot: {item}"
            slots[at] = item["count"]
    assert len(rows) == TASKS
    for task, slots in rows.items():
        passed = (max(slots) - min(slots)) / EVERY
        # a row that counts several stands at the oldest of them
        assert sum(slots.values()) == passed + slots[max(slots)], (task, sorted(slots))


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    # one that is just starting has no handler yet
    assert process.wait(40) in (0, -signal.SIGTERM)
