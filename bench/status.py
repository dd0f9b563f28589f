"""What the status of a fleet costs, with and without Redis.

The report of 1,000 and of 10,000 tasks among many executions on MariaDB, and its JSON. With
RECONCILER_REDIS_URL also with the rows that Redis knows: *first* is the report that fills it, *known* are
those after it. Rounds take turns; the figures are medians of wall time and of the CPU time of this process
(the database's own is not in it), and the ratio to the report without Redis, round by round.

    RECONCILER_REDIS_URL=redis://… python bench/status.py [--rounds 9] [--json bench/results/status.json]

BENCH_EXECUTIONS and BENCH_TASKS make it smaller.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench._ledger import EXECUTIONS, TASKS, Ledger, ledger, mariadb, say
from reconciler.bootstrap import known_rows
from reconciler.clock import SystemClock
from reconciler.report.build import status_report
from reconciler.report.shapes import status_json
from reconciler.settings import Settings

LATE = timedelta(seconds=60)
GOAL = 1.0
"""Seconds at the 99th percentile, with 10,000 tasks."""


def report(one: Ledger, redis: str | None, prefix: str) -> int:
    """One report as the command makes it, connecting included; the length of its JSON."""
    clock = SystemClock()
    rows = known_rows(Settings(redis_url=redis, redis_prefix=prefix), clock)
    found = status_report(one.db, clock.now(), LATE, rows)
    return len(json.dumps(status_json(found)))


def measure(one: Ledger, redis: str | None, rounds: int) -> dict[str, Any]:
    prefix = f"bench-{uuid.uuid4().hex}"
    kinds: dict[str, Callable[[], int]] = {"without Redis": lambda: report(one, None, prefix)}
    first: dict[str, float] = {}
    if redis is not None:
        kinds["with Redis, known"] = lambda: report(one, redis, prefix)
        begin = time.perf_counter()
        report(one, redis, prefix)
        first = {"with Redis, first": time.perf_counter() - begin}
    wall: dict[str, list[float]] = {name: [] for name in kinds}
    own: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(rounds + 1):
        for name, work in kinds.items():
            say(f"{one.name}, {len(one.tasks):,} tasks: round {number} of {rounds}, {name}")
            begin, cpu = time.perf_counter(), time.process_time()
            work()
            if number:  # the first one fills pools and caches
                wall[name].append(time.perf_counter() - begin)
                own[name].append(time.process_time() - cpu)
    say("")
    plain = wall["without Redis"]
    told: dict[str, Any] = {
        name: {
            "wall": statistics.median(wall[name]),
            "worst": max(wall[name]),
            "cpu": statistics.median(own[name]),
            "timesPlain": statistics.median(a / b for a, b in zip(wall[name], plain, strict=True)),
        }
        for name in kinds
    }
    return told | {name: {"wall": seconds} for name, seconds in first.items()}


def show(result: dict[str, Any]) -> None:
    print(f"{result['executions']:,} executions; {result['machine']}; median of {result['rounds']}")
    for size, kinds in result["sizes"].items():
        print(f"\n{int(size):,} tasks{'':18}{'wall s':>9}{'worst s':>9}{'CPU s':>9}{'× without':>11}")
        for name, told in kinds.items():
            cells = "".join(
                f"{told[key]:9.3f}" if key in told else f"{'':9}" for key in ("wall", "worst", "cpu")
            )
            times = f"{told['timesPlain']:11.2f}" if "timesPlain" in told else ""
            print(f"  {name:28}{cells}{times}".rstrip())
    for name in result["absent"]:
        print(f"skipped: {name}")
    for name, goal in result["goals"].items():
        print(
            f"{'met' if goal['met'] else 'NOT met':8}{name}: {goal['value']:.2f} (at most {goal['atMost']:g})"
        )


def main() -> None:
    arguments = argparse.ArgumentParser(description="the status of a fleet, with and without Redis")
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--executions", type=int, default=EXECUTIONS)
    arguments.add_argument("--tasks", type=int, default=TASKS)
    arguments.add_argument("--json", type=Path, default=Path("bench/results/status.json"))
    given = arguments.parse_args()
    redis = os.environ.get("RECONCILER_REDIS_URL")
    absent = [] if redis else ["Redis (RECONCILER_REDIS_URL is not set)"]
    sizes: dict[str, Any] = {}
    for tasks in sorted({max(1, given.tasks // 10), given.tasks}):
        with mariadb(absent) as url:
            if url is None:
                break
            with ledger("MariaDB", url, given.executions * tasks // given.tasks, tasks) as one:
                sizes[str(tasks)] = measure(one, redis, given.rounds)
    goals = {}
    if str(given.tasks) in sizes:
        told = sizes[str(given.tasks)]
        for name in ("without Redis", "with Redis, known"):
            if name in told:
                value = told[name]["worst"]
                goals[f"status of {given.tasks:,} tasks {name}, worst second"] = {
                    "value": value, "atMost": GOAL, "met": value <= GOAL,
                }  # fmt: skip
    result = {
        "name": "status",
        "executions": given.executions,
        "rounds": given.rounds,
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
