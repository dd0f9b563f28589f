"""From the due time to the start: claims beside the raw transaction, whole processes beside APScheduler.

*Claims*: 10,000 tasks due in the same second, until each has its row in the ledger, beside the same
transaction written by hand. *Burst*: the same 10,000 in a whole process whose commands do nothing, beside as
many jobs of APScheduler in memory (nothing durable) and 1,000 with its SQLAlchemy store. *Steady*: 1,000
slots due in each of 60 seconds, at its beginning or all over it. *Idle*: 100,000 tasks of which none is due.

MariaDB syncs every commit to the disk here, as in production. Each measurement is a process of its own;
rounds of all take turns, ratios are of one round, figures are medians.

    python bench/schedule.py [--rounds 5] [--seconds 60] [--only PART …] [--json bench/results/schedule.json]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.services.database import MariaDB
from tests.services.process import ServiceBroken, ServiceMissing

TASKS = 10_000
STORED_JOBS = 1_000
RATE = 1_000
IDLE_TASKS = 100_000
IDLE_SECONDS = 30
PARTS = ("claims", "burst", "steady", "idle")

Found = dict[str, Any]


def part(name: str, *words: object) -> Found:
    """One measurement in a process of its own; empty, and a line on stderr, where it failed."""
    done = subprocess.run(
        [sys.executable, "-m", "bench._schedule_part", name, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(f"{name} {words[1:]}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return {}
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


@contextlib.contextmanager
def databases(absent: list[str]) -> Iterator[dict[str, str]]:
    """The URL of each database by name."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        urls = {}
        try:
            server = stack.enter_context(MariaDB(durable=True))
            urls["MariaDB"] = server.url(server.create_database())
            urls["APScheduler's"] = server.url(server.create_database())
        except (ServiceMissing, ServiceBroken) as error:
            absent.append(f"MariaDB ({error})")
        urls["SQLite"] = f"sqlite:///{folder}/state.db"
        yield urls


def claims(urls: dict[str, str], rounds: int) -> Found:
    """Slots per second, ours and by hand."""
    told: Found = {}
    for name in ("MariaDB", "SQLite"):
        if name not in urls:
            continue
        ours: list[Found] = []
        raw: list[Found] = []
        for _ in range(rounds):
            raw.append(part("raw", urls[name], TASKS))
            ours.append(part("claims", urls[name], TASKS))
        whole = [(mine, hand) for mine, hand in zip(ours, raw, strict=True) if mine and hand]
        told[name] = {
            "rounds": len(whole),
            "slotsPerSecond": median([TASKS / mine["wall"] for mine, _ in whole]),
            "best": max((TASKS / mine["wall"] for mine, _ in whole), default=0),
            "seconds": median([mine["wall"] for mine, _ in whole]),
            "cpuSeconds": median([mine["cpu"] for mine, _ in whole]),
            "raw": {
                "slotsPerSecond": median([TASKS / hand["wall"] for _, hand in whole]),
                "best": max((TASKS / hand["wall"] for _, hand in whole), default=0),
                "cpuSeconds": median([hand["cpu"] for _, hand in whole]),
            },
            "ofRaw": median([hand["wall"] / mine["wall"] for mine, hand in whole]),
            "lost": sum(TASKS - mine["rows"] for mine, _ in whole),
        }
    return told


def burst(urls: dict[str, str], rounds: int, absent: list[str]) -> Found:
    """All due in one second, ours on each database and the peer's."""
    columns: dict[str, list[Found]] = {}
    with_peer = installed("apscheduler", absent)
    for _ in range(rounds):
        for name in ("MariaDB", "SQLite"):
            if name in urls:
                columns.setdefault(name, []).append(part("burst", urls[name], TASKS))
        if with_peer:
            columns.setdefault("APScheduler, memory", []).append(part("apscheduler", "memory", TASKS))
            if "APScheduler's" in urls:
                columns.setdefault("APScheduler, SQLAlchemy on MariaDB", []).append(
                    part("apscheduler", urls["APScheduler's"], STORED_JOBS)
                )
    told: Found = {}
    for name, rows in columns.items():
        whole = [row for row in rows if row and row.get("starts")]
        told[name] = {
            key: median([row[key] for row in whole])
            for key in ("starts", "p50", "p99", "max", "all started", "cpu", "MB")
        }
        told[name]["rate"] = median([row["starts"] / row["all started"] for row in whole])
        told[name]["rounds"] = len(whole)
        if whole and "completed" in whole[0]:
            told[name]["claimed"] = median([row["claimed"] for row in whole])
            told[name]["lost"] = sum(TASKS - row["completed"] for row in whole)
            told[name]["doubled"] = sum(row["doubled"] for row in whole)
    told["ratios"] = ratios(columns)
    return told


