"""What the status of a fleet costs, with and without Redis.

The report of 1,000 and of 10,000 tasks among many executions on MariaDB, and its JSON; and the whole of
``reconciler status`` and ``status -o json`` as processes, from their start to their end. With Redis (a
private one, or that of RECONCILER_REDIS_URL) also with the rows that it knows: *first* is the report that
fills it, *known* are those after it. Rounds take turns; the figures are medians of wall time and of the CPU
time of the process that reports (the database's own is not in it), and the ratio to the same without Redis,
round by round.

    python bench/status.py [--rounds 9] [--pool 1024] [--json bench/results/status.json]

``--pool`` is the database's memory in MB: with little of it rows come from the disk. BENCH_EXECUTIONS and
BENCH_TASKS make the ledger smaller, BENCH_KEPT=FOLDER keeps it (``bench/_ledger.py``).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from bench._ledger import EXECUTIONS, TASKS, Ledger, opened, say, warm
from reconciler.bootstrap import known_rows
from reconciler.clock import SystemClock
from reconciler.report.pages import status_page
from reconciler.settings import Settings
from tests.services.process import ServiceBroken, ServiceMissing
from tests.services.redis import RedisServer

LATE = timedelta(seconds=60)
GOAL = 1.0
"""Seconds at the 99th percentile, with 10,000 tasks."""


def report(one: Ledger, redis: str | None, prefix: str) -> int:
    """One report as the command makes it, connecting included; the length of its JSON."""
    clock = SystemClock()
    rows = known_rows(Settings(redis_url=redis, redis_prefix=prefix), clock)
    return len(status_page(one.db, "json", clock.now(), LATE, rows))


def command(one: Ledger, redis: str | None, prefix: str, *words: str) -> float:
    """A whole process; the seconds of CPU that it took."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RECONCILER_")}
    environment |= {"RECONCILER_DATABASE_URL": one.url, "RECONCILER_REDIS_PREFIX": prefix}
    if redis is not None:
        environment["RECONCILER_REDIS_URL"] = redis
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    line = [sys.executable, "-m", "reconciler", "status", *words]
    subprocess.run(line, env=environment, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def in_process(one: Ledger, redis: str | None, prefix: str) -> float:
    """The same for a report in this process."""
    cpu = time.process_time()
    report(one, redis, prefix)
    return time.process_time() - cpu


def measure(one: Ledger, redis: str | None, rounds: int) -> dict[str, Any]:
    prefix = f"bench-{uuid.uuid4().hex}"
    kinds: dict[str, Callable[[], float]] = {}
    plain: dict[str, str] = {}
    first: dict[str, float] = {}
    if redis is not None:
        begin = time.perf_counter()
        report(one, redis, prefix)
        first = {"report with Redis, first": time.perf_counter() - begin}
    works: dict[str, Callable[[str | None], float]] = {
        "report": lambda where: in_process(one, where, prefix),
        "`reconciler status`": lambda where: command(one, where, prefix),
        "`reconciler status -o json`": lambda where: command(one, where, prefix, "-o", "json"),
    }
    for name, work in works.items():
        kinds[f"{name} without Redis"] = partial(work, None)
        plain[f"{name} without Redis"] = f"{name} without Redis"
        if redis is not None:
            kinds[f"{name} with Redis, known"] = partial(work, redis)
            plain[f"{name} with Redis, known"] = f"{name} without Redis"
    wall: dict[str, list[float]] = {name: [] for name in kinds}
    own: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(rounds + 1):
        for name, step in kinds.items():
            say(f"{one.name}, {len(one.tasks):,} tasks: round {number} of {rounds}, {name}")
            begin = time.perf_counter()
            cpu = step()
            if number:  # the first one fills pools and caches
                wall[name].append(time.perf_counter() - begin)
                own[name].append(cpu)
    say("")
    told: dict[str, Any] = {
        name: {
            "wall": statistics.median(wall[name]),
            "worst": max(wall[name]),
            "cpu": statistics.median(own[name]),
            "timesPlain": statistics.median(
                a / b for a, b in zip(wall[name], wall[plain[name]], strict=True)
            ),
        }
        for name in kinds
    }
    return told | {name: {"wall": seconds} for name, seconds in first.items()}


def show(result: dict[str, Any]) -> None:
    print(f"{result['executions']:,} executions; {result['machine']}; median of {result['rounds']}")
    for size, kinds in result["sizes"].items():
        print(f"\n{int(size):,} tasks{'':31}{'wall s':>9}{'worst s':>9}{'CPU s':>9}{'× without':>11}")
        for name, told in kinds.items():
            cells = "".join(
                f"{told[key]:9.3f}" if key in told else f"{'':9}" for key in ("wall", "worst", "cpu")
            )
            times = f"{told['timesPlain']:11.2f}" if "timesPlain" in told else ""
            print(f"  {name:41}{cells}{times}".rstrip())
    for name in result["absent"]:
        print(f"skipped: {name}")
    for name, goal in result["goals"].items():
        print(
            f"{'met' if goal['met'] else 'NOT met':8}{name}: {goal['value']:.2f} (at most {goal['atMost']:g})"
        )


@contextlib.contextmanager
def redis_server(absent: list[str]) -> Iterator[str | None]:
    """The URL of the Redis of the settings, else of a private one; None where there is none."""
    if url := os.environ.get("RECONCILER_REDIS_URL"):
        yield url
        return
    with contextlib.ExitStack() as stack:
        found = None
        try:
            found = stack.enter_context(RedisServer()).url
        except (ServiceMissing, ServiceBroken) as error:
            absent.append(f"Redis ({error})")
        yield found


def main() -> None:
    arguments = argparse.ArgumentParser(description="the status of a fleet, with and without Redis")
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--executions", type=int, default=EXECUTIONS)
    arguments.add_argument("--tasks", type=int, default=TASKS)
    arguments.add_argument("--json", type=Path, default=Path("bench/results/status.json"))
    arguments.add_argument("--pool", type=int, default=1024)
    given = arguments.parse_args()
    absent: list[str] = []
    sizes: dict[str, Any] = {}
    with redis_server(absent) as redis:
        for tasks in sorted({max(1, given.tasks // 10), given.tasks}):
            executions = given.executions * tasks // given.tasks
            with opened("MariaDB", absent, executions, tasks, pool_megabytes=given.pool) as one:
                if one is None:
                    break
                warm(one)
                sizes[str(tasks)] = measure(one, redis, given.rounds)
    goals = {}
    for name, told in sizes.get(str(given.tasks), {}).items():
        if "worst" in told:
            value = told["worst"]
            goals[f"status of {given.tasks:,} tasks: {name}, worst second"] = {
                "value": value, "atMost": GOAL, "met": value <= GOAL,
            }  # fmt: skip
    result = {
        "name": "status",
        "executions": given.executions,
        "rounds": given.rounds,
        "pool": given.pool,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} CPUs",
        "absent": absent,
        "sizes": sizes,
        "goals": goals,
    }
    show(result)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
