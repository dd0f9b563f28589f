"""A thread that does one step again and again, sleeps between steps, and survives every failure."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from reconciler.clock import Clock
from reconciler.controller.outage import Outage, pause_after
from reconciler.errors import Temporary

log = logging.getLogger("reconciler.controller")

PATIENCE_SECONDS = 120.0
"""A step that lasts longer hangs: each call of the database ends by itself well before."""
_REPEAT_SECONDS = 60.0
"""A step that fails in the same way over and over is logged in full once in so many seconds."""


class Loop(threading.Thread):
    """Calls ``step()``, which returns the seconds it wants to sleep (None: until woken), until ``end``.

    A Temporary error is the shared outage's business, any other one is logged; both are retried with growing
    pauses, which a wake does not cut short.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float | None],
        clock: Clock,
        outage: Outage,
        *,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """``patience``: seconds that a step may take at the most."""
        super().__init__(name=name, daemon=True)
        self._step = step
        self._clock = clock
        self._outage = outage
        self._bell = threading.Event()
        self._end = threading.Event()
        self._failures = 0
        self._told: dict[str, float] = {}
        self._patience = patience
        self._busy_since: float | None = None
        outage.join(self)

    def busy(self, now: float) -> float:
        """For how many seconds the present step has gone on at the monotonic second ``now``; 0: it sleeps."""
        since = self._busy_since
        return 0.0 if since is None else max(0.0, now - since)

    def stuck(self, now: float) -> bool:
        """Whether it has begun and should step, and neither does nor will."""
        if self.ident is None or self.ending:
            return False
        return not self.is_alive() or self.busy(now) > self._patience

    def wake(self) -> None:
        """Make the next step happen now."""
        if not self._bell.is_set():  # asked for ten thousand times, it costs a hundredth of setting it
            self._bell.set()

    def end(self) -> None:
        """No further step begins; the present one finishes."""
        self._end.set()
        self._bell.set()

    def stop(self, seconds: float) -> None:
        """``end``, and wait so long for the present step; one that was never started has none."""
        self.end()
        if self.ident is not None:
            self.join(seconds)

    @property
    def ending(self) -> bool:
        return self._end.is_set()

    def run(self) -> None:
        """The thread's body."""
        while not self._end.is_set():
            self._bell.clear()
            if self._end.is_set():
                return
            pause = self._once()
            if self._failures:
                self._clock.wait(self._end, pause)
            else:
                self._clock.wait(self._bell, pause)

    def _once(self) -> float | None:
        self._busy_since = self._clock.monotonic()
        try:
            pause = self._step()
        except Temporary as error:
            self._outage.failed(error)
        except Exception as error:  # a loop that died would stop everything without a word
            self._tell(error)
        else:
            self._failures = 0
            return pause
        finally:
            self._busy_since = None
        self._failures += 1
        return pause_after(self._failures)

    def _tell(self, error: Exception) -> None:
        kind = f"{type(error).__name__}: {error}"
        now = self._clock.monotonic()
        if now - self._told.get(kind, float("-inf")) >= _REPEAT_SECONDS:
            self._told = {kind: now}
            log.error("the %s loop failed and goes on: %s", self.name, kind)
            log.debug("the %s loop failed", self.name, exc_info=error)
