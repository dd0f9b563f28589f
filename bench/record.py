"""How fast ends of runs are recorded, beside ways of writing the same rows that check nothing, on MariaDB.

*writer*: the recorder as `up` uses it, from ``ended()`` in four threads until the last row is committed:
batches of 250, each an UPDATE of unfinished rows. *core*: the same finished rows as plain INSERTs of
1,000, one commit each. *orm*: one object, one INSERT, one commit a row. *load data*: LOAD DATA LOCAL
INFILE of a file that was written before, one commit. *update*: the same ends by SQLAlchemy's executemany,
250 a commit. And the spool: records a second that are kept (200 to a call, as in an outage, and one to a
call), read back and checked, and replayed from a dead process's files by the recorder.

MariaDB keeps its files on the disk and syncs each commit. Rounds of all take turns; each ratio is taken
within a round; figures are medians.

    python bench/record.py [--rounds 5] [--rows 3000] [--json bench/results/record.json]
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, insert, update
from sqlalchemy.orm import DeclarativeBase, Session

from reconciler.clock import SystemClock
from reconciler.model.execution import CapturedStream, Hop, Job, Outcome, Reason, Status
from reconciler.model.server import ServerSpec
from reconciler.model.task import TaskSpec
from reconciler.record.batch import Ended
from reconciler.record.ledger import DatabaseLedger
from reconciler.record.spool import Spool
from reconciler.record.writer import Writer
from reconciler.store.engine import Database
from reconciler.store.ids import ExecutionIds
from reconciler.store.schema import upgrade
from reconciler.store.tables import Execution
from tests.dispatch.fleet import Fleet
from tests.services.database import MariaDB

CLOCK = SystemClock()
TASKS = 100
THREADS = 4
GOAL = 0.6
"""Times the Core batches' rate, at least."""
OUTPUTS = {"no output": 0, "200 bytes": 200, "4 KiB": 4096}
START = datetime(2026, 3, 1, tzinfo=UTC)
TABLE = Execution.__table__


class Base(DeclarativeBase):
    """The program has no mapped classes; the ORM's way of inserting is measured with one."""


class Mapped(Base):
    """The ledger's rows as objects."""

    __table__ = TABLE


SPEC = TaskSpec.model_validate({"command": "true"})
SERVER = Hop("web-1", ServerSpec.model_validate({"host": "web-1", "username": "deploy"}))


@dataclass(frozen=True, slots=True)
class Work:
    """The same executions as everybody writes them: what runs, how it ends, the finished rows."""

    open_rows: list[dict[str, Any]]
    ends: list[Ended]
    finished: list[dict[str, Any]]


