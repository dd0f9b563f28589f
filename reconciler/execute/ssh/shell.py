"""A shell on the other end of a channel."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

import paramiko
from paramiko.buffered_pipe import BufferedPipe

from reconciler.execute.control import Stream
from reconciler.execute.ssh.transport import WINDOW_BYTES, Exit, Link, say_no_eof

RECEIVE_BYTES = 1024 * 1024
"""Taken at once, so that one noisy run does not forget its clock."""
SEND_SECONDS = 60.0


class _Bell(threading.Event):
    """Rings for new data and the end. paramiko would silence it for one stream while the other has data."""

    def __init__(self, woken: threading.Event) -> None:
        super().__init__()
        self.set = woken.set  # type: ignore[method-assign]

    def clear(self) -> None:
        """When to be silent again is the reader's to say."""


class ChannelShell:
    """See `execute.host.Shell`. ``on_close`` is called once, when it is closed."""

    def __init__(
        self, link: Link, channel: paramiko.Channel, why_gone: Callable[[], str], on_close: Callable[[], None]
    ) -> None:
        self._link = link
        self._channel = channel
        self._why_gone = why_gone
        self._on_close: Callable[[], None] | None = on_close
        self._woken = threading.Event()
        self._exit = link.exits[channel.chanid] = Exit(self._woken.set)
        bell = _Bell(self._woken)
        channel.in_buffer.set_event(bell)
        channel.in_stderr_buffer.set_event(bell)
        channel.settimeout(SEND_SECONDS)

    def start(self, command: str) -> None:
        """Ask for the command that is the shell; `send` may follow at once."""
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            self._link.request_exec(self._channel, command)

    def send(self, data: bytes) -> None:
        # where this fails the channel is closed, and `lost` or `drained` say so
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            self._channel.sendall(data)

    def close_input(self) -> None:
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            self._channel.shutdown_write()

    def receive(self, seconds: float | None) -> Sequence[tuple[Stream, bytes]]:
        if not self._woken.wait(seconds):
            return ()
        self._woken.clear()
        found: list[tuple[Stream, bytes]] = []
        channel = self._channel
        buffers: tuple[tuple[Stream, BufferedPipe[bytes]], ...] = (
            ("stdout", channel.in_buffer),
            ("stderr", channel.in_stderr_buffer),
        )
        for stream, buffer in buffers:
            taken = 0
            while buffer.read_ready() and taken < RECEIVE_BYTES:
                # not `recv`: where the host cannot be told any more that we took them, it loses the bytes
                found.append((stream, buffer.read(WINDOW_BYTES)))
                taken += len(found[-1][1])
            with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
                self._link.took(channel, taken)
        if not self._empty:
            self._woken.set()
        return found

    def wake(self) -> None:
        self._woken.set()

    @property
    def _empty(self) -> bool:
        return not self._channel.recv_ready() and not self._channel.recv_stderr_ready()

    @property
    def exit_code(self) -> int | None:
        return self._exit.code

    @property
    def drained(self) -> bool:
        channel = self._channel
        ended = channel.closed or (bool(channel.eof_received) and self._exit.code is not None)
        return ended and self._empty

    @property
    def lost(self) -> str | None:
        if not self._channel.closed or self._exit.by_host or self._exit.code is not None or not self._empty:
            return None
        return self._why_gone()

    def close(self) -> None:
        on_close, self._on_close = self._on_close, None
        if on_close is None:
            return
        # without an explicit close the connection dies of channels that it no longer knows
        say_no_eof(self._channel)
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            self._channel.close()
        self._link.exits.pop(self._channel.chanid, None)
        on_close()
