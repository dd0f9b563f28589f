"""How quickly old executions go, how long a lock is held for it, and what claims notice.

Half of the executions of each task are beyond its ``maxCount``. Three measurements on MariaDB and SQLite:
claims of due slots alone; the same while a pass prunes as controllers do (with its pauses); and the floor,
keys deleted a thousand a transaction with nothing else going on and nothing decided. Claims are made every
tenth of a second, of tasks of which a sixtieth is due each second; what they take is what others wait for.
The longest transaction of a pass stands beside the longest bare commit of one small row, alone and beside the
pass: where the disk's syncs stall, both wait for them.

    python bench/prune.py [--executions 1000000] [--tasks 10000] [--json bench/results/prune.json]

BENCH_EXECUTIONS and BENCH_TASKS make it smaller; of a ledger that is kept (BENCH_KEPT, ``bench/_ledger.py``)
a copy is taken.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from bench._ledger import EXECUTIONS, TASKS, Ledger, opened, say
from reconciler.clock import SystemClock
from reconciler.dispatch.scheduler import Scheduler
from reconciler.record.prune import MOST_SECONDS, Pruner
from reconciler.store.bulk import number_list
from reconciler.store.ids import ExecutionIds

ALONE_SECONDS = 10.0
CLAIM_SECONDS = 0.1
COMMIT_SECONDS = 0.02
"""Between two bare commits, which are the floor of every transaction: what they wait, is the disk's."""
FLOOR_ROWS = 1000
FLOOR_MOST = 50_000
PRUNE_SECONDS = 120.0
"""A pass is ended after so long: the rate is known by then."""


class Claims(threading.Thread):
    """Claims what is due; seconds of each claim that had something to do."""

    def __init__(self, one: Ledger) -> None:
        super().__init__(daemon=True)
        clock = SystemClock()
        self._scheduler = Scheduler(one.db, clock, ExecutionIds(random.randrange(512), clock), 60.0)
        self._over = threading.Event()
        self.seconds: list[float] = []
        self.tasks = 0

    def run(self) -> None:
        while not self._over.wait(CLAIM_SECONDS):
            begin = time.perf_counter()
            claimed = self._scheduler.claim()
            if claimed.tasks:
                self.seconds.append(time.perf_counter() - begin)
                self.tasks += claimed.tasks

    def end(self) -> dict[str, float]:
        self._over.set()
        self.join()
        spread = _spread(self.seconds)
        return {"claims": spread.pop("count"), "tasks": self.tasks, **spread}


def make_due(one: Ledger) -> None:
    """A sixtieth of the tasks each second from now on; runs may overlap, because nobody executes them."""
    now = SystemClock().now().replace(microsecond=0)
    with one.db.write() as connection:
        for second in range(60):
            at = f"'{now + timedelta(seconds=second + 1):%Y-%m-%d %H:%M:%S.%f}'"
            spec = '{"spec":{"concurrency":"allow"}}'
            connection.execute(
                text(
                    "UPDATE tasks SET cron_expr = '@every 1m', spec = :spec, "
                    f"next_slot = {at}, next_run = {at} WHERE id % 60 = :second"
                ),
                {"spec": spec, "second": second},
            )


def keep(one: Ledger, count: int) -> None:
    with one.db.write() as connection:
        connection.exec_driver_sql(
            f"""UPDATE projects SET spec = '{{"spec":{{"history":{{"maxCount":{count}}}}}}}'"""
        )


def floor(one: Ledger, most: int) -> float:
    """Rows a second, deleted by key without a pause: the oldest of all."""
    with one.db.read() as connection:
        query = f"SELECT id FROM task_executions WHERE status <> 0 ORDER BY id LIMIT {most}"
        ids = [row[0] for row in connection.exec_driver_sql(query)]
    begin = time.perf_counter()
    for start in range(0, len(ids), FLOOR_ROWS):
        with one.db.write() as connection:
            some = number_list(ids[start : start + FLOOR_ROWS])
            connection.exec_driver_sql(f"DELETE FROM task_executions WHERE id IN ({some})")
    return len(ids) / (time.perf_counter() - begin)


class Commits(threading.Thread):
    """One small row, written and committed again and again; the seconds that each commit took."""

    def __init__(self, one: Ledger) -> None:
        super().__init__(daemon=True)
        self._db = one.db
        self._over = threading.Event()
        self.seconds: list[float] = []

    def run(self) -> None:
        number = 0
        while not self._over.wait(COMMIT_SECONDS):
            number += 1
            with self._db.write() as connection:
                connection.exec_driver_sql(f"UPDATE projects SET source = 'bench {number}'")
                begin = time.perf_counter()
            self.seconds.append(time.perf_counter() - begin)

    def end(self) -> dict[str, float]:
        self._over.set()
        self.join()
        return _spread(self.seconds)


