"""The whole way: due → claimed → run over ssh → recorded on MariaDB, so many a second for a minute.

One process, `reconciler up`, with everything it does: it watches the tree, claims slots, runs `true` on one
local sshd over four connections and records the ends in MariaDB, which syncs every commit. The slots of
each second are spread over it. What is counted is the ledger of the minute's slots: how many have a row,
how those ended, and how long after its time each was started and ended. *Lost* are slots without a row,
*twice* those with two, *open* those that had not ended when the process was, 20 s after the minute at most.

    python bench/whole.py [--rates 50,100,200] [--seconds 60] [--kinds durable,plain]
                          [--json bench/results/whole.json]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from reconciler.clock import SystemClock
from reconciler.store.engine import Database
from reconciler.store.tables import Execution
from tests.execute.support import QuietSshd
from tests.services.database import MariaDB
from tests.services.process import ServiceBroken, ServiceMissing

CLOCK = SystemClock()
SERVERS = 4
WARM_SECONDS = 8
PATIENCE_SECONDS = 40
"""After the minute: until what is late has ended, too."""
WORKERS = 48


def tree(folder: Path, sshd: QuietSshd, rate: int, durable: bool) -> Path:
    """So many tasks of every second."""
    server = """\
apiVersion: reconciler/v1
kind: Server
metadata: {{name: host-{number}}}
spec:
  host: {host}
  port: {port}
  username: {user}
  auth: {{privateKey: {{file: client}}}}
  hostKeys: ["{key}"]
  durable: {durable}
  maxConcurrentRuns: 40
"""
    task = """\
apiVersion: reconciler/v1
kind: Task
metadata: {{name: task-{number}}}
spec: {{server: host-{server}, command: "true", schedule: "@every 1s", jitter: 1s, concurrency: allow}}
"""
    way = {"host": sshd.host, "port": sshd.port, "user": sshd.user, "key": sshd.host_key}
    parts = [
        server.format(number=number, durable=str(durable).lower(), **way) for number in range(SERVERS)
    ] + [task.format(number=number, server=number % SERVERS) for number in range(rate)]
    folder.mkdir()
    (folder / "fleet.yaml").write_text("---\n".join(parts))
    return folder


def measure(url: str, sshd: QuietSshd, rate: int, durable: bool, seconds: int) -> dict[str, Any]:
    """One minute of one rate."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        environment = {name: value for name, value in os.environ.items() if "RECONCILER" not in name}
        environment |= {
            "RECONCILER_DATABASE_URL": url,
            "RECONCILER_SECRETS_DIR": str(sshd.folder),
            "RECONCILER_WORKERS": str(WORKERS),
        }
        program = [sys.executable, "-m", "reconciler"]
        upgrade = [*program, "db", "upgrade"]
        subprocess.run(upgrade, cwd=place, env=environment, check=True, capture_output=True)
        words = [*program, "up", str(tree(place / "tree", sshd, rate, durable))]
        with (place / "log").open("wb") as log:
            process = subprocess.Popen(words, cwd=place, env=environment, stdout=log, stderr=log)
            try:
                with contextlib.closing(Database.open(url, CLOCK)) as db:
                    return _watch(db, process, rate, seconds)
            finally:
                process.kill()
                process.wait()


