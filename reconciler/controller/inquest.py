"""Asks silent hosts again about runs that ended ``unreachable``: a proven end replaces that."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable

from reconciler.clock import Clock
from reconciler.controller.loop import Loop
from reconciler.controller.outage import Outage
from reconciler.dispatch.unproven import Silent, Unproven
from reconciler.errors import Temporary
from reconciler.execute.control import Control, Executor
from reconciler.model.execution import Job, Outcome, Reason

ASK_SECONDS = 60.0
"""Between two questions about one run."""
STEP_SECONDS = 30.0
"""After so long a step leaves the rest to the next one."""
PATIENCE_SECONDS = 900.0
"""An overdue run that is found alive is ended, and may take its grace for that."""


class Inquest:
    """One loop; ``ended`` gets what was found. What is open is in the database, so any process goes on."""

    def __init__(
        self,
        unproven: Unproven,
        executor: Executor,
        clock: Clock,
        outage: Outage,
        ended: Callable[[Job, Outcome], None],
    ) -> None:
        self._unproven = unproven
        self._executor = executor
        self._clock = clock
        self._ended = ended
        self._lock = threading.Lock()
        self._control: Control | None = None
        self._queue: deque[Silent] = deque()
        self._silent: set[int] = set()
        """Servers that did not answer when they were asked last."""
        self._told: set[int] = set()
        """Runs whose ends are on their way into the database."""
        self._look_at = float("-inf")
        self._loop = Loop("inquest", self._step, clock, outage, patience=PATIENCE_SECONDS)

    def start(self) -> None:
        self._loop.start()

    def answered(self, server_id: int) -> None:
        """This server answers: ask it now. Never waits."""
        if server_id in self._silent:
            self._look_at = float("-inf")
            self._loop.wake()

    def stop(self, seconds: float) -> None:
        """Ask no more."""
        self._loop.end()
        with self._lock:
            control = self._control
        if control is not None:
            control.let_go()
        self._loop.stop(seconds)
        with contextlib.suppress(Temporary):
            self._unproven.leave()

    def _step(self) -> float:
        begun = self._clock.monotonic()
        if begun >= self._look_at:
            self._look_at = begun + ASK_SECONDS
            found = self._unproven.look()
            self._queue = deque(item for item in found if item.job.execution_id not in self._told)
            self._told &= {item.job.execution_id for item in found}
            self._silent = set()
        while self._queue and not self._loop.ending:
            if self._clock.monotonic() - begun > STEP_SECONDS:
                return 0.0
            item = self._queue.popleft()
            # one question, the newest, shows whether the host is there
            if item.server_id not in self._silent:
                self._ask(item)
        return max(0.0, self._look_at - self._clock.monotonic())

    def _ask(self, item: Silent) -> None:
        control = Control()
        with self._lock:
            self._control = control
        outcome = self._executor.run(item.job, control)
        if control.released.is_set():
            return
        if outcome.reason is Reason.UNREACHABLE:
            self._silent.add(item.server_id)
        elif outcome.proven:
            self._told.add(item.job.execution_id)
            self._ended(item.job, outcome)