def work(rows: int, size: int) -> Work:
    text = ("output of a run, line after line\n" * (size // 32 + 1))[:size]
    stream = CapturedStream(text, size, "a" * 64)
    quiet = CapturedStream("", 0, "b" * 64)
    made = Work([], [], [])
    for number in range(1, rows + 1):
        slot = START + timedelta(seconds=number)
        row = {
            "id": number,
            "task_id": number % TASKS + 1,
            "server_id": 1,
            "trigger": "schedule",
            "scheduled_for": slot,
            "due_at": slot,
            "created_at": slot,
            "path": "fleet.yaml",
            "line": number % 900,
            "status": 0,
            "attempt": 1,
            "generation": 1,
            "count": 1,
        }
        job = Job(number, row["task_id"], "shop", "backup", SERVER, SPEC, 1, slot, slot)
        end = Outcome(
            number,
            Status.SUCCESS,
            Reason.COMPLETED,
            slot + timedelta(seconds=3, microseconds=number),
            slot + timedelta(microseconds=number),
            0,
            stream,
            quiet,
        )
        made.open_rows.append({**row, "lease_owner": "me", "lease_until": slot})
        made.ends.append(Ended(job, end))
        made.finished.append({**row, **columns(end)})
    return made


def columns(end: Outcome) -> dict[str, Any]:
    """An end as SQLAlchemy takes it."""
    return {
        "status": int(end.status),
        "reason": end.reason.value,
        "exit_code": end.exit_code,
        "started_at": end.started_at,
        "finished_at": end.finished_at,
        "output": end.stdout.text,
        "error": end.stderr.text,
        "output_bytes": end.stdout.total_bytes,
        "error_bytes": end.stderr.total_bytes,
        "output_sha256": end.stdout.sha256,
        "error_sha256": end.stderr.sha256,
        "truncated": 0,
    }


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything is written: a database with a fleet, and a folder on the disk."""

    db: Database
    server: MariaDB
    name: str
    folder: Path


@contextmanager
def place() -> Iterator[Place]:
    with MariaDB(durable=True) as server, tempfile.TemporaryDirectory(prefix="bench-record-") as folder:
        name = server.create_database()
        with closing(Database.open(server.url(name), CLOCK)) as db:
            upgrade(db)
            Fleet(db).tasks([f"job-{number}" for number in range(TASKS)], due=None)
            yield Place(db, server, name, Path(folder))


def empty(here: Place, rows: list[dict[str, Any]] | None = None) -> None:
    """The ledger as it is before a measurement."""
    here.server.execute("TRUNCATE TABLE task_executions", database=here.name)
    for first in range(0, len(rows or []), 1000):
        with here.db.write() as connection:
            connection.execute(insert(TABLE), rows[first : first + 1000] if rows else [])


def check(here: Place, rows: int) -> None:
    """Every row is finished, whoever wrote it."""
    found = here.server.execute("SELECT count(*), sum(status = 1) FROM task_executions", database=here.name)
    assert found == [(rows, rows)], found


def timed(step: Callable[[], None]) -> float:
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


# -- who writes -----------------------------------------------------------------------------------


def with_writer(here: Place, made: Work) -> float:
    empty(here, made.open_rows)
    ledger = DatabaseLedger(here.db, CLOCK, ExecutionIds(300, CLOCK))
    writer = Writer(ledger, CLOCK, Spool(here.folder / "unused", "me", CLOCK))
    writer.start()

    def step() -> None:
        def bring(part: list[Ended]) -> None:
            for end in part:
                writer.ended(end.job, end.outcome)

        threads = [threading.Thread(target=bring, args=(made.ends[n::THREADS],)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if not writer.flush(600):
            raise SystemExit("bench: the recorder did not get ready")

    seconds = timed(step)
    writer.close(10)
    return seconds


def with_core(here: Place, made: Work) -> float:
    empty(here)

    def step() -> None:
        for first in range(0, len(made.finished), 1000):
            with here.db.write() as connection:
                connection.execute(insert(TABLE), made.finished[first : first + 1000])

    return timed(step)


def with_update(here: Place, made: Work) -> float:
    empty(here, made.open_rows)
    ends = [
        {
            **{f"new_{name}": value for name, value in columns(end.outcome).items()},
            "row": end.outcome.execution_id,
        }
        for end in made.ends
    ]
    names = columns(made.ends[0].outcome)
    statement = (
        update(TABLE)
        .where(TABLE.c.id == bindparam("row"), TABLE.c.status == 0)
        .values(**{name: bindparam(f"new_{name}") for name in names}, lease_owner=None, lease_until=None)
    )

    def step() -> None:
        for first in range(0, len(ends), 250):
            with here.db.write() as connection:
                connection.execute(statement, ends[first : first + 250])

    return timed(step)


def with_orm(here: Place, made: Work) -> float:
    empty(here)

    def step() -> None:
        for row in made.finished:
            with Session(here.db.engine) as session:
                session.add(Mapped(**row))
                session.commit()

    return timed(step)


def with_load_data(here: Place, made: Work) -> float:
    empty(here)
    names = list(made.finished[0])
    file = here.folder / "rows.tsv"
    with file.open("w", encoding="utf-8") as out:
        for row in made.finished:
            out.write("\t".join(_field(row[name]) for name in names) + "\n")
    statement = (
        f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE task_executions CHARACTER SET utf8mb4 ({_names(names)})"
    )
    with (
        closing(here.server.connect(here.name, local_infile=True)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SET GLOBAL local_infile = 1")
        return timed(lambda: cursor.execute(statement))


def _names(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _field(value: object) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S.%f}"
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


WRITERS = {"writer": with_writer, "core": with_core, "update": with_update, "load data": with_load_data}


# -- the spool ------------------------------------------------------------------------------------


def keep(here: Place, made: Work, at_once: int) -> float:
    """Records a second that are on the disk for good."""
    spool = Spool(here.folder / f"kept-{at_once}", "me", CLOCK, 2**40)
    records = made.ends if at_once > 1 else made.ends[:300]

    def step() -> None:
        for first in range(0, len(records), at_once):
            spool.keep(records[first : first + at_once])

    seconds = timed(step)
    while (batch := spool.oldest()) is not None:
        spool.written(batch)
    spool.close()
    return len(records) / seconds


def read_back(here: Place, made: Work) -> float:
    """Records a second that are read, checked and decoded."""
    spool = Spool(here.folder / "read", "me", CLOCK, 2**40)
    spool.keep(made.ends)

    def step() -> None:
        while (batch := spool.oldest()) is not None:
            spool.written(batch)

    seconds = timed(step)
    spool.close()
    return len(made.ends) / seconds


def replay(here: Place, made: Work) -> float:
    """Seconds until the recorder has written what a dead process left."""
    empty(here, made.open_rows)
    root = here.folder / "left"
    dead = Spool(root, "dead", CLOCK, 2**40)
    for first in range(0, len(made.ends), 200):
        dead.keep(made.ends[first : first + 200])
    dead.close()
    spool = Spool(root, "heir", CLOCK)
    writer = Writer(DatabaseLedger(here.db, CLOCK, ExecutionIds(300, CLOCK)), CLOCK, spool)

    def step() -> None:
        writer.start()
        while not spool.waits:
            time.sleep(0.001)
        if not writer.flush(600):
            raise SystemExit("bench: the recorder did not get ready")

    seconds = timed(step)
    writer.close(10)
    return seconds


# -- all of it ------------------------------------------------------------------------------------


def measure(rounds: int, rows: int) -> dict[str, Any]:
    told: dict[str, Any] = {}
    with place() as here:
        version = here.server.execute("SELECT version()")[0][0]
        for label, size in OUTPUTS.items():
            made = work(rows, size)
            few = work(max(100, rows // 20), size)
            rates: dict[str, list[float]] = {}
            for _ in range(rounds):
                for name, write in WRITERS.items():
                    rates.setdefault(name, []).append(rows / write(here, made))
                    check(here, rows)
                rates.setdefault("orm", []).append(len(few.ends) / with_orm(here, few))
                rates.setdefault("replay", []).append(rows / replay(here, made))
                check(here, rows)
                rates.setdefault("keep, 200 to a call", []).append(keep(here, made, 200))
                rates.setdefault("keep, 1 to a call", []).append(keep(here, made, 1))
                rates.setdefault("read back", []).append(read_back(here, made))
            told[label] = {
                "rowsPerSecond": {name: statistics.median(values) for name, values in rates.items()},
                "timesCore": {
                    name: statistics.median(
                        mine / theirs for mine, theirs in zip(values, rates["core"], strict=True)
                    )
                    for name, values in rates.items()
                },
            }
    return {
        "name": "record",
        "rounds": rounds,
        "rows": rows,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "versions": {"mariadb": version},
        "outputs": told,
        "goals": {
            f"writer, times core ({label})": {
                "value": one["timesCore"]["writer"],
                "atLeast": GOAL,
                "met": one["timesCore"]["writer"] >= GOAL,
            }
            for label, one in told.items()
        },
    }


def show(result: dict[str, Any]) -> None:
    print(f"MariaDB {result['versions']['mariadb']}; Python {result['python']}; {result['machine']}")
    print(f"{result['rows']:,} rows, median of {result['rounds']} rounds; in brackets times core")
    labels = list(result["outputs"])
    print(f"  {'rows/s':22}" + "".join(f"{label:>18}" for label in labels))
    for name in result["outputs"][labels[0]]["rowsPerSecond"]:
        line = f"  {name:22}"
        for label in labels:
            one = result["outputs"][label]
            line += f"{one['rowsPerSecond'][name]:10,.0f} ({one['timesCore'][name]:5.2f})"
        print(line)
    for name, goal in result["goals"].items():
        print(
            f"{'met' if goal['met'] else 'NOT met':8}{name}: {goal['value']:.2f} (at least {goal['atLeast']})"
        )


def main() -> None:
    arguments = argparse.ArgumentParser(description="recording of ends, beside plain writes and LOAD DATA")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--rows", type=int, default=3000)
    arguments.add_argument("--json", type=Path, default=Path("bench/results/record.json"))
    given = arguments.parse_args()
    logging.disable(logging.WARNING)  # the recorder tells what it takes over
    result = measure(given.rounds, given.rows)
    show(result)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
