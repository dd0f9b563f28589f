"""One measurement of bench/schedule.py, in a process of its own, so that CPU time and memory are its own.

    python -m bench._schedule_part NAME [ARGUMENT …]

prints one JSON object. Times are in seconds. Starts are told as (due, started) by the clock of this machine.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import func, insert, select

from reconciler.cli.main import collect_calmly
from reconciler.clock import SystemClock
from reconciler.controller.loop import Loop
from reconciler.controller.runtime import Runtime
from reconciler.dispatch.scheduler import Scheduler
from reconciler.execute.control import Control
from reconciler.model.execution import Job, Outcome, Reason, Status
from reconciler.settings import Settings
from reconciler.store.engine import Connection, Database
from reconciler.store.ids import ExecutionIds
from reconciler.store.schema import upgrade
from reconciler.store.tables import Execution, Project, Server, Task, User

CLOCK = SystemClock()
SERVERS = 200
WORKERS = 256
LIMIT = 100
"""maxConcurrentRuns: high, for it is the scheduler that is measured here."""


# -- a fleet ------------------------------------------------------------------------------------


def fill(db: Database, tasks: int, schedule: str, due: datetime, **spec: Any) -> None:
    """``tasks`` rows over 200 servers as an apply leaves them, all of one schedule and due at ``due``."""
    upgrade(db)
    now = CLOCK.now()
    common = {"spec_hash": "-", "project_id": 1, "created_by": 1, "created_at": now, "updated_at": now}
    with db.write() as connection:
        for table in (Execution, Task, Server, Project, User):
            connection.exec_driver_sql(f"DELETE FROM {table.__tablename__}")
        connection.execute(insert(User).values(id=1, username="me", created_at=now))
        connection.execute(
            insert(Project).values(id=1, name="shop", spec={}, spec_hash="-", created_at=now, updated_at=now)
        )
        connection.execute(
            insert(Server),
            [
                {
                    "id": number + 1,
                    "name": f"web-{number}",
                    "host": "h",
                    "port": 22,
                    "username": "u",
                    "labels": {},
                    "spec": {"spec": {"maxConcurrentRuns": LIMIT}},
                    **common,
                }
                for number in range(SERVERS)
            ],
        )
    rows = [
        {
            "id": number + 1,
            "name": f"task-{number}",
            "command": "true",
            "cron_expr": schedule,
            "server_id": number % SERVERS + 1,
            "labels": {},
            "spec": {"spec": spec},
            "next_slot": due,
            "next_run": due,
            "path": "tasks/fleet.yaml",
            "line": number,
            **common,
        }
        for number in range(tasks)
    ]
    for start in range(0, tasks, 5_000):
        with db.write() as connection:
            connection.execute(insert(Task), rows[start : start + 5_000])
    if db.dialect != "sqlite":
        with db.write() as connection:
            connection.exec_driver_sql("ANALYZE TABLE tasks, servers, task_executions")


class Noop:
    """An executor that does nothing, and remembers when it was asked to."""

    def __init__(self) -> None:
        self.starts: list[tuple[float, float]] = []
        self.ran: Counter[int] = Counter()

    def run(self, job: Job, control: Control) -> Outcome:
        begun = CLOCK.now()
        self.starts.append((job.due_at.timestamp(), begun.timestamp()))
        self.ran[job.execution_id] += 1
        control.started(begun)
        return Outcome(job.execution_id, Status.SUCCESS, Reason.COMPLETED, CLOCK.now(), begun, exit_code=0)

    def recorded(self, job: Job) -> None:
        """Nothing is left anywhere."""


# -- claims alone -------------------------------------------------------------------------------


def claims(url: str, tasks: int) -> dict[str, Any]:
    """All due at once; how long until every slot is in the ledger."""
    collect_calmly()  # as in every process that schedules
    with closing(Database.open(url, CLOCK)) as db:
        fill(db, tasks, "@every 1h", hour())
        scheduler = Scheduler(db, CLOCK, ExecutionIds(1, CLOCK), 86_400.0)
        with db.read():
            pass  # connected
        with measured() as told:
            while not scheduler.claim().complete:
                pass
        told["rows"] = count(db)
    return told


RAW_BATCH = 500


def raw(url: str, tasks: int) -> dict[str, Any]:
    """The same transaction by hand: the least that anybody has to send."""
    collect_calmly()
    with closing(Database.open(url, CLOCK)) as db:
        fill(db, tasks, "@every 1h", hour())
        with measured() as told:
            done, first = 0, 1
            while done < tasks:
                with db.write() as connection:
                    done += _raw_batch(connection, first + done)
        told["rows"] = count(db)
    return told


def _raw_batch(connection: Connection, first: int) -> int:
    lock = "" if connection.dialect.name == "sqlite" else " FOR UPDATE SKIP LOCKED"
    hint = "" if connection.dialect.name == "sqlite" else " FORCE INDEX (ix_tasks_status_next_run)"
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"
    due = connection.exec_driver_sql(
        f"SELECT id, server_id, next_slot, next_run FROM tasks{hint} WHERE status = 1 AND next_run >= "
        f"'2000-01-01' AND next_run <= '{now}' ORDER BY next_run LIMIT {RAW_BATCH}{lock}"
    ).all()
    rows = ",".join(
        f"({first + number},{row[0]},{row[1]},0,'schedule',1,'{row[2]}','{row[3]}',1,'p',1,0,0,0,1,'{now}')"
        for number, row in enumerate(due)
    )
    connection.exec_driver_sql(
        "INSERT INTO task_executions (id, task_id, server_id, status, `trigger`, attempt, scheduled_for, "
        "due_at, generation, path, line, output_bytes, error_bytes, truncated, `count`, created_at) "
        f"VALUES {rows}"
    )
    following = f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%d %H:00:00.000000}"
    ids = ",".join(str(row[0]) for row in due)
    connection.exec_driver_sql(
        f"UPDATE tasks SET next_slot = '{following}', next_run = '{following}' WHERE id IN ({ids})"
    )
    return len(due)


def hour() -> datetime:
    """The last full hour: `@every 1h` had a slot then, and one only."""
    return CLOCK.now().replace(minute=0, second=0, microsecond=0)


def count(db: Database) -> int:
    with db.read() as connection:
        return connection.execute(select(func.count()).select_from(Execution)).scalar_one()


# -- a whole process ----------------------------------------------------------------------------


@contextmanager
def process(db: Database, executor: Noop) -> Iterator[Runtime]:
    collect_calmly()  # as the command line does for every process that stays
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(workers=WORKERS, allow_local=True, state_dir=Path(folder))
        runtime = Runtime(db, settings, CLOCK, executor, random.Random(), schedule=True)
        runtime.start()
        try:
            yield runtime
        finally:
            runtime.stop(5.0, finish=False)


def burst(url: str, tasks: int) -> dict[str, Any]:
    """``tasks`` slots of one second, from the due time to the start of each, all of it recorded."""
    with closing(Database.open(url, CLOCK)) as db:
        due = second(3)
        fill(db, tasks, "@every 1d", due)
        due = second(2)
        with db.write() as connection:
            connection.execute(Task.__table__.update().values(next_slot=due, next_run=due))
        executor = Noop()
        with process(db, executor):
            wait_until(due - timedelta(seconds=0.3))
            with measured() as told:
                until(lambda: len(executor.starts) >= tasks, 120)
                told["all started"] = CLOCK.now().timestamp() - due.timestamp()
                until(lambda: ended(db) >= tasks, 120, every=0.2)
        told |= lags(executor.starts) | proof(db, executor)
        told["claimed"] = claimed_after(db, due)
    return told


def steady(url: str, rate: int, seconds: int, spread: str) -> dict[str, Any]:
    """``rate`` slots due in each second: at its beginning (``together``), or all over it (``spread``)."""
    together = spread == "together"
    with closing(Database.open(url, CLOCK)) as db:
        fill(db, rate if together else 10 * rate, "@every 1s" if together else "@every 10s", second(5))
        due = second(2)
        if not together:
            # where `@every 10s` has its slots: from anywhere else the next ones would come too early
            due += timedelta(seconds=-due.timestamp() % 10)
        with db.write() as connection:
            values: dict[str, Any] = {"next_slot": due, "next_run": due}
            connection.execute(Task.__table__.update().values(**values))
        if not together:
            _spread(db, due, 10 * rate)
        executor = Noop()
        with process(db, executor):
            wait_until(due - timedelta(seconds=0.3))
            with measured() as told:
                wait_until(due + timedelta(seconds=seconds))
            wait_until(due + timedelta(seconds=seconds + 1))
        told |= lags([start for start in executor.starts if start[0] < due.timestamp() + seconds])
        told |= proof(db, executor)
        told["expected"] = rate * seconds
    return told


def _spread(db: Database, due: datetime, tasks: int) -> None:
    """Each with its own jitter, as `jitter: 10s` draws it."""
    from reconciler.schedule.stable import jitter_offset
    from reconciler.store.claims import advance

    times = [(n + 1, due, due + jitter_offset(f"task-{n}@web-{n % SERVERS}", 10)) for n in range(tasks)]
    with db.write() as connection:
        connection.execute(Task.__table__.update().values(spec={"spec": {"jitter": "10s"}}))
        advance(connection, times)


def idle(url: str, tasks: int, seconds: int) -> dict[str, Any]:
    """Nothing is due for an hour; what does it cost to wait? ``loops``: CPU seconds of each loop."""
    spent: Counter[str] = Counter()
    once = Loop._once

    def counted(loop: Loop) -> float | None:
        begin = time.thread_time()
        pause = once(loop)
        spent[loop.name] += time.thread_time() - begin
        return pause

    with closing(Database.open(url, CLOCK)) as db, patch.object(Loop, "_once", counted):
        fill(db, tasks, "@every 1d", CLOCK.now() + timedelta(hours=1))
        with process(db, Noop()):
            time.sleep(3)
            spent.clear()
            with measured() as told:
                time.sleep(seconds)
            told["loops"] = dict(spent)
    return told


def second(ahead: float) -> datetime:
    return (CLOCK.now() + timedelta(seconds=ahead + 1)).replace(microsecond=0)


def ended(db: Database) -> int:
    with db.read() as connection:
        query = select(func.count()).select_from(Execution).where(Execution.status != 0)
        return connection.execute(query).scalar_one()


def claimed_after(db: Database, due: datetime) -> float:
    """Seconds from the due time until the last slot was claimed."""
    with db.read() as connection:
        last = connection.execute(select(func.max(Execution.created_at))).scalar_one()
    return float((last - due).total_seconds())


def proof(db: Database, executor: Noop) -> dict[str, int]:
    """What was lost, doubled or skipped."""
    with db.read() as connection:
        rows = connection.execute(select(Execution.reason, func.count()).group_by(Execution.reason)).all()
    reasons = {row[0] or "open": row[1] for row in rows}
    return {
        "completed": reasons.get("completed", 0),
        "skipped": sum(reasons.values()) - reasons.get("completed", 0) - reasons.get("open", 0),
        "open": reasons.get("open", 0),
        "doubled": sum(times - 1 for times in executor.ran.values()),
    }


# -- peers --------------------------------------------------------------------------------------


def apscheduler(store: str, tasks: int) -> dict[str, Any]:
    """``tasks`` jobs of APScheduler 3 at one instant; ``store``: ``memory`` or a database's URL."""
    from apscheduler.executors.pool import ThreadPoolExecutor
    from apscheduler.schedulers.background import BackgroundScheduler
    from apscheduler.triggers.date import DateTrigger

    stores = {} if store == "memory" else {"default": {"type": "sqlalchemy", "url": store}}
    scheduler = BackgroundScheduler(
        jobstores=stores,
        executors={"default": ThreadPoolExecutor(WORKERS)},
        job_defaults={"misfire_grace_time": None},
        timezone=UTC,
    )
    scheduler.start(paused=True)
    due = second(3 + tasks / (40 if stores else 1500))  # time to add them, on a busy machine, too
    for number in range(tasks):
        scheduler.add_job(began, DateTrigger(due, timezone=UTC), args=[due.timestamp()], id=f"job-{number}")
    if CLOCK.now() > due - timedelta(seconds=0.3):
        raise SystemExit("the jobs were not added in time")
    wait_until(due - timedelta(seconds=0.3))
    with measured() as told:
        scheduler.resume()
        until(lambda: len(STARTS) >= tasks, 120)
        told["all started"] = CLOCK.now().timestamp() - due.timestamp()
        until(lambda: not scheduler.get_jobs(), 60)
    scheduler.shutdown(wait=False)
    return told | lags(STARTS)


