"""One connection to one server, shared by its runs, the shells that end them, and tunnels through it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import paramiko

from reconciler.clock import Clock
from reconciler.execute.fault import Fault
from reconciler.execute.ssh.dial import Patience, discard
from reconciler.execute.ssh.faults import Passing, fault_of
from reconciler.execute.ssh.shell import ChannelShell
from reconciler.execute.ssh.transport import Link, Tunnel
from reconciler.model.execution import Hop, Reason

OPEN_SECONDS = 10.0
"""A connection that opens no channel in this time is given no further runs."""
ANSWER_SECONDS = 5.0
"""How long a jump host may take to show that it is there."""
REFUSED_SECONDS = 30.0
"""How long a server with none of our sessions may refuse one before that is a fault."""
RETRY_SECONDS = 0.02
"""sshd counts a session until it has reaped its child: refused now often means welcome in a moment."""
MAX_CHANNELS = 20_000
"""paramiko remembers every channel number it has seen; after this many a fresh connection takes over."""
SILENT_SECONDS = 60.0
"""Without a packet in spite of keepalives: the other side is gone, though TCP does not know."""
LONGEST_LOOK_SECONDS = 10.0
"""Of the time between two looks no more than this counts as silence."""
IDLE_SECONDS = 300.0
"""A connection without users is kept this long."""


_NEVER = (1, 3)
"""RFC 4254, 5.1: administratively prohibited, unknown channel type. 2 (connect failed) is what sshd says at
its MaxSessions, 4 is a shortage: both pass."""


class Gone(Exception):
    """This connection opens no channel any more; another one may. Never leaves the ssh room."""


class Connection:
    """``users`` counts shells and tunnels that hold it, ``retired`` means that no new ones may come.

    ``fell_silent``: it was given up because the other side sent nothing any more, while someone used it.
    """

    def __init__(self, hop: Hop, link: Link, parent: Connection | None, clock: Clock) -> None:
        self.hop = hop
        self.name = hop.name
        self.link = link
        self.users = 0
        self.retired = False
        self.fell_silent = False
        self._parent = parent
        self._clock = clock
        self._lock = threading.Lock()
        self._freed = threading.Condition(self._lock)
        self._sessions = 0
        self._channels = 0
        self._queue = threading.Lock()
        self._heard = -1
        self._silence = 0.0
        self._looked_at = self._idle_since = clock.monotonic()
        self._closed: str | None = None

    # ---- use

    @property
    def usable(self) -> bool:
        """Whether a new run may come."""
        return not self.retired and self.link.is_active()

    def hold(self) -> None:
        """One more user."""
        with self._lock:
            self.users += 1

    def release(self) -> None:
        """One less."""
        with self._lock:
            self.users -= 1
            self._idle_since = self._clock.monotonic()
            last = self.users == 0 and self.retired
        if last:
            self.close("replaced by a fresh connection")

    def open_shell(self, command: str, patience: Patience) -> ChannelShell:
        """Start ``command`` on a new session, in line if need be.

        Raises Gone, or Fault (cancelled, start-failed). The shell's `close` releases the connection.
        """
        return self._shell(self._open_session(patience), command)

    def open_shell_now(self, command: str) -> ChannelShell | None:
        """The same without a line: None if the server has enough sessions for now."""
        channel = self._try_session()
        return None if channel is None else self._shell(channel, command)

    def _shell(self, channel: paramiko.Channel, command: str) -> ChannelShell:

        def closed() -> None:
            with self._freed:
                self._sessions -= 1
                self._freed.notify()
            self.release()

        shell = ChannelShell(self.link, channel, self.why_gone, closed)
        shell.start(command)
        return shell

    def open_tunnel(self, hop: Hop, patience: Patience) -> Tunnel:
        """A way to another server's ssh port. Raises Gone, or Fault unreachable."""
        where = (hop.spec.host, hop.spec.port)
        # The answer may take as long as that server does, so silence would say nothing of this connection.
        self._prove_alive(patience)
        try:
            channel = self.link.open_channel("direct-tcpip", where, ("127.0.0.1", 0), timeout=patience.left)
        except (paramiko.SSHException, OSError, EOFError) as error:
            if not self.link.is_active():
                raise Gone(self.why_gone()) from error
            patience.check()
            raise self._no_tunnel(hop, error) from error
        self._count_channel()
        return Tunnel(channel)

    def _prove_alive(self, patience: Patience) -> None:
        """Raises Gone unless the other side answers within `ANSWER_SECONDS`."""
        heard = self.link.heard
        try:
            self.link.ask()
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise Gone(self.why_gone()) from error
        until = self._clock.monotonic() + ANSWER_SECONDS
        while self.link.heard == heard:
            patience.check()
            if not self.link.is_active() or self._clock.monotonic() > until:
                self.retire()
                raise Gone(f"{self.name} answers no more on this connection")
            self._clock.sleep(0.005)

    def _no_tunnel(self, hop: Hop, error: Exception) -> Fault:
        where = f"{hop.name} ({hop.spec.host}:{hop.spec.port})"
        said = str(error)
        if isinstance(error, paramiko.ChannelException):
            said = str(error.text)
            if error.code in _NEVER:
                words = f"{where}: its jump host {self.name} forbids the way there ({said}); its sshd_config"
                return Fault(Reason.UNREACHABLE, f"{words} needs AllowTcpForwarding (and PermitOpen, if set)")
        return Passing(
            Reason.UNREACHABLE, f"{where} cannot be reached from its jump host {self.name} ({said})"
        )

    # ---- sessions

    def _open_session(self, patience: Patience) -> paramiko.Channel:
        if not self._queue.locked() and (channel := self._try_session()) is not None:
            return channel
        # Full: wait in line, so that runs start in the order in which they came.
        with _held(self._queue, patience):
            alone_since = self._clock.monotonic()
            while (channel := self._try_session()) is None:
                with self._freed:
                    if self._sessions:
                        alone_since = self._clock.monotonic()
                    self._freed.wait(RETRY_SECONDS)
                if self._clock.monotonic() - alone_since > REFUSED_SECONDS:
                    raise Fault(
                        Reason.START_FAILED,
                        f"{self.name} refuses to open a session, though we have none there; does its "
                        "sshd_config say MaxSessions 0?",
                    )
                patience.check_stop()
            return channel

    def _try_session(self) -> paramiko.Channel | None:
        """A new session, or None if the server has enough of them for now."""
        try:
            channel = self.link.open_session(timeout=OPEN_SECONDS)
        except (paramiko.SSHException, OSError, EOFError) as error:
            if not self.link.is_active():
                raise Gone(self.why_gone()) from error
            if "Timeout" in str(error):
                self.retire()
                raise Gone(f"{self.name} answers no more on this connection") from error
            if isinstance(error, paramiko.ChannelException) and error.code in _NEVER:
                raise Fault(
                    Reason.START_FAILED,
                    f"{self.name} lets this account open no session ({error.text}): see its sshd_config",
                ) from error
            return None
        except Exception as error:
            raise fault_of(error, self.name) from error
        with self._lock:
            self._sessions += 1
        self._count_channel()
        return channel

    def _count_channel(self) -> None:
        with self._lock:
            self._channels += 1
            if self._channels >= MAX_CHANNELS:
                self.retired = True

    # ---- life and death

    def retire(self) -> None:
        """No new users; it is closed when the last one leaves."""
        with self._lock:
            self.retired = True
            last = self.users == 0
        if last:
            self.close("replaced by a fresh connection")

    def look(self) -> bool:
        """Called now and then: close it if it is dead, or silent or idle too long; whether it is closed."""
        now = self._clock.monotonic()
        heard = self.link.heard
        with self._lock:
            # when we ourselves stood still for a while, that was not the other side's silence
            self._silence += min(now - self._looked_at, LONGEST_LOOK_SECONDS)
            self._looked_at = now
            if heard != self._heard:
                self._heard, self._silence = heard, 0.0
            silent = self._silence
            idle = now - self._idle_since if self.users == 0 else 0.0
        if not self.link.is_active():
            self.close(self.why_gone())
        elif silent > SILENT_SECONDS:
            self.fell_silent = self.users > 0
            self.close(f"{self.name} was silent for {SILENT_SECONDS:g} s")
        elif idle > IDLE_SECONDS:
            self.close("idle")
        return self._closed is not None

    def why_gone(self) -> str:
        """One phrase for messages."""
        if self._closed is not None:
            return f"the connection to {self.name} was closed: {self._closed}"
        said = self.link.disconnect
        return f"the connection to {self.name} broke off" + (f" ({said})" if said else "")

    def close(self, why: str) -> None:
        """End it, whoever uses it."""
        with self._lock:
            if self._closed is not None:
                return
            self._closed = why
        discard(self.link)
        if self._parent is not None:
            self._parent.release()


@contextlib.contextmanager
def _held(lock: threading.Lock, patience: Patience) -> Iterator[None]:
    while not lock.acquire(timeout=0.2):
        patience.check_stop()
    try:
        yield
    finally:
        lock.release()
