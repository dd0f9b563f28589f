"""The recorder: starts and ends of runs, many in one transaction; on the disk while the database is away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Protocol

from reconciler.clock import Clock
from reconciler.errors import DatabaseBusy, DatabaseRejected, ReconcilerError, SpoolFull
from reconciler.model.execution import Job, Outcome, Reason, Status
from reconciler.record.batch import Ended, Record, Recorded, Started
from reconciler.record.keeper import SpoolKeeper
from reconciler.record.pending import Pending
from reconciler.record.replay import Replay
from reconciler.record.spool import Spool

log = logging.getLogger("reconciler.record")

MAX_ROWS = 250
"""Ends in one transaction; more make no batch faster and every lock longer."""
LAST_RUN_SECONDS = 1.0
"""How often the tasks' `last_run` is brought up to date: many runs of a task, one write."""
AWAY_SECONDS = 1.0
"""At the end of the process a database that is known to be away is waited for no longer than that."""
_POSTPONED = 0.05
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0


class Ledger(Protocol):
    """Where the writer writes; each call is one transaction and may be repeated.

    Raises Temporary when the same call may succeed later, DatabaseRejected for what was to be written,
    and other errors for what is wrong with the database.
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

    A record is in memory until the database has it, or the spool. What the database refuses for good goes to
    the spool's ``refused`` alone, never with its neighbours, and its row ends as ``lost`` meanwhile.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        spool: Spool,
        *,
        after: Callable[[list[Recorded]], None] = lambda recorded: None,
        on_failure: Callable[[ReconcilerError], None] = lambda error: None,
        on_success: Callable[[], None] = lambda: None,
        max_rows: int = MAX_ROWS,
    ) -> None:
        super().__init__(name="record", daemon=True)
        self._ledger = ledger
        self._clock = clock
        self.spool = spool
        self._after = after
        self._on_failure = on_failure
        self._on_success = on_success
        self._max_rows = max_rows
        self._bell = threading.Event()
        self._pending = Pending(clock)
        self._keeper = SpoolKeeper(spool, self._pending, clock, self._bell.set)
        self._replay = Replay(spool, self._pending)
        self._last_runs: dict[int, datetime] = {}
        self._touched_at = clock.monotonic()
        self._closing = threading.Event()
        self._failures = 0
        self._answered = False

    # -- for other threads ----------------------------------------------------------------------

    def started(self, job: Job, at: datetime) -> None:
        """The host acknowledged the start at ``at`` (our clock). Never waits."""
        self._pending.start(Started(job, at))
        self._ring()

    def ended(self, job: Job, outcome: Outcome) -> None:
        """The run ended. Waits while too much is pending; a second end of one execution changes nothing."""
        self._pending.end(Ended(job, outcome))
        self._ring()

    def _ring(self) -> None:
        if not self._bell.is_set():  # of ten thousand ends a second most come while it rings
            self._bell.set()

    @property
    def pending(self) -> int:
        """Ends that are neither in the database nor in the spool yet."""
        return self._pending.ends

    @property
    def spool_full(self) -> bool:
        """Whether the disk took nothing when it was last asked: records wait in memory."""
        return self._keeper.full

    @property
    def well(self) -> bool:
        """Whether its two threads live."""
        return self.is_alive() and self._keeper.alive

    def start(self) -> None:
        """Begin to write, first what ended processes left in the spool."""
        self._keeper.start()
        super().start()

    def flush(self, seconds: float) -> bool:
        """Wait until everything brought so far is in the database; False if that took longer than
        ``seconds``, or a second of them while the database is away.
        """
        begun = self._clock.monotonic()
        self._pending.hurry()
        self._touched_at = float("-inf")
        self._bell.set()
        while not self._pending.empty or self.spool.records or self._last_runs:
            waited = self._clock.monotonic() - begun
            if waited >= (min(seconds, AWAY_SECONDS) if self._failures else seconds) or not self.is_alive():
                return False
            self._pending.wait(0.05)
        return True

    def close(self, seconds: float) -> bool:
        """Flush and end. What the database has not taken by then is left in the spool for the next process;
        False if that was impossible, too.
        """
        if self.is_alive():
            self.flush(seconds)
        self._closing.set()
        self._pending.close()
        self._bell.set()
        if self.ident is not None:
            # a call of the database that does not answer: what it holds is kept, and replayed if need be
            self.join(AWAY_SECONDS)
        return self._keeper.close()

    # -- the thread -----------------------------------------------------------------------------

    def run(self) -> None:
        """The thread's body."""
        while not self._closing.is_set():
            self._clock.wait(self._bell, self._next_pause())
            self._bell.clear()
            self._drain()

    def _next_pause(self) -> float | None:
        """Seconds until something is due: at once with ends, later with starts and last runs only."""
        if self._replay.waits:
            return 0.0
        pauses = [] if (due := self._pending.due_in()) is None else [due]
        if self._last_runs:
            pauses.append(max(0.0, self._touched_at + LAST_RUN_SECONDS - self._clock.monotonic()))
        return min(pauses, default=None)

    def _drain(self) -> None:
        while not self._closing.is_set():
            self._answered = False
            try:
                # by turns: what is kept longest comes first, and what comes now does not wait for all of it
                worked = self._replay_some() | self._write_some()
                if not worked and not self._touch():
                    return
            except ReconcilerError as error:
                self._failed(error)
            except Exception as error:  # a recorder that died would stop everything without a word
                log.error("recording failed and goes on: %s", type(error).__name__)
                log.debug("recording failed", exc_info=error)
                self._pause()
            else:
                if self._answered:
                    self._succeeded()

    def _failed(self, error: ReconcilerError) -> None:
        if isinstance(error, SpoolFull):
            self._keeper.tell(error)
        else:
            self._on_failure(error)
        if not isinstance(error, DatabaseBusy | SpoolFull):
            self._keeper.away(True)
        self._pause()

    def _pause(self) -> None:
        self._failures += 1
        seconds = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self._failures - 1, 10))
        self._clock.wait(self._closing, seconds)

    def _succeeded(self) -> None:
        self._failures = 0
        self._keeper.away(False)
        self._on_success()

    def _write_some(self) -> bool:
        """Write a batch out of memory; whether there was one."""
        room = self._ledger.max_bytes() if self._pending.ends else 0
        records = self._pending.batch(self._max_rows, room)
        if records:
            waiting = self._store(records, self._pending.written)
            if waiting:
                left = self._pending.postpone(waiting)
                self._clock.wait(self._closing, _POSTPONED if left < self._max_rows else 0)
        return bool(records)

    def _replay_some(self) -> bool:
        """Write a batch out of the spool; whether there was one."""
        if not self._replay.waits:
            return False
        records = self._replay.batch(self._max_rows, self._ledger.max_bytes())
        waiting = self._store(records, self._replay.written) if records else []
        if waiting:
            self._replay.postpone(waiting)
            self._clock.wait(self._closing, _POSTPONED)
        return True

    def _store(self, records: Sequence[Record], written: Callable[[Sequence[Record]], None]) -> list[Record]:
        """Write these in one transaction, or where one is refused in several; those that have to wait.

        ``written`` is told of those that are stored, and of refused ones that are kept for people.
        """
        starts = [record for record in records if isinstance(record, Started)]
        ends = [record for record in records if isinstance(record, Ended)]
        try:
            recorded = self._ledger.write(starts, ends)
            self._answered = True
        except DatabaseRejected as error:
            return self._divide(records, written, error)
        except ReconcilerError:
            raise
        except Exception as error:  # a fault of ours must not end the recording of everything else
            log.debug("recording failed", exc_info=error)
            fault = DatabaseRejected(f"a fault of reconciler itself: {type(error).__name__}")
            return self._divide(records, written, fault)
        done = {item.job.execution_id for item in recorded}
        stored: list[Record] = [*starts, *(end for end in ends if end.job.execution_id in done)]
        for record in stored:
            self._note_last_run(record)
        written(stored)
        told = [item for item in recorded if not item.void]
        if told:
            self._after(told)
        return [end for end in ends if end.job.execution_id not in done]

    def _divide(
        self, records: Sequence[Record], written: Callable[[Sequence[Record]], None], error: DatabaseRejected
    ) -> list[Record]:
        """One of these is refused: find out which, alone."""
        if len(records) > 1:
            half = len(records) // 2
            return [*self._store(records[:half], written), *self._store(records[half:], written)]
        record = records[0]
        file = self._keeper.refuse(record, error)
        if isinstance(record, Ended):
            self._after(self._stand_in(record, file, error))
        written(records)
        return []

    def _stand_in(self, end: Ended, file: Path, error: DatabaseRejected) -> list[Recorded]:
        """End the row without proof, so that it is neither shown as running nor run again; the end that is
        kept replaces that once the database takes it.
        """
        found = Outcome(
            end.job.execution_id,
            Status.FAILED,
            Reason.LOST,
            end.outcome.finished_at,
            end.outcome.started_at,
            message=f"it ended, and the database refuses the record ({error.message}): it is kept in {file}",
        )
        try:
            recorded = self._ledger.write([], [Ended(end.job, found)])
        except Exception as fault:
            if isinstance(fault, ReconcilerError) and not isinstance(fault, DatabaseRejected):
                raise
            # not even that: at least nobody holds the run any more
            recorded = [Recorded(end.job, found)]
        return [replace(item, refused=True) for item in recorded]

    # -- last runs ------------------------------------------------------------------------------

    def _note_last_run(self, record: Record) -> None:
        at = record.at if isinstance(record, Started) else record.outcome.started_at
        if at is None:
            return
        known = self._last_runs.get(record.job.task_id)
        if known is None or known < at:
            self._last_runs[record.job.task_id] = at

    def _touch(self) -> bool:
        """Bring `last_run` up to date if it is time; whether anything was done."""
        now = self._clock.monotonic()
        if not self._last_runs or now < self._touched_at + LAST_RUN_SECONDS:
            return False
        self._touched_at = now
        batch = dict(islice(self._last_runs.items(), self._max_rows))
        rest = self._ledger.touch_tasks(batch)
        self._answered = True
        for task_id in batch.keys() - rest:
            del self._last_runs[task_id]
        if len(batch) > len(rest) and self._last_runs:
            # more than one batch was waiting
            self._touched_at = float("-inf")
        return True
