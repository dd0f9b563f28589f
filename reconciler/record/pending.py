"""Starts and ends that are nowhere but in memory: few, bounded, and not for long."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice

from reconciler.clock import Clock
from reconciler.record.batch import Ended, Record, Started, key_of, size_of

MAX_ROWS = 10_000
MAX_BYTES = 64 * 1024 * 1024
"""Beyond either, whoever brings another end waits: memory is bounded by what runs, not by the outage."""
START_LINGER = 0.1
"""Seconds a start may wait for its end: a run shorter than that costs one write, not two."""


class Pending:
    """Keeps records in the order in which they came; every method may be called from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._starts: OrderedDict[int, tuple[Started, float]] = OrderedDict()
        self._ends: OrderedDict[int, tuple[Ended, float]] = OrderedDict()
        self._bytes = 0
        self._hurry = False
        self._closed = False
        self._written_at = float("-inf")
        self._written_elsewhere: set[tuple[int, bool]] = set()

    def start(self, record: Started) -> None:
        """Never waits."""
        with self._lock:
            self._starts[record.job.execution_id] = record, self._clock.monotonic()

    def end(self, record: Ended) -> None:
        """Waits while too much is here; a second end of one execution changes nothing."""
        with self._lock:
            while self._full() and not self._closed:
                self._changed.wait(1.0)
            if record.job.execution_id not in self._ends:
                self._ends[record.job.execution_id] = record, self._clock.monotonic()
                self._bytes += size_of(record.outcome)

    @property
    def ends(self) -> int:
        """How many ends are here."""
        with self._lock:
            return len(self._ends)

    @property
    def empty(self) -> bool:
        with self._lock:
            return not self._ends and not self._starts

    def due_in(self) -> float | None:
        """Seconds until ``batch`` has something; None if nothing is here."""
        with self._lock:
            if self._ends:
                return 0.0
            if not self._starts:
                return None
            since = next(iter(self._starts.values()))[1]
            return 0.0 if self._hurry else max(0.0, since + START_LINGER - self._clock.monotonic())

    def batch(self, rows: int, room: int) -> list[Record]:
        """At most so many rows and bytes to write now (one end at least); they stay here as well."""
        with self._lock:
            ends: list[Record] = []
            for end, _ in islice(self._ends.values(), rows):
                room -= size_of(end.outcome)
                if room < 0 and ends:
                    break
                ends.append(end)
            ripe = self._clock.monotonic() - (0.0 if self._hurry else START_LINGER)
            starts: list[Record] = [
                start
                for execution_id, (start, since) in islice(self._starts.items(), rows)
                # its end says all that the start would
                if since <= ripe and execution_id not in self._ends
            ]
        return starts + ends

    def overdue(self, stuck: float, slow: float) -> list[Record]:
        """What came ``stuck`` seconds ago or earlier if nothing at all was written since, else what came
        ``slow`` seconds ago; starts first. It stays here.
        """
        now = self._clock.monotonic()
        return self._until(now - (stuck if self._written_at <= now - stuck else slow))

    def everything(self) -> list[Record]:
        """All that is here."""
        return self._until(float("inf"))

    def _until(self, before: float) -> list[Record]:
        with self._lock:
            found: list[Record] = [
                start
                for execution_id, (start, since) in self._starts.items()
                if since <= before and execution_id not in self._ends
            ]
            return found + [end for end, since in self._ends.values() if since <= before]

    def written(self, records: Iterable[Record]) -> None:
        """The database has these. What was moved to the spool meanwhile is remembered for ``is_written``."""
        with self._lock:
            self._written_at = self._clock.monotonic()
            for record in records:
                if not self._forget(record):
                    self._written_elsewhere.add(key_of(record))
            self._changed.notify_all()

    def moved(self, records: Iterable[Record]) -> None:
        """The spool has these."""
        with self._lock:
            for record in records:
                self._forget(record)
            self._changed.notify_all()

    def is_written(self, record: Record) -> bool:
        """Whether the database took this one while it was moved to the spool; true once."""
        with self._lock:
            if key_of(record) not in self._written_elsewhere:
                return False
            self._written_elsewhere.discard(key_of(record))
            return True

    def postpone(self, ends: Iterable[Record]) -> int:
        """Somebody holds what these need: the others go first. How many ends there are."""
        with self._lock:
            for end in ends:
                if end.job.execution_id in self._ends:
                    self._ends.move_to_end(end.job.execution_id)
            return len(self._ends)

    def hurry(self) -> None:
        """From now on starts do not wait for their ends."""
        with self._lock:
            self._hurry = True

    def wait(self, seconds: float) -> None:
        """Until something left, or so long."""
        with self._lock:
            self._changed.wait(seconds)

    def close(self) -> None:
        """Nobody waits any more."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()

    # -- under the lock -------------------------------------------------------------------------

    def _full(self) -> bool:
        return len(self._ends) >= MAX_ROWS or self._bytes >= MAX_BYTES

    def _forget(self, record: Record) -> bool:
        """Whether it was here. With an end its start goes, too."""
        execution_id = record.job.execution_id
        started = self._starts.pop(execution_id, None)
        if isinstance(record, Started):
            return started is not None
        found = self._ends.pop(execution_id, None)
        if found is None:
            return False
        self._bytes -= size_of(found[0].outcome)
        return True
