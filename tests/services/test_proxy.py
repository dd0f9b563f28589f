"""The proxy and the clock that faults are made with."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from reconciler.clock import Clock
from tests.services.clock import START, FakeClock
from tests.services.process import HOST
from tests.services.proxy import TcpProxy


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends everything back."""

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server((HOST, 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(echo: int, tcp_proxy: Callable[[int], TcpProxy]) -> TcpProxy:
    return tcp_proxy(echo)


@pytest.fixture
def client(proxy: TcpProxy) -> Iterator[socket.socket]:
    with socket.create_connection((proxy.host, proxy.port), 10) as connection:
        connection.sendall(b"hello")
        assert receive(connection, 5) == b"hello"
        yield connection


def receive(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := connection.recv(count - len(data))):
        data += more
    return data


def test_megabytes_pass_unchanged_in_both_directions(proxy: TcpProxy, client: socket.socket) -> None:
    data = bytes(range(256)) * 40_000
    sender = threading.Thread(target=client.sendall, args=(data,))
    sender.start()
    assert receive(client, len(data)) == data
    sender.join()
    assert proxy.passed == {"to_server": len(data) + 5, "to_client": len(data) + 5}


def test_a_finished_side_still_gets_the_answer(proxy: TcpProxy, client: socket.socket) -> None:
    client.sendall(b"last words")
    client.shutdown(socket.SHUT_WR)
    assert receive(client, 100) == b"last words"


def test_cut_resets_what_is_open_and_welcomes_what_comes(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert proxy.open_connections == 0
    with socket.create_connection((proxy.host, proxy.port), 10) as again:
        again.sendall(b"back")
        assert receive(again, 4) == b"back"


def test_a_stall_delivers_nothing_and_resume_delivers_all(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.stall()
    client.sendall(b"held back")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.settimeout(10)
    proxy.resume()
    assert receive(client, 9) == b"held back"


def test_refusing_turns_new_connections_away_until_resume(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.refuse()
    with (
        pytest.raises(ConnectionResetError),
        socket.create_connection((proxy.host, proxy.port), 10) as turned_away,
    ):
        turned_away.sendall(b"?")
        turned_away.recv(1)
        turned_away.recv(1)
    proxy.resume()
    with socket.create_connection((proxy.host, proxy.port), 10) as again:
        again.sendall(b"back")
        assert receive(again, 4) == b"back"


@pytest.mark.parametrize("count", [0, 1, 7, 100_000])
def test_exactly_that_many_more_bytes_pass_before_the_cut(
    proxy: TcpProxy, client: socket.socket, count: int
) -> None:
    proxy.cut_after(count)
    if count:
        threading.Thread(target=send_quietly, args=(client, b"x" * 200_000), daemon=True).start()
    got = 0
    with pytest.raises(ConnectionResetError):
        while True:
            data = client.recv(4096)
            assert data, "the end should be a reset"
            got += len(data)
    # A reset may overtake bytes in flight, but never adds any.
    assert got <= count
    assert proxy.passed["to_client"] == 5 + count


def send_quietly(connection: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(data)


def test_a_fake_clock_is_a_clock(fake_clock: FakeClock) -> None:
    clock: Clock = fake_clock
    assert clock.now() == START
    before = clock.monotonic()
    fake_clock.set(datetime(2026, 3, 1, 13, 0, tzinfo=UTC))
    assert clock.monotonic() - before == 3600.0


def test_a_wait_ends_when_time_has_passed_and_not_before(fake_clock: FakeClock) -> None:
    results: list[bool] = []
    event = threading.Event()
    waiter = threading.Thread(target=lambda: results.append(fake_clock.wait(event, 10.0)))
    waiter.start()
    fake_clock.until_waiting()
    fake_clock.advance(9.9)
    waiter.join(0.05)
    assert waiter.is_alive()
    fake_clock.advance(0.2)
    waiter.join(10)
    assert results == [False]
    assert fake_clock.slept == [10.0]


def test_an_event_ends_a_wait_without_any_time(fake_clock: FakeClock) -> None:
    results: list[bool] = []
    event = threading.Event()
    waiter = threading.Thread(target=lambda: results.append(fake_clock.wait(event, None)))
    waiter.start()
    fake_clock.until_waiting()
    event.set()
    waiter.join(10)
    assert results == [True]
    assert fake_clock.now() == START


def test_a_step_moves_only_the_wall_clock(fake_clock: FakeClock) -> None:
    before = fake_clock.monotonic()
    fake_clock.step(-3600)
    assert (fake_clock.now() - START).total_seconds() == -3600
    assert fake_clock.monotonic() == before


def test_an_automatic_clock_moves_itself() -> None:
    clock = FakeClock(auto=True)
    clock.sleep(5)
    assert clock.wait(threading.Event(), 2.5) is False
    assert (clock.now() - START).total_seconds() == 7.5
