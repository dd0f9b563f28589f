"""The threads that execute runs, and the runs that this process holds."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from reconciler.clock import Clock
from reconciler.dispatch.taker import Taken
from reconciler.execute.control import Control
from reconciler.model.execution import Job

log = logging.getLogger("reconciler.controller")

ASIDE_SECONDS = 0.05
"""A run that has waited so long for its host lends its place to others. Most dials and sessions take less,
and 200 dead hosts pass through 32 places in a third of a second."""
HELD_UP_SECONDS = 1.0
"""A server that a run has waited for so long gets no further runs: longer than any way there and back."""
MOST_ASIDE = 500
"""Places lent out at once: each costs a thread, and memory must end somewhere."""
GLANCE_SECONDS = 0.2
_CALLS = 8
"""Idle threads that are on their way to a run at once."""


@dataclass(slots=True, eq=False)
class Run:
    """One execution whose lease this process holds, until its end is recorded.

    ``lease_until``: the monotonic second at which the lease ends unless it is renewed. ``executing``: it
    keeps a thread busy. ``started``: it runs on its host.
    """

    taken: Taken
    lease_until: float
    executing: bool = True
    started: bool = False
    lease_lost: bool = False
    control: Control = field(init=False)

    @property
    def job(self) -> Job:
        return self.taken.job


class Runs:
    """All runs that this process holds; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[int, Run] = {}
        self.losses = 0
        """Leases that were lost while their runs went on, so far."""

    def add(self, run: Run) -> None:
        with self._lock:
            self._runs[run.job.execution_id] = run

    def remove(self, execution_id: int) -> Run | None:
        with self._lock:
            return self._runs.pop(execution_id, None)

    def get(self, execution_id: int) -> Run | None:
        with self._lock:
            return self._runs.get(execution_id)

    def all(self) -> list[Run]:
        with self._lock:
            return list(self._runs.values())

    def ids(self) -> list[int]:
        with self._lock:
            return sorted(self._runs)

    def executing(self) -> list[Run]:
        """Those that keep a thread busy."""
        return [run for run in self.all() if run.executing]

    def per_server(self, *, started: bool = True) -> dict[int, int]:
        """How many runs of each server (by id) are executing, or only those that have not ``started``."""
        counts: dict[int, int] = {}
        for run in self.executing():
            if run.started and not started:
                continue
            server = run.taken.server_id
            counts[server] = counts.get(server, 0) + 1
        return counts

    def renewed(self, ids: Iterable[int], until: float) -> None:
        """The leases of these runs now last until that monotonic second."""
        with self._lock:
            for execution_id in ids:
                run = self._runs.get(execution_id)
                if run is not None:
                    run.lease_until = until


