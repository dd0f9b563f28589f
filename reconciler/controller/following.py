"""What follows a recorded end, in a thread of its own: dependency runs, and the host's folder of a
run let go.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import suppress

from reconciler.clock import Clock
from reconciler.controller.loop import Loop
from reconciler.controller.outage import Outage
from reconciler.controller.pool import Run
from reconciler.dispatch.dependents import Dependents, Success
from reconciler.errors import Temporary
from reconciler.execute.control import Executor
from reconciler.model.execution import Job, Status
from reconciler.record.batch import Recorded

LOCKED_SECONDS = 0.2
SWEEP_SECONDS = 60.0
"""How often all dependents are looked at: for ends whose recorder vanished right after them."""


class Following:
    """One loop; ``on_inserted`` is called when dependency runs were inserted."""

    def __init__(
        self,
        dependents: Dependents,
        executor: Executor,
        clock: Clock,
        outage: Outage,
        on_inserted: Callable[[], None],
    ) -> None:
        self._dependents = dependents
        self._executor = executor
        self._clock = clock
        self._on_inserted = on_inserted
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._successes: queue.SimpleQueue[Success] = queue.SimpleQueue()
        self._missed: set[Success] = set()
        self._swept = float("-inf")
        self._loop = Loop("follow", self._step, clock, outage)

    def start(self) -> None:
        """Begin, with a look at all dependents."""
        self._loop.start()

    def changed(self) -> None:
        """Something was applied."""
        self._dependents.changed()

    def recorded(self, item: Recorded, run: Run | None) -> None:
        """An end is in the database; ``run`` is what this process knows of it. Never waits.

        The host's folder of a run that another process executed stays until it is swept: only that one knew
        whether a start of it may still be on its way. So does that of a run whose end was refused.
        """
        if run is not None and not item.refused:
            self._jobs.put(item.job)
        if run is not None and item.outcome.status == Status.SUCCESS:
            self._successes.put(Success(run.taken.project_id, run.taken.server_id, item.job.task))
        self._loop.wake()

    def stop(self, seconds: float) -> None:
        """Finish what was brought, then end."""
        self._loop.stop(seconds)
        with suppress(Temporary):
            # what is missed now is found by the next process's first sweep
            self._step()

    def _step(self) -> float:
        self._tidy()
        while not self._successes.empty():
            self._missed.add(self._successes.get())
        inserted = 0
        if self._missed or self._dependents.unsettled:
            inserted = self._dependents.follow(self._missed)
            self._missed.clear()
        if self._clock.monotonic() - self._swept >= SWEEP_SECONDS:
            inserted += self._dependents.sweep()
            self._swept = self._clock.monotonic()
        if inserted:
            self._on_inserted()
        return LOCKED_SECONDS if self._dependents.unsettled else SWEEP_SECONDS

    def _tidy(self) -> None:
        while not self._jobs.empty():
            self._executor.recorded(self._jobs.get())
