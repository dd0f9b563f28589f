"""Several real processes on one database: killed, restarted, the database killed under them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from reconciler.clock import SystemClock
from reconciler.store.engine import Database
from reconciler.store.schema import upgrade
from tests.controller.conftest import Start, eventually
from tests.controller.executors import Quick
from tests.dispatch.fleet import Fleet
from tests.services.database import MariaDB

CLOCK = SystemClock()
ROOT = Path(__file__).resolve().parents[2]


class Processes:
    """Starts processes, kills them, and reads what their commands did."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "ran.log"
        self.running: list[subprocess.Popen[str]] = []

    def start(self, url: str, role: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.controller.process", url, str(self.log), role],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def end(self) -> list[int]:
        """End those that are left in order; their exit codes."""
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        return [process.wait(30) for process in self.running]

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def close(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with closing(Processes(tmp_path)) as found:
        yield found


def check_slots(fleet: Fleet, tasks: list[int]) -> None:
    """Each task has a row for each second from its first to its last, and exactly one."""
    for task in tasks:
        slots = [row["scheduled_for"] for row in fleet.ledger(task) if row["attempt"] == 1]
        counted: list[datetime] = []
        for row in fleet.ledger(task):
            counted += [row["scheduled_for"]] * row["count"]
        assert len(slots) == len(set(slots))
        assert len(counted) == (slots[-1] - slots[0]).total_seconds() + 1, task


def check_runs(fleet: Fleet, lines: list[str]) -> None:
    """No command ran twice, and each that the ledger calls completed ran."""
    ran = Counter(int(line.split()[3]) for line in lines)
    assert set(ran.values()) <= {1}
    completed = {row["id"] for row in fleet.ledger() if row["reason"] == "completed"}
    assert completed <= ran.keys()
    never = {row["id"] for row in fleet.ledger() if row["status"] == 3}
    assert not never & ran.keys()


def test_processes_share_the_slots_and_end_in_order(fleet: Fleet, url: str, processes: Processes) -> None:
    tasks = seconds(fleet, 15)
    for role in ("up", "controller", "worker"):
        processes.start(url, role)
    eventually(lambda: fleet.states()["completed"] >= 60)
    assert processes.end() == [0, 0, 0]
    assert set(fleet.states()) <= {"completed", "overlap"}
    check_slots(fleet, tasks)
    check_runs(fleet, processes.lines())


@pytest.mark.mariadb
@pytest.mark.slow
@pytest.mark.parametrize("url", ["mariadb"], indirect=True)
def test_a_killed_process_loses_no_slot_and_runs_none_twice(
    fleet: Fleet, url: str, processes: Processes
) -> None:
    # where nobody can ask a host afterwards
    fleet.server("web-1", durable=False)
    tasks = seconds(fleet, 15)
    victim = processes.start(url, "up")
    processes.start(url, "up")
    eventually(lambda: fleet.states()["completed"] >= 30)
    eventually(lambda: stopped_at_work(fleet, victim))
    victim.kill()
    victim.wait()
    killed_at = CLOCK.now()
    processes.running.remove(victim)
    left = held_by(fleet, victim)
    # what it held is reaped within a lease and a look, and the other one goes on meanwhile
    eventually(lambda: not held_by(fleet, victim), 60)
    assert processes.end() == [0]
    states = fleet.states()
    assert set(states) <= {"completed", "overlap", "lost"}
    assert states["lost"] == len(left) > 0
    assert any(row["finished_at"] > killed_at for row in fleet.ledger() if row["reason"] == "completed")
    check_slots(fleet, tasks)
    check_runs(fleet, processes.lines())


def stopped_at_work(fleet: Fleet, process: subprocess.Popen[str]) -> bool:
    """Whether it could be stopped while it held something; it goes on where it did not."""
    process.send_signal(signal.SIGSTOP)
    if held_by(fleet, process):
        return True
    process.send_signal(signal.SIGCONT)
    return False


def held_by(fleet: Fleet, process: subprocess.Popen[str]) -> list[int]:
    """What it runs, as the ledger says; its owner's name has its pid in it."""
    return [row["id"] for row in fleet.ledger() if f"-{process.pid}-" in (row["lease_owner"] or "")]


def seconds(fleet: Fleet, count: int) -> list[int]:
    """Tasks of every second, from the next one but one."""
    due = CLOCK.now().replace(microsecond=0) + timedelta(seconds=2)
    return fleet.tasks([f"t-{n}" for n in range(count)], due=due, schedule="@every 1s")


@pytest.mark.mariadb
@pytest.mark.slow
def test_a_database_that_is_killed_and_comes_back_loses_nothing(
    start_mariadb: Callable[..., MariaDB], start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_mariadb()
    url = server.url(server.create_database())
    with closing(Database.open(url, CLOCK)) as db:
        upgrade(db)
        fleet = Fleet(db)
        tasks = seconds(fleet, 10)
        quick = Quick(0.05)
        runtime = start(quick, own_url=url)
        eventually(lambda: len(quick.ran) >= 20)
        server.kill()
        CLOCK.sleep(1.5)
        server.start()
        before = len(quick.ran)
        eventually(lambda: len(quick.ran) >= before + 20, 30)
        alive = {thread.name for thread in threading.enumerate()}
        assert {"schedule", "take", "keep", "follow", "glance", "reap", "record", "spool"} <= alive
        assert runtime.stop()
        assert set(quick.slots.values()) == {1}
        assert set(fleet.states()) <= {"completed", "overlap"}
        assert fleet.states()["completed"] == len(quick.ran)
        check_slots(fleet, tasks)
    told = [record.message for record in caplog.records if "trying again" in record.message]
    assert len(told) <= 3
    assert any("answers again" in record.message for record in caplog.records)
