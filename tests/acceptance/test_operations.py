"""A long-running process in the hands of whoever operates it: signals, settings, systemd, full disks."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.driver import Program, eventually, write_tree
from tests.services.database import MariaDB
from tests.services.git import GitRepository
from tests.services.process import free_port

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


@pytest.mark.mariadb
@pytest.mark.slow
def test_sigterm_ends_a_process_whose_database_hangs_and_nothing_is_lost(
    program: Callable[..., Program], start_mariadb: Callable[..., MariaDB], tmp_path: Path
) -> None:
    server = start_mariadb()
    one = program(server.url(server.create_database()))
    one("db", "upgrade").ok()
    texts = PROJECT + TICK + LONG.replace("NAME", "here") + LONG.replace("NAME", "plain")
    tree = write_tree(tmp_path / "tree", {"fleet.yaml": texts})
    process = one.start("up", str(tree), "--write-to", str(tmp_path / "status.html"))
    eventually(lambda: "✓ tick@here" in one.said(process))
    one("run", "long-here", "long-plain").ok()
    eventually(lambda: len(one.executions("--state", "running")) >= 2)
    server.pause()
    try:
        # connections stay open and nothing answers: each statement would wait for a minute
        time.sleep(6)
        took = end(process)
    finally:
        server.resume()
    assert process.returncode == 0, one.said(process)
    # 5 s and what the machine is slow; joining one hanging thread after the other took 27 s
    assert took < 15, one.said(process)
    again = one.start("up", str(tree))
    eventually(lambda: one.executions("long-plain")[0]["reason"] == "cancelled")
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

    line = after(
        'workers = 2\nlate_after = "5m"\noutput_limit = "1MiB"\nspool_size = "32MiB"\n', "were read again"
    )
    assert "changed: output_limit 1GiB → 1MiB, late_after 1m → 5m, workers 4 → 2" in line
    assert "only after a restart: spool_size 256MiB → 32MiB" in line
    line = after("workers = \n", "stay as they are")
    assert "reconciler.toml cannot be read" in line
    line = after(
        'workers = 2\nlate_after = "5m"\noutput_limit = "1MiB"\nspool_size = "32MiB"\n', "nothing changed"
    )
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


NOISY = """\
---
apiVersion: reconciler/v1
kind: Task
metadata: {name: noisy}
spec:
  server: here
  command: head -c 2000000 /dev/urandom | base64
  schedule: "@every 1s"
  output: {archive: true}
