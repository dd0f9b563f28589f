"""A made-up past: tasks on servers and what became of their slots, written by Core-sized batches of rows.

Everything follows from the numbers, so two runs measure the same rows. Filling takes minutes: with
BENCH_KEPT=FOLDER databases are kept there between runs, and may be filled before, in several goes, so that
nothing but the measurement needs a quiet machine:

    BENCH_KEPT=FOLDER python -m bench._ledger MariaDB [--executions 1000000] [--tasks 10000] [--seconds 150]

says what is still to be filled, and ends with 3 while there is something.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update

from reconciler.clock import SystemClock
from reconciler.model.canonical import document_hash
from reconciler.model.state import Definition, Origin
from reconciler.store.engine import Database
from reconciler.store.ids import first_id_at
from reconciler.store.objects import Placed, Stamp, insert_servers, insert_tasks
from reconciler.store.schema import upgrade
from reconciler.store.tables import Execution, Project, Revision, Server, Task, User
from tests.services.database import MariaDB
from tests.services.prepared import copy_folder
from tests.services.process import ServiceBroken, ServiceMissing, find_binary

EXECUTIONS = int(os.environ.get("BENCH_EXECUTIONS", "1000000"))
TASKS = int(os.environ.get("BENCH_TASKS", "10000"))
KEPT = Path(os.environ["BENCH_KEPT"]).absolute() if os.environ.get("BENCH_KEPT") else None
TASKS_OF_SERVER = 20
SPAN = timedelta(days=80)
"""The age of the oldest execution: within the 90 days that are kept."""
OUTPUT = "2026-11-26T18:40:00Z backup: 1,204 files, 88,913,408 bytes, 0 errors\n" * 3
_ROWS = 1000
_SCHEDULES = 120
"""Distinct ones: each minute and hour of ``number % 60`` and ``number % 24``."""
_OUTCOMES = ((1, "completed"),) * 36 + ((2, "exit-code"),) * 2 + ((3, "overlap"), (3, "missed"))
"""Of forty rows: 90 % success, 5 % failed, 5 % skipped."""


@dataclass(slots=True)
class Ledger:
    """A filled database. ``tasks`` and ``servers`` are ids; ``end`` is when the newest row was made;
    ``missing`` how many executions are still to be written."""

    name: str
    db: Database
    url: str
    tasks: list[int]
    servers: list[int]
    end: datetime
    executions: int
    missing: int = 0


def say(progress: str) -> None:
    """On a terminal, in one line that overwrites itself."""
    if sys.stderr.isatty():
        print(f"\r{progress:78}", end="\n" if not progress else "", file=sys.stderr, flush=True)


class KeptMariaDB(MariaDB):
    """A durable MariaDB whose data lie in a folder that stays; ``copied``: in a copy that does not."""

    def __init__(self, place: Path | None, copied: bool) -> None:
        super().__init__(durable=True)
        self._place = place
        self._copied = copied

    @property
    def data(self) -> Path:
        return self.folder / "data" if self._place is None or self._copied else self._place

    def prepare(self) -> None:
        """Make the data folder, unless it is there."""
        if self._place is not None and self._place.exists():
            self.binary = find_binary("mariadbd")
            if self._copied:
                copy_folder(self._place, self.data)
        else:
            super().prepare()

    def close(self) -> None:
        """In order, where the data are wanted again."""
        if self._place is not None and not self._copied:
            self.stop(60)
        super().close()


@contextlib.contextmanager
def opened(
    kind: str,
    absent: list[str],
    executions: int = EXECUTIONS,
    tasks: int = TASKS,
    *,
    changed: bool = False,
    seconds: float | None = None,
    pool_megabytes: int = 1024,
) -> Iterator[Ledger | None]:
    """A ledger with so many tasks and executions on ``MariaDB`` or ``SQLite``; None where there is none.

    ``changed``: it will be, so of a kept one a copy is taken. ``seconds``: filling ends after so long.
    """
    kept = None if KEPT is None else KEPT / f"{kind.lower()}-{executions}-{tasks}"
    with contextlib.ExitStack() as stack:
        try:
            if kind == "MariaDB":
                url = _mariadb(stack, kept, changed, pool_megabytes)
            else:
                url = _sqlite(stack, kept, changed)
        except (ServiceMissing, ServiceBroken) as error:
            absent.append(f"{kind} ({error})")
            yield None
            return
        db = stack.enter_context(contextlib.closing(Database.open(url, SystemClock())))
        yield _filled(kind, db, url, executions, tasks, seconds)


def _mariadb(stack: contextlib.ExitStack, kept: Path | None, changed: bool, megabytes: int) -> str:
    server = stack.enter_context(KeptMariaDB(kept, changed))
    # as a server for a fleet has them; filling would wait for a small log all the time
    for name, size in {"buffer_pool_size": megabytes, "log_file_size": 256}.items():
        server.execute(f"SET GLOBAL innodb_{name} = {size << 20}")
    if not server.execute("SHOW DATABASES LIKE 'bench'"):
        server.create_database("bench")
    return server.url("bench")


def _sqlite(stack: contextlib.ExitStack, kept: Path | None, changed: bool) -> str:
    folder = kept
    if kept is None or changed:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-ledger-")))
        if kept is not None and kept.exists():
            shutil.copytree(kept, folder, dirs_exist_ok=True)
    assert folder is not None
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'state.db'}"


def _filled(kind: str, db: Database, url: str, executions: int, tasks: int, seconds: float | None) -> Ledger:
    """What is missing is written; the newest row was made when it was begun."""
    upgrade(db)
    with db.read() as connection:
        begun = connection.scalar(select(func.max(Revision.applied_at)))
        done = connection.scalar(select(func.count()).select_from(Execution)) or 0
    if begun is None:
        begun = SystemClock().now() - SPAN
        _declare(db, tasks, begun)
    with db.read() as connection:
        places = {row[0]: row[1] for row in connection.execute(select(Task.id, Task.server_id))}
        servers = sorted(connection.scalars(select(Server.id)))
    one = Ledger(kind, db, url, sorted(places), servers, begun + SPAN, executions)
    if done < executions:
        relaxed = db.dialect != "sqlite"
        if relaxed:
            _commit_later(db, True)
        one.missing = _fill(one, places, done, seconds)
        if relaxed:
            _commit_later(db, False)
    if not one.missing and db.dialect != "sqlite":
        with db.read() as connection:
            connection.exec_driver_sql("ANALYZE TABLE tasks, task_executions, servers").fetchall()
    _schedule(db)
    return one


def _schedule(db: Database) -> None:
    """As schedulers leave it: each task's next slot is to come, so nothing looks overdue."""
    now = SystemClock().now().replace(microsecond=0)
    with db.write() as connection:
        for number in range(_SCHEDULES):
            minute, hour = number % 60, number % 24
            slot = now.replace(hour=hour, minute=minute, second=0)
            slot += timedelta(days=slot <= now)
            expression = f"{minute} {hour} * * *"
            wanted = update(Task).where(Task.cron_expr == expression)
            connection.execute(wanted.values(next_slot=slot, next_run=slot))


