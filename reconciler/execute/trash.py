"""Folders of recorded runs on their hosts: removed in batches, so that no run costs a channel for it."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from reconciler.clock import Clock
from reconciler.execute.fault import Fault
from reconciler.execute.folder import TRASH_SENT, tidy_script
from reconciler.execute.host import Host
from reconciler.model.execution import Job

_log = logging.getLogger(__name__)

QUIET_SECONDS = 10.0
"""Folders that no start has taken along by then are removed on a channel of their own."""
LOOK_SECONDS = 2.0
SWEEP_SECONDS = 86_400.0
"""How often one process looks for forgotten folders in one place, the first time with its first removals."""
TIDY_SECONDS = 20.0
"""How long one place may take."""
LONGEST_SECONDS = 3600.0
"""A place that cannot be reached is tried again after twice as long each time, up to this."""
LEFT = 2000
"""More of one place are left to the sweep: its host does not answer."""

Place = tuple[object, ...]


def place_of(job: Job) -> Place:
    """Where its folder is: the server, and the account there."""
    server = job.server
    return server.name, server.spec.host, server.spec.port, server.spec.username, job.spec.run_as


@dataclass(slots=True)
class _Heap:
    job: Job
    ids: list[int] = field(default_factory=list)
    since: float = 0.0
    swept_at: float = float("-inf")
    pause: float = QUIET_SECONDS
    told: bool = False
    """That it cannot be reached stands in the log."""


class Trash:
    """Safe for use by many threads. ``host`` gives the way to a job's host."""

    def __init__(self, host: Callable[[Job], Host], clock: Clock) -> None:
        self._host = host
        self._clock = clock
        self._lock = threading.Lock()
        self._heaps: dict[Place, _Heap] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, job: Job) -> None:
        """The folder of this run may go."""
        with self._lock:
            heap = self._heaps.setdefault(place_of(job), _Heap(job))
            heap.job = job
            if not heap.ids:
                heap.since = self._clock.monotonic()
            if len(heap.ids) < LEFT:
                heap.ids.append(job.execution_id)
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._keep, name="tidy", daemon=True)
                self._thread.start()

    def take(self, job: Job) -> tuple[int, ...]:
        """What a start of this job should take along: nothing, until it is worth a process."""
        with self._lock:
            heap = self._heaps.get(place_of(job))
            if heap is None or len(heap.ids) < TRASH_SENT:
                return ()
            taken, heap.ids = heap.ids[:TRASH_SENT], heap.ids[TRASH_SENT:]
            heap.since = self._clock.monotonic()
            return tuple(taken)

    def put_back(self, job: Job, ids: tuple[int, ...]) -> None:
        """They were taken and not removed."""
        with self._lock:
            heap = self._heaps.setdefault(place_of(job), _Heap(job))
            heap.ids = [*ids, *heap.ids][:LEFT]

    def close(self) -> None:
        """Remove what there is, as far as hosts answer at once; then no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(TIDY_SECONDS / 4)

    def _keep(self) -> None:
        while not self._clock.wait(self._stop, LOOK_SECONDS):
            self._tidy(self._clock.monotonic())
        self._tidy(float("inf"))

    def _tidy(self, now: float) -> None:
        with self._lock:
            due = [heap for heap in self._heaps.values() if heap.ids and heap.since + heap.pause <= now]
        for heap in due:
            with self._lock:
                ids, heap.ids = heap.ids, []
            now = self._clock.monotonic()
            sweep = now - heap.swept_at >= SWEEP_SECONDS and not self._stop.is_set()
            if self._remove(heap, ids, sweep):
                heap.swept_at = now if sweep else heap.swept_at
                heap.pause, heap.told = QUIET_SECONDS, False
            else:
                self.put_back(heap.job, tuple(ids))
                with self._lock:
                    heap.since, heap.pause = now, min(2 * heap.pause, LONGEST_SECONDS)

    def _remove(self, heap: _Heap, ids: list[int], sweep: bool) -> bool:
        job = heap.job
        given_up = threading.Event()
        timer = threading.Timer(TIDY_SECONDS, given_up.set)
        timer.daemon = True
        timer.start()
        try:
            shell = self._host(job).open(job.spec.run_as, None, given_up, beside=True)
            with contextlib.closing(shell):
                shell.send(tidy_script(ids, sweep=sweep))
                while not shell.drained and shell.lost is None and not given_up.is_set():
                    shell.receive(1.0)
                return shell.drained
        except Fault as fault:
            if not heap.told:
                heap.told = True
                what = "the folder of 1 run" if len(ids) == 1 else f"the folders of {len(ids)} runs"
                _log.info("%s on %s cannot be removed yet: %s", what, job.server.name, fault.message)
            return False
        finally:
            timer.cancel()
