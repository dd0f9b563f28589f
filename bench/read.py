"""How quickly people and scripts read among a million executions, on MariaDB and SQLite.

Each read is the program's own function for it, on a connection of its pool, many times with tasks, servers
and pages that differ each time. Beside the milliseconds (median and 99th percentile) stands how many times a
bare ``SELECT 1`` through the same pool they are (the floor, measured in turn with them), and the CPU time of
the reading thread, which a busy machine disturbs least; the database server's own is not in it.

    python bench/read.py [--rounds 200] [--executions 1000000] [--tasks 10000]

BENCH_EXECUTIONS and BENCH_TASKS make it smaller: filling is most of the time, and BENCH_KEPT=FOLDER keeps
what was filled (``bench/_ledger.py``). Everything is read once before: what is measured is not the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench._ledger import EXECUTIONS, TASKS, Ledger, opened, say, warm
from reconciler.clock import SystemClock
from reconciler.model.execution import State
from reconciler.record.archive import Archives, RunArchive, name_of
from reconciler.record.folder import Folder
from reconciler.report.build import status_report
from reconciler.store.executions import last_executions, list_executions
from reconciler.store.ids import first_id_at
from reconciler.store.listing import ObjectFilter, list_tasks
from reconciler.store.pages import ExecutionFilter

LATE = timedelta(seconds=60)
LOG_BYTES = 50_000_000
PAGE_LINES = 1000
LIMIT = 50


@dataclass(frozen=True, slots=True)
class Read:
    """One kind of read; ``goal`` is for its 99th percentile, in seconds. ``share`` of the rounds it gets."""

    name: str
    work: Callable[[], Any]
    goal: float | None = None
    share: float = 1.0


def reads(one: Ledger, pick: random.Random, log: Callable[[], int] | None) -> list[Read]:
    db, clock = one.db, SystemClock()

    def listed(**wanted: Any) -> Callable[[], Any]:
        def work() -> Any:
            chosen = {name: value() if callable(value) else value for name, value in wanted.items()}
            # half of the pages are not the first one: anywhere in the past
            after = first_id_at(one.end - timedelta(days=pick.randrange(70))) if pick.random() < 0.5 else None
            with db.read() as connection:
                return list_executions(
                    connection, ExecutionFilter(**chosen), limit=LIMIT, after=_cursor(after)
                )

        return work

    def task() -> list[int]:
        return [pick.choice(one.tasks)]

    def server() -> int:
        return pick.choice(one.servers)

    def day() -> Any:
        return one.end - timedelta(days=1)

    def ten() -> Any:
        with db.read() as connection:
            found = last_executions(connection, pick.choice(one.tasks), 10)
        assert found
        return found

    def some_tasks() -> Any:
        with db.read() as connection:
            return list_tasks(connection, ObjectFilter(server_id=server()), limit=LIMIT)

    def status() -> Any:
        report = status_report(db, clock.now(), LATE)
        assert len(report.objects) > len(one.tasks)
        return report

    def label() -> dict[str, str]:
        return {"team": f"team-{pick.randrange(37):02}", "tier": "gold"}

    lately: dict[str, Any] = {"state": State.FAILED, "since": day, "server_id": server}
    found = [
        Read("SELECT 1 (floor)", lambda: _nothing(db)),
        Read("last ten of a task", ten, 0.010),
        Read("executions, newest", listed(), 0.010),
        Read("executions of a task", listed(task_ids=task), 0.010),
        Read("executions --server", listed(server_id=server), 0.010),
        Read("executions --state failed", listed(state=State.FAILED), 0.010),
        Read("executions --state running", listed(state=State.RUNNING), 0.010),
        Read("executions --since 1d", listed(since=day), 0.010),
        Read("executions --state failed --since 1d --server", listed(**lately), 0.010),
        Read("executions -l team -l tier", listed(labels=label), None, 0.25),
        Read(
            "executions -l … --state failed --since 1d --server", listed(labels=label, **lately), None, 0.25
        ),
        Read("tasks --server", some_tasks, 0.010, 0.5),
        Read(f"status of {len(one.tasks):,} tasks", status, 1.0, 0.055),
    ]
    if log is not None:
        found.insert(-1, Read(f"a page of a log of {LOG_BYTES // 1_000_000} MB", log, 0.020))
    return found


def _cursor(below: int | None) -> str | None:
    from reconciler.store.cursor import encode

    return None if below is None else encode("executions", (below,))


def _nothing(db: Any) -> None:
    with db.read() as connection:
        connection.exec_driver_sql("SELECT 1").fetchall()


def make_log(folder: Path, pick: random.Random) -> Callable[[], int]:
    """An archive with one large log, written as a run's is; gives the reading of a page anywhere in it."""
    archives = Archives(str(folder / "archive"), SystemClock())
    execution = first_id_at(SystemClock().now())
    place = str(folder / "archive" / name_of(execution))
    writer = RunArchive(Folder(folder / "archive"), name_of(execution))
    made = 0
    number = 0
    while made < LOG_BYTES:
        piece = b"".join(
            b"2026-11-26T18:40:%02d.%06dZ worker-%d: %08x copied in %d ms\n"
            % (n % 60, n * 7919 % 1_000_000, n % 16, n * 2654435761 % (1 << 32), n % 997)
            for n in range(number, number + 1000)
        )
        writer.write("stdout", piece)
        made, number = made + len(piece), number + 1000
    assert writer.finish() is not None

    def page() -> int:
        with archives.read(place, "stdout") as text:
            first = pick.randrange(0, text.lines - PAGE_LINES)
            return sum(map(len, text.lines_between(first, first + PAGE_LINES)))

    return page


