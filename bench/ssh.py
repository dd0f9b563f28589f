"""Commands a second over one local sshd, 20 at a time: durable and plain runs beside OpenSSH and others.

Every engine runs ``true``. *Floor* is one ssh session whose shell starts as many ``sh -c true``, 20 at a
time: what the machine could do with nothing between us and it, sshd neither. *paramiko bare* is the plain
loop of the library that we use, on one connection: what anyone could do who uses it. Ours are whole runs:
environment, exit code, both streams, an Outcome; the durable ones with their folder on the host, made, read
and removed.

All take turns, and ratios are taken within a round; figures are medians of rounds. CPU is the client's,
with its child processes. Processes are those that the machine's kernel counted, so the least of the rounds
is shown.

    python bench/ssh.py [--rounds 5] [--runs 400] [--latency 300] [--connections 200] [--only NAME[,NAME…]]
                        [--json bench/results/ssh.json]

``--only`` takes these engines beside floor and ControlMaster, and leaves the rest of the JSON as it was, so
that a long measurement can be made in parts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench._ssh_peers import (
    PARALLEL,
    Engine,
    ansible,
    bare_paramiko,
    control_master,
    fabric,
    floor,
    missing,
    new_connection,
    parallel_ssh,
    spread,
)
from reconciler.execute.control import Control
from reconciler.execute.executors import Executors
from reconciler.model.execution import Hop, Job, Status
from tests.execute.support import QuietSshd, make_job, running, ssh_hop

FLOOR, MASTER, BARE, DURABLE, PLAIN = (
    "floor: one shell",
    "OpenSSH ControlMaster",
    "paramiko bare",
    "reconciler durable",
    "reconciler plain",
)
RAW = "Ansible raw"
SHARE = {FLOOR: 3, "OpenSSH new connection": 0.25, RAW: 0.05, "Ansible shell": 0.05}
"""Of the runs of a round: few for the slow ones, many for the floor, which has a login in it."""


def whole_run(executors: Executors, hop: Hop) -> Job:
    """One run to its end, as a worker does it."""
    job = make_job(hop, "true")
    outcome = executors.run(job, Control())
    assert outcome.status is Status.SUCCESS, outcome
    executors.recorded(job)
    return job


def ours(executors: Executors, hop: Hop) -> Engine:
    return lambda count: spread(lambda: whole_run(executors, hop), count)


def started_processes() -> int:
    (line,) = [line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("processes")]
    return int(line.split()[1])


def cpu() -> float:
    """Seconds of this process and of the clients it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


