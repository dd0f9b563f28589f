"""What is known of dialling one server: when to try again, and what to say meanwhile."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field

from reconciler.execute.fault import Fault
from reconciler.execute.ssh.connection import Connection
from reconciler.execute.ssh.faults import Passing
from reconciler.model.execution import Reason

LONGEST_BACKOFF = 30.0
"""Seconds between dials of a server that goes on failing; they double from one second on."""


@dataclass(slots=True)
class Line:
    """One server's connection and the memory of its dials. ``dialling`` guards all else.

    ``given_up`` is the open circuit: a run spent all of its time and did not reach the server. Until a dial
    succeeds, runs no longer wait for it: they hear what is known, with its age. Times are monotonic seconds.
    """

    dialling: threading.Lock = field(default_factory=threading.Lock)
    connection: Connection | None = None
    fault: Fault | None = None
    failures: int = 0
    failing_since: float = 0.0
    failed_at: float = 0.0
    rest_until: float = 0.0
    given_up: bool = False

    def failed(self, fault: Fault, begun: float, now: float, randomness: random.Random) -> None:
        """A dial that began at ``begun`` did not come through."""
        if not self.failures:
            self.failing_since = begun
        self.failures += 1
        self.connection = None
        self.fault = fault
        self.failed_at = now
        # doubled, and spread: those who failed together must not come back together
        pause: float = min(LONGEST_BACKOFF, 2.0 ** min(self.failures - 1, 10))
        self.rest_until = now + pause * randomness.uniform(0.5, 1.0)

    def succeeded(self) -> None:
        """A dial came through."""
        self.fault = None
        self.failures = 0
        self.given_up = False

    @property
    def hopeless(self) -> bool:
        """Whether to tell what is known instead of waiting: time alone does not change it, or nothing did."""
        return self.known(0.0) is not None

    def known(self, now: float) -> Fault | None:
        """The last failure with its age, for a run that did not see it itself; None if it should look.

        Safe to call without ``dialling``.
        """
        fault = self.fault
        if fault is None or (isinstance(fault, Passing) and not self.given_up):
            return None
        words = f"{fault.message}; that was {max(0.0, now - self.failed_at):.0f} s ago"
        if fault.reason is Reason.UNREACHABLE and self.failures > 1:
            words += f", after {self.failures} tries in {self.failed_at - self.failing_since:.0f} s"
        rest = self.rest_until - now
        words += f"; it is tried again in {max(1.0, rest):.0f} s" if rest > 0 else "; it is being tried again"
        return Fault(fault.reason, words)
