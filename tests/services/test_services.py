"""The services themselves: they start quickly, answer, die when told to, come back, and never stay behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymysql
import pytest
import redis

from tests.services.database import DatabaseServer, MariaDB
from tests.services.mysql import ExternalMySQL, MySQL
from tests.services.process import HOST, ServiceBroken, accepts
from tests.services.redis import RedisServer
from tests.services.sshd import Sshd

ROOT = Path(__file__).resolve().parents[2]


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.mark.parametrize("kind", ["start_mariadb", "start_mysql"])
def test_a_database_server_keeps_committed_rows_over_sigkill(
    kind: str, request: pytest.FixtureRequest
) -> None:
    server: DatabaseServer = request.getfixturevalue(kind)()
    name = server.create_database()
    server.execute("CREATE TABLE t (n INT PRIMARY KEY)", database=name)
    server.execute("INSERT INTO t VALUES (42)", database=name)
    port = server.port

    server.kill()
    with pytest.raises(pymysql.OperationalError):
        server.connect()
    server.start()

    assert server.port == port
    assert server.execute("SELECT n FROM t", database=name) == [(42,)]


def test_a_paused_database_accepts_and_does_not_answer(start_mariadb: Callable[[], MariaDB]) -> None:
    server = start_mariadb()
    server.pause()
    with pytest.raises(pymysql.OperationalError):
        server.connect(connect_timeout=1, read_timeout=1)
    server.resume()
    assert server.execute("SELECT 1") == [(1,)]
    server.pause()
    server.stop()
    assert not server.running


def test_every_database_url_is_an_empty_database_of_its_own(database_url: str) -> None:
    from sqlalchemy import create_engine, inspect, text

    engine = create_engine(database_url)
    assert inspect(engine).get_table_names() == []
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE only_here (n INTEGER)"))
    # Not disposed of on purpose: a forgotten connection must not block the end of the test.
    engine.connect()


def test_mysql_is_not_mariadb(mysql: Any) -> None:
    assert "MariaDB" not in mysql.execute("SELECT version()")[0][0]


def test_a_forgotten_open_transaction_does_not_block_the_drop(mariadb: MariaDB) -> None:
    name = mariadb.create_database()
    mariadb.execute("CREATE TABLE t (n INT)", database=name)
    left = mariadb.connect(name, autocommit=False)
    left.cursor().execute("SELECT * FROM t")
    mariadb.drop_database(name)
    assert (name,) not in mariadb.execute("SHOW DATABASES")


def test_redis_comes_back_empty_after_sigkill(start_redis: Callable[[], RedisServer]) -> None:
    server = start_redis()
    with redis.Redis.from_url(server.url) as client:
        assert client.set("key", "value")
        server.kill()
        with pytest.raises(redis.exceptions.ConnectionError):
            client.get("key")
        server.restart()
        assert client.get("key") is None


class TestSshd:
    def test_it_runs_commands_for_the_client_key_and_the_pinned_host_key(self, sshd: Sshd) -> None:
        done = sshd.ssh("echo to stdout; echo to stderr >&2; exit 7")
        assert (done.returncode, done.stdout) == (7, "to stdout\n")
        assert "to stderr" in done.stderr
        assert sshd.known_hosts_line == f"[127.0.0.1]:{sshd.port} {sshd.host_key}"
        assert sshd.fingerprint.startswith("SHA256:")

    def test_a_changed_host_key_is_noticed(self, start_sshd: Callable[..., Sshd]) -> None:
        server = start_sshd()
        server.new_host_key()
        server.restart()
        done = server.ssh("true")
        assert done.returncode == 255
        assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in done.stderr

    def test_its_options_come_first(self, start_sshd: Callable[..., Sshd]) -> None:
        server = start_sshd("MaxSessions 3", "PubkeyAuthentication no")
        assert (server.folder / "sshd_config").read_text().startswith("MaxSessions 3\n")
        assert server.ssh("true").returncode == 255

    def test_sigkill_ends_its_connections_and_close_even_the_commands_that_called_setsid(
        self, start_sshd: Callable[..., Sshd], tmp_path: Path
    ) -> None:
        server = start_sshd()
        pid_file = tmp_path / "pid"
        server.ssh(f"setsid sh -c 'echo $$ > {pid_file}; exec sleep 300' >/dev/null 2>&1 </dev/null &")
        until(lambda: pid_file.exists() and pid_file.read_text().strip() != "")
        pid = int(pid_file.read_text())

        server.kill()
        assert not accepts(server.port)
        assert alive(pid)
        server.start()
        assert server.ssh("true").returncode == 0
        assert pid in server.commands()
        server.close()
        until(lambda: not alive(pid))

    def test_connections_can_be_dropped_while_it_goes_on(self, start_sshd: Callable[..., Sshd]) -> None:
        server = start_sshd()
        with socket.create_connection((server.host, server.port)) as client:
            assert client.recv(8) == b"SSH-2.0-"
            until(lambda: bool(server.connections()))
            server.drop_connections()
            client.settimeout(10)
            # The peer is gone: an end or a reset, whichever the kernel chose.
            with contextlib.suppress(ConnectionResetError):
                while client.recv(1000):
                    pass
        assert server.ssh("true").returncode == 0

    def test_paused_it_accepts_and_says_nothing(self, start_sshd: Callable[..., Sshd]) -> None:
        server = start_sshd()
        server.pause()
        assert not accepts(server.port, b"SSH-2.0-")
        server.resume()
        assert accepts(server.port, b"SSH-2.0-")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_service_that_does_not_come_up_says_why(start_redis: Callable[..., RedisServer]) -> None:
    server = RedisServer("--no-such-option", "1")
    with pytest.raises(ServiceBroken, match="no-such-option"), server:
        pass
    assert not server.folder.exists()


def test_a_mysql_tool_that_gives_no_mysql_is_quoted_and_not_tried_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "tool.sh"
    tool.write_text(f"echo tried >> {tmp_path}/tries; echo 'the mirror is away' >&2; exit 3\n")
    monkeypatch.setenv("RECONCILER_TEST_MYSQL_TOOL", str(tool))
    monkeypatch.setenv("RECONCILER_TEST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tests.services.mysql.mysqld_binary", lambda: None)
    for _ in range(2):
        with pytest.raises(ServiceBroken, match="the mirror is away"), MySQL():
            pass
    assert (tmp_path / "tries").read_text() == "tried\n"


def test_a_server_given_by_url_serves_and_its_password_is_never_shown(mariadb: MariaDB) -> None:
    mariadb.execute("CREATE USER IF NOT EXISTS 'visitor'@'%' IDENTIFIED BY 'p@ss/word'")
    mariadb.execute("GRANT ALL ON *.* TO 'visitor'@'%'")
    given = ExternalMySQL(f"mysql+pymysql://visitor:p%40ss%2Fword@{HOST}:{mariadb.port}/")
    with given.ensure().fresh() as url:
        assert url.startswith(f"mysql+pymysql://visitor:p%40ss%2Fword@{HOST}:{mariadb.port}/t_")
    mariadb.execute("DROP USER 'visitor'@'%'")
    with pytest.raises(ServiceBroken) as refused:
        given.ensure()
    assert "word" not in str(refused.value)


def test_a_first_start_moves_away_from_a_taken_port() -> None:
    with socket.create_server((HOST, 0)) as taken:
        server = RedisServer()
        server.port = taken.getsockname()[1]
        with server:
            assert server.port != taken.getsockname()[1]
            assert accepts(server.port)


def test_nothing_stays_behind_when_the_test_run_is_killed() -> None:
    script = (
        "import time\n"
        "from tests.services.redis import RedisServer\n"
        "from tests.services.sshd import Sshd\n"
        "redis, sshd = RedisServer().start(), Sshd().start()\n"
        "sshd.ssh('setsid sleep 300 >/dev/null 2>&1 </dev/null &')\n"
        "print(redis.pid, redis.folder, sshd.pid, sshd.folder, sshd.commands()[0], flush=True)\n"
        "time.sleep(300)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    redis_pid, redis_folder, sshd_pid, sshd_folder, command_pid = child.stdout.readline().split()
    assert alive(int(redis_pid))
    assert alive(int(sshd_pid))

    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()

    until(lambda: not any(alive(int(pid)) for pid in (redis_pid, sshd_pid, command_pid)))
    until(lambda: not Path(redis_folder).exists() and not Path(sshd_folder).exists())