"""


class Disk:
    """A small file system of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._fill = place / "fill"

    def fill(self) -> None:
        """Use up every byte."""
        with self._fill.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 4096)

    def empty(self) -> None:
        self._fill.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    place = tmp_path / "small-disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("this machine mounts no tmpfs")
    yield Disk(place)
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def asked(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def reasons(port: int) -> list[str]:
    return [reason["code"] for reason in json.loads(asked(port, "/readyz")[1])["reasons"]]


@pytest.mark.mariadb
@pytest.mark.slow
def test_a_full_state_folder_is_told_and_survived_by_clones_archives_and_the_spool(
    program: Callable[..., Program],
    start_mariadb: Callable[..., MariaDB],
    git_repo: GitRepository,
    disk: Disk,
    tmp_path: Path,
) -> None:
    server = start_mariadb()
    one = program(server.url(server.create_database()), RECONCILER_STATE_DIR=str(disk.place / "state"))
    one("db", "upgrade").ok()
    go = tmp_path / "go"
    patient = LONG.replace("NAME", "here").replace("sleep 300", f"'while [ ! -e {go} ]; do sleep 0.1; done'")
    write_tree(git_repo.path, {"fleet.yaml": PROJECT + TICK + NOISY + patient})
    git_repo.commit("one")
    port = free_port()
    words = ["--git", f"file://{git_repo.path}", "--interval", "1s", "--listen", f"127.0.0.1:{port}"]

    # the clone
    disk.fill()
    process = one.start("up", *words)
    eventually(lambda: "No space left on device" in one.said(process))
    assert asked(port, "/healthz")[0] == 200
    disk.empty()
    # a push is looked at once; by itself it would look again within a minute
    git_repo.commit("two")
    eventually(lambda: "✓ noisy@here" in one.said(process), 90)
    assert one.said(process).count("git cannot read the repository") <= 2

    # the archive: no run fails for it
    disk.fill()
    eventually(lambda: "is not in the archive" in one.said(process))
    before = one.said(process).count("✓ noisy@here")
    eventually(lambda: one.said(process).count("✓ noisy@here") >= before + 3)
    assert "✗ noisy@here" not in one.said(process)
    # in the log now and then; each run's own line says it as well
    assert len(re.findall(r"the output of execution \d+ is not in the archive", one.said(process))) <= 2

    # the spool, while the database is away, too
    one("run", "long-here").ok()
    eventually(lambda: one.executions("long-here")[0]["state"] == "running")
    server.kill()
    eventually(lambda: "database" in reasons(port))

    def waits() -> bool:
        # again and again: what a broken archive gives back later has room for many ends
        disk.fill()
        return "runs wait until their ends are recorded" in one.said(process)

    # this one's end has no room at the latest; others' may have come while the disk was full
    go.touch()
    eventually(waits, 90)
    eventually(lambda: "spool" in reasons(port))
    assert asked(port, "/healthz")[0] == 200
    assert one.said(process).count("runs wait until their ends are recorded") == 1
    disk.empty()
    server.start()
    eventually(lambda: asked(port, "/readyz")[0] == 200, 90)
    before = one.said(process).count("✓ noisy@here")
    eventually(lambda: one.said(process).count("✓ noisy@here") > before, 60)
    assert end(process) < 60
    assert process.returncode == 0
    rows = one.executions()
    assert {row["reason"] for row in rows} <= {"completed", "overlap", "missed", None}
    assert len({row["scheduledFor"] for row in rows if row["task"] == "tick"}) > 5


FAKETIME = shutil.which("faketime")


@pytest.mark.slow
@pytest.mark.skipif(FAKETIME is None, reason="faketime (package faketime) is not installed")
@pytest.mark.parametrize("jump", ["+2h", "-2h"])
def test_a_clock_that_jumps_neither_ends_the_process_nor_runs_a_slot_twice(
    program: Callable[..., Program], tmp_path: Path, jump: str
) -> None:
    shift = tmp_path / "shift"
    shift.write_text("+0\n")
    library = re.search(r"LD_PRELOAD=(\S+)", environment_of_faketime())
    assert library is not None
    one = program(
        LD_PRELOAD=library[1],
        FAKETIME_TIMESTAMP_FILE=str(shift),
        FAKETIME_CACHE_DURATION="1",
        NO_FAKE_STAT="1",
        # the steps of the loops and leases are measured by the clock that never jumps
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    port = free_port()
    tree = write_tree(tmp_path / "tree", {"fleet.yaml": PROJECT + TICK})
    process = one.start("up", str(tree), "--listen", f"127.0.0.1:{port}")
    eventually(lambda: one.said(process).count("✓ tick@here") >= 2)
    shift.write_text(f"{jump}\n")
    if jump[0] == "+":
        # what lies between is closed with rows, and work goes on at the new time
        before = one.said(process).count("✓ tick@here")
        eventually(lambda: one.said(process).count("✓ tick@here") >= before + 2)
    else:
        # slots are claimed once: until the clock is there again nothing is due
        eventually(lambda: asked(port, "/readyz")[0] == 200)
        shift.write_text("+0\n")
        before = one.said(process).count("✓ tick@here")
        eventually(lambda: one.said(process).count("✓ tick@here") >= before + 2)
    assert asked(port, "/healthz")[0] == 200
    eventually(lambda: asked(port, "/readyz")[0] == 200)
    assert end(process) < 60
    assert process.returncode == 0
    slots = [row["scheduledFor"] for row in one.executions("tick")]
    assert len(slots) == len(set(slots))
    if jump[0] == "+":
        counts: list[Any] = [row["count"] for row in one.executions("--state", "skipped")]
        # two hours of a task of every second: none vanished, most in one row
        assert sum(counts) > 7_000


def environment_of_faketime() -> str:
    assert FAKETIME is not None
    done = subprocess.run([FAKETIME, "+0 seconds", "env"], capture_output=True, text=True, check=True)
    return done.stdout
