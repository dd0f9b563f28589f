"""The loop that deletes what `history` lets go, a page of tasks at a time."""

from __future__ import annotations

from reconciler.clock import Clock
from reconciler.controller.loop import Loop
from reconciler.controller.outage import Outage
from reconciler.record.prune import Pruner
from reconciler.record.retention import DeleteArchive
from reconciler.store.engine import Database

_ENDING_SECONDS = 1.0
"""A batch that is under way lasts a tenth of it."""


class Pruning:
    """One thread; of all processes on a database one prunes at a time."""

    def __init__(
        self, db: Database, clock: Clock, outage: Outage, owner: str, delete_archive: DeleteArchive | None
    ) -> None:
        self._outage = outage
        self._pruner = Pruner(db, clock, owner, delete_archive, stopping=lambda: self._loop.ending)
        self._loop = Loop("prune", self._step, clock, outage)

    def start(self) -> None:
        """Begin, or go on where the last process stopped."""
        self._loop.start()

    def stop(self, seconds: float) -> None:
        """Begin no further batch."""
        self._loop.stop(min(seconds, _ENDING_SECONDS))

    def _step(self) -> float:
        pause = self._pruner.step()
        self._outage.succeeded()
        return pause
