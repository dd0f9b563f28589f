"""The threads that execute runs, and the runs that this process holds."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from reconciler.dispatch.taker import Taken
from reconciler.execute.control import Control
from reconciler.model.execution import Job

log = logging.getLogger("reconciler.controller")


@dataclass(slots=True, eq=False)
class Run:
    """One execution whose lease this process holds, until its end is recorded.

    ``lease_until``: the monotonic second at which the lease ends unless it is renewed. ``executing``: it
    keeps a thread busy.
    """

    taken: Taken
    control: Control
    lease_until: float
    executing: bool = True
    lease_lost: bool = False

    @property
    def job(self) -> Job:
        return self.taken.job


class Runs:
    """All runs that this process holds; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[int, Run] = {}

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

    def per_server(self) -> dict[int, int]:
        """How many runs of each server (by id) keep a thread busy."""
        counts: dict[int, int] = {}
        for run in self.executing():
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
    """At most ``size`` threads, made when first needed, each doing one run at a time.

    ``on_free`` is called after each run, when its thread is free again. The threads are daemons: a run that
    cannot be ended does not keep the process.
    """

    def __init__(self, size: int, work: Callable[[Run], None], on_free: Callable[[], None]) -> None:
        self._size = size
        self._work = work
        self._on_free = on_free
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[Run | None] = queue.SimpleQueue()
        self._threads = 0
        self._busy = 0

    @property
    def free(self) -> int:
        """How many more runs may be submitted now."""
        with self._lock:
            return self._size - self._busy

    def submit(self, run: Run) -> None:
        """Execute it in a thread, at once; the caller has looked at ``free``."""
        with self._lock:
            self._busy += 1
            grow = self._busy > self._threads
            if grow:
                self._threads += 1
                number = self._threads
        if grow:
            threading.Thread(target=self._loop, name=f"run-{number}", daemon=True).start()
        self._jobs.put(run)

    def close(self) -> None:
        """Let idle threads end."""
        with self._lock:
            threads, self._size = self._threads, 0
        for _ in range(threads):
            self._jobs.put(None)

    def _loop(self) -> None:
        while (run := self._jobs.get()) is not None:
            try:
                self._work(run)
            except Exception:
                log.exception("execution %d: its thread failed", run.job.execution_id)
            finally:
                with self._lock:
                    self._busy -= 1
                self._on_free()