class Measurement:
    """One sshd, one process, and the engines that were asked for."""

    def __init__(self, stack: contextlib.ExitStack, only: set[str]) -> None:
        self.sshd = stack.enter_context(contextlib.closing(QuietSshd("MaxSessions 40", "MaxStartups 300")))
        self.sshd.start()
        self.executors = stack.enter_context(running(self.sshd.folder))
        self.durable = ssh_hop(self.sshd, "durable")
        self.plain = ssh_hop(self.sshd, "plain", durable=False)
        self.missing = missing()
        sshd = self.sshd
        ways: dict[str, Callable[[], Engine]] = {
            FLOOR: lambda: floor(sshd),
            BARE: lambda: stack.enter_context(bare_paramiko(sshd)),
            DURABLE: lambda: ours(self.executors, self.durable),
            PLAIN: lambda: ours(self.executors, self.plain),
            MASTER: lambda: stack.enter_context(control_master(sshd)),
            "OpenSSH new connection": lambda: new_connection(sshd),
            "Fabric": lambda: fabric(sshd),
            "parallel-ssh": lambda: parallel_ssh(sshd),
            RAW: lambda: ansible(sshd, "raw"),
            "Ansible shell": lambda: ansible(sshd, "shell"),
        }
        if unknown := only - ways.keys():
            raise SystemExit(f"there is no engine {', '.join(sorted(unknown))}; there are: {', '.join(ways)}")
        wanted = only | {FLOOR, MASTER} if only else set(ways)
        self.engines = {
            name: way() for name, way in ways.items() if name in wanted and name not in self.missing
        }

    def rounds(self, rounds: int, runs: int) -> dict[str, dict[str, Any]]:
        """Every engine once in every round."""
        counts = {
            name: max(PARALLEL, int(runs * SHARE.get(name, 1)) // PARALLEL * PARALLEL)
            for name in self.engines
        }
        for engine in self.engines.values():
            engine(PARALLEL)
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in self.engines}
        for number in range(rounds):
            begun = time.perf_counter()
            for name, engine in self.engines.items():
                taken[name].append(once(engine, counts[name]))
            told = ", ".join(f"{name} {rows[-1]['perSecond']:.0f}" for name, rows in taken.items())
            print(f"round {number + 1}: {time.perf_counter() - begun:.0f} s: {told}", file=sys.stderr)
        return {name: self._summary(name, taken) for name in self.engines}

    def _summary(self, name: str, taken: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
        rows = taken[name]
        rates = [row["perSecond"] for row in rows]
        ratios = {
            base: median_of_ratios(rates, taken[base]) for base in (FLOOR, MASTER, BARE, RAW) if base in taken
        }
        return {
            "perSecond": statistics.median(rates),
            "rates": [round(rate, 1) for rate in rates],
            "times": ratios,
            "cpuMilliseconds": statistics.median(row["cpu"] for row in rows),
            "processes": min(row["processes"] for row in rows),
        }

    def latency(self, runs: int) -> dict[str, dict[str, float]]:
        """Milliseconds of one run with nothing beside it, by kind."""
        return {hop.name: alone(self.executors, hop, runs) for hop in (self.durable, self.plain)}

    def open_connections(self, count: int) -> dict[str, float]:
        """Megabytes that this process grew by; then once more when all of them run something at once."""
        before = resident()
        hops = [ssh_hop(self.sshd, f"many-{number}") for number in range(count)]
        for hop in hops:
            whole_run(self.executors, hop)
        after = resident()
        # their folders are removed ten seconds after the last run
        time.sleep(15)
        begun, idle = cpu(), time.perf_counter()
        time.sleep(10)
        share = (cpu() - begun) / (time.perf_counter() - idle)
        waiting = iter(hops * 2)
        spread(lambda: whole_run(self.executors, next(waiting)), 2 * count)
        return {
            "connections": count,
            "megabytes": after - before,
            "megabytesAfterRuns": resident() - before,
            "idleCore": share,
        }


def median_of_ratios(rates: list[float], base: list[dict[str, float]]) -> float:
    return statistics.median(rate / row["perSecond"] for rate, row in zip(rates, base, strict=True))


def once(engine: Engine, count: int) -> dict[str, float]:
    used, forked, begun = cpu(), started_processes(), time.perf_counter()
    engine(count)
    seconds = time.perf_counter() - begun
    return {
        "perSecond": count / seconds,
        "cpu": (cpu() - used) * 1000 / count,
        "processes": (started_processes() - forked) / count,
    }


def alone(executors: Executors, hop: Hop, runs: int) -> dict[str, float]:
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        whole_run(executors, hop)
        times.append((time.perf_counter() - begun) * 1000)
    cuts = statistics.quantiles(times, n=100)
    return {"p50": cuts[49], "p99": cuts[98], "runs": runs}


def resident() -> float:
    (line,) = [
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")
    ]
    return int(line.split()[1]) / 1024


def show_engines(engines: dict[str, Any]) -> None:
    """The table."""
    titles = (FLOOR, BARE, MASTER, RAW)
    print(f"{'':26}{'runs/s':>8}{'floor':>8}{'bare':>8}{'× CM':>8}{'× raw':>8}{'CPU ms':>9}{'processes':>11}")
    for name, row in engines.items():
        shown = [row["times"].get(base) for base in titles]
        share = "".join(f"{'-' if ratio is None else format(ratio, '.0%'):>8}" for ratio in shown[:2])
        times = "".join(f"{'-' if ratio is None else format(ratio, '.2f'):>8}" for ratio in shown[2:])
        rest = f"{row['cpuMilliseconds']:9.2f}{row['processes']:11.1f}"
        print(f"{name:26}{row['perSecond']:8.0f}{share}{times}{rest}", flush=True)


def show_rest(result: dict[str, Any]) -> None:
    """What is no rate."""
    for name, row in (result.get("latencyMilliseconds") or {}).items():
        print(f"one {name} run alone: p50 {row['p50']:.1f} ms, p99 {row['p99']:.1f} ms ({row['runs']} runs)")
    if row := result.get("memory"):
        print(
            f"{row['connections']} open connections: {row['megabytes']:.1f} MB, after two durable runs more "
            f"on each {row['megabytesAfterRuns']:.1f} MB; idle {row['idleCore']:.1%} of a core"
        )
    for name in result["missing"]:
        print(f"{name}: not installed, skipped")


def main() -> None:
    arguments = argparse.ArgumentParser(description="runs over ssh, beside peers")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--runs", type=int, default=400)
    arguments.add_argument("--latency", type=int, default=300, help="runs alone, 0 for none")
    arguments.add_argument("--connections", type=int, default=200, help="kept open, 0 for none")
    arguments.add_argument("--only", default="")
    arguments.add_argument("--json", type=Path, default=Path("bench/results/ssh.json"))
    given = arguments.parse_args()
    only = {name for name in given.only.split(",") if name}
    load = os.getloadavg()[0]
    before = json.loads(given.json.read_text()) if only and given.json.exists() else {}
    given.json.parent.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"python": platform.python_version(), "loadBefore": load, "runs": given.runs}

    def keep(**part: Any) -> None:
        result.update(part)
        whole = {**before, **result, "engines": {**before.get("engines", {}), **result["engines"]}}
        given.json.write_text(json.dumps(whole, indent=2) + "\n")

    with contextlib.ExitStack() as stack:
        measurement = Measurement(stack, only)
        rows = measurement.rounds(given.rounds, given.runs)
        keep(rounds=given.rounds, engines=rows, missing=measurement.missing)
        show_engines(rows)
        if given.latency:
            keep(latencyMilliseconds=measurement.latency(given.latency))
        if given.connections:
            keep(memory=measurement.open_connections(given.connections))
    show_rest(result)


if __name__ == "__main__":
    main()
