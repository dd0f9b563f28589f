"""Runs a job that outlives us: the host keeps it in a folder, and a shell there is only the viewer.

Whatever becomes of the connection, or of this process, the next shell on that host tells what became of the
run, and continues its output at the byte where the last one stopped. ADR 0005 has the protocol.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reconciler.clock import Clock
from reconciler.execute.control import Archive, Control, Stream
from reconciler.execute.fault import Fault
from reconciler.execute.folder import attach_script, begin_script, new_mark
from reconciler.execute.host import Host, Shell
from reconciler.execute.intake import Intakes
from reconciler.execute.own_end import OwnEnd
from reconciler.execute.telling import Start, Telling
from reconciler.execute.verdict import Verdict, judge_found, noted, silent, start_failed
from reconciler.model.execution import Job, Outcome, Reason, Status
from reconciler.model.task import TaskSpec
from reconciler.settings import OUTPUT_LIMIT

QUICK_SECONDS = 0.15
"""A run that takes longer is followed while it prints; the output of a shorter one comes at its end."""
ANSWER_SECONDS = 30.0
"""Within this time a shell that attaches must say something; and so long a host that fell silent about a run
whose time is over may take to come back."""
GOODBYE_SECONDS = 0.1
"""Patience with a shell that has said all: sshd counts it until it is gone."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0
"""Between two tries to reach the host again; they double."""


class _LetGo(Exception):
    """The run is left to its next owner."""


