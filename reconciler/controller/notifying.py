"""Delivers notifications beside the work: a thread for each target, so that none waits for another's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from reconciler.clock import Clock
from reconciler.controller.loop import Loop
from reconciler.controller.outage import Outage
from reconciler.errors import Temporary
from reconciler.notify.delivery import Delivery

_ENDING_SECONDS = 1.0
"""What is being sent then is not waited for: it is marked, or it comes again."""


class Notifying:
    """Of all processes on a database one at a time delivers to a target."""

    def __init__(self, deliveries: Sequence[Delivery], clock: Clock, outage: Outage) -> None:
        self._deliveries = list(deliveries)
        self._loops = [Loop(f"notify {one.name}", one.step, clock, outage) for one in deliveries]

    def start(self) -> None:
        """Begin with what waits."""
        for loop in self._loops:
            loop.start()

    def stop(self) -> None:
        """Begin nothing more, and let other processes go on at once."""
        for loop in self._loops:
            loop.end()
        for loop, delivery in zip(self._loops, self._deliveries, strict=True):
            if loop.ident is not None:
                loop.join(_ENDING_SECONDS)
            if not loop.is_alive():
                with suppress(Temporary):
                    delivery.resign()
