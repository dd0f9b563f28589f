"""Sees what becomes of the status, and delivers what is told, beside the work.

A thread for each target, so that none waits for another's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from reconciler.clock import Clock
from reconciler.controller.loop import Loop
from reconciler.controller.observing import Observer
from reconciler.controller.outage import Outage
from reconciler.errors import Temporary
from reconciler.notify.delivery import Counts, Delivery

_ENDING_SECONDS = 1.0
"""For all together. What is being sent then is not waited for: it is marked, or it comes again."""


class Notifying:
    """Of all processes on a database one at a time looks, and one at a time delivers to a target."""

    def __init__(
        self, observer: Observer, deliveries: Sequence[Delivery], clock: Clock, outage: Outage
    ) -> None:
        self._clock = clock
        self._deliveries = deliveries
        self._parts: list[Observer | Delivery] = [observer, *deliveries]
        self._outage = outage
        self._loops = [Loop("observe", observer.step, clock, outage)]
        self._loops += [Loop(f"notify {one.name}", one.step, clock, outage) for one in deliveries]

    @property
    def counts(self) -> Mapping[str, Counts]:
        """What was sent and what was not, by target."""
        return {one.name: one.counts for one in self._deliveries}

    def start(self) -> None:
        """Begin with what waits."""
        for loop in self._loops:
            loop.start()

    def stop(self) -> None:
        """Begin nothing more, and let other processes go on at once."""
        for loop in self._loops:
            loop.end()
        deadline = self._clock.monotonic() + _ENDING_SECONDS
        for loop, part in zip(self._loops, self._parts, strict=True):
            loop.stop(max(0.0, deadline - self._clock.monotonic()))
            if not loop.is_alive() and not self._outage.present:
                with suppress(Temporary):
                    part.resign()