@dataclass(slots=True)
class DurableRun:
    """One run. ``secrets`` are values by variable; ``archive`` takes the whole output.

    ``trash`` are folders of recorded runs in the same place, which the start takes along to be removed.
    The host ends a run whose output is longer than ``limit`` (bytes). ``withheld``: why secrets are missing;
    the run is then attached to, never started, and nothing of its output is kept.
    """

    job: Job
    control: Control
    host: Host
    secrets: Mapping[str, bytes]
    clock: Clock
    archive: Archive | None = None
    trash: Sequence[int] = ()
    limit: int = OUTPUT_LIMIT
    withheld: str | None = None
    starts: int = field(default=0, init=False)
    """How many starts were sent, by whomever, as far as we know."""
    answered: bool = field(default=False, init=False)
    """Whether the host said that our start is the run's."""
    _spec: TaskSpec = field(init=False)
    _intakes: Intakes = field(init=False)
    _told: Telling = field(init=False)
    _end: OwnEnd = field(init=False)
    _known: bool = field(default=False, init=False)
    _started_at: datetime | None = field(default=None, init=False)
    _sent_at: datetime | None = field(default=None, init=False)
    _deadline: float = field(default=0.0, init=False)
    _heard_at: float = field(default=float("-inf"), init=False)
    _pause: float = field(default=FIRST_PAUSE, init=False)
    _shell: Shell | None = field(default=None, init=False)
    _stop: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        self._spec = self.job.spec
        self._told = self._listener()
        grace = float(self._spec.kill_grace)
        self._end = OwnEnd(self.job, self.host, self.control, self.clock, grace, self._wake)
        self._intakes = Intakes(
            self.job, b"", self.secrets, self.control, self.archive, self._notice_line, self.withheld
        )
        self._started_at = self.job.started_at
        self._known = self.job.started_at is not None
        self.starts = int(self.job.begun)

    def outcome(self) -> Outcome:
        """Run to the end. Never raises for what the host or the way to it does.

        Status ``OPEN``: it was let go of, and goes on if it had begun.
        """
        self._deadline = self.clock.monotonic() + self._spec.timeout
        if self._started_at is not None:
            self._deadline -= max(0.0, (self.clock.now() - self._started_at).total_seconds())
        try:
            with self.control.waking(self._wake):
                verdict = self._run()
        except _LetGo:
            now = self.clock.now()
            return Outcome(self.job.execution_id, Status.OPEN, Reason.LOST, now, self._started_at)
        finally:
            if not self.control.released.is_set():
                self._end.join()
        started_at = self._started_at
        if verdict.reason is Reason.UNREACHABLE and self._sent_at is not None:
            # it counts as started until the host says otherwise
            started_at = started_at or self._sent_at
        return self._intakes.outcome(verdict, started_at, self.clock.now())

    def _wake(self) -> None:
        """In any thread: somebody wants something of this run."""
        if self.control.released.is_set() or not self.starts:
            self._stop.set()
        if (shell := self._shell) is not None:
            shell.wake()

    # ---- one shell after the other

    def _run(self) -> Verdict:
        start = not self.starts
        said = ""
        while True:
            try:
                word = self._one_shell(start)
            except Fault as fault:
                if not self.starts:
                    return self._not_begun(fault)
                if self._given_up():
                    return silent(self._known, fault.message)
                self._rest()
                continue
            if word == "ended" and (found := self._told.found) is not None:
                return judge_found(found, self._spec, self._end.verified(found))
            if word == "settled":
                return noted(self._end.because, self._spec, self._end.result)
            if word == "refused":
                return start_failed(self._intakes.said())
            if word == "unclear":
                return Verdict(Status.FAILED, Reason.LOST, message="its start broke off half way on the host")
            if word == "void":
                return start_failed("it did not get on with it in time, and will not any more")
            if word == "unknown":
                if self._known or said:
                    return self._unknown(said)
                if self.control.cancelled.is_set():
                    return self._not_begun(Fault(Reason.CANCELLED, ""))
                if self.withheld is not None:
                    return Verdict(Status.FAILED, Reason.START_FAILED, message=self.withheld)
                start = True
                continue
            if word == "closed" and not self._known:
                # no line of ours came back: perhaps this account gives no shell, perhaps ours was killed
                if said and not start:
                    return start_failed(said)
                said = self._intakes.said() or "its shell ended without a word"
            start = False
            if word != "exists":
                if self._given_up():
                    return silent(self._known, "the connection to it broke off")
                self._rest()

    def _one_shell(self, start: bool) -> str:
        """Start or attach in a new shell, and listen to it: how that ended.

        ``ended``, ``settled``: the run did. ``unknown``, ``void``, ``unclear``, ``exists``, ``refused``: what
        the host said instead. ``closed``, ``broken``: it said nothing (more), of its own accord or with the
        connection.
        """
        self._check_released()
        if start and self.control.cancelled.is_set():
            raise Fault(Reason.CANCELLED, "")
        shell = self.host.open(self.job.spec.run_as, None, self._stop)
        self._shell = shell
        try:
            mark = new_mark(self.job)
            self._intakes.reopen(mark)
            self._told = self._listener()
            if start:
                self.starts += 1
                self._sent_at = self._sent_at or self.clock.now()
                # its time begins on the host; until that says so it has a while more
                self._deadline = self.clock.monotonic() + self._spec.timeout + ANSWER_SECONDS
                shell.send(begin_script(self.job, self.secrets, mark, self.trash, self.limit))
            else:
                offsets = self._intakes.stdout.offset, self._intakes.stderr.offset
                shell.send(attach_script(self.job, mark, *offsets))
            return self._listen(shell, start)
        finally:
            self._shell = None
            shell.close()

    def _listen(self, shell: Shell, start: bool) -> str:
        begun = self.clock.monotonic()
        go_at: float | None = None
        while True:
            self._check_released()
            pieces = shell.receive(self._patience(begun, start, go_at))
            now = self.clock.monotonic()
            for stream, data in pieces:
                self._heard_at = now
                self._intakes.take(stream, data)
            if self._told.whole:
                self._see_off(shell)
                return "ended"
            word = self._told.word
            if word in ("unknown", "void", "unclear", "exists"):
                return word
            if start and word == "started":
                if go_at is None:
                    go_at = now + QUICK_SECONDS
                elif now >= go_at:
                    shell.send(b"go\n")
                    go_at, start = None, False
            if shell.lost is not None:
                return "broken"
            if shell.drained:
                return word if word == "refused" else "closed"
            if word is None and not start and now - begun > ANSWER_SECONDS:
                return "broken"
            if not self._end.see_to_it(now, self._deadline, self._known, self._given_up()):
                return "broken"
            if self._end.settled(now, self._heard_at):
                return "settled"

    def _see_off(self, shell: Shell) -> None:
        until = self.clock.monotonic() + GOODBYE_SECONDS
        while not shell.drained and shell.lost is None and (left := until - self.clock.monotonic()) > 0:
            shell.receive(left)

    def _patience(self, begun: float, start: bool, go_at: float | None) -> float:
        """Seconds that `receive` may wait before there is something else to look at."""
        now = self.clock.monotonic()
        until = [now + 60.0]
        if go_at is not None:
            until.append(go_at)
        if self._told.word is None and not start:
            until.append(begun + ANSWER_SECONDS + 0.1)
        if (at := self._end.next_look(self._deadline, self._heard_at)) is not None:
            until.append(at)
        return max(0.0, min(until) - now)

    def _given_up(self) -> bool:
        """The run's time is over, and its host has had another while to say something."""
        now = self.clock.monotonic()
        return now >= self._deadline and now >= self._heard_at + ANSWER_SECONDS

    def _rest(self) -> None:
        """Before the next try; a run that is let go of does not wait."""
        with self.control.waiting(self._stop, True):
            left = self._deadline - self.clock.monotonic()
            self.clock.wait(self._stop, min(self._pause, max(FIRST_PAUSE, left)))
        self._pause = min(LONGEST_PAUSE, self._pause * 2)
        self._check_released()

    def _check_released(self) -> None:
        if self.control.released.is_set():
            raise _LetGo

    # ---- what the host says

    def _listener(self) -> Telling:
        """For the lines of a new shell."""
        return Telling(self._answered, self._attached)

    def _notice_line(self, stream: Stream, words: list[bytes]) -> None:
        self._told.line(stream, words)

    def _answered(self) -> None:
        self.answered = True
        self._begun(0.0)

    def _attached(self, start: Start) -> None:
        """What it was started with holds, whatever the task says by now."""
        self._spec = self._spec.model_copy(
            update={
                "timeout": start.timeout,
                "kill_grace": start.grace,
                "success_exit_codes": start.codes,
            }
        )
        self._end.grace = float(start.grace)
        if start.age is not None:
            self._begun(start.age)
        self._known = True
        if start.why and not self._end.because:
            # somebody began to end it; if it is still there, we go on with that
            self._end.because = start.why

    def _begun(self, age: float) -> None:
        self._known = True
        self._pause = FIRST_PAUSE
        self._deadline = self.clock.monotonic() + self._spec.timeout - age
        if self._started_at is None:
            self._started_at = self.clock.now() - timedelta(seconds=age)
            self.control.started(self._started_at)

    # ---- verdicts that are not the host's

    def _not_begun(self, fault: Fault) -> Verdict:
        message = fault.message
        if fault.reason is Reason.CANCELLED:
            self._check_released()
            cancellation = self.control.cancellation
            if cancellation is not None:
                message = f"cancelled before its start: {cancellation.why}"
        return Verdict(Status.FAILED, fault.reason, message=message)

    def _unknown(self, said: str) -> Verdict:
        if not self._known:
            return start_failed(said)
        message = "the host knows nothing of this run any more: its folder is gone"
        return Verdict(Status.FAILED, Reason.LOST, message=message)
