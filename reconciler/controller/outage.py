"""What the loops of one process know together about the database being away: one line, not a storm."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from reconciler.clock import Clock
from reconciler.errors import DatabaseBusy, ReconcilerError
from reconciler.model.quantity import counted

log = logging.getLogger("reconciler.controller")

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 5.0
BUSY_SECONDS = 60.0
"""Seconds between attempts of one loop: long enough to be no load, short enough to renew leases in time; and
between two lines that say the same of locks."""


class Member(Protocol):
    """A loop that shares it, as far as others ask about it; see ``Loop``."""

    name: str

    @property
    def ending(self) -> bool: ...

    def busy(self, now: float) -> float: ...

    def stuck(self, now: float) -> bool: ...


class Outage:
    """Shared by all loops of a process; every method may be called from any thread.

    ``steady_since`` is the monotonic second from which the database has answered without a failure:
    -inf if it always has, inf during an outage. ``loops``: those that share it, for questions about health.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since: float | None = None
        self._failures = 0
        self._busy_told = float("-inf")
        self.steady_since = float("-inf")
        self.loops: list[Member] = []

    def join(self, loop: Member) -> None:
        """One more shares it; those that ended meanwhile, as targets of messages do, are forgotten."""
        self.loops = [*(other for other in self.loops if not other.ending), loop]

    @property
    def since(self) -> float | None:
        """The monotonic second of the first failure of this outage; None while the database answers."""
        return self._since

    @property
    def present(self) -> bool:
        """Whether the last thing heard of the database was a failure."""
        return self._since is not None

    def failed(self, error: ReconcilerError) -> None:
        """A call failed in a way that may pass; the first one of an outage is logged.

        A deadlock or a lock that was held too long is no outage: others are working.
        """
        if isinstance(error, DatabaseBusy):
            self._busy(error)
            return
        with self._lock:
            self._failures += 1
            first = self._since is None
            if first:
                self._since = self._clock.monotonic()
            # until somebody succeeds, nothing is steady
            self.steady_since = float("inf")
        if first:
            log.warning("%s; trying again until it answers", error.message)

    def _busy(self, error: ReconcilerError) -> None:
        with self._lock:
            now = self._clock.monotonic()
            tell = now - self._busy_told >= BUSY_SECONDS
            if tell:
                self._busy_told = now
        if tell:
            log.warning("%s; trying again", error.message)

    def succeeded(self) -> None:
        """A call came through; the first one after an outage is logged.

        Just after a failure it says nothing: it may have been answered before that.
        """
        if self._since is None:
            return
        with self._lock:
            since, failures = self._since, self._failures
            if since is None:
                return
            now = self._clock.monotonic()
            if now - since < FIRST_PAUSE:
                return
            self._since, self._failures = None, 0
            self.steady_since = now
        log.warning(
            "the database answers again, after %.1f s and %s", now - since, counted(failures, "failed call")
        )


def pause_after(failures: int) -> float:
    """Seconds to wait before the next attempt, after so many failed ones in a row (1 is the first)."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10)))
