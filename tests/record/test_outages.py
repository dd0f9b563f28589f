"""The database goes away in every way while runs end: each end is in the ledger, and once."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from reconciler.clock import SystemClock
from reconciler.errors import DatabaseRejected, ReconcilerError
from reconciler.model.execution import CapturedStream, Reason
from reconciler.record import keeper, pending
from reconciler.record.batch import Ended, Recorded
from reconciler.record.ledger import DatabaseLedger
from reconciler.record.spool import Spool
from reconciler.record.writer import Writer
from reconciler.store.engine import Database
from reconciler.store.ids import ExecutionIds
from reconciler.store.schema import upgrade
from tests.controller.conftest import eventually
from tests.dispatch.fleet import Fleet, at
from tests.record.runs import job, outcome
from tests.services.database import DatabaseServer, MariaDB
from tests.services.mysql import MySQL
from tests.services.process import Service, ServiceMissing
from tests.services.proxy import TcpProxy

CLOCK = SystemClock()
ROOT = Path(__file__).resolve().parents[2]
RETRIES = {"limit": 3, "backoff": "1h"}

mariadb_only = pytest.mark.parametrize(
    "url", [pytest.param("mariadb", marks=pytest.mark.mariadb)], indirect=True
)


@dataclass
class Recorder:
    """A process that records, with a pool and a spool of its own; its database may be behind a proxy."""

    db: Database
    spool: Spool
    writer: Writer
    recorded: Counter[int] = field(default_factory=Counter)
    failures: list[ReconcilerError] = field(default_factory=list)

    def end(self, numbers: range, task: int, reason: Reason = Reason.COMPLETED, **values: Any) -> None:
        """These executions of the task end."""
        for number in numbers:
            self.writer.ended(
                job(number, task, slot=at(number), retries=RETRIES), outcome(number, reason, **values)
            )


StartRecorder = Callable[..., Recorder]


@pytest.fixture
def recorder(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartRecorder]:
    """Starts recorders that share a state folder."""
    monkeypatch.setattr(keeper, "ADOPT_SECONDS", 0.5)
    with ExitStack() as stack:
        count = iter(range(1, 100))

        def start(own_url: str | None = None, **options: Any) -> Recorder:
            number = next(count)
            db = stack.enter_context(closing(Database.open(own_url or url, CLOCK)))
            spool = Spool(tmp_path / "spool", f"process-{number}", CLOCK)
            ledger = DatabaseLedger(db, CLOCK, ExecutionIds(300 + number, CLOCK))
            found = Recorder(db, spool, None)  # type: ignore[arg-type]

            def after(recorded: list[Recorded]) -> None:
                found.recorded.update(item.job.execution_id for item in recorded)

            found.writer = Writer(
                ledger, CLOCK, spool, after=after, on_failure=found.failures.append, **options
            )
            found.writer.start()
            stack.callback(found.writer.close, 1.0)
            return found

        yield start


def taken(fleet: Fleet, count: int) -> int:
    """A task of which so many executions (1, 2, …) run now; its id."""
    task = fleet.task(concurrency="allow")
    for number in range(1, count + 1):
        fleet.execution(task, number, scheduled_for=at(number), lease_owner="me", lease_until=at(15))
    return task


def behind(url: str, proxy: TcpProxy) -> str:
    """The same database through the proxy."""
    host, _, name = url.rpartition("/")
    return f"{host.rpartition(':')[0]}:{proxy.port}/{name}"


@pytest.fixture
def proxy(mariadb: MariaDB, tcp_proxy: Callable[[int], TcpProxy]) -> TcpProxy:
    return tcp_proxy(mariadb.port)


# -- away and back --------------------------------------------------------------------------------


@mariadb_only
def test_ends_of_an_outage_are_on_the_disk_at_once_and_recorded_once_when_it_is_over(
    fleet: Fleet, url: str, recorder: StartRecorder, proxy: TcpProxy, caplog: pytest.LogCaptureFixture
) -> None:
    task = taken(fleet, 120)
    mine = recorder(behind(url, proxy))
    mine.end(range(1, 21), task)
    eventually(lambda: fleet.states() == {"completed": 20, "taken": 100})
    proxy.refuse()
    mine.end(range(21, 121), task)
    eventually(lambda: mine.spool.records == 100 and mine.writer.pending == 0)
    assert fleet.states() == {"completed": 20, "taken": 100}
    proxy.resume()
    eventually(lambda: fleet.states() == {"completed": 120}, 30)
    assert mine.writer.close(10)
    assert mine.recorded == dict.fromkeys(range(1, 121), 1)
    assert list(mine.spool.root.glob("process-*")) == []
    told = [line for line in caplog.messages if "spool" in line]
    assert len(told) <= 3


@mariadb_only
def test_a_process_that_ends_during_an_outage_leaves_its_ends_to_the_next(
    fleet: Fleet, url: str, recorder: StartRecorder, proxy: TcpProxy, caplog: pytest.LogCaptureFixture
) -> None:
    task = taken(fleet, 30)
    mine = recorder(behind(url, proxy))
    mine.writer.started(job(1, task), at(50))
    mine.end(range(1, 6), task)
    eventually(lambda: fleet.states()["completed"] == 5)
    proxy.refuse()
    mine.writer.started(job(30, task), at(51))
    mine.end(range(6, 30), task, Reason.EXIT_CODE)
    assert mine.writer.close(10)
    assert any(
        "25 records" in line and "the next process that starts here" in line for line in caplog.messages
    )
    assert fleet.states() == {"completed": 5, "taken": 25}
    recorder()
    # each failure has its next attempt, and the start of the one that still runs is known
    eventually(lambda: fleet.states() == {"completed": 5, "exit-code": 24, "waiting": 24, "running": 1}, 30)
    assert fleet.row(30)["started_at"] == at(51)


@mariadb_only
def test_an_answer_that_is_cut_off_after_the_commit_doubles_nothing(
    fleet: Fleet, url: str, recorder: StartRecorder, proxy: TcpProxy
) -> None:
    task = taken(fleet, 40)
    mine = recorder(behind(url, proxy), max_rows=10)
    mine.end(range(1, 11), task, Reason.EXIT_CODE)
    eventually(lambda: fleet.states() == {"exit-code": 10, "waiting": 10, "taken": 30})
    cut = threading.Event()

    @event.listens_for(mine.db.engine, "commit")
    def cut_the_answer(_: Any) -> None:
        # the commit goes to the server, and not a byte of what it says comes back
        if not cut.is_set():
            cut.set()
            proxy.cut_after(1)
            threading.Timer(1.0, proxy.resume).start()

    mine.end(range(11, 41), task, Reason.EXIT_CODE)
    eventually(lambda: fleet.states() == {"exit-code": 40, "waiting": 40}, 30)
    assert cut.is_set()
    assert mine.writer.close(10)
    assert fleet.states() == {"exit-code": 40, "waiting": 40}


@mariadb_only
def test_a_process_killed_in_the_middle_of_a_replay_doubles_nothing(
    fleet: Fleet, url: str, recorder: StartRecorder, tmp_path: Path
) -> None:
    task = taken(fleet, 400)
    dead = Spool(tmp_path / "spool", "dead", CLOCK)
    dead.keep([_failed(number, task) for number in range(1, 401)])
    dead.close()
    victim = subprocess.Popen(
        [sys.executable, "-m", "tests.record.replayer", url, str(tmp_path / "spool")], cwd=ROOT
    )
    try:
        eventually(lambda: fleet.states()["exit-code"] >= 20, 30)
    finally:
        victim.kill()
        victim.wait()
    done = fleet.states()["exit-code"]
    assert 20 <= done < 400
    mine = recorder()
    eventually(lambda: fleet.states() == {"exit-code": 400, "waiting": 400}, 60)
    assert mine.writer.close(10)
    assert fleet.states() == {"exit-code": 400, "waiting": 400}
    assert list((tmp_path / "spool").glob("*/*.records")) == []


def _failed(number: int, task: int) -> Ended:
    return Ended(job(number, task, slot=at(number), retries=RETRIES), outcome(number, Reason.EXIT_CODE))


@mariadb_only
def test_two_processes_that_find_the_same_spool_record_it_once(
    fleet: Fleet, recorder: StartRecorder, tmp_path: Path
) -> None:
    task = taken(fleet, 60)
    dead = Spool(tmp_path / "spool", "dead", CLOCK)
    dead.keep([_failed(number, task) for number in range(1, 61)])
    dead.close()
    both = [recorder(), recorder()]
    eventually(lambda: fleet.states() == {"exit-code": 60, "waiting": 60}, 30)
    for one in both:
        assert one.writer.close(10)
    assert both[0].recorded + both[1].recorded == dict.fromkeys(range(1, 61), 1)


# -- servers that are there and take nothing ------------------------------------------------------


@dataclass
class Private:
    """A MariaDB of one's own with a fleet in it."""

    server: DatabaseServer
    url: str
    name: str
    fleet: Fleet


