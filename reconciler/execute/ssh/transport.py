"""paramiko's Transport, with the three things it keeps to itself: why it ended, exit signals, and silence.

And cheaper: most of what a run costs us is packets, about fourteen of them.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable
from typing import Any

import paramiko
from paramiko.common import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_FAILURE,
    MSG_CHANNEL_REQUEST,
    cMSG_CHANNEL_REQUEST,
    cMSG_CHANNEL_WINDOW_ADJUST,
    cMSG_GLOBAL_REQUEST,
)
from paramiko.packet import Packetizer

WINDOW_BYTES = 2 * 1024 * 1024
"""What a host may send on a channel before we take it: the memory of a run that prints faster than that."""
KEEPALIVE_SECONDS = 15
READ_BYTES = 8 * 1024
"""Several short packets; what is longer asks for more by itself. Each idle connection has so much in hand."""
CIPHER = "aes128-gcm@openssh.com"
"""Asked for first: it needs no MAC, which for a short packet costs us more than its encryption."""
LOOK_SECONDS = 0.5
"""How often an idle connection looks up from its socket: at paramiko's 0.1, 200 take 5 % of a core."""


def silence_library() -> None:
    """paramiko logs refused channels and lost connections as errors; here they are outcomes, told as such."""
    logger = logging.getLogger("paramiko")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL + 1)


class CountingPacketizer(Packetizer):
    """Counts packets heard, so that silence can be noticed without a clock in here."""

    heard = 0

    def read_message(self) -> Any:
        message = super().read_message()
        self.heard += 1
        return message


class ReadAhead:
    """A socket, or a `Tunnel`, that is read in large pieces.

    paramiko asks for each packet three times, and each time Python lets go of its lock, polls and reads. For
    one reading thread, as paramiko has it.
    """

    __slots__ = ("_at", "_data", "_sock", "send")

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.send = sock.send
        self._data = b""
        self._at = 0

    def recv(self, count: int) -> bytes:
        """At most so many bytes; none at the end. Raises what the socket raises."""
        if self._at == len(self._data):
            self._data, self._at = self._sock.recv(max(count, READ_BYTES)), 0
        piece: bytes = self._data[self._at : self._at + count]
        self._at += len(piece)
        if self._at == len(self._data):
            # an idle connection keeps nothing
            self._data, self._at = b"", 0
        return piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class Tunnel:
    """A channel as another connection's socket. Closing it never raises, as with a real one.

    paramiko closes its socket where an exception would end the connection's thread half way through its
    cleaning up, and closing a channel sends a message, which fails where the jump host is gone.
    """

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._came = threading.Event()
        self.recv = channel.recv
        self.send = channel.send
        self.settimeout = channel.settimeout
        self.getpeername = channel.getpeername

    @property
    def _closed(self) -> bool:
        return self._channel.closed

    def speaks(self) -> bool:
        """Whether something came from the other end, or never will, within a moment."""
        channel = self._channel
        if not channel.recv_ready() and not channel.closed:
            channel.in_buffer.set_event(self._came)
            self._came.wait(0.2)
        return channel.recv_ready() or bool(channel.eof_received) or channel.closed

    def shutdown(self, how: int) -> None:
        """Both directions, whichever is meant."""
        self.close()

    def close(self) -> None:
        """Close the channel."""
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            self._channel.close()


class Exit:
    """How a channel ended: set by the connection's thread, read by the run's."""

    __slots__ = ("by_host", "changed", "code")

    def __init__(self, changed: Callable[[], None]) -> None:
        self.code: int | None = None
        """The command's exit code, 128 + n for a signal."""
        self.by_host = False
        """The host closed the channel or refused the command; else the connection is what ended."""
        self.changed = changed


