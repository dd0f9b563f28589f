"""The recorder: starts and ends of runs, many in one transaction, kept until the database has them."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Protocol

from reconciler.clock import Clock
from reconciler.errors import ReconcilerError, Temporary
from reconciler.model.execution import Job, Outcome
from reconciler.record.batch import Ended, Recorded, Started, size_of

log = logging.getLogger("reconciler.record")

MAX_ROWS = 250
"""Ends in one transaction; more make no batch faster and every lock longer."""
MAX_PENDING_ROWS = 10_000
MAX_PENDING_BYTES = 64 * 1024 * 1024
"""Beyond either, whoever brings another end waits: memory is bounded by what runs, not by the outage."""
START_LINGER = 0.1
"""Seconds a start may wait for its end: a run shorter than that costs one write, not two."""
LAST_RUN_SECONDS = 1.0
"""How often the tasks' `last_run` is brought up to date: many runs of a task, one write."""
_POSTPONED = 0.05
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0


class Ledger(Protocol):
    """Where the writer writes; each call is one transaction and may be repeated.

    Raises Temporary when the same call may succeed later; any other error concerns what was to be written.
    """

    def write(self, starts: Sequence[Started], ends: Sequence[Ended]) -> list[Recorded]:
        """Record them; what came of the ends. One that has to wait is missing, and comes again."""
        ...

    def touch_tasks(self, last_runs: dict[int, datetime]) -> set[int]:
        """Move `last_run` of tasks forward; the ids that were locked by others and remain to be done."""
        ...

    def max_bytes(self) -> int:
        """How many bytes of texts one transaction may carry."""
        ...