def ratios(columns: dict[str, list[Found]]) -> Found:
    """Of one round each: our rate by the durable peer's, our p99 by the peer's in memory."""
    mine = columns.get("MariaDB", [])
    stored, memory = (
        columns.get(name, []) for name in ("APScheduler, SQLAlchemy on MariaDB", "APScheduler, memory")
    )
    rate = [
        (a["starts"] / a["all started"]) / (b["starts"] / b["all started"])
        for a, b in zip(mine, stored, strict=False)
        if a and b
    ]
    p99 = [a["p99"] / b["p99"] for a, b in zip(mine, memory, strict=False) if a and b]
    return {"rateByStored": median(rate), "p99ByMemory": median(p99)}


def steady(urls: dict[str, str], seconds: int) -> Found:
    """Once each: a minute is long enough to be its own median."""
    return {
        f"{name}, {spread}": part("steady", urls[name], RATE, seconds, spread)
        for name in ("MariaDB", "SQLite")
        if name in urls
        for spread in ("together", "spread")
    }


def idle(urls: dict[str, str]) -> Found:
    """Per cent of a core: without the pass of pruning that follows every start, and that pass alone."""
    told = {}
    for name in ("MariaDB", "SQLite"):
        if name in urls and (found := part("idle", urls[name], IDLE_TASKS, IDLE_SECONDS)):
            pruning = found["loops"].get("prune", 0.0)
            told[name] = {
                "percent": 100 * (found["cpu"] - pruning) / found["wall"],
                "pruning": 100 * pruning / found["wall"],
                "MB": found["MB"],
                "loops": found["loops"],
            }
    return told


def installed(package: str, absent: list[str]) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        absent.append(package)
        return False
    return True


def median(values: list[float]) -> float:
    return statistics.median(values) if values else 0.0


def measure(rounds: int, seconds: int, only: list[str]) -> Found:
    absent: list[str] = []
    with databases(absent) as urls:
        result: Found = {
            "name": "schedule",
            "rounds": rounds,
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[1]:.1f}",
            "claims": claims(urls, rounds) if "claims" in only else {},
            "burst": burst(urls, rounds, absent) if "burst" in only else {},
            "steady": steady(urls, seconds) if "steady" in only else {},
            "idle": idle(urls) if "idle" in only else {},
        }
    return result | {"load at the end": os.getloadavg()[1], "absent": absent}


def show(result: Found) -> None:
    print(f"{result['machine']}, at the end {result['load at the end']:.1f}")
    for name, found in result["claims"].items():
        print(
            f"claims  {name:10}{found['slotsPerSecond']:>9,.0f} slots/s (best {found['best']:,.0f}), "
            f"CPU {found['cpuSeconds']:.2f} s; by hand {found['raw']['slotsPerSecond']:,.0f} "
            f"(best {found['raw']['best']:,.0f}), CPU {found['raw']['cpuSeconds']:.2f} s; "
            f"of it {found['ofRaw']:.2f}; lost {found['lost']}"
        )
    for name, found in result["burst"].items():
        if name == "ratios":
            print(
                f"burst   {found['rateByStored']:.1f} × APScheduler's SQLAlchemy store; "
                f"p99 {found['p99ByMemory']:.1f} × APScheduler in memory"
            )
            continue
        extra = f", claimed after {found['claimed']:.2f} s" if "claimed" in found else ""
        print(
            f"burst   {name:36}{found['starts']:>7,.0f} jobs {found['rate']:>8,.0f}/s, "
            f"lag p50 {found['p50']:.2f} p99 {found['p99']:.2f} max {found['max']:.2f} s, "
            f"CPU {found['cpu']:.1f} s, {found['MB']:.0f} MB{extra}"
        )
    for name, found in result["steady"].items():
        if found:
            print(
                f"steady  {name:20}{found['starts']:>8,} of {found['expected']:,} started, lag p50 "
                f"{found['p50']:.3f} p99 {found['p99']:.3f} max {found['max']:.3f} s, CPU "
                f"{100 * found['cpu'] / found['wall']:.0f} %, {found['MB']:.0f} MB, "
                f"skipped {found['skipped']}, doubled {found['doubled']}"
            )
    for name, found in result["idle"].items():
        print(
            f"idle    {name:10}{found['percent']:.2f} % of a core, {found['MB']:.0f} MB; "
            f"the first pass of pruning {found['pruning']:.1f} %"
        )
    for name in result["absent"]:
        print(f"skipped: {name}")


def main() -> None:
    arguments = argparse.ArgumentParser(description="from the due time to the start")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=int, default=60)
    arguments.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    arguments.add_argument("--json", type=Path, default=Path("bench/results/schedule.json"))
    given = arguments.parse_args()
    result = measure(given.rounds, given.seconds, given.only)
    show(result)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
