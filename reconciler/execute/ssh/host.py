"""A server reached by ssh, as the protocols see it."""

from __future__ import annotations

import shlex
import threading

from reconciler.execute.control import Waiting, no_place
from reconciler.execute.fault import Fault
from reconciler.execute.ssh.connection import Gone
from reconciler.execute.ssh.dial import Patience
from reconciler.execute.ssh.pool import Connections
from reconciler.execute.ssh.shell import ChannelShell
from reconciler.model.execution import Hop, Reason


def shell_command(run_as: str | None, execution_id: int | None) -> str:
    """What sshd hands to the account's login shell, whichever that is.

    The id in the shell's own environment lets it be found. Shells that do not know `export` say so and go on.
    """
    if run_as is not None:
        return f"exec sudo -n -H -u {shlex.quote(run_as)} -- /bin/sh"
    if execution_id is None:
        return "exec /bin/sh"
    return f"export RECONCILER_EXECUTION_ID={execution_id}; exec /bin/sh"


class SshHost:
    """See `execute.host.Host`. ``hops`` are the jump hosts, the first to dial first, and the server.

    ``waiting`` is entered for as long as a shell is waited for: a dial, a host that went silent, a session.
    """

    def __init__(self, connections: Connections, hops: tuple[Hop, ...], waiting: Waiting = no_place) -> None:
        self._connections = connections
        self._hops = hops
        self._waiting = waiting

    def open(
        self, run_as: str | None, execution_id: int | None, stop: threading.Event, *, beside: bool = False
    ) -> ChannelShell:
        """See `Host.open`. A connection that proves dead is replaced, while the time for a start lasts."""
        with self._waiting(stop, not self._connections.connected(self._hops)):
            return self._open(run_as, execution_id, stop, beside)

    def _open(
        self, run_as: str | None, execution_id: int | None, stop: threading.Event, beside: bool
    ) -> ChannelShell:
        patience = self._connections.patience(self._hops, stop)
        command = shell_command(run_as, execution_id)
        while True:
            connection = self._connections.borrow(self._hops, patience)
            try:
                if not beside:
                    return connection.open_shell(command, patience)
                if (shell := connection.open_shell_now(command)) is not None:
                    return shell
            except Gone as gone:
                connection.release()
                if not patience.left:
                    raise Fault(Reason.UNREACHABLE, str(gone)) from gone
                patience.check()
            except BaseException:
                connection.release()
                raise
            else:
                connection.release()
                return self._open_beside(command, patience)

    def _open_beside(self, command: str, patience: Patience) -> ChannelShell:
        """On a connection of its own: who ends runs must not wait in line behind them."""
        connection = self._connections.extra(self._hops, patience)
        try:
            return connection.open_shell(command, patience)
        except Gone as gone:
            connection.release()
            raise Fault(Reason.UNREACHABLE, str(gone)) from gone
        except BaseException:
            connection.release()
            raise