@pytest.fixture
def private(start_mariadb: Callable[..., MariaDB]) -> Iterator[Private]:
    with fleet_on(start_mariadb()) as found:
        yield found


@contextmanager
def fleet_on(server: DatabaseServer) -> Iterator[Private]:
    name = server.create_database()
    url = server.url(name)
    with closing(Database.open(url, CLOCK)) as db:
        upgrade(db)
        yield Private(server, url, name, Fleet(db))


NOWHERE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""For tests with a server of their own."""


@NOWHERE
def test_a_database_that_hangs_keeps_no_end_in_memory(private: Private, recorder: StartRecorder) -> None:
    task = taken(private.fleet, 51)
    mine = recorder(private.url)
    mine.end(range(1, 2), task)
    eventually(lambda: private.fleet.states()["completed"] == 1)
    private.server.pause()
    mine.end(range(2, 52), task, Reason.EXIT_CODE)
    eventually(lambda: mine.spool.records >= 50 and mine.writer.pending == 0, 30)
    private.server.resume()
    eventually(lambda: private.fleet.states() == {"completed": 1, "exit-code": 50, "waiting": 50}, 60)
    assert mine.writer.close(10)
    assert private.fleet.states() == {"completed": 1, "exit-code": 50, "waiting": 50}
    assert mine.recorded == dict.fromkeys(range(1, 52), 1)


@NOWHERE
def test_a_killed_server_that_starts_again_has_each_end_once(
    private: Private, recorder: StartRecorder
) -> None:
    task = taken(private.fleet, 60)
    mine = recorder(private.url)
    mine.end(range(1, 21), task)
    eventually(lambda: private.fleet.states()["completed"] >= 1)
    private.server.kill()
    mine.end(range(21, 61), task)
    eventually(lambda: mine.writer.pending == 0)
    private.server.start()
    eventually(lambda: private.fleet.states() == {"completed": 60}, 30)
    assert mine.writer.close(10)


@NOWHERE
@pytest.mark.parametrize(
    ("kind", "switch"),
    [
        pytest.param("start_mariadb", "read_only", marks=pytest.mark.mariadb),
        pytest.param("start_mysql", "super_read_only", marks=pytest.mark.mysql),
    ],
)
def test_a_replica_that_takes_no_writes_is_waited_for(
    kind: str, switch: str, request: pytest.FixtureRequest, recorder: StartRecorder
) -> None:
    with fleet_on(request.getfixturevalue(kind)()) as private:
        replica(private, switch, recorder)


def replica(private: Private, switch: str, recorder: StartRecorder) -> None:
    server = private.server
    task = taken(private.fleet, 20)
    server.execute("CREATE USER app@'127.0.0.1' IDENTIFIED BY 'secret'")
    server.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON `{private.name}`.* TO app@'127.0.0.1'")
    mine = recorder(private.url.replace("root@", "app:secret@"))
    mine.end(range(1, 6), task)
    eventually(lambda: private.fleet.states()["completed"] == 5)
    server.execute(f"SET GLOBAL {switch} = 1")
    mine.end(range(6, 21), task)
    eventually(lambda: mine.spool.records == 15 and mine.writer.pending == 0)
    assert "read-only" in mine.failures[-1].message
    server.execute(f"SET GLOBAL {switch} = 0")
    server.execute("SET GLOBAL read_only = 0")
    eventually(lambda: private.fleet.states() == {"completed": 20}, 30)
    assert mine.writer.close(10)


class Reading(MariaDB):
    """With ``frozen`` it starts as one does on a file system that may only be read."""

    frozen = False

    def command(self) -> list[str]:
        return [*super().command(), *(["--innodb-read-only=1"] if self.frozen else [])]


@NOWHERE
@pytest.mark.mariadb
def test_a_server_whose_engine_only_reads_is_waited_for(recorder: StartRecorder) -> None:
    with closing(Reading()) as server:
        try:
            server.start()
        except ServiceMissing as missing:
            pytest.skip(str(missing))
        with fleet_on(server) as private:
            task = taken(private.fleet, 20)
            mine = recorder(private.url)
            mine.end(range(1, 6), task)
            eventually(lambda: private.fleet.states()["completed"] == 5)
            server.frozen = True
            server.restart()
            mine.end(range(6, 21), task)
            eventually(lambda: mine.spool.records == 15 and mine.writer.pending == 0, 30)
            assert "read-only" in mine.failures[-1].message
            assert private.fleet.states() == {"completed": 5, "taken": 15}
            server.frozen = False
            server.restart()
            eventually(lambda: private.fleet.states() == {"completed": 20}, 30)
            assert mine.writer.close(10)
            assert mine.recorded == dict.fromkeys(range(1, 21), 1)
            assert mine.spool.state.refused == 0


@NOWHERE
def test_rights_that_are_taken_away_cost_no_record(private: Private, recorder: StartRecorder) -> None:
    server = private.server
    task = taken(private.fleet, 10)
    server.execute("CREATE USER app@'127.0.0.1' IDENTIFIED BY 'secret'")
    grant = f"SELECT, INSERT, UPDATE, DELETE ON `{private.name}`.*"
    server.execute(f"GRANT {grant} TO app@'127.0.0.1'")
    mine = recorder(private.url.replace("root@", "app:secret@"))
    mine.end(range(1, 3), task)
    eventually(lambda: private.fleet.states()["completed"] == 2)
    server.execute(f"REVOKE {grant} FROM app@'127.0.0.1'")
    server.execute("KILL USER app")  # connections keep the rights with which they began
    mine.end(range(3, 11), task)
    eventually(lambda: mine.spool.records == 8 and mine.writer.pending == 0)
    server.execute(f"GRANT {grant} TO app@'127.0.0.1'")
    eventually(lambda: private.fleet.states() == {"completed": 10}, 30)
    assert mine.spool.state.refused == 0


@NOWHERE
def test_an_end_over_the_servers_packet_is_kept_alone_and_taken_once_the_packet_is_larger(
    private: Private, recorder: StartRecorder, tmp_path: Path
) -> None:
    server = private.server
    task = taken(private.fleet, 9)
    server.execute("SET GLOBAL max_allowed_packet = 1048576")
    mine = recorder(private.url)
    quotes = "'" * 700_000
    for number in range(1, 10):
        text = quotes if number == 5 else "x" * 100_000
        mine.end(range(number, number + 1), task, stdout=CapturedStream(text, len(text)))
    eventually(lambda: private.fleet.states() == {"completed": 8, "lost": 1}, 30)
    assert mine.writer.close(10)
    file = tmp_path / "spool" / "refused" / "5-ended.json"
    assert str(file) in private.fleet.row(5)["error"]
    assert "max_allowed_packet" in file.read_text()
    server.execute("SET GLOBAL max_allowed_packet = 16777216")
    mine = recorder(private.url)
    eventually(lambda: private.fleet.states() == {"completed": 9}, 30)
    assert private.fleet.row(5)["output"] == quotes
    eventually(lambda: not file.exists())


class MariaDBOnTinyDisk(MariaDB):
    """Its folder is on a file system that the test fills."""

    def __init__(self, place: Path) -> None:
        Service.__init__(self, place)
        self.durable = False
        self.version = None


class MySQLOnTinyDisk(MySQL):
    """The same of MySQL."""

    def __init__(self, place: Path) -> None:
        Service.__init__(self, place)
        self.durable = False


@contextmanager
def mounted(size: str) -> Iterator[Path]:
    """A file system in memory; its path is short, because sockets are in it."""
    place = Path(tempfile.mkdtemp(prefix="rec-"))
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    try:
        if made.returncode:
            pytest.skip("only root may mount a file system")
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)
        place.rmdir()


@NOWHERE
@pytest.mark.parametrize(
    ("kind", "size"),
    [
        # an empty server takes 50 and 110 MiB
        pytest.param(MariaDBOnTinyDisk, "200m", marks=pytest.mark.mariadb),
        pytest.param(MySQLOnTinyDisk, "500m", marks=pytest.mark.mysql),
    ],
)
def test_a_database_without_space_is_waited_for(
    kind: Callable[[Path], DatabaseServer], size: str, recorder: StartRecorder
) -> None:
    with mounted(size) as tiny_disk, closing(kind(tiny_disk)) as server:
        try:
            server.start()
        except ServiceMissing as missing:
            pytest.skip(str(missing))
        with fleet_on(server) as private:
            task = taken(private.fleet, 12)
            filler = tiny_disk / "filler"
            room = os.statvfs(tiny_disk)
            filler.write_bytes(bytes(room.f_bavail * room.f_frsize - 5 * 1024 * 1024))
            mine = recorder(private.url)
            text = CapturedStream("x" * 1_000_000, 1_000_000)
            mine.end(range(1, 13), task, stdout=text)
            eventually(lambda: mine.spool.records > 0 and mine.writer.pending == 0, 30)
            assert "no space left" in mine.failures[-1].message
            assert private.fleet.states()["taken"] >= mine.spool.records - 1
            filler.unlink()
            eventually(lambda: private.fleet.states() == {"completed": 12}, 60)
            assert mine.writer.close(10)
            assert mine.recorded == dict.fromkeys(range(1, 13), 1)
            assert mine.spool.state.refused == 0


@mariadb_only
def test_with_both_the_database_and_our_disk_gone_runs_wait_and_nothing_is_lost(
    fleet: Fleet,
    url: str,
    recorder: StartRecorder,
    proxy: TcpProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(pending, "MAX_ROWS", 20)
    task = taken(fleet, 60)
    with mounted("256k") as place:
        (tmp_path / "spool").symlink_to(place)
        mine = recorder(behind(url, proxy))
        mine.end(range(1, 2), task)
        eventually(lambda: fleet.states()["completed"] == 1)
        proxy.refuse()
        brought: list[int] = []

        def bring() -> None:
            for number in range(2, 61):
                mine.end(range(number, number + 1), task, stdout=CapturedStream("x" * 20_000, 20_000))
                brought.append(number)

        thread = threading.Thread(target=bring)
        thread.start()
        eventually(lambda: any("No space left" in line for line in caplog.messages))
        eventually(lambda: mine.writer.pending == 20)
        assert thread.is_alive()
        assert len(brought) < 50
        proxy.resume()
        thread.join(60)
        eventually(lambda: fleet.states() == {"completed": 60}, 30)
        assert mine.writer.close(10)
    assert mine.recorded == dict.fromkeys(range(1, 61), 1)
    assert sum("No space left" in line for line in caplog.messages) <= 2


@mariadb_only
def test_a_touched_file_is_tried_again_by_a_running_process(
    fleet: Fleet, recorder: StartRecorder, tmp_path: Path
) -> None:
    task = taken(fleet, 1)
    mine = recorder()
    file = mine.spool.refuse(_failed(1, task), DatabaseRejected("of yesterday"))
    os.utime(file, ns=(5, 5))
    eventually(lambda: fleet.states() == {"exit-code": 1, "waiting": 1}, 20)
    eventually(lambda: not file.exists())


@mariadb_only
def test_deadlocks_and_locks_of_others_delay_ends_and_lose_none(
    fleet: Fleet, url: str, recorder: StartRecorder
) -> None:
    task = taken(fleet, 120)
    mine = recorder(max_rows=40)
    done = threading.Event()

    def disturb() -> None:
        """Lock the same rows in the other order, again and again."""
        with closing(Database.open(url, CLOCK)) as db:
            while not done.is_set():
                try:
                    with db.write() as connection:
                        for number in range(120, 0, -7):
                            connection.exec_driver_sql(
                                f"UPDATE task_executions SET truncated = truncated WHERE id = {number}"
                            )
                except ReconcilerError:
                    CLOCK.sleep(0.01)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for first in range(1, 121, 10):
            mine.end(range(first, first + 10), task, Reason.EXIT_CODE)
            CLOCK.sleep(0.02)
        eventually(lambda: fleet.states() == {"exit-code": 120, "waiting": 120}, 60)
    finally:
        done.set()
        thread.join()
    assert mine.writer.close(10)
