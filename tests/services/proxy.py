"""A TCP proxy that fails on demand: between client and server, where networks fail."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Self

from tests.services.process import HOST

Direction = Literal["to_server", "to_client"]
_CHUNK = 65_536
# Linger for zero seconds: close sends RST, as a machine that lost its state does.
_RESET = struct.pack("ii", 1, 0)


@dataclass(eq=False, slots=True)
class _Half:
    """One direction of one connection: what was read from ``source`` and not yet written to ``sink``."""

    source: socket.socket
    sink: socket.socket
    direction: Direction
    pending: bytearray = field(default_factory=bytearray)
    ended: bool = False
    passed: int = 0
    limit: int | None = None


class TcpProxy:
    """Listens on ``host:port`` and forwards to ``target_host:target_port``. All state lives in one thread.

    ``connections`` counts those ever accepted, ``passed`` the bytes forwarded in each direction.
    """

    def __init__(self, target_port: int, target_host: str = HOST) -> None:
        self.target = (target_host, target_port)
        self.host = HOST
        self.connections = 0
        self.passed: dict[Direction, int] = {"to_server": 0, "to_client": 0}
        self._halves: list[_Half] = []
        self._stalled = False
        self._refusing = False
        self._limits: dict[Direction, int] = {}
        self._orders: list[tuple[Callable[[], None], threading.Event]] = []
        self._closing = False
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server((HOST, 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._bell, self._ring = socket.socketpair()
        self._bell.setblocking(False)
        self._thread = threading.Thread(target=self._loop, name="tcp-proxy", daemon=True)
        self._thread.start()

    # What tests do ------------------------------------------------------------------------------

    def cut(self) -> None:
        """Reset every connection; new ones are welcome."""
        self._do(self._cut_all)

    def refuse(self) -> None:
        """Reset every connection and every new one, until `resume`."""
        self._do(self._refuse)

    def stall(self) -> None:
        """Forward nothing any more in either direction, keep everything open; new connections hang too."""
        self._do(lambda: setattr(self, "_stalled", True))

    def resume(self) -> None:
        """Forward again, also what was held back; accept again."""
        self._do(self._resume)

    def cut_after(self, count: int, direction: Direction = "to_client") -> None:
        """Let ``count`` more bytes pass in ``direction`` on each connection, old or new, then reset it."""
        self._do(lambda: self._limit(count, direction))

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        return len(self._halves) // 2

    def close(self) -> None:
        """End everything."""
        if self._thread.is_alive():
            self._do(lambda: setattr(self, "_closing", True))
            self._thread.join(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # In the proxy's thread ----------------------------------------------------------------------

    def _do(self, action: Callable[[], None]) -> None:
        done = threading.Event()
        self._orders.append((action, done))
        self._ring.send(b".")
        if not done.wait(10):
            raise TimeoutError("the proxy's thread does not answer")

    def _loop(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._bell, selectors.EVENT_READ)
        while not self._closing:
            for key, events in self._selector.select():
                if key.fileobj is self._bell:
                    self._obey()
                elif key.fileobj is self._listener:
                    self._accept()
                else:
                    self._move(key.data, events)
        self._cut_all()
        for end in (self._listener, self._bell, self._ring):
            end.close()
        self._selector.close()

    def _obey(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(4096)
        while self._orders:
            action, done = self._orders.pop(0)
            action()
            self._watch_all()
            done.set()

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        self.connections += 1
        if self._refusing:
            _reset(client)
            return
        try:
            server = socket.create_connection(self.target, 5)
        except OSError:
            _reset(client)
            return
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        up = _Half(client, server, "to_server", limit=self._limits.get("to_server"))
        down = _Half(server, client, "to_client", limit=self._limits.get("to_client"))
        self._halves += [up, down]
        self._watch(up)
        self._watch(down)

    def _pair(self, end: socket.socket) -> list[_Half]:
        return [half for half in self._halves if end in (half.source, half.sink)]

    def _move(self, end: socket.socket, events: int) -> None:
        for half in self._pair(end):
            try:
                if half.source is end and events & selectors.EVENT_READ:
                    self._read(half)
                if half.sink is end and events & selectors.EVENT_WRITE:
                    self._write(half)
            except BlockingIOError:
                continue
            except OSError:
                self._drop(half)
                return
        for half in self._pair(end):
            self._watch(half)

    def _read(self, half: _Half) -> None:
        data = half.source.recv(_CHUNK)
        half.pending += data
        half.ended = not data
        self._write(half)

    def _write(self, half: _Half) -> None:
        if self._stalled:
            return
        allowed = len(half.pending)
        if half.limit is not None:
            allowed = min(allowed, half.limit - half.passed)
        if allowed:
            sent = half.sink.send(memoryview(half.pending)[:allowed])
            del half.pending[:sent]
            half.passed += sent
            self.passed[half.direction] += sent
        if half.limit is not None and half.passed >= half.limit:
            self._drop(half)
        elif half.ended and not half.pending:
            self._finish(half)

    def _finish(self, half: _Half) -> None:
        """One side said it has nothing more; the other direction may go on."""
        with contextlib.suppress(OSError):
            half.sink.shutdown(socket.SHUT_WR)
        both = self._pair(half.source)
        if all(one.ended and not one.pending for one in both):
            self._forget(both)
            for one in both:
                one.source.close()

    def _drop(self, half: _Half) -> None:
        both = self._pair(half.source)
        self._forget(both)
        for one in both:
            _reset(one.source)

    def _forget(self, halves: list[_Half]) -> None:
        for half in halves:
            self._halves.remove(half)
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(half.source)

    def _watch_all(self) -> None:
        for half in list(self._halves):
            if half in self._halves:
                self._watch(half)

    def _watch(self, half: _Half) -> None:
        """Wait for exactly what can be done now, at both ends of ``half``."""
        for end in (half.source, half.sink):
            wanted = 0
            for one in self._pair(end):
                if one.source is end and not one.ended and len(one.pending) < _CHUNK and not self._stalled:
                    wanted |= selectors.EVENT_READ
                if one.sink is end and one.pending and not self._stalled:
                    wanted |= selectors.EVENT_WRITE
            with contextlib.suppress(KeyError):
                self._selector.unregister(end)
            if wanted:
                self._selector.register(end, wanted, end)

    def _cut_all(self) -> None:
        while self._halves:
            self._drop(self._halves[0])

    def _refuse(self) -> None:
        self._refusing = True
        self._cut_all()

    def _resume(self) -> None:
        self._stalled = self._refusing = False
        self._limits.clear()
        for half in list(self._halves):
            half.limit = None
            if half in self._halves:
                self._flush(half)

    def _flush(self, half: _Half) -> None:
        try:
            self._write(half)
        except BlockingIOError:
            return
        except OSError:
            self._drop(half)

    def _limit(self, count: int, direction: Direction) -> None:
        self._limits[direction] = count
        for half in list(self._halves):
            if half.direction == direction:
                half.limit = half.passed + count
                if count == 0:
                    self._drop(half)


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.close()
