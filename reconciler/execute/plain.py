"""Runs a job on one shell whose life is the connection's: the protocol for hosts that keep nothing.

`execute.durable` is the other one; both take the same job, control and host and give an Outcome.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from reconciler.clock import Clock
from reconciler.execute.control import Archive, Control, Stream
from reconciler.execute.ending import MARGIN_SECONDS, Ending, EndingThread, end_run
from reconciler.execute.fault import Fault
from reconciler.execute.host import Host, Shell
from reconciler.execute.intake import Intakes
from reconciler.execute.script import Root, start_script
from reconciler.execute.script import mark as mark_of
from reconciler.execute.verdict import Facts, Verdict, judge
from reconciler.model.execution import Job, Outcome, Reason, Status
from reconciler.model.quantity import format_size
from reconciler.settings import OUTPUT_LIMIT

LINGER_SECONDS = 2.0
"""After the command's end: how long we wait in silence for streams that a background process holds open."""
LINGER_IN_ALL_SECONDS = 30.0
"""The same for one that goes on writing."""


@dataclass(slots=True)
class PlainRun:
    """One run. ``secrets`` are values by variable; ``archive`` takes the whole output.

    It is ended where that is longer than ``limit`` (bytes).
    """

    job: Job
    control: Control
    host: Host
    secrets: Mapping[str, bytes]
    clock: Clock
    archive: Archive | None = None
    limit: int = OUTPUT_LIMIT
    _intakes: Intakes = field(init=False)
    _facts: Facts = field(default=Facts(), init=False)
    _started_at: datetime | None = field(default=None, init=False)
    _root: Root | None = field(default=None, init=False)
    _deadline: float = field(default=0.0, init=False)
    _ending: EndingThread | None = field(default=None, init=False)
    _gone_at: float | None = field(default=None, init=False)
    _heard_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._intakes = Intakes(
            self.job, mark_of(self.job), self.secrets, self.control, self.archive, self._notice_line
        )

    def outcome(self) -> Outcome:
        """Run to the end. Never raises for what the host or the way to it does."""
        if self.job.started_at is not None:
            return self._abandoned(self.job.started_at)
        try:
            self._check_wanted()
            shell = self.host.open(self.job.spec.run_as, self.job.execution_id, self.control.cancelled)
        except Fault as fault:
            return self._close(self._not_begun(fault))
        try:
            with self.control.waking(shell.wake):
                self._follow(shell)
        finally:
            shell.close()
            if self._ending is not None:
                self._ending.join()
        return self._close(judge(self._facts, self.job.spec))

    def _check_wanted(self) -> None:
        if self.control.cancelled.is_set():
            raise Fault(Reason.CANCELLED, "")

    def _not_begun(self, fault: Fault) -> Verdict:
        message = fault.message
        if fault.reason is Reason.CANCELLED and self.control.cancelled.is_set():
            message = f"cancelled before its start: {self._why()}"
        return Verdict(Status.FAILED, fault.reason, message=message)

    def _follow(self, shell: Shell) -> None:
        shell.send(start_script(self.job, self.secrets))
        self._deadline = self.clock.monotonic() + self.job.spec.timeout
        while not self._over(shell):
            for stream, data in shell.receive(self._patience()):
                self._heard_at = self.clock.monotonic()
                self._intakes.take(stream, data)
            self._notice_end(shell)
        self._facts = replace(
            self._facts,
            exit_code=shell.exit_code,
            lost=shell.lost,
            said=self._intakes.said(),
            held_open=shell.exit_code is not None and not shell.drained,
            ending=None if self._ending is None else self._ending.result,
        )

    def _over(self, shell: Shell) -> bool:
        """Whether there is nothing more to wait for."""
        if self._ending is not None:
            result = self._ending.result
            if result is None:
                return False
            if result.fault is not None and shell.lost is None and not shell.drained:
                # We cannot look for ourselves; closing its stdin makes the watcher on the host end it.
                shell.close_input()
        if shell.lost is not None:
            return True
        if shell.drained:
            return True
        return self._lingered(shell)

    def _lingered(self, shell: Shell) -> bool:
        now = self.clock.monotonic()
        if self._gone_at is None:
            result = None if self._ending is None else self._ending.result
            if shell.exit_code is None and result is None:
                return False
            # with nothing of it left (or nothing that can be ended), it is not the run that holds the output
            patience = 0.0
            if shell.exit_code is None and result is not None and result.fault is not None:
                patience = self._grace() + MARGIN_SECONDS
            self._gone_at = now + patience
        silent = now - max(self._heard_at, self._gone_at)
        return silent >= LINGER_SECONDS or now - self._gone_at >= LINGER_IN_ALL_SECONDS

    def _patience(self) -> float:
        """Seconds that `receive` may wait before we have to look at something else."""
        now = self.clock.monotonic()
        if self._gone_at is not None:
            return max(0.1, self._gone_at - now)
        if self._ending is not None:
            return 60.0
        return max(0.0, self._deadline - now)

    def _notice_line(self, _: Stream, words: list[bytes]) -> None:
        """The start script's own line has come, on one of the streams: the command starts, or cannot."""
        if words[:1] == [b"refused"]:
            self._facts = replace(self._facts, refused=True)
        if words[:1] == [b"started"] and len(words) == 4 and self._started_at is None:
            pid, start, session = (word.decode("ascii", "replace") for word in words[1:])
            self._root = Root(pid, start, session)
            self._started_at = self.clock.now()
            self._deadline = self.clock.monotonic() + self.job.spec.timeout
            self._facts = replace(self._facts, started=True)
            self.control.started(self._started_at)

    def _notice_end(self, shell: Shell) -> None:
        """Begin to end the run if its time is over or someone wants it."""
        if self._ending is not None or shell.lost is not None or shell.drained:
            return
        if self.control.cancelled.is_set():
            self._facts = replace(self._facts, because="cancelled", why=self._why())
        elif self.clock.monotonic() >= self._deadline and shell.exit_code is None:
            self._facts = replace(self._facts, because="timed-out")
        elif self._intakes.stdout.offset + self._intakes.stderr.offset > self.limit:
            why = f"its output is longer than the limit of {format_size(self.limit)}"
            self._facts = replace(self._facts, because="cancelled", why=why)
        else:
            return
        self._ending = EndingThread(self._end, shell.wake)

    def _end(self) -> Ending:
        return end_run(self.job, self.host, self._root, self._grace(), self.clock, threading.Event())

    def _grace(self) -> float:
        cancellation = self.control.cancellation
        grace = float(self.job.spec.kill_grace)
        if cancellation is None or cancellation.grace is None:
            return grace
        return min(grace, cancellation.grace)

    def _abandoned(self, started_at: datetime) -> Outcome:
        """A run whose owner is gone: it ends with its connection, and we make sure that it has."""
        self._started_at = started_at
        ending = self._end()
        if ending.fault is not None:
            looked = f"the host could not be asked what is left of it: {ending.fault}"
        elif ending.left:
            looked = f"could not be ended: {', '.join(ending.left)}"
        else:
            looked = "nothing of it is left on the host"
        message = f"the process that ran it is gone, and with it its connection and its output; {looked}"
        return self._close(Verdict(Status.FAILED, Reason.LOST, message=message))

    def _why(self) -> str:
        cancellation = self.control.cancellation
        return "" if cancellation is None else cancellation.why

    def _close(self, verdict: Verdict) -> Outcome:
        return self._intakes.outcome(verdict, self._started_at, self.clock.now())