def _spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "count": len(ordered),
        "p50": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
        "worst": ordered[-1],
    }


def commits_alone(one: Ledger) -> dict[str, float]:
    commits = Commits(one)
    commits.start()
    time.sleep(ALONE_SECONDS)
    return commits.end()


def measure(one: Ledger, executions: int) -> dict[str, Any]:
    least = floor(one, min(FLOOR_MOST, executions // 10))
    bare = commits_alone(one)
    make_due(one)
    say(f"{one.name}: claims alone")
    claims = Claims(one)
    claims.start()
    time.sleep(ALONE_SECONDS)
    alone = claims.end()
    keep(one, max(1, executions // len(one.tasks) // 2))
    say(f"{one.name}: a pass beside claims")
    claims = Claims(one)
    begin = time.perf_counter()
    pruner = Pruner(
        one.db, SystemClock(), "bench", stopping=lambda: time.perf_counter() - begin > PRUNE_SECONDS
    )
    commits = Commits(one)
    claims.start()
    commits.start()
    rows = 0
    longest = 0.0
    while time.perf_counter() - begin < PRUNE_SECONDS:
        pause = pruner.step()
        rows, longest = max(rows, pruner._pass.rows), max(longest, pruner._pass.longest)
        if pause > 30:
            break
        time.sleep(pause)
    seconds = time.perf_counter() - begin
    beside = claims.end()
    waited = commits.end()
    say("")
    return {
        "rows": rows,
        "rowsPerSecond": rows / seconds,
        "floorRowsPerSecond": least,
        "longest": longest,
        "commitsAlone": bare,
        "commitsBeside": waited,
        "claimsAlone": alone,
        "claimsBeside": beside,
        "timesAlone": beside["p99"] / alone["p99"],
        "goal": MOST_SECONDS,
        "met": longest <= MOST_SECONDS,
    }


def show(result: dict[str, Any]) -> None:
    print(f"{result['executions']:,} executions of {result['tasks']:,} tasks; {result['machine']}")
    for name, told in result["databases"].items():
        print(
            f"\n{name}: {told['rows']:,} executions pruned, {told['rowsPerSecond']:,.0f}/s with pauses",
            end="",
        )
        print(f" (floor: {told['floorRowsPerSecond']:,.0f}/s by key, nothing else going on)")
        met = "met" if told["met"] else "NOT met"
        print(
            f"  longest transaction {told['longest'] * 1000:.0f} ms (goal {told['goal'] * 1000:g} ms: {met})"
        )
        for kind in ("commitsAlone", "commitsBeside"):
            one = told[kind]
            each = ", ".join(f"{key} {one[key] * 1000:.1f}" for key in ("p50", "p99", "worst"))
            print(f"  {kind:13} {one['count']:5} bare commits of one row (floor): {each} ms")
        for kind in ("claimsAlone", "claimsBeside"):
            one = told[kind]
            each = ", ".join(f"{key} {one[key] * 1000:.1f}" for key in ("p50", "p99", "worst"))
            print(f"  {kind:13} {one['claims']:5} of {one['tasks']:6,} tasks: {each} ms")
    for name in result["absent"]:
        print(f"skipped: {name}")


def main() -> None:
    arguments = argparse.ArgumentParser(description="pruning, and what claims notice of it")
    arguments.add_argument("--executions", type=int, default=EXECUTIONS)
    arguments.add_argument("--tasks", type=int, default=TASKS)
    arguments.add_argument("--only", choices=("MariaDB", "SQLite"), help="one of the two")
    arguments.add_argument("--json", type=Path, default=Path("bench/results/prune.json"))
    given = arguments.parse_args()
    absent: list[str] = []
    databases: dict[str, Any] = {}
    for name in ("MariaDB", "SQLite"):
        if given.only not in (None, name):
            continue
        with opened(name, absent, given.executions, given.tasks, changed=True) as one:
            if one is not None:
                databases[name] = measure(one, given.executions)
    result = {
        "name": "prune",
        "executions": given.executions,
        "tasks": given.tasks,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} CPUs",
        "absent": absent,
        "databases": databases,
    }
    show(result)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