class Pool:
    """At most ``size`` runs at work at once, each in a thread that is made when first needed.

    A run that waits for its host (`waiting`) keeps its thread but not its place: others may work meanwhile,
    so that any number of dead hosts delays nobody. ``on_free`` is called after each run, when its place is
    free again. The threads are daemons: a run that cannot be ended does not keep the process.

    Of the threads that are idle only a few are woken at once, each by one that has just begun a run: of 200
    short runs, which come together, most are over before a 200th thread has had its turn at the interpreter,
    and each thread that is woken for nothing takes one.
    """

    def __init__(
        self, size: int, work: Callable[[Run], None], on_free: Callable[[], None], clock: Clock
    ) -> None:
        self._size = size
        self._work = work
        self._on_free = on_free
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._jobs: deque[Run] = deque()
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._called = 0
        self._closed = False
        self._threads = 0
        self._busy = 0
        self._at_work: dict[int, Run] = {}
        self._waits: dict[int, float] = {}
        self._returning = 0

    @property
    def free(self) -> int:
        """How many more runs may be submitted now; who comes back from waiting goes first."""
        with self._lock:
            return self._size - self._busy + self._aside()

    def next_free(self) -> float | None:
        """Seconds until a place may become free because its run waits; None: nobody has begun to."""
        with self._lock:
            return ASIDE_SECONDS if self._aside() < min(len(self._waits), MOST_ASIDE) else None

    def held_up(self) -> set[int]:
        """The servers (by id) that a run of ours has waited for so long that more had better not."""
        with self._lock:
            return {self._at_work[thread].taken.server_id for thread in self._long_waits(HELD_UP_SECONDS)}

    def resize(self, size: int) -> None:
        """From now on so many places; runs beyond them go on, and nothing is begun until there is room."""
        with self._lock:
            self._size = size
            self._changed.notify_all()
        self._on_free()

    def submit(self, run: Run) -> None:
        """Execute it in a thread, at once; the caller has looked at ``free``.

        Raises RuntimeError where the machine gives us no thread at all.
        """
        with self._lock:
            self._busy += 1
            grow = self._busy > self._threads
            if grow:
                self._threads += 1
                number = self._threads
        if grow:
            try:
                threading.Thread(target=self._loop, name=f"run-{number}", daemon=True).start()
            except RuntimeError:
                if not self._do_without():
                    raise
        with self._lock:
            self._jobs.append(run)
            call = self._call()
        if call:
            self._calls.put(None)

    @contextmanager
    def waiting(self, stop: threading.Event, *, long: bool, in_line: bool) -> Iterator[None]:
        """Within this block the run of the calling thread waits for its host and lends out its place: at once
        if that is known to take ``long``, else when it has taken a moment.

        It is taken back at the end: with ``in_line`` the run waits for a free one (or ``stop``), without it
        works beside the others, as one must that goes on at its host anyway. A block that fails takes
        none: what is left of that run is quick. In any other thread this does nothing.
        """
        me = threading.get_ident()
        with self._lock:
            counts = me in self._at_work and me not in self._waits
            full = counts and self._busy - self._aside() >= self._size
            if counts:
                self._waits[me] = self._clock.monotonic() - (ASIDE_SECONDS if long else 0.0)
        if not counts:
            yield
            return
        if full:
            self._on_free()
        try:
            yield
        except BaseException:
            with self._lock:
                del self._waits[me]
            raise
        with self._lock:
            long = self._clock.monotonic() - self._waits.pop(me) >= ASIDE_SECONDS
            if long and in_line:
                self._take_place(stop)

    def close(self) -> None:
        """Let idle threads end."""
        with self._lock:
            threads, self._size = self._threads, 0
            self._closed = True
            self._called += threads
            self._changed.notify_all()
        for _ in range(threads):
            self._calls.put(None)

    def _take_place(self, stop: threading.Event) -> None:
        self._returning += 1
        try:
            while self._busy - self._aside() - self._returning >= self._size > 0 and not stop.is_set():
                self._changed.wait(GLANCE_SECONDS)
        finally:
            self._returning -= 1

    def _aside(self) -> int:
        return min(MOST_ASIDE, len(self._long_waits()))

    def _long_waits(self, seconds: float = ASIDE_SECONDS) -> list[int]:
        if not self._waits:
            return []
        since = self._clock.monotonic() - seconds
        return [thread for thread, begun in self._waits.items() if begun <= since]

    def _do_without(self) -> bool:
        """No further thread can be had: whether one of those that are there will take the run."""
        with self._lock:
            self._threads -= 1
            if not self._threads:
                self._busy -= 1
            return self._threads > 0

    def _call(self) -> bool:
        """Whether to wake one more idle thread for what is queued; the caller puts into ``_calls``."""
        if not self._jobs or self._called >= _CALLS:
            return False
        self._called += 1
        return True

    def _loop(self) -> None:
        me = threading.get_ident()
        while (run := self._next(me)) is not None:
            try:
                self._work(run)
            except Exception:
                execution_id = run.job.execution_id
                extra = {"execution": str(execution_id)}
                log.exception("execution %d: its thread failed", execution_id, extra=extra)
            finally:
                enough = self._done(me)
                self._on_free()
            if enough:
                return

    def _next(self, me: int) -> Run | None:
        """The run that has been queued longest, None when there will be no more."""
        while True:
            with self._lock:
                if self._jobs:
                    run = self._at_work[me] = self._jobs.popleft()
                    call = self._call()
                    break
                if self._closed:
                    return None
            self._calls.get()
            with self._lock:
                self._called -= 1
        if call:
            self._calls.put(None)
        return run

    def _done(self, me: int) -> bool:
        """The run of this thread is over; whether the thread is needed no more."""
        with self._lock:
            del self._at_work[me]
            self._busy -= 1
            # those that came while others waited are needed no more
            enough = self._threads - self._busy > max(self._size, 1)
            if enough:
                self._threads -= 1
            if self._returning:
                self._changed.notify_all()
        return enough
