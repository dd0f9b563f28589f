"""Redis killed, paused, emptied, full, foreign or locked: told once, and nobody waits for it."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.cache.place import Place
from reconciler.cache.signals import Kind, LiveState
from reconciler.cache.writer import MOST_MESSAGES
from tests.cache.conftest import Process
from tests.controller.conftest import eventually
from tests.services.redis import RedisServer

pytestmark = pytest.mark.redis
NOON = datetime(2031, 3, 1, 12, tzinfo=UTC)
Start = Callable[..., Process]
StartRedis = Callable[..., RedisServer]


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "reconciler.cache"]


def use(one: Process, times: int = 20) -> None:
    """Everything a process does with it, while it is away; none of it may wait or raise."""
    for number in range(times):
        one.signals.tell(Kind.WAITING)
        one.signals.happened({"kind": "ended"}, LiveState(number, number + 1, 3, {"state": "success"}))
        one.signals.due([(number, NOON)])
        one.signals.rebuild([(number, NOON)])
        time.sleep(0.01)


def works(one: Process, other: Process) -> bool:
    before = len(other.heard)
    one.signals.tell(Kind.CHANGED)
    try:
        eventually(lambda: any(news.changed for news in other.heard[before:]), 1)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_an_outage_is_told_once_and_so_is_its_end(
    start_redis: StartRedis, process: Start, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    server = start_redis()
    one, other = process(server.url), process(server.url)
    eventually(lambda: one.listens() and other.listens())
    one.signals.rebuild([(1, NOON)])
    eventually(lambda: one.due)
    one.heard.clear()
    getattr(server, fault)()
    eventually(lambda: use(one) or len(told(caplog)) == 2)
    use(one)
    if fault == "kill":
        server.start()
    else:
        server.resume()
    eventually(lambda: works(one, other), 30)
    eventually(lambda: len(told(caplog)) == 4)
    away, back = told(caplog)[0], told(caplog)[-1]
    assert f"Redis at 127.0.0.1:{server.port} " in away
    assert "going on without it" in away
    assert "Redis answers again, after" in back
    if fault == "kill":
        eventually(one.signals.wants_due_times)
        # a pause may be too short for the subscription to break; after one that did, look at everything
        eventually(one.listens)


def test_without_a_server_at_the_start_it_is_used_when_it_comes(
    start_redis: StartRedis, process: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_redis()
    server.kill()
    one, other = process(server.url), process(server.url)
    use(one, 40)
    server.start()
    eventually(lambda: works(one, other), 30)
    assert len([text for text in told(caplog) if "cannot be reached" in text]) == 2


def test_a_full_server_passes_messages_on_and_is_told_once(
    start_redis: StartRedis, process: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_redis("--maxmemory", "2mb", "--maxmemory-policy", "noeviction")
    place = Place(server.url, "reconciler")
    one, other = process(server.url), process(server.url)
    eventually(lambda: one.listens() and other.listens())
    client = place.client()
    client.config_set("maxmemory", "1")
    use(one)
    eventually(lambda: told(caplog))
    use(one)
    assert works(one, other)
    assert [text for text in told(caplog) if "is full and refuses writes" not in text] == []
    assert len(told(caplog)) == 1
    assert one.signals.wants_due_times()
    client.config_set("maxmemory", "0")
    one.signals.rebuild([(1, NOON)])
    use(one)
    eventually(lambda: "answers again" in told(caplog)[-1])
    eventually(lambda: client.exists(place.due_key))


def test_a_flush_loses_nothing_that_is_not_made_again(start_redis: StartRedis, process: Start) -> None:
    server = start_redis()
    one, other = process(server.url), process(server.url)
    eventually(lambda: one.listens() and other.listens())
    one.signals.rebuild([(1, NOON)])
    eventually(lambda: one.due)
    place = Place(server.url, "reconciler")
    place.client().flushall()
    eventually(one.signals.wants_due_times)
    one.signals.rebuild([(1, NOON + timedelta(hours=1))])
    eventually(lambda: one.due[-1] == NOON + timedelta(hours=1))
    assert works(one, other)


class Nonsense:
    """A TCP server that answers whatever comes with bytes of its own."""

    def __init__(self, answer: bytes, *, again: bool) -> None:
        self._answer, self._again = answer, again
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.calls = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.calls += 1
            threading.Thread(target=self._answer_all, args=(connection,), daemon=True).start()

    def _answer_all(self, connection: socket.socket) -> None:
        with connection:
            try:
                while connection.recv(65_536):
                    connection.sendall(self._answer)
                    if not self._again:
                        return
            except OSError:
                return

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def nonsense() -> Iterator[Callable[..., Nonsense]]:
    servers: list[Nonsense] = []

    def start(answer: bytes, *, again: bool = True) -> Nonsense:
        servers.append(Nonsense(answer, again=again))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.mark.parametrize(
    ("answer", "again"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", True),
        (b"\x00\xff\x16\x03garbage\r\n" * 50, True),
        (b"-ERR unknown command 'AUTH', with args beginning with: 'bob' 'hunter2'\r\n", True),
        (b":5\r\n", True),
        (b"*-1\r\n", True),
        (b"$900000000\r\nx", True),
        (b"*2\r\n$1\r\nx", True),
        (b"+OK\r\n+OK\r\n+OK\r\n", True),
        (b"", False),
    ],
    ids=["http", "bytes", "echo", "number", "nil", "huge", "torn", "yes", "hang-up"],
)
def test_what_is_no_redis_is_told_once_and_never_quoted(
    nonsense: Callable[..., Nonsense],
    process: Start,
    caplog: pytest.LogCaptureFixture,
    answer: bytes,
    again: bool,
) -> None:
    caplog.set_level(logging.DEBUG)
    server = nonsense(answer, again=again)
    one = process(f"redis://bob:hunter2@127.0.0.1:{server.port}/3")
    before = time.monotonic()
    eventually(lambda: use(one) or told(caplog))
    use(one, 40)
    assert len(told(caplog)) == 1
    assert "hunter2" not in caplog.text
    # it is asked again with growing pauses, by two threads: not in a storm
    assert server.calls <= 10 + 8 * (time.monotonic() - before)
    one.signals.close(2.0)
    assert not [
        thread for thread in threading.enumerate() if thread.name == "redis-write" and thread.is_alive()
    ]


def test_a_wrong_password_is_told_without_it(
    start_redis: StartRedis, process: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_redis("--requirepass", "right")
    one = process(f"redis://:hunter2@127.0.0.1:{server.port}/0")
    eventually(lambda: use(one) or told(caplog))
    use(one)
    assert [text.partition("; ")[0] for text in told(caplog)] == [
        f"Redis at 127.0.0.1:{server.port} refuses the login"
    ]
    assert "hunter2" not in caplog.text


def test_what_waits_for_a_paused_server_is_bounded(start_redis: StartRedis, process: Start) -> None:
    server = start_redis()
    one = process(server.url)
    eventually(one.listens)
    server.pause()
    before = time.monotonic()
    for number in range(3 * MOST_MESSAGES):
        one.signals.happened({"kind": "ended"}, LiveState(number, 1, 3, {}))
    writer = one.signals._writer
    assert writer is not None
    assert len(writer._messages) <= MOST_MESSAGES
    # three waits for the server would be a sign; the machine may be slow, so half a minute is no limit for it
    assert time.monotonic() - before < 30
    server.resume()


@pytest.mark.parametrize("fault", ["pause", "full"])
def test_a_state_that_could_not_be_written_is_removed_when_redis_is_back(
    start_redis: StartRedis, process: Start, fault: str
) -> None:
    server = start_redis()
    place = Place(server.url, "reconciler")
    client = place.client()
    one = process(server.url)
    eventually(one.listens)
    for task in (1, 2):
        one.signals.happened({"kind": "ended"}, LiveState(task, 10, 3, {"state": "success"}))
    eventually(lambda: client.exists(place.state_key(1), place.state_key(2)) == 2)
    client.config_set("maxmemory", "1") if fault == "full" else server.pause()
    one.signals.happened({"kind": "ended"}, LiveState(1, 11, 3, {"state": "failed"}))
    if fault == "pause":
        writer = one.signals._writer
        assert writer is not None
        eventually(lambda: 1 in writer._stale)
        server.resume()
    # gone, or written after all: anything but what it was
    eventually(lambda: client.hget(place.state_key(1), "state") in (None, b"failed"))
    assert client.hget(place.state_key(2), "state") == b"success"
