"""A process of the chaos: schedules and executes until it is killed or told to end.

``python -m tests.chaos.process URL LOG SEED``. Its host is a file: a line ``B`` when a command begins, a line
``E`` when it ends, with the machine's monotonic time, which is one for all processes.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

from reconciler.clock import SystemClock
from reconciler.controller.runtime import Runtime
from reconciler.errors import Temporary
from reconciler.execute.control import Control
from reconciler.model.execution import Job, Outcome, Reason, Status
from reconciler.settings import Settings
from reconciler.store.engine import Database

WORKERS = 48
USUAL, LONG = 0.2, 2.0
"""Seconds that a command takes at most, and every fifth."""


class Host:
    """Runs commands that only take time; some of those with retries fail."""

    def __init__(self, log: str, seed: int) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._random = random.Random(seed)
        self._clock = SystemClock()

    def run(self, job: Job, control: Control) -> Outcome:
        seconds = self._random.uniform(0, LONG if self._random.random() < 0.2 else USUAL)
        fails = bool(job.spec.retries.limit) and self._random.random() < 0.3
        begun = self._clock.now()
        self._write("B", job)
        control.started(begun)
        cancelled = control.cancelled.wait(seconds)
        self._write("E", job)
        status, reason = Status.SUCCESS, Reason.COMPLETED
        if cancelled:
            status, reason = Status.FAILED, Reason.CANCELLED
        elif fails:
            status, reason = Status.FAILED, Reason.EXIT_CODE
        return Outcome(
            job.execution_id,
            status,
            reason,
            self._clock.now(),
            begun,
            exit_code=None if cancelled else int(fails),
        )

    def recorded(self, job: Job) -> None:
        """Nothing is left anywhere."""

    def _write(self, what: str, job: Job) -> None:
        # one short line is written whole, whoever else appends
        words = (what, job.execution_id, job.task_id, job.attempt, os.getpid(), f"{time.monotonic():.6f}")
        os.write(self._log, (" ".join(str(word) for word in words) + "\n").encode())


def main(url: str, log: str, seed: str) -> None:
    """Run until SIGTERM."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(process)d %(name)s %(message)s")
    clock = SystemClock()
    db = Database.open(url, clock)
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    runtime = _started(db, log, int(seed), end)
    end.wait()
    sys.exit(0 if runtime is None or runtime.stop(15) else 1)


def _started(db: Database, log: str, seed: int, end: threading.Event) -> Runtime | None:
    """Again and again: the database may be away just then."""
    clock, host = SystemClock(), Host(log, seed)
    while not end.is_set():
        settings = Settings(workers=WORKERS, late_after=5.0, state_dir=Path(log).parent / "state")
        runtime = Runtime(db, settings, clock, host, random.Random(seed))
        try:
            runtime.start()
        except Temporary:
            end.wait(0.3)
        else:
            return runtime
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
