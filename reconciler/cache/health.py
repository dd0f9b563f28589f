"""What the threads of one process know together about Redis being away: one line, not a storm."""

from __future__ import annotations

import logging
import threading

from reconciler.clock import Clock
from reconciler.errors import CacheUnavailable

log = logging.getLogger("reconciler.cache")

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 5.0
REPEAT_SECONDS = 60.0
"""An outage that begins so soon after another one was told is told only if it outlasts this: what comes and
goes is one trouble."""


class Health:
    """Shared by all parts (threads, kinds of commands); any method may be called from any thread.

    The first part that fails is told, and that all are well again: a server that is full still passes on
    messages, so one part's success is not another's.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failing: set[str] = set()
        self._since = 0.0
        self._told_at = float("-inf")
        self._telling = False

    @property
    def good(self) -> bool:
        """Whether nothing is known to fail."""
        return not self._failing

    def failed(self, part: str, error: CacheUnavailable) -> None:
        """A part failed."""
        with self._lock:
            now = self._clock.monotonic()
            if not self._failing:
                self._since, self._telling = now, False
            self._failing.add(part)
            tell = not self._telling and now - self._told_at >= REPEAT_SECONDS
            if tell:
                self._telling, self._told_at = True, now
        if tell:
            log.warning("%s; going on without it", error.message)

    def succeeded(self, part: str) -> None:
        """A part works."""
        if part not in self._failing:
            return
        with self._lock:
            self._failing.discard(part)
            if self._failing or not self._telling:
                return
            away = self._clock.monotonic() - self._since
        log.warning("Redis answers again, after %.1f s", away)


def pause_after(failures: int) -> float:
    """Seconds to wait before the next attempt, after so many failed ones in a row (1 is the first)."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10)))