STARTS: list[tuple[float, float]] = []


def began(due: float) -> None:
    """The peers' no-op."""
    STARTS.append((due, time.time()))


# -- measuring ----------------------------------------------------------------------------------


@contextmanager
def measured() -> Iterator[dict[str, Any]]:
    """Wall and CPU seconds of the block, and the peak memory of this process so far."""
    told: dict[str, Any] = {}
    wall, cpu = time.perf_counter(), time.process_time()
    yield told
    told["wall"] = time.perf_counter() - wall
    told["cpu"] = time.process_time() - cpu
    told["MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def lags(starts: list[tuple[float, float]]) -> dict[str, float]:
    late = sorted(began - due for due, began in starts)
    if not late:
        return {"starts": 0}
    return {
        "starts": len(late),
        "p50": late[len(late) // 2],
        "p99": late[min(len(late) - 1, len(late) * 99 // 100)],
        "max": late[-1],
    }


def wait_until(at: datetime) -> None:
    time.sleep(max(0.0, (at - CLOCK.now()).total_seconds()))


def until(condition: Callable[[], bool], seconds: float, *, every: float = 0.02) -> None:
    stop = time.monotonic() + seconds
    while not condition() and time.monotonic() < stop:
        threading.Event().wait(every)


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "claims": claims,
    "raw": raw,
    "burst": burst,
    "steady": steady,
    "idle": idle,
    "apscheduler": apscheduler,
}

if __name__ == "__main__":
    name, *words = sys.argv[1:]
    print(json.dumps(PARTS[name](*[int(word) if word.isdigit() else word for word in words])))
