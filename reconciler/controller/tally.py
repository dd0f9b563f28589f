"""What happened in this process since it began, counted; read by whoever wants figures."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from reconciler.controller.events import Event, EventKind

LAG_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
DURATION_BOUNDS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0)


class Histogram:
    """Seconds in classes; ``bounds`` are their upper ends, ascending. Not safe for threads by itself."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """One more; a clock that was set back gives 0."""
        seconds = max(0.0, seconds)
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self.sum += seconds

    def cumulated(self) -> Iterator[tuple[float, int]]:
        """Each bound (the last is infinite) and how many were at most so long."""
        total = 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            yield bound, total


class Passes:
    """The looks at one source: how they ended, and how long they took.

    ``ended``: by what came of them, in the words of the condition ``Stalled``, or ``Applied``, ``Unchanged``,
    ``StandingBy``, ``LockHeld``, ``Failed``.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.ended: Counter[str] = Counter()
        self.duration = Histogram(DURATION_BOUNDS)

    def add(self, result: str, seconds: float) -> None:
        """One more."""
        with self.lock:
            self.ended[result] += 1
            self.duration.observe(seconds)


class Tally:
    """Counts events; ``event`` may be called from any thread.

    ``claim_lag``: from due to claimed. ``start_lag``: from due to the host's acknowledged start.
    ``ended``: by (status's word, reason). ``skipped``: slots that have only a row, by reason.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.claim_lag = Histogram(LAG_BOUNDS)
        self.start_lag = Histogram(LAG_BOUNDS)
        self.duration = Histogram(DURATION_BOUNDS)
        self.ended: Counter[tuple[str, str]] = Counter()
        self.skipped: Counter[str] = Counter()
        self.started = 0
        self.retries = 0

    def event(self, event: Event) -> None:
        """One execution went on."""
        with self.lock:
            match event.kind:
                case EventKind.CLAIMED:
                    self._late(self.claim_lag, event)
                case EventKind.STARTED:
                    self.started += 1
                    self._late(self.start_lag, event)
                case EventKind.SKIPPED if event.reason is not None:
                    self.skipped[event.reason.value] += 1
                case EventKind.ENDED if event.state is not None and event.reason is not None:
                    self.ended[event.state.value, event.reason.value] += 1
                    if event.seconds is not None:
                        self.duration.observe(event.seconds)
                case EventKind.RETRYING:
                    self.retries += 1

    def _late(self, histogram: Histogram, event: Event) -> None:
        if event.late is not None:
            histogram.observe(event.late)
