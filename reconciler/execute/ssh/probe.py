"""Goes to a server step by step, so that each step can be told apart."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

from reconciler.execute.fault import Fault
from reconciler.execute.ssh.connection import Connection, Gone
from reconciler.execute.ssh.host import shell_command
from reconciler.execute.ssh.pool import Connections
from reconciler.execute.ssh.shell import ChannelShell
from reconciler.model.execution import Hop, Reason

Tell = Callable[[str, str], None]
"""The name of a step that came off (reach, host-key, login), and what was seen."""
_STEPS = ("reach", "host-key", "login")
_STEP_OF = {Reason.HOST_KEY: "host-key", Reason.AUTH_FAILED: "login", Reason.START_FAILED: "login"}


class Visit:
    """One visit to the last of ``hops``, on a connection of its own; each reaching within ``seconds``."""

    def __init__(
        self, connections: Connections, hops: tuple[Hop, ...], stop: threading.Event, seconds: float
    ) -> None:
        self._connections = connections
        self._hops = hops
        self._stop = stop
        self._seconds = seconds
        self._jumps: list[Connection] = []
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.release()
        for jump in reversed(self._jumps):
            jump.release()

    def enter_jump(self, number: int) -> Fault | None:
        """Log in to the first ``number`` of the jump hosts, shared with other visits; why it failed."""
        hops = self._hops[:number]
        patience = self._connections.patience(hops, self._stop, self._seconds)
        try:
            self._jumps.append(self._connections.borrow(hops, patience))
        except Fault as fault:
            return fault
        return None

    def enter(self, tell: Tell) -> tuple[str, Fault] | None:
        """Log in to the server itself; the step that failed and why, None if none did."""
        patience = self._connections.patience(self._hops, self._stop, self._seconds)
        told: list[str] = []

        def done(step: str, said: str) -> None:
            # a server that turned us away is tried again from the first step
            if step not in told:
                told.append(step)
                tell(step, said)

        try:
            self._connection = self._connections.extra(self._hops, patience, done)
        except Fault as fault:
            left = [step for step in _STEPS if step not in told]
            failed = _STEP_OF.get(fault.reason, left[0] if left else "login")
            if failed != "reach":
                done("reach", "it answers")
            return failed, fault
        return None

    def open(self, account: str | None) -> ChannelShell:
        """A shell there, as runs have it. Raises Fault. Close it before the visit ends."""
        connection = self._connection
        assert connection is not None
        patience = self._connections.patience(self._hops, self._stop, self._seconds)
        connection.hold()
        try:
            return connection.open_shell(shell_command(account, None), patience)
        except Gone as gone:
            connection.release()
            raise Fault(Reason.UNREACHABLE, str(gone)) from gone
        except BaseException:
            connection.release()
            raise
