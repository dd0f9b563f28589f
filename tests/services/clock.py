"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
# How often a waiting thread looks at the real world; an event set elsewhere cannot notify us.
_GLANCE = 0.002


class FakeClock:
    """A `reconciler.clock.Clock` owned by a test.

    ``sleep`` and ``wait`` block the calling thread until another one moves the clock far enough (or sets
    the event); with ``auto`` they move the clock themselves, for code under test in the test's own thread.
    ``slept`` lists the seconds asked for.
    """

    def __init__(self, start: datetime = START, *, auto: bool = False) -> None:
        if start.tzinfo is None:
            raise ValueError("the start needs a time zone")
        self._now = start.astimezone(UTC)
        self._monotonic = 1000.0
        self._auto = auto
        self._lock = threading.Lock()
        self._waiting = 0
        self.slept: list[float] = []

    # reconciler.clock.Clock --------------------------------------------------------------------

    def now(self) -> datetime:
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        with self._lock:
            return self._monotonic

    def sleep(self, seconds: float) -> None:
        self.wait(threading.Event(), seconds)

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        if seconds is not None:
            self.slept.append(seconds)
        if self._auto and seconds is not None and not event.is_set():
            self.advance(max(seconds, 0.0))
            return event.is_set()
        deadline = None if seconds is None else self.monotonic() + seconds
        with self._lock:
            self._waiting += 1
        try:
            while not event.is_set():
                if deadline is not None and self.monotonic() >= deadline:
                    return False
                event.wait(_GLANCE)
            return True
        finally:
            with self._lock:
                self._waiting -= 1

    # For tests ---------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass, on both clocks."""
        if seconds < 0:
            raise ValueError("time does not go backwards; `step` moves the wall clock")
        with self._lock:
            self._now += timedelta(seconds=seconds)
            self._monotonic += seconds

    def set(self, at: datetime) -> None:
        """Let time pass until ``at``, which must not lie in the past."""
        self.advance((at - self.now()).total_seconds())

    def step(self, seconds: float) -> None:
        """Move only the wall clock, also backwards, as a time server does."""
        with self._lock:
            self._now += timedelta(seconds=seconds)

    @property
    def waiting(self) -> int:
        """How many threads are in `sleep` or `wait` now."""
        with self._lock:
            return self._waiting

    def until_waiting(self, count: int = 1, timeout: float = 10.0) -> None:
        """Return when ``count`` threads wait for it. Raises TimeoutError after ``timeout`` real seconds."""
        deadline = time.monotonic() + timeout
        while self.waiting < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.waiting} of {count} threads wait for the clock")
            time.sleep(_GLANCE)
