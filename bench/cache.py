"""What Redis is worth, and what it costs when it fails: wake-ups and claims.

Two processes on one MariaDB: one schedules, one executes. *without*: no Redis configured; *with*: a Redis;
*paused*, *full*, *foreign*: one that was stopped (SIGSTOP) after they had used it, that refuses writes, that
speaks HTTP. Situations take turns, round by round; ratios are taken within a round.

- *asked → begun*: a manual run, from the commit of its row to the start of the command.
- *applied → claimed*: a task's due time is set to now as an apply does it, until its row is there.
- *claimed → begun*: slots of ``@every 1s`` tasks, from the claim's row to the start of the command.
- *due → claimed*: the same slots, from the due time to the claim's row; p50 and p99.
- *a claim*: in one process, a claim of 50 due tasks from its beginning until everything was said of it: the
  transaction, the due times, a wake-up, and an event for each row. The goal is for its p99.

    python bench/cache.py [--rounds 5] [--json bench/results/cache.json]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import platform
import random
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import update

from reconciler.cache.link import RedisSignals, wake_others
from reconciler.cache.place import Place
from reconciler.cache.signals import Kind, Signals, Silent
from reconciler.clock import SystemClock
from reconciler.controller.events import Event, EventKind
from reconciler.controller.signalling import Feed
from reconciler.dispatch.manual import request_runs
from reconciler.dispatch.scheduler import Scheduler
from reconciler.model.execution import State
from reconciler.store.engine import Database
from reconciler.store.ids import ExecutionIds
from reconciler.store.leases import raise_counter
from reconciler.store.schema import upgrade
from reconciler.store.tables import Base, Task
from tests.dispatch.fleet import Fleet
from tests.services.database import MariaDB
from tests.services.redis import RedisServer

ROOT = Path(__file__).resolve().parent.parent
CLOCK = SystemClock()
SITUATIONS = ("without", "with", "paused", "full", "foreign")
SLOTTED = 50
"""Tasks of every second, for so many seconds."""
SECONDS = 4.0
ASKED = 5
CLAIMS = 200
CLAIM_GOAL = 2.0
"""Goal: the p99 of a claim, times that without Redis, at most, whatever Redis does."""

Figures = dict[str, list[float]]


def foreign() -> tuple[socket.socket, str]:
    """A server that answers everything with HTTP."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while connection.recv(65_536):
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return server, f"redis://127.0.0.1:{server.getsockname()[1]}/0"


@contextlib.contextmanager
def processes(url: str, redis: str | None) -> Iterator[None]:
    words = [] if redis is None else [redis]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "bench._cache_part", url, role, *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
        )
        for role in ("controller", "worker")
    ]
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(30)


def one_round(db: Database, url: str, situation: str) -> Figures:
    """All wake-ups in one situation, in seconds."""
    with db.write() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
    fleet = Fleet(db)
    with contextlib.ExitStack() as stack:
        server = None
        redis = None
        if situation == "foreign":
            listener, redis = foreign()
            stack.callback(listener.close)
        elif situation != "without":
            server = stack.enter_context(contextlib.closing(RedisServer()))
            server.start()
            redis = server.url
        fleet.server()
        stack.enter_context(processes(url, redis))
        due = CLOCK.now().replace(microsecond=0) + timedelta(seconds=3)
        slotted = fleet.tasks(
            [f"every-{n}" for n in range(SLOTTED)], due=due, schedule="@every 1s", concurrency="allow"
        )
        asked = fleet.task("asked", schedule="0 0 1 1 *", due=CLOCK.now() + timedelta(days=90))
        with db.write() as connection:
            raise_counter(connection)
        # a second of slots with all well, then whatever is wrong with Redis
        CLOCK.sleep((due - CLOCK.now()).total_seconds() + 1.5)
        if situation == "paused" and server is not None:
            server.pause()
            stack.callback(server.resume)
        if situation == "full" and server is not None:
            Place(server.url, "bench").client().config_set("maxmemory", "1")
        place = None if redis is None else Place(redis, "bench")
        figures: Figures = {}
        begun = CLOCK.now()
        CLOCK.sleep(SECONDS)
        with db.write() as connection:
            connection.execute(fleet_off(slotted))
        rows = [row for row in fleet.ledger() if row["started_at"] and row["due_at"] >= begun]
        figures["due → claimed"] = [_between(row["due_at"], row["created_at"]) for row in rows]
        figures["claimed → begun"] = [_between(row["created_at"], row["started_at"]) for row in rows]
        CLOCK.sleep(1.5)
        figures["applied → claimed"] = [_applied(fleet, asked, place) for _ in range(ASKED)]
        figures["asked → begun"] = [_asked(fleet, place) for _ in range(ASKED)]
        return figures


