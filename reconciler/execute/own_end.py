"""The end of a durable run that its owner brings about: its time is over, or somebody cancelled it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from reconciler.clock import Clock
from reconciler.execute.control import Control
from reconciler.execute.ending import Ending, EndingThread, run_ending
from reconciler.execute.folder import end_run_script, new_mark
from reconciler.execute.host import Host
from reconciler.execute.verdict import Found
from reconciler.model.execution import Job

SETTLE_SECONDS = 10.0
"""How long the host may take to record an end that we have brought about and seen."""
AGAIN_SECONDS = 10.0
"""Between two tries to end it."""


@dataclass(slots=True)
class OwnEnd:
    """``grace`` (seconds) is that of the run's start. ``wake`` is called, in any thread, when a try is done.

    ``because`` is the note in the run's folder: ``timed-out``, or ``cancelled`` and by whom; empty as long as
    nobody wants its end. Somebody else's note, which the host told, holds as well.
    """

    job: Job
    host: Host
    control: Control
    clock: Clock
    grace: float
    wake: Callable[[], None]
    because: str = field(default="", init=False)
    _thread: EndingThread | None = field(default=None, init=False)
    _seen_at: float | None = field(default=None, init=False)
    _again_at: float = field(default=0.0, init=False)

    def see_to_it(self, now: float, deadline: float, known: bool, given_up: bool) -> bool:
        """Begin to end the run if its time is over or someone wants it; try again where that failed.

        ``known``: the run has begun. ``given_up``: its host has had its time to say something. False: its
        time is over and the host does not let us.
        """
        if self._thread is not None and not self._failed(self._thread, now):
            return True
        if not self.because:
            if self.control.cancelled.is_set():
                cancellation = self.control.cancellation
                self.because = f"cancelled {'' if cancellation is None else cancellation.why}"
            elif now >= deadline:
                self.because = "timed-out"
            else:
                return True
        if not known:
            # no run yet: what is to be ended must first have begun
            return now < deadline
        if self._thread is not None and given_up:
            return False
        if now >= self._again_at:
            self._again_at = now + AGAIN_SECONDS
            self._thread = EndingThread(self._end, self.wake)
        return True

    def next_look(self, deadline: float, heard_at: float) -> float | None:
        """When there is something to see to although nothing is heard; None while a try is under way."""
        if self._thread is None:
            return deadline
        if self._seen_at is not None:
            return max(self._seen_at, heard_at) + SETTLE_SECONDS + 0.1
        return None if self._thread.result is None else self._again_at

    def settled(self, now: float, heard_at: float) -> bool:
        """Whether we have ended the run, though that is not recorded there: something resists."""
        if self._thread is None or self._seen_at is None:
            return False
        return bool(self.result.left) or now - max(self._seen_at, heard_at) > SETTLE_SECONDS

    @property
    def result(self) -> Ending:
        """What came of the last try, which is done."""
        assert self._thread is not None
        assert self._thread.result is not None
        return self._thread.result

    def verified(self, found: Found) -> Ending | None:
        """What came of ending it, if anybody did, after a look that nothing of it is left."""
        if self._thread is None:
            if not found.why:
                return None
            # its owner began that and is gone
            ending = self._end()
        else:
            self._thread.join()
            ending = self._thread.result or Ending()
        if ending.fault is not None:
            return None
        killed = (*found.killed, *(item for item in ending.killed if item not in found.killed))
        return replace(ending, killed=killed, count=max(1, ending.count))

    def join(self) -> None:
        """Wait for the try that is under way."""
        if self._thread is not None:
            self._thread.join()

    def _failed(self, thread: EndingThread, now: float) -> bool:
        if thread.result is None:
            return False
        if thread.result.fault is not None:
            return True
        if self._seen_at is None:
            self._seen_at = now
        return False

    def _end(self) -> Ending:
        mark, grace = new_mark(self.job), self.grace
        cancellation = self.control.cancellation
        if cancellation is not None and cancellation.grace is not None:
            grace = min(grace, cancellation.grace)
        script = end_run_script(self.job, mark, self.because, grace)
        return run_ending(self.job, self.host, script, mark, grace, self.clock, threading.Event())
