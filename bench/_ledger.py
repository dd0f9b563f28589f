"""A made-up past: tasks on servers and what became of their slots, written by Core-sized batches of rows.

Everything follows from the numbers, so two runs measure the same rows.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from reconciler.clock import SystemClock
from reconciler.model.canonical import document_hash
from reconciler.model.state import Definition, Origin
from reconciler.store.engine import Database
from reconciler.store.ids import first_id_at
from reconciler.store.objects import Placed, Stamp, insert_servers, insert_tasks
from reconciler.store.schema import upgrade
from reconciler.store.tables import Project, Revision, Task, User
from tests.services.database import MariaDB
from tests.services.process import ServiceBroken, ServiceMissing

EXECUTIONS = int(os.environ.get("BENCH_EXECUTIONS", "1000000"))
TASKS = int(os.environ.get("BENCH_TASKS", "10000"))
TASKS_OF_SERVER = 20
SPAN = timedelta(days=80)
"""The age of the oldest execution: within the 90 days that are kept."""
OUTPUT = "2026-11-26T18:40:00Z backup: 1,204 files, 88,913,408 bytes, 0 errors\n" * 3
_ROWS = 1000
_OUTCOMES = ((1, "completed"),) * 36 + ((2, "exit-code"),) * 2 + ((3, "overlap"), (3, "missed"))
"""Of forty rows: 90 % success, 5 % failed, 5 % skipped."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """A filled database. ``tasks`` and ``servers`` are ids; ``end`` is when the newest row was made."""

    name: str
    db: Database
    url: str
    tasks: list[int]
    servers: list[int]
    end: datetime


def say(progress: str) -> None:
    """On a terminal, in one line that overwrites itself."""
    if sys.stderr.isatty():
        print(f"\r{progress:78}", end="\n" if not progress else "", file=sys.stderr, flush=True)


@contextlib.contextmanager
def mariadb(absent: list[str]) -> Iterator[str | None]:
    """The URL of an empty database on a private, durable MariaDB; None where there is none."""
    with contextlib.ExitStack() as stack:
        url = None
        try:
            server = stack.enter_context(MariaDB(durable=True))
            # as a server for a fleet has them; filling would wait for a small log all the time
            for name, megabytes in {"buffer_pool_size": 1024, "log_file_size": 256}.items():
                server.execute(f"SET GLOBAL innodb_{name} = {megabytes << 20}")
            url = server.url(server.create_database())
        except (ServiceMissing, ServiceBroken) as error:
            absent.append(f"MariaDB ({error})")
        yield url


@contextlib.contextmanager
def ledger(name: str, url: str, executions: int = EXECUTIONS, tasks: int = TASKS) -> Iterator[Ledger]:
    """A database with so many tasks and executions; the newest one was made when it was begun."""
    clock = SystemClock()
    end = clock.now()
    with contextlib.closing(Database.open(url, clock)) as db:
        upgrade(db)
        task_ids, server_ids, places = _declare(db, tasks, end - SPAN)
        relaxed = db.dialect != "sqlite"
        if relaxed:
            _commit_later(db, True)
        _fill(db, executions, task_ids, places, end)
        if relaxed:
            _commit_later(db, False)
            with db.read() as connection:
                connection.exec_driver_sql("ANALYZE TABLE tasks, task_executions, servers").fetchall()
        yield Ledger(name, db, url, task_ids, server_ids, end)


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'state.db'}"


def _commit_later(db: Database, later: bool) -> None:
    """While it is filled; what is measured afterwards syncs each commit."""
    with db.write() as connection:
        value = 0 if later else 1
        connection.exec_driver_sql(f"SET GLOBAL innodb_flush_log_at_trx_commit = {value}")


def _declare(db: Database, tasks: int, at: datetime) -> tuple[list[int], list[int], dict[int, int]]:
    """Servers and tasks as an apply leaves them: ids, and each task's server."""
    with db.write() as connection:
        user = _key(connection, User, username="bench", display_name="", created_at=at)
        values = {"name": "fleet", "spec": {}, "spec_hash": "", "created_at": at, "updated_at": at}
        project = _key(connection, Project, **values)
        revision = _key(
            connection, Revision, project_id=project, applied_by="bench", applied_at=at, digest="", counts={},
            changes=[],
        )  # fmt: skip
        stamp = Stamp(project, revision, user, at)
        servers = list(
            insert_servers(
                connection,
                stamp,
                [
                    _placed(f"web-{n:05}", {"host": "10.0.0.1", "username": "deploy"})
                    for n in range(max(1, tasks // TASKS_OF_SERVER))
                ],
            ).values()
        )
        for start in range(0, tasks, _ROWS):
            numbers = range(start, min(tasks, start + _ROWS))
            insert_tasks(connection, stamp, [_task(n, servers[n % len(servers)]) for n in numbers])
        # as a scheduler leaves them: the next slot is to come, so nothing looks overdue
        coming = at.replace(minute=0, second=0, microsecond=0) + SPAN + timedelta(hours=1)
        connection.execute(Task.__table__.update().values(next_slot=coming, next_run=coming))
        rows = connection.execute(Task.__table__.select()).all()
    places = {row.id: row.server_id for row in rows}
    return sorted(places), sorted(servers), places


def _task(number: int, server: int) -> Placed:
    labels = {"team": f"team-{number % 37:02}", "tier": ("gold", "silver", "bronze")[number % 3]}
    spec = {"command": f"/usr/local/bin/job --number {number}", "schedule": "0 * * * *"}
    return _placed(f"job-{number:06}", spec, server, labels)


def _placed(
    name: str, spec: dict[str, Any], server: int | None = None, labels: dict[str, str] | None = None
) -> Placed:
    document = {"metadata": {"labels": labels} if labels else {}, "spec": spec}
    origin = Origin("fleet.yaml", 1)
    return Placed(name, Definition(document, document_hash(document)), origin, None, server)


def _key(connection: Any, model: Any, **values: Any) -> int:
    return int(connection.execute(model.__table__.insert().values(values)).inserted_primary_key[0])


def _fill(db: Database, executions: int, tasks: list[int], places: dict[int, int], end: datetime) -> None:
    """In the order of time: every task has a row, then each its next one."""
    step = SPAN / executions
    mark = "?" if db.dialect == "sqlite" else "%s"
    columns = (
        "id, task_id, server_id, status, reason, output, error, exit_code, `trigger`, attempt, "
        "scheduled_for, due_at, started_at, finished_at, generation, revision_id, path, line, "
        "output_bytes, error_bytes, truncated, `count`, created_at"
    )
    for start in range(0, executions, _ROWS):
        lines, texts = [], []
        for number in range(start, min(executions, start + _ROWS)):
            at = end - SPAN + step * (number + 1)
            task = tasks[number * 7919 % len(tasks)] if len(tasks) % 7919 else tasks[number % len(tasks)]
            status, reason = _OUTCOMES[(number // len(tasks) * 13 + number) % len(_OUTCOMES)]
            time = f"'{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"
            ran = status != 3
            if ran:
                texts.append(OUTPUT)
            key = first_id_at(at) + number % 4096
            written, size = (f"{mark},'',{status - 1}", len(OUTPUT)) if ran else ("NULL,NULL,NULL", 0)
            lines.append(
                f"({key},{task},{places[task]},{status},'{reason}',{written},'schedule',1,{time},{time},"
                f"{time if ran else 'NULL'},{time},1,1,'fleet.yaml',1,{size},0,0,1,{time})"
            )
        with db.write() as connection:
            connection.exec_driver_sql(
                f"INSERT INTO task_executions ({columns}) VALUES {','.join(lines)}", tuple(texts)
            )
        if start % 20_000 == 0:
            say(f"{db.place}: {start:,} of {executions:,} executions")
    say("")
