"""The time that the end of a process may take, and what still runs meanwhile."""

from __future__ import annotations

import threading

from reconciler.clock import Clock
from reconciler.controller.executing import Executing

ENDING_SECONDS = 2.0
"""Of that time, kept for ending what still runs and recording it."""
_POLL_SECONDS = 0.02


class Ending:
    """One deadline for all that has to end. ``finish``: what is claimed and due still runs.

    ``within`` may be called again, in a signal handler too: the time only gets shorter.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._deadline = float("inf")
        self.finish = True

    def within(self, seconds: float, *, finish: bool) -> None:
        """It has begun, and may take so long from now on at most."""
        self.finish = self.finish and finish
        self._deadline = min(self._deadline, self._clock.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._deadline - self._clock.monotonic())

    @property
    def spare(self) -> float:
        """Seconds until what still runs has to be ended."""
        return max(0.0, self._deadline - ENDING_SECONDS - self._clock.monotonic())

    def pause(self) -> None:
        """Give others a moment."""
        self._clock.wait(threading.Event(), _POLL_SECONDS)

    def drain(self, executing: Executing) -> None:
        """Until nothing due waits and nothing runs, or the time is over."""
        while self._draining():
            while not executing.idle and self._draining():
                self.pause()
            # only a look that began when nothing was running any more proves that nothing is left
            asked = executing.ask()
            while not executing.found_nothing(asked) and executing.idle and self._draining():
                self.pause()
            if executing.idle and executing.found_nothing(asked):
                return

    def _draining(self) -> bool:
        return self.finish and self.spare > 0