class Writer(threading.Thread):
    """Takes starts and ends from any thread; ``after`` is told what was recorded, after its commit.

    ``unwritable`` gets the ends that the database refuses for good (each alone, never its neighbours), and at
    the close those it never took: the place of a spool.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        *,
        after: Callable[[list[Recorded]], None] = lambda recorded: None,
        unwritable: Callable[[list[Ended], ReconcilerError | None], None] | None = None,
        on_failure: Callable[[ReconcilerError], None] = lambda error: None,
        on_success: Callable[[], None] = lambda: None,
        max_rows: int = MAX_ROWS,
    ) -> None:
        super().__init__(name="record", daemon=True)
        self._ledger = ledger
        self._clock = clock
        self._after = after
        self._unwritable = unwritable or _complain
        self._on_failure = on_failure
        self._on_success = on_success
        self._max_rows = max_rows
        self._lock = threading.Condition()
        self._bell = threading.Event()
        self._starts: OrderedDict[int, tuple[Started, float]] = OrderedDict()
        self._ends: OrderedDict[int, Ended] = OrderedDict()
        self._bytes = 0
        self._last_runs: dict[int, datetime] = {}
        self._touched_at = clock.monotonic()
        self._closing = False
        self._failures = 0

    # -- for other threads ----------------------------------------------------------------------

    def started(self, job: Job, at: datetime) -> None:
        """The host acknowledged the start at ``at`` (our clock). Never waits."""
        with self._lock:
            self._starts[job.execution_id] = (Started(job, at), self._clock.monotonic())
        self._bell.set()

    def ended(self, job: Job, outcome: Outcome) -> None:
        """The run ended. Waits while too much is pending; a second end of one execution changes nothing."""
        end = Ended(job, outcome)
        size = size_of(outcome)
        with self._lock:
            while self._full() and not self._closing:
                self._lock.wait(1.0)
            if job.execution_id not in self._ends:
                self._ends[job.execution_id] = end
                self._bytes += size
        self._bell.set()

    @property
    def pending(self) -> int:
        """Ends that are not in the database yet."""
        with self._lock:
            return len(self._ends)

    def flush(self, seconds: float) -> bool:
        """Wait until everything brought so far is written; False if that took longer than ``seconds``."""
        deadline = self._clock.monotonic() + seconds
        with self._lock:
            self._touched_at = float("-inf")
            self._starts = OrderedDict(
                (key, (start, float("-inf"))) for key, (start, _) in self._starts.items()
            )
        self._bell.set()
        with self._lock:
            while self._ends or self._starts or self._last_runs:
                left = deadline - self._clock.monotonic()
                if left <= 0 or not self.is_alive():
                    return False
                self._lock.wait(min(left, 0.05))
        return True

    def close(self, seconds: float) -> bool:
        """Flush and end the thread; what is left then goes to ``unwritable``. True if nothing was."""
        done = self.flush(seconds)
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        self._bell.set()
        if self.ident is not None:
            self.join(5.0)
        with self._lock:
            left = list(self._ends.values())
            self._ends.clear()
        if left:
            self._unwritable(left, None)
        return done and not left

    # -- the thread -----------------------------------------------------------------------------

    def run(self) -> None:
        """The thread's body."""
        while not self._closing:
            self._clock.wait(self._bell, self._next_pause())
            self._bell.clear()
            self._drain()

    def _next_pause(self) -> float | None:
        """Seconds until something is due: at once with ends, later with starts and last runs only."""
        with self._lock:
            now = self._clock.monotonic()
            pauses = [0.0] if self._ends else []
            if self._starts:
                pauses.append(next(iter(self._starts.values()))[1] + START_LINGER - now)
            if self._last_runs:
                pauses.append(self._touched_at + LAST_RUN_SECONDS - now)
        return max(0.0, min(pauses)) if pauses else None

    def _drain(self) -> None:
        while not self._closing:
            starts, ends = self._batch()
            try:
                if starts or ends:
                    self._write(starts, ends)
                elif not self._touch():
                    return
            except Temporary as error:
                self._failures += 1
                self._on_failure(error)
                self._pause()
            except Exception as error:  # a fault of ours must not end the recording of everything else
                self._failures += 1
                log.error("recording failed and goes on: %s", error)
                log.debug("recording failed", exc_info=error)
                self._pause()
            else:
                self._failures = 0
                self._on_success()

    def _pause(self) -> None:
        seconds = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self._failures - 1, 10))
        stop = self._clock.monotonic() + seconds
        while not self._closing and (left := stop - self._clock.monotonic()) > 0:
            self._clock.wait(threading.Event(), min(left, 0.25))

    def _batch(self) -> tuple[list[Started], list[Ended]]:
        """What to write now; it stays here until it is written."""
        room = self._ledger.max_bytes() if self._ends else 0
        with self._lock:
            ends: list[Ended] = []
            for end in islice(self._ends.values(), self._max_rows):
                room -= size_of(end.outcome)
                if room < 0 and ends:
                    break
                ends.append(end)
            ripe = self._clock.monotonic() - START_LINGER
            starts = [
                start
                for execution_id, (start, since) in islice(self._starts.items(), self._max_rows)
                # its end says all that the start would
                if since <= ripe and execution_id not in self._ends
            ]
        return starts, ends

    def _write(self, starts: list[Started], ends: list[Ended]) -> None:
        try:
            recorded = self._ledger.write(starts, ends)
        except Temporary:
            raise
        except ReconcilerError as error:
            if len(ends) + len(starts) > 1:
                # one of them is refused: find out which, alone
                for start in starts:
                    self._write([start], [])
                for end in ends:
                    self._write([], [end])
                return
            recorded = []
            if ends:
                self._unwritable(ends, error)
            self._written(starts, ends)
            return
        done = {item.job.execution_id for item in recorded}
        self._written(starts, [end for end in ends if end.job.execution_id in done])
        if len(done) < len(ends):
            self._postpone(end for end in ends if end.job.execution_id not in done)
        self._after(recorded)

    def _written(self, starts: Sequence[Started], ends: Sequence[Ended]) -> None:
        with self._lock:
            for start in starts:
                self._starts.pop(start.job.execution_id, None)
                self._note_last_run(start.job.task_id, start.at)
            for end in ends:
                self._starts.pop(end.job.execution_id, None)
                del self._ends[end.job.execution_id]
                self._bytes -= size_of(end.outcome)
                if end.outcome.started_at is not None:
                    self._note_last_run(end.job.task_id, end.outcome.started_at)
            self._lock.notify_all()

    def _postpone(self, ends: Iterable[Ended]) -> None:
        """Somebody holds what these need: the others go first."""
        with self._lock:
            for end in ends:
                self._ends.move_to_end(end.job.execution_id)
            alone = len(self._ends)
        self._clock.wait(threading.Event(), _POSTPONED if alone < self._max_rows else 0)

    def _note_last_run(self, task_id: int, at: datetime) -> None:
        known = self._last_runs.get(task_id)
        if known is None or known < at:
            self._last_runs[task_id] = at

    def _touch(self) -> bool:
        """Bring `last_run` up to date if it is time; whether anything was done."""
        with self._lock:
            now = self._clock.monotonic()
            if not self._last_runs or now < self._touched_at + LAST_RUN_SECONDS:
                return False
            self._touched_at = now
            batch = dict(islice(self._last_runs.items(), self._max_rows))
        rest = self._ledger.touch_tasks(batch)
        with self._lock:
            for task_id, at in batch.items():
                if task_id not in rest and self._last_runs.get(task_id) == at:
                    del self._last_runs[task_id]
            self._lock.notify_all()
            if len(batch) > len(rest) and self._last_runs:
                # more than one batch was waiting
                self._touched_at = float("-inf")
        return True

    def _full(self) -> bool:
        return len(self._ends) >= MAX_PENDING_ROWS or self._bytes >= MAX_PENDING_BYTES


def _complain(ends: list[Ended], error: ReconcilerError | None) -> None:
    why = error.message if error else "the database did not answer until the end of this process"
    names = ", ".join(str(end.job.execution_id) for end in ends[:10])
    more = f" and {len(ends) - 10} more" if len(ends) > 10 else ""
    log.error("the end of %d executions could not be recorded (%s): %s%s", len(ends), why, names, more)