def measure(one: Ledger, rounds: int, pick: random.Random, log: Callable[[], int] | None) -> dict[str, Any]:
    """Reads take turns; the first of each is not counted (it fills the pool and the caches)."""
    todo = reads(one, pick, log)
    seconds: dict[str, list[float]] = {read.name: [] for read in todo}
    own: dict[str, list[float]] = {read.name: [] for read in todo}
    for number in range(rounds + 1):
        say(f"{one.name}: round {number} of {rounds}")
        for read in todo:
            if number and int(number * read.share) == int((number - 1) * read.share):
                continue
            begin, cpu = time.perf_counter(), time.thread_time()
            read.work()
            if number:
                seconds[read.name].append(time.perf_counter() - begin)
                own[read.name].append(time.thread_time() - cpu)
    say("")
    floor = statistics.median(seconds[todo[0].name])
    return {
        read.name: {
            "rounds": len(seconds[read.name]),
            "p50": statistics.median(seconds[read.name]),
            "p99": _percentile(seconds[read.name], 0.99),
            "cpu": statistics.median(own[read.name]),
            "timesFloor": statistics.median(seconds[read.name]) / floor,
            "goal": read.goal,
            "met": None if read.goal is None else _percentile(seconds[read.name], 0.99) <= read.goal,
        }
        for read in todo
    }


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def show(database: str, kinds: dict[str, Any]) -> None:
    """As soon as it is known: filling the next one takes minutes."""
    print(f"\n{database:52}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms':>9}{'× floor':>9}   goal p99")
    for name, told in kinds.items():
        met = "met" if told["met"] else "NOT met"
        goal = "" if told["goal"] is None else f"{told['goal'] * 1000:g} ms {met}"
        line = f"  {name:50}{told['p50'] * 1000:9.2f}{told['p99'] * 1000:9.2f}"
        line += f"{told['cpu'] * 1000:9.2f}{told['timesFloor']:9.1f}"
        print(f"{line}   {goal}".rstrip(), flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description="reads among many executions")
    arguments.add_argument("--rounds", type=int, default=200)
    arguments.add_argument("--executions", type=int, default=EXECUTIONS)
    arguments.add_argument("--tasks", type=int, default=TASKS)
    arguments.add_argument("--only", choices=("MariaDB", "SQLite"), help="one of the two")
    arguments.add_argument("--json", type=Path, default=Path("bench/results/read.json"))
    given = arguments.parse_args()
    absent: list[str] = []
    databases: dict[str, Any] = {}
    pick = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="bench-read-") as folder:
        log = make_log(Path(folder), pick)
        for name in ("MariaDB", "SQLite"):
            if given.only not in (None, name):
                continue
            with opened(name, absent, given.executions, given.tasks) as one:
                if one is not None:
                    warm(one)
                    databases[name] = measure(one, given.rounds, pick, log)
                    show(name, databases[name])
    result = {
        "name": "read",
        "executions": given.executions,
        "tasks": given.tasks,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} CPUs",
        "absent": absent,
        "databases": databases,
    }
    print(f"\n{given.executions:,} executions of {given.tasks:,} tasks; {result['machine']}")
    for name in absent:
        print(f"skipped: {name}")
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
