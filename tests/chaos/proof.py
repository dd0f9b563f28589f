"""Replay the ledger: no slot twice, none missing without a reason, no overlap, no limit overshot.

Every check gives sentences; an empty list is the proof. Beside the rows of the database stands what the
commands themselves wrote down on their host, which no fault of ours can embellish.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, pairwise, product
from pathlib import Path
from typing import Any

from reconciler.schedule.retry import backoff_seconds
from tests.chaos.fleet import PARALLEL, RETRIES, ChaosFleet

Row = Mapping[str, Any]
SECOND = timedelta(seconds=1)
SKIPPED = {"overlap", "missed", "superseded"}
NEVER_STARTED = {"missed", "overlap", "superseded"}


@dataclass(frozen=True)
class HostRun:
    """A command as the host saw it, in monotonic seconds; not ``whole``: it ended with its process."""

    execution: int
    task: int
    begun: float
    ended: float
    whole: bool


def host_log(path: Path, deaths: Mapping[int, float]) -> list[HostRun]:
    """The runs of a log; ``deaths`` are the monotonic seconds at which processes (pid) were killed."""
    begun: dict[tuple[int, int], tuple[int, float]] = {}
    ended: dict[tuple[int, int], float] = {}
    runs: list[HostRun] = []
    for line in path.read_text().splitlines():
        what, execution, task, _, pid, at = line.split()
        key = int(execution), int(pid)
        if what == "B":
            begun[key] = int(task), float(at)
            runs.append(HostRun(int(execution), int(task), float(at), 0.0, whole=False))
        else:
            ended[key] = float(at)
    forever = max(deaths.values(), default=0.0)
    pids = {key[0]: key[1] for key in begun}
    return [
        HostRun(
            run.execution,
            run.task,
            run.begun,
            ended.get((run.execution, pids[run.execution]), deaths.get(pids[run.execution], forever + 1e9)),
            (run.execution, pids[run.execution]) in ended,
        )
        for run in runs
    ]


def prove(
    fleet: ChaosFleet, rows: list[Row], until: Mapping[int, datetime], host: list[HostRun]
) -> list[str]:
    """Everything that is wrong. ``until``: the next slot of each scheduled task when it was stopped."""
    by_task: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_task[row["task_id"]].append(row)
    wrong = list(_words(rows))
    for task in fleet.scheduled:
        wrong += _slots(fleet, task, by_task[task], until[task])
    for task in fleet.specs:
        wrong += _attempts(fleet, task, by_task[task])
        if fleet.concurrency(task) != "allow":
            wrong += _one_at_a_time(fleet.names[task], by_task[task])
    for task in fleet.dependents:
        wrong += _dependency(fleet, task, by_task)
    wrong += _on_the_host(fleet, rows, host)
    return wrong


def _words(rows: list[Row]) -> Iterator[str]:
    """Every row has ended, and says a word that belongs to how."""
    for row in rows:
        if row["status"] == 0:
            yield f"execution {row['id']} of task {row['task_id']} never ended (attempt {row['attempt']})"
        elif row["status"] == 3 and row["reason"] not in SKIPPED:
            yield f"execution {row['id']} is skipped as {row['reason']!r}"
        elif row["status"] == 3 and row["started_at"] is not None:
            yield f"execution {row['id']} is skipped and started"
    keys = Counter((row["task_id"], row["scheduled_for"], row["attempt"]) for row in rows)
    yield from (f"slot {key} has {count} rows" for key, count in keys.items() if count > 1)


def _slots(fleet: ChaosFleet, task: int, rows: list[Row], until: datetime) -> Iterator[str]:
    """From the first slot to the next one every second is in the ledger, and once."""
    covered: Counter[datetime] = Counter()
    for row in rows:
        if row["attempt"] == 1:
            for step in range(row["count"]):
                covered[row["scheduled_for"] + step * SECOND] += 1
    slot, name = fleet.first_slot, fleet.names[task]
    while slot < until:
        found = covered.pop(slot, 0)
        if found != 1:
            yield f"{name}: the slot of {slot:%H:%M:%S} is {found} times in the ledger"
        slot += SECOND
    yield from (f"{name}: {slot} is no slot that had come" for slot in covered)


def _attempts(fleet: ChaosFleet, task: int, rows: list[Row]) -> Iterator[str]:
    """Retries follow failures that may be retried, in time, and nothing else does."""
    limit = fleet.retries(task)
    for slot, group in groupby(sorted(rows, key=_by_slot), key=lambda row: row["scheduled_for"]):
        attempts = list(group)
        if [row["attempt"] for row in attempts] != list(range(1, len(attempts) + 1)):
            yield f"{fleet.names[task]}: the attempts of {slot} are not 1, 2, …"
        if len(attempts) > limit + 1:
            yield f"{fleet.names[task]}: {len(attempts)} attempts of {slot}"
        for before, after in pairwise(attempts):
            if before["reason"] != "exit-code":
                yield f"{fleet.names[task]}: {before['reason']} of {slot} was tried again"
                continue
            pause = backoff_seconds(before["attempt"], 1, RETRIES["factor"], 3)
            if after["due_at"] != before["finished_at"] + timedelta(seconds=pause):
                yield f"{fleet.names[task]}: attempt {after['attempt']} of {slot} is not due in time"
        last = attempts[-1]
        if last["reason"] == "exit-code" and len(attempts) <= limit and last["cancel_requested_at"] is None:
            yield f"{fleet.names[task]}: {slot} failed and was not tried again"


def _by_slot(row: Row) -> tuple[datetime, int]:
    return row["scheduled_for"], row["attempt"]


def _one_at_a_time(name: str, rows: list[Row]) -> Iterator[str]:
    ran = sorted((row for row in rows if row["started_at"] is not None), key=lambda row: row["started_at"])
    for one, other in pairwise(ran):
        if other["started_at"] < one["finished_at"]:
            yield f"{name}: {other['id']} began before {one['id']} had ended"


def _dependency(fleet: ChaosFleet, task: int, by_task: Mapping[int, list[Row]]) -> Iterator[str]:
    """Each run has its own success of every task it follows; and none is due that there is not."""
    name, server = fleet.names[task], fleet.servers[task]
    upstream = [
        other
        for other, named in fleet.names.items()
        if named in fleet.specs[task]["after"] and fleet.servers[other] == server
    ]
    ends = {
        other: sorted(row["finished_at"] for row in by_task[other] if row["status"] == 1)
        for other in upstream
    }
    used = fleet.first_slot - timedelta(days=1)
    runs = sorted((row for row in by_task[task] if row["attempt"] == 1), key=lambda row: row["created_at"])
    for row in runs:
        known = [
            _may_count([at for at in times if used < at <= row["created_at"]], fleet.concurrency(other))
            for other, times in ends.items()
        ]
        if row["scheduled_for"] not in {max(choice) for choice in product(*known)}:
            yield f"{name}: the run of {row['scheduled_for']} is not when its turn came ({known})"
        used = row["created_at"]
    if all(any(at > used for at in times) for times in ends.values()):
        yield f"{name}: its turn came after {used}, and no run was made"


def _may_count(times: list[datetime], concurrency: str) -> list[datetime]:
    """Which successes may have been the first to be seen: the first that there was; but where runs go on
    beside each other, one that ended before may have been recorded after: by another process, from its spool.
    """
    return times if concurrency == "allow" else times[:1]


def _on_the_host(fleet: ChaosFleet, rows: list[Row], host: list[HostRun]) -> Iterator[str]:
    ran = Counter(run.execution for run in host)
    yield from (f"execution {execution} ran {count} times" for execution, count in ran.items() if count > 1)
    reasons = {row["id"]: row["reason"] for row in rows}
    whole = {run.execution for run in host if run.whole}
    for execution, reason in reasons.items():
        if reason in NEVER_STARTED and execution in ran:
            yield f"execution {execution} ran and is called {reason}"
        if reason in ("completed", "exit-code") and execution not in whole:
            yield f"execution {execution} is called {reason} and did not run to its end"
    for execution in ran.keys() - reasons.keys():
        yield f"execution {execution} ran and is not in the ledger"
    for task in fleet.specs:
        if fleet.concurrency(task) != "allow":
            mine = sorted((run for run in host if run.task == task), key=lambda run: run.begun)
            for one, other in pairwise(mine):
                if other.begun < one.ended:
                    yield f"{fleet.names[task]}: {other.execution} ran beside {one.execution} on the host"
    for server, limit in fleet.limits.items():
        most = _most(run for run in host if fleet.servers[run.task] == server)
        if most > limit:
            yield f"{server}: {most} ran side by side, {limit} may"
    for name in {fleet.names[task] for task, spec in fleet.specs.items() if "maxParallel" in spec}:
        most = _most(run for run in host if fleet.names[run.task] == name)
        if most > PARALLEL:
            yield f"{name}: {most} ran side by side, {PARALLEL} may"


def _most(runs: Iterable[HostRun]) -> int:
    steps = sorted((at, change) for run in runs for at, change in ((run.begun, 1), (run.ended, -1)))
    now = most = 0
    for _, change in steps:
        now += change
        most = max(most, now)
    return most