def _watch(db: Database, process: subprocess.Popen[bytes], rate: int, seconds: int) -> dict[str, Any]:
    _until(lambda: bool(_rows(db)), 60)
    time.sleep(WARM_SECONDS)
    begin = CLOCK.now().replace(microsecond=0) + timedelta(seconds=1)
    end = begin + timedelta(seconds=seconds)
    time.sleep((begin - CLOCK.now()).total_seconds())
    used, busy = _cpu(process.pid), _machine()
    time.sleep((end - CLOCK.now()).total_seconds())
    used, busy = _cpu(process.pid) - used, _machine() - busy
    ended = [row for row in _rows(db) if row.finished_at is not None and begin <= row.finished_at < end]
    # nothing new is claimed; what is claimed and due still runs
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE_SECONDS)
    rows = [row for row in _rows(db) if begin <= row.scheduled_for < end - timedelta(seconds=1)]
    slots = Counter((row.task_id, row.scheduled_for) for row in rows)
    good = [row for row in rows if row.status == 1]
    lags = {
        "start": [(row.started_at - row.due_at).total_seconds() for row in good],
        "end": [(row.finished_at - row.due_at).total_seconds() for row in good],
    }
    return {
        "rate": rate,
        "slots": rate * (seconds - 1),
        "endedPerSecond": len([row for row in ended if row.status == 1]) / seconds,
        "told": dict(Counter(f"{row.status} {row.reason}" for row in rows)),
        "lost": rate * (seconds - 1) - len(slots),
        "open": len([row for row in rows if row.status == 0]),
        "twice": sum(1 for count in slots.values() if count > 1),
        "cpuMilliseconds": used * 1000 / max(1, len(ended)),
        "cpuOfMachine": busy / (seconds * (os.cpu_count() or 1)),
        "lag": {name: _quantiles(values) for name, values in lags.items() if len(values) > 1},
    }


def _rows(db: Database) -> list[Any]:
    columns = (
        Execution.task_id,
        Execution.status,
        Execution.reason,
        Execution.scheduled_for,
        Execution.due_at,
        Execution.started_at,
        Execution.finished_at,
    )
    with db.read() as connection:
        return list(connection.execute(select(*columns)).all())


def _quantiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100)
    return {"p50": cuts[49], "p99": cuts[98], "longest": max(values)}


def _until(true: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise SystemExit("nothing ran within a minute")
        time.sleep(0.2)


def _cpu(pid: int) -> float:
    """Seconds of one process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _machine() -> float:
    """Seconds that all processors worked."""
    user, nice, system, _, _, *rest = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9])
    return (user + nice + system + rest[0] + rest[1]) / os.sysconf("SC_CLK_TCK")


def show(row: dict[str, Any], kind: str) -> None:
    """A line for each rate."""
    lag = {name: f"p50 {found['p50']:.2f} p99 {found['p99']:.2f} s" for name, found in row["lag"].items()}
    print(
        f"{kind:8}{row['rate']:4} due/s: {row['endedPerSecond']:6.1f} ended/s of {row['slots']} slots, "
        f"lost {row['lost']}, twice {row['twice']}, open {row['open']}, {row['told']}; "
        f"start {lag.get('start', '-')}, "
        f"end {lag.get('end', '-')}; CPU {row['cpuMilliseconds']:.2f} ms a run, "
        f"machine {row['cpuOfMachine']:.0%}",
        flush=True,
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description="due, claimed, run over ssh, recorded")
    arguments.add_argument("--rates", default="50,100,200")
    arguments.add_argument("--kinds", default="durable,plain")
    arguments.add_argument("--seconds", type=int, default=60)
    arguments.add_argument("--json", type=Path, default=Path("bench/results/whole.json"))
    given = arguments.parse_args()
    result: dict[str, Any] = {"seconds": given.seconds, "loadBefore": os.getloadavg()[0], "rows": []}
    for kind in given.kinds.split(","):
        for rate in map(int, given.rates.split(",")):
            with contextlib.ExitStack() as stack:
                try:
                    server = stack.enter_context(MariaDB(durable=True))
                except (ServiceMissing, ServiceBroken) as error:
                    raise SystemExit(f"not installed: MariaDB ({error})") from error
                # as a server for a fleet has them
                for name, megabytes in {"buffer_pool_size": 1024, "log_file_size": 256}.items():
                    server.execute(f"SET GLOBAL innodb_{name} = {megabytes << 20}")
                url = server.url(server.create_database())
                sshd = stack.enter_context(contextlib.closing(QuietSshd("MaxSessions 60", "MaxStartups 300")))
                sshd.start()
                row = measure(url, sshd, rate, kind == "durable", given.seconds)
            show(row, kind)
            result["rows"].append({"kind": kind, **row})
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