class Link(paramiko.Transport):
    """One ssh connection.

    ``disconnect`` is what the other side said when it ended the connection. ``exits`` maps channel numbers to
    `Exit`: paramiko ignores exit signals, and tells nobody when an exit status comes.
    """

    def __init__(self, sock: Any) -> None:
        # the stubs know sockets and channels only
        ahead: Any = ReadAhead(sock)
        super().__init__(ahead, default_window_size=WINDOW_BYTES, packetizer_class=CountingPacketizer)
        self.sock.settimeout(LOOK_SECONDS)
        options = self.get_security_options()
        options.ciphers = (CIPHER, *(name for name in options.ciphers if name != CIPHER))
        self.disconnect: str | None = None
        self.exits: dict[int, Exit] = {}
        self._channel_handler_table = {
            **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
            MSG_CHANNEL_REQUEST: self._on_request,
            MSG_CHANNEL_FAILURE: self._on_refusal,
            MSG_CHANNEL_CLOSE: self._on_close,
        }

    @property
    def heard(self) -> int:
        """Packets received so far."""
        return int(self.packetizer.heard)  # type: ignore[attr-defined]

    def keep_alive(self) -> None:
        """Ask for a sign of life whenever nothing was sent for a while. Any answer will do, a refusal too."""
        self.packetizer.set_keepalive(KEEPALIVE_SECONDS, self._ask)

    def request_exec(self, channel: paramiko.Channel, command: str) -> None:
        """As `Channel.exec_command`, without waiting: more may be sent at once; a refusal closes it."""
        message = paramiko.Message()
        message.add_byte(cMSG_CHANNEL_REQUEST)
        message.add_int(channel.remote_chanid)
        message.add_string("exec")
        message.add_boolean(True)
        message.add_string(command)
        self._send_user_message(message)  # type: ignore[attr-defined]

    def took(self, channel: paramiko.Channel, count: int) -> None:
        """So many bytes of the channel's buffers were read: the host may send as many more."""
        more = channel._check_add_window(count)  # type: ignore[attr-defined]
        if more > 0:
            message = paramiko.Message()
            message.add_byte(cMSG_CHANNEL_WINDOW_ADJUST)
            message.add_int(channel.remote_chanid)
            message.add_int(more)
            self._send_user_message(message)  # type: ignore[attr-defined]

    def ask(self) -> None:
        """Ask for a sign of life; it shows in `heard`."""
        self._send_user_message(_question())  # type: ignore[attr-defined]

    def _ask(self) -> None:
        # In the connection's own thread, which must not wait for a key exchange that it does itself.
        self._send_message(_question())  # type: ignore[attr-defined]

    def _parse_disconnect(self, message: paramiko.Message) -> None:
        message.get_int()
        self.disconnect = message.get_text()[:200]

    def _on_request(self, channel: paramiko.Channel, message: paramiko.Message) -> None:
        kind = message.get_text()
        known = self.exits.get(channel.chanid)
        if known is not None and kind == "exit-signal":
            message.get_boolean()
            known.code = 128 + _signal_number(message.get_text())
        message.rewind()
        message.get_int()
        channel._handle_request(message)  # type: ignore[attr-defined]
        if known is not None:
            if kind == "exit-status":
                known.code = channel.exit_status
            known.changed()

    def _on_refusal(self, channel: paramiko.Channel, message: paramiko.Message) -> None:
        self._mark_by_host(channel)
        channel._request_failed(message)  # type: ignore[attr-defined]

    def _on_close(self, channel: paramiko.Channel, message: paramiko.Message) -> None:
        self._mark_by_host(channel)
        say_no_eof(channel)
        channel._handle_close(message)  # type: ignore[attr-defined]

    def _mark_by_host(self, channel: paramiko.Channel) -> None:
        known = self.exits.get(channel.chanid)
        if known is not None:
            known.by_host = True


def say_no_eof(channel: paramiko.Channel) -> None:
    """Of a channel that is closed next: a close ends its stdin too, and is one packet instead of two."""
    channel.eof_sent = True


def _question() -> paramiko.Message:
    message = paramiko.Message()
    message.add_byte(cMSG_GLOBAL_REQUEST)
    message.add_string("keepalive@openssh.com")
    message.add_boolean(True)
    return message


def _signal_number(name: str) -> int:
    """RFC 4254 sends the name without SIG; an unknown one counts as KILL."""
    try:
        return int(signal.Signals[f"SIG{name}"])
    except KeyError:
        return int(signal.SIGKILL)
