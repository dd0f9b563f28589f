"""What a way to a host offers to the protocols that run commands there."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

from reconciler.execute.control import Stream


class Shell(Protocol):
    """A ``/bin/sh`` on the host that reads its script from us; used by one thread, except for `wake`.

    Nothing here raises for a connection that is gone: then ``lost`` says so and all output has ended.
    """

    def send(self, data: bytes) -> None:
        """Write to its stdin."""
        ...

    def close_input(self) -> None:
        """Its stdin ends, as it does by itself when the connection is gone."""
        ...

    def receive(self, seconds: float | None) -> Sequence[tuple[Stream, bytes]]:
        """Output that is there, else what comes within ``seconds``; nothing after a `wake` or an end."""
        ...

    def wake(self) -> None:
        """Let `receive` return; from any thread, never blocking."""
        ...

    @property
    def exit_code(self) -> int | None:
        """Once it has ended: its exit code, 128 + n where signal n ended it."""
        ...

    @property
    def drained(self) -> bool:
        """Both streams are at their ends and read."""
        ...

    @property
    def lost(self) -> str | None:
        """Why nothing more will be heard, where that is not the shell's own end."""
        ...

    def close(self) -> None:
        """Let go of it; never raises, may be called twice."""
        ...


class Host(Protocol):
    """A place to run commands, as one job needs it."""

    def open(
        self, run_as: str | None, execution_id: int | None, stop: threading.Event, *, beside: bool = False
    ) -> Shell:
        """A new shell, as ``run_as`` through ``sudo -n``. Gives up once ``stop`` is set.

        With ``execution_id`` the shell belongs to that run: RECONCILER_EXECUTION_ID is in its environment
        from the beginning, where the way to it allows that (not through sudo). ``beside``: it must not wait
        in line behind runs.

        Raises Fault: unreachable, auth-failed, host-key, start-failed, or cancelled for ``stop``.
        """
        ...
