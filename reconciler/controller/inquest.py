"""Asks silent hosts again about runs that ended ``unreachable``: a proven end replaces that."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from reconciler.clock import Clock
from reconciler.controller.loop import Loop
from reconciler.controller.outage import Outage
from reconciler.dispatch.durable import survives_owner
from reconciler.execute.control import Control, Executor
from reconciler.model.execution import Job, Outcome, Reason
from reconciler.record.batch import Recorded

ASK_SECONDS = 60.0
"""Between two questions about one run."""
LOOK_SECONDS = 5.0
MOST = 500
"""Runs remembered; those of a process that ends are asked about no more."""


@dataclass(slots=True)
class _Case:
    job: Job
    asked_at: float


class Inquest:
    """One loop; ``ended`` gets what was found. What it knows is this process's own runs."""

    def __init__(
        self, executor: Executor, clock: Clock, outage: Outage, ended: Callable[[Job, Outcome], None]
    ) -> None:
        self._executor = executor
        self._clock = clock
        self._ended = ended
        self._lock = threading.Lock()
        self._cases: dict[int, _Case] = {}
        self._control: Control | None = None
        self._loop = Loop("inquest", self._step, clock, outage)

    def start(self) -> None:
        self._loop.start()

    def recorded(self, item: Recorded) -> None:
        """An end is in the database. Never waits."""
        job, outcome = item.job, item.outcome
        if outcome.reason is not Reason.UNREACHABLE or outcome.started_at is None:
            return
        if not survives_owner(job.server.spec):
            return
        with self._lock:
            if len(self._cases) < MOST and job.execution_id not in self._cases:
                known = replace(job, started_at=outcome.started_at, start_sent=True)
                self._cases[job.execution_id] = _Case(known, self._clock.monotonic())

    def stop(self, seconds: float) -> None:
        """Ask no more."""
        self._loop.end()
        with self._lock:
            control = self._control
        if control is not None:
            control.let_go()
        if self._loop.ident is not None:
            self._loop.join(seconds)

    def _step(self) -> float:
        now = self._clock.monotonic()
        with self._lock:
            due = [case for case in self._cases.values() if now - case.asked_at >= ASK_SECONDS]
        for case in due:
            if self._loop.ending:
                break
            self._ask(case)
        return LOOK_SECONDS

    def _ask(self, case: _Case) -> None:
        control = Control()
        with self._lock:
            self._control = control
        outcome = self._executor.run(case.job, control)
        case.asked_at = self._clock.monotonic()
        if control.released.is_set() or outcome.reason is Reason.UNREACHABLE:
            return
        with self._lock:
            self._cases.pop(case.job.execution_id, None)
        if outcome.proven:
            self._ended(case.job, outcome)