def claims(db: Database, situation: str) -> list[float]:
    """Seconds of each of some claims and of what is said of them, as a controller says it."""
    with db.write() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
    fleet = Fleet(db)
    fleet.server()
    due = CLOCK.now()
    tasks = fleet.tasks(
        # whose next slot is far off: a claim finds one of each task, whenever it comes
        [f"task-{n}" for n in range(SLOTTED)],
        due=due,
        schedule="0 0 1 1 *",
        concurrency="allow",
    )
    moved = update(Task).where(Task.id.in_(tasks))
    seconds = []
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(_signals(situation, stack))
        scheduler = Scheduler(db, CLOCK, ExecutionIds(400, CLOCK), 60.0)
        feed = Feed(signals)
        for number in range(CLAIMS + 1):
            now = CLOCK.now()
            with db.write() as connection:
                connection.execute(moved.values(next_run=now, next_slot=now))
                # nobody runs them: each claim would look through all that wait
                connection.execute(Base.metadata.tables["task_executions"].delete())
            begin = time.perf_counter()
            claimed = scheduler.claim()
            signals.tell(Kind.WAITING)
            signals.due(claimed.times)
            for row in claimed.waiting:
                task, server = claimed.names[row.task_id]
                feed.event(
                    Event(
                        EventKind.CLAIMED, row.id, row.task_id, task, server, row.scheduled_for,
                        state=State.WAITING,
                    )
                )  # fmt: skip
            if number:
                seconds.append(time.perf_counter() - begin)
            assert len(claimed.waiting) == SLOTTED
            CLOCK.sleep(0.005)
    return seconds


@contextlib.contextmanager
def _signals(situation: str, stack: contextlib.ExitStack) -> Iterator[Signals]:
    """Connected while all was well, then whatever is wrong with Redis."""
    if situation == "without":
        yield Silent()
        return
    server = None
    if situation == "foreign":
        listener, url = foreign()
        stack.callback(listener.close)
    else:
        server = stack.enter_context(contextlib.closing(RedisServer()))
        server.start()
        url = server.url
    signals = RedisSignals(Place(url, "bench"), CLOCK, "bench")
    signals.start(lambda news: None, lambda at: None)
    CLOCK.sleep(0.5)
    if situation == "paused" and server is not None:
        server.pause()
    if situation == "full" and server is not None:
        Place(server.url, "bench").client().config_set("maxmemory", "1")
    yield signals
    if situation == "paused" and server is not None:
        server.resume()
    signals.close(1.0)


def claim_costs(server: MariaDB, rounds: int) -> dict[str, Any]:
    url = server.url(server.create_database())
    all_rounds: dict[str, list[list[float]]] = {name: [] for name in SITUATIONS}
    with contextlib.closing(Database.open(url, CLOCK)) as db:
        upgrade(db)
        for number in range(rounds):
            for situation in SITUATIONS:
                print(f"round {number + 1}: a claim, {situation}", file=sys.stderr)
                all_rounds[situation].append(claims(db, situation))
    return {
        situation: {
            "p50": statistics.median(percentile(one, 0.5) for one in found),
            "p99": statistics.median(percentile(one, 0.99) for one in found),
            "p99TimesWithout": statistics.median(
                percentile(one, 0.99) / percentile(base, 0.99)
                for one, base in zip(found, all_rounds["without"], strict=True)
            ),
        }
        for situation, found in all_rounds.items()
    }


def fleet_off(tasks: list[int]) -> Any:
    from reconciler.store.tables import Task

    return Task.__table__.update().where(Task.id.in_(tasks)).values(status=0, next_run=None, next_slot=None)


def _between(before: datetime, after: datetime) -> float:
    return (after - before).total_seconds()


def _wake(place: Place | None) -> None:
    if place is not None:
        wake_others(place, CLOCK, "bench")


