"""Executors that need no host: quick ones, ones that run until told, and what they were asked to do."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime
from pathlib import Path

from reconciler.clock import SystemClock
from reconciler.execute.control import Control
from reconciler.model.execution import CapturedStream, Job, Outcome, Reason, Status


class Quick:
    """Ends each run at once, or after ``seconds``; counts, and knows how many ran side by side."""

    def __init__(
        self,
        seconds: float = 0.0,
        reason: Reason = Reason.COMPLETED,
        log: Path | None = None,
        output: str = "",
    ) -> None:
        self.seconds = seconds
        self.reason = reason
        self.clock = SystemClock()
        self.log = log
        self.output = CapturedStream(output, len(output))
        self._lock = threading.Lock()
        self.ran: Counter[int] = Counter()
        self.slots: Counter[tuple[int, datetime, int]] = Counter()
        self.side_by_side: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.recorded_jobs: list[int] = []
        self.jobs: list[Job] = []

    def run(self, job: Job, control: Control) -> Outcome:
        begun = job.started_at or self.clock.now()
        self.jobs.append(job)
        self._note(job, 1)
        control.started(begun)
        try:
            cancelled = self._work(control)
        finally:
            self._note(job, -1)
        if control.released.is_set() and job.server.spec.durable:
            return Outcome(job.execution_id, Status.OPEN, Reason.LOST, self.clock.now(), begun)
        if cancelled:
            why = control.cancellation.why if control.cancellation else ""
            return Outcome(
                job.execution_id,
                Status.FAILED,
                Reason.CANCELLED,
                self.clock.now(),
                begun,
                message=f"cancelled: {why}",
            )
        status = Status.SUCCESS if self.reason is Reason.COMPLETED else Status.FAILED
        return Outcome(
            job.execution_id,
            status,
            self.reason,
            self.clock.now(),
            begun,
            exit_code=0 if status is Status.SUCCESS else 3,
            stdout=self.output,
        )

    def _work(self, control: Control) -> bool:
        return bool(self.seconds) and control.cancelled.wait(self.seconds)

    def recorded(self, job: Job) -> None:
        self.recorded_jobs.append(job.execution_id)

    def _note(self, job: Job, change: int) -> None:
        with self._lock:
            server = job.server.name
            self.side_by_side[server] += change
            self.most[server] = max(self.most[server], self.side_by_side[server])
            if change > 0:
                self.ran[job.execution_id] += 1
                self.slots[job.task_id, job.scheduled_for, job.attempt] += 1
                if self.log is not None:
                    # one short line is written whole, whoever else appends
                    with self.log.open("a") as file:
                        file.write(
                            f"{job.task} {job.scheduled_for.isoformat()} {job.attempt} {job.execution_id}\n"
                        )


class Talker(Quick):
    """Says a line, and the next one only when ``heard`` is set."""

    def __init__(self) -> None:
        super().__init__(output="live 0\nlive 1\nlive 2\n")
        self.heard = threading.Event()
        self.unheard = 0

    def _work(self, control: Control) -> bool:
        for number in range(3):
            self.heard.clear()
            control.output("stdout", f"live {number}\n".encode())
            if not self.heard.wait(20):
                self.unheard += 1
        return False


class Patient(Quick):
    """Runs until it is cancelled or released; with ``stubborn`` not even then."""

    def __init__(self, *, stubborn: bool = False) -> None:
        super().__init__()
        self.released = threading.Event()
        self.stubborn = stubborn

    def _work(self, control: Control) -> bool:
        while not self.released.wait(0.02):
            if (control.cancelled.is_set() or control.released.is_set()) and not self.stubborn:
                return True
        return False