def warm(one: Ledger) -> None:
    """Read everything once: what is measured then is not the disk."""
    statements = ["SELECT sum(length(output)) FROM task_executions"]
    with one.db.read() as connection:
        if one.db.dialect != "sqlite":
            rows = connection.exec_driver_sql("SHOW INDEX FROM task_executions").fetchall()
            names = sorted({row[2] for row in rows})
            statements += [f"SELECT count(*) FROM task_executions FORCE INDEX ({name})" for name in names]
        for statement in statements:
            connection.exec_driver_sql(statement).fetchall()


def _commit_later(db: Database, later: bool) -> None:
    """While it is filled; what is measured afterwards syncs each commit."""
    with db.write() as connection:
        value = 0 if later else 1
        connection.exec_driver_sql(f"SET GLOBAL innodb_flush_log_at_trx_commit = {value}")


def _declare(db: Database, tasks: int, at: datetime) -> None:
    """Servers and tasks as an apply leaves them."""
    with db.write() as connection:
        user = _key(connection, User, username="bench", display_name="", created_at=at)
        values = {"name": "fleet", "spec": {}, "spec_hash": "", "created_at": at, "updated_at": at}
        project = _key(connection, Project, **values)
        revision = _key(
            connection, Revision, project_id=project, applied_by="bench", applied_at=at, digest="", counts={},
            changes=[],
        )  # fmt: skip
        stamp = Stamp(project, revision, user, at)
        named = [
            _placed(f"web-{n:05}", {"host": "10.0.0.1", "username": "deploy"})
            for n in range(max(1, tasks // TASKS_OF_SERVER))
        ]
        servers = list(insert_servers(connection, stamp, named).values())
        for start in range(0, tasks, _ROWS):
            numbers = range(start, min(tasks, start + _ROWS))
            insert_tasks(connection, stamp, [_task(n, servers[n % len(servers)]) for n in numbers])


def _task(number: int, server: int) -> Placed:
    labels = {"team": f"team-{number % 37:02}", "tier": ("gold", "silver", "bronze")[number % 3]}
    command = f"/usr/local/bin/job --number {number}"
    spec = {"command": command, "schedule": f"{number % 60} {number % 24} * * *"}
    return _placed(f"job-{number:06}", spec, server, labels)


def _placed(
    name: str, spec: dict[str, Any], server: int | None = None, labels: dict[str, str] | None = None
) -> Placed:
    document = {"metadata": {"labels": labels} if labels else {}, "spec": spec}
    origin = Origin("fleet.yaml", 1)
    return Placed(name, Definition(document, document_hash(document)), origin, None, server)


def _key(connection: Any, model: Any, **values: Any) -> int:
    return int(connection.execute(model.__table__.insert().values(values)).inserted_primary_key[0])


def _fill(one: Ledger, places: dict[int, int], done: int, seconds: float | None) -> int:
    """In the order of time: every task has a row, then each its next one. How many are missing in the end."""
    db, executions, tasks, end = one.db, one.executions, one.tasks, one.end
    begin = time.monotonic()
    step = SPAN / executions
    mark = "?" if db.dialect == "sqlite" else "%s"
    columns = (
        "id, task_id, server_id, status, reason, output, error, exit_code, `trigger`, attempt, "
        "scheduled_for, due_at, started_at, finished_at, generation, revision_id, path, line, "
        "output_bytes, error_bytes, truncated, `count`, created_at"
    )
    for start in range(done, executions, _ROWS):
        if seconds is not None and time.monotonic() - begin > seconds:
            return executions - start
        lines, texts = [], []
        for number in range(start, min(executions, start + _ROWS)):
            at = end - SPAN + step * (number + 1)
            task = tasks[number * 7919 % len(tasks)] if len(tasks) % 7919 else tasks[number % len(tasks)]
            status, reason = _OUTCOMES[(number // len(tasks) * 13 + number) % len(_OUTCOMES)]
            moment = f"'{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"
            ran = status != 3
            if ran:
                texts.append(OUTPUT)
            key = first_id_at(at) + number % 4096
            written, size = (f"{mark},'',{status - 1}", len(OUTPUT)) if ran else ("NULL,NULL,NULL", 0)
            lines.append(
                f"({key},{task},{places[task]},{status},'{reason}',{written},'schedule',1,{moment},{moment},"
                f"{moment if ran else 'NULL'},{moment},1,1,'fleet.yaml',1,{size},0,0,1,{moment})"
            )
        with db.write() as connection:
            connection.exec_driver_sql(
                f"INSERT INTO task_executions ({columns}) VALUES {','.join(lines)}", tuple(texts)
            )
        if start % 20_000 == 0:
            say(f"{db.place}: {start:,} of {executions:,} executions")
    say("")
    return 0


def main() -> None:
    arguments = argparse.ArgumentParser(description="fill a ledger that is kept in the folder BENCH_KEPT")
    arguments.add_argument("kind", choices=("MariaDB", "SQLite"))
    arguments.add_argument("--executions", type=int, default=EXECUTIONS)
    arguments.add_argument("--tasks", type=int, default=TASKS)
    arguments.add_argument("--seconds", type=float)
    given = arguments.parse_args()
    if KEPT is None:
        raise SystemExit("BENCH_KEPT names no folder")
    absent: list[str] = []
    with opened(given.kind, absent, given.executions, given.tasks, seconds=given.seconds) as one:
        if one is None:
            raise SystemExit(absent[0])
        print(f"{one.executions - one.missing:,} of {one.executions:,} executions")
    raise SystemExit(3 if one.missing else 0)


if __name__ == "__main__":
    main()