def _applied(fleet: Fleet, task: int, place: Place | None) -> float:
    # anywhere between two glances
    CLOCK.sleep(random.uniform(0.2, 1.2))
    before = {row["id"] for row in fleet.ledger(task)}
    now = CLOCK.now()
    with fleet.db.write() as connection:
        connection.execute(
            Base.metadata.tables["tasks"]
            .update()
            .where(Base.metadata.tables["tasks"].c.id == task)
            .values(next_run=now, next_slot=now)
        )
        raise_counter(connection)
    committed = CLOCK.now()
    _wake(place)
    row = _eventually(lambda: next((row for row in fleet.ledger(task) if row["id"] not in before), None))
    _eventually(lambda: fleet.row(row["id"])["status"])
    return _between(committed, row["created_at"])


def _asked(fleet: Fleet, place: Place | None) -> float:
    CLOCK.sleep(random.uniform(0.2, 1.2))
    asked = request_runs(fleet.db, CLOCK, ExecutionIds(511, CLOCK), ["asked"], "bench")[0]
    committed = CLOCK.now()
    _wake(place)
    row = _eventually(lambda: (found := fleet.row(asked.execution_id))["status"] and found)
    return _between(committed, row["started_at"])


def _eventually(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while not (found := look()):
        if time.monotonic() > deadline:
            raise SystemExit("bench: it did not come to that within 30 s")
        time.sleep(0.02)
    return found


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def wake_ups(server: MariaDB, rounds: int) -> dict[str, Any]:
    url = server.url(server.create_database())
    all_rounds: dict[str, list[Figures]] = {name: [] for name in SITUATIONS}
    with contextlib.closing(Database.open(url, CLOCK)) as db:
        upgrade(db)
        for number in range(rounds):
            for situation in SITUATIONS:
                print(f"round {number + 1}: {situation}", file=sys.stderr)
                all_rounds[situation].append(one_round(db, url, situation))
    told: dict[str, Any] = {}
    for situation, figures in all_rounds.items():
        told[situation] = {
            what: {
                name: statistics.median(percentile(one[what], share) for one in figures)
                for name, share in (("p50", 0.5), ("p99", 0.99))
            }
            for what in figures[0]
        }
        told[situation]["claimTimesWithout"] = statistics.median(
            percentile(one["due → claimed"], 0.99) / percentile(base["due → claimed"], 0.99)
            for one, base in zip(figures, all_rounds["without"], strict=True)
        )
    return told


def measure(rounds: int, only: str | None) -> dict[str, Any]:
    with contextlib.closing(MariaDB()) as server:
        server.start()
        costs = {} if only == "wake-ups" else claim_costs(server, rounds)
        told = {} if only == "claims" else wake_ups(server, rounds)
    goals = {}
    if costs:
        worst = max(one["p99TimesWithout"] for one in costs.values())
        goal = {"value": worst, "atMost": CLAIM_GOAL, "met": worst <= CLAIM_GOAL}
        goals["p99 of a claim, times that without Redis"] = goal
    return {
        "name": "cache",
        "rounds": rounds,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "wakeUps": told,
        "claims": costs,
        "goals": goals,
    }


def show_wake_ups(told: dict[str, Any]) -> None:
    kinds = [kind for kind in told["without"] if "→" in kind]
    print(f"{'ms: p50 / p99':13}" + "".join(f"{kind:>20}" for kind in kinds) + f"{'claim p99 ×':>14}")
    for situation, figures in told.items():
        cells = (f"{figures[kind]['p50'] * 1000:,.0f} / {figures[kind]['p99'] * 1000:,.0f}" for kind in kinds)
        line = f"{situation:13}" + "".join(f"{cell:>20}" for cell in cells)
        print(line + f"{figures['claimTimesWithout']:14.2f}")


def show(result: dict[str, Any]) -> None:
    if result["wakeUps"]:
        show_wake_ups(result["wakeUps"])
    if result["claims"]:
        print("\na claim of 50 tasks and what is said of it: p50, p99 in ms, p99 × that without")
    for situation, one in result["claims"].items():
        print(f"{situation:13}{one['p50'] * 1000:8.1f}{one['p99'] * 1000:8.1f}{one['p99TimesWithout']:8.2f}")
    for name, goal in result["goals"].items():
        print(
            f"{'met' if goal['met'] else 'NOT met':8}{name}: {goal['value']:.2f} (at most {goal['atMost']:g})"
        )


def main() -> None:
    arguments = argparse.ArgumentParser(description="with and without Redis")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--json", type=Path, default=Path("bench/results/cache.json"))
    arguments.add_argument("--only", choices=("claims", "wake-ups"), help="one of the two")
    given = arguments.parse_args()
    logging.disable()
    result = measure(given.rounds, given.only)
    show(result)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
