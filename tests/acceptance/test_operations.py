"""A long-running process in the hands of whoever operates it: signals, settings, systemd, full disks."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.driver import Program, eventually, write_tree
from tests.services.database import MariaDB

PROJECT = """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: operated}
---
apiVersion: reconciler/v1
kind: Server
metadata: {name: here}
spec: {host: localhost, connection: local}
---
apiVersion: reconciler/v1
kind: Server
metadata: {name: plain}
spec: {host: localhost, connection: local, durable: false}
"""
TICK = """\
---
apiVersion: reconciler/v1
kind: Task
metadata: {name: tick}
spec: {server: here, command: echo tick, schedule: "@every 1s"}
"""
LONG = """\
---
apiVersion: reconciler/v1
kind: Task
metadata: {name: long-NAME}
spec: {server: NAME, command: sleep 300, schedule: "0 0 1 1 *"}
"""


def end(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM) -> float:
    """Send the signal and wait; seconds until it had ended."""
    begun = time.monotonic()
    process.send_signal(number)
    process.wait(60)
    return time.monotonic() - begun


def test_sigterm_leaves_durable_runs_to_the_next_process_and_ends_the_others(
    program: Callable[..., Program], tmp_path: Path
) -> None:
    one = program()
    texts = PROJECT + LONG.replace("NAME", "here") + LONG.replace("NAME", "plain")
    tree = write_tree(tmp_path / "tree", {"fleet.yaml": texts})
    process = one.start("up", str(tree))
    eventually(lambda: "applied revision" in one.said(process))
    one("run", "long-here", "long-plain").ok()
    eventually(lambda: len(one.executions("--state", "running")) == 2)
    # 5 s and what the machine is slow: a process that waits for the runs would take 300
    assert end(process) < 60
    assert process.returncode == 0
    states = {row["task"]: (row["state"], row["reason"]) for row in one.executions()}
    assert states == {"long-here": ("running", None), "long-plain": ("failed", "cancelled")}
    again = one.start("up", str(tree))
    eventually(lambda: "applied" in one.said(again) or one.executions("--state", "running"))
    one("cancel", one.executions("--state", "running")[0]["id"]).ok()
    eventually(lambda: not one.executions("--state", "running"))


@pytest.mark.mariadb
@pytest.mark.slow
def test_sigterm_ends_a_process_whose_database_is_away_with_everything_safe(
    program: Callable[..., Program], start_mariadb: Callable[..., MariaDB], tmp_path: Path
) -> None:
    server = start_mariadb()
    one = program(server.url(server.create_database()))
    one("db", "upgrade").ok()
    texts = PROJECT + TICK + LONG.replace("NAME", "here") + LONG.replace("NAME", "plain")
    tree = write_tree(tmp_path / "tree", {"fleet.yaml": texts})
    process = one.start("up", str(tree))
    eventually(lambda: "✓ tick@here" in one.said(process))
    one("run", "long-here", "long-plain").ok()
    eventually(lambda: len(one.executions("--state", "running")) >= 2)
    server.kill()
    eventually(lambda: "trying again until it answers" in one.said(process))
    assert end(process) < 60
    assert process.returncode == 0, one.said(process)
    server.start()
    again = one.start("up", str(tree))
    # what ended while the database was away was kept: the plain run was ended with its process
    eventually(lambda: one.executions("long-plain")[0]["reason"] == "cancelled")
    # and the durable one goes on
    assert one.executions("long-here")[0]["state"] == "running"
    one("cancel", one.executions("long-here")[0]["id"]).ok()
    eventually(lambda: one.executions("long-here")[0]["reason"] == "cancelled")
    assert end(again) < 60


def test_sighup_reads_settings_anew_and_a_broken_file_changes_nothing(
    program: Callable[..., Program], tmp_path: Path
) -> None:
    one = program()
    settings = one.folder / "reconciler.toml"
    settings.write_text("workers = 4\n")
    tree = write_tree(tmp_path / "tree", {"fleet.yaml": PROJECT + TICK})
    process = one.start("up", str(tree))
    eventually(lambda: "✓ tick@here" in one.said(process))

    def after(text: str, words: str) -> str:
        settings.write_text(text)
        process.send_signal(signal.SIGHUP)
        eventually(lambda: words in one.said(process))
        return next(line for line in one.said(process).splitlines() if words in line)

    line = after('workers = 2\nlate_after = "5m"\nspool_size = "32MiB"\n', "were read again")
    assert "changed: late_after 1m → 5m, workers 4 → 2" in line
    assert "only after a restart: spool_size 256MiB → 32MiB" in line
    line = after("workers = \n", "stay as they are")
    assert "reconciler.toml cannot be read" in line
    line = after('workers = 2\nlate_after = "5m"\nspool_size = "32MiB"\n', "nothing changed")
    notify = '[notify.ops]\nwebhook = "http://127.0.0.1:1/"\nsecret = {env = "HOOK"}\nevents = ["failure"]\n'
    line = after('workers = 2\nlate_after = "5m"\nspool_size = "32MiB"\n' + notify, "notify")
    assert "notify [] → ['ops']" in line
    ticks = one.said(process).count("✓ tick@here")
    eventually(lambda: one.said(process).count("✓ tick@here") > ticks)
    after('log = "json"\n', '"logger": "reconciler.settings"')
    eventually(lambda: '"event": "ended"' in one.said(process))
    assert end(process) < 60
    assert process.returncode == 0


def test_systemd_hears_of_the_start_the_reload_and_the_end(
    program: Callable[..., Program], tmp_path: Path
) -> None:
    place = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(place))
        systemd.settimeout(60)

        def until(word: str) -> str:
            while word not in (said := systemd.recv(4096).decode()):
                pass
            return said

        one = program(NOTIFY_SOCKET=str(place), WATCHDOG_USEC="900000")
        process = one.start("up", str(write_tree(tmp_path / "tree", {"fleet.yaml": PROJECT + TICK})))
        until("READY=1")
        until("WATCHDOG=1")
        process.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in until("RELOADING=1")
        until("READY=1")
        process.send_signal(signal.SIGTERM)
        until("STOPPING=1")
        assert process.wait(60) == 0
