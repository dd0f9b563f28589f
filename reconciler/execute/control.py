"""The strings by which the owner of a run holds it, and the interface all executors share."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from reconciler.model.execution import Job, Outcome

Stream = Literal["stdout", "stderr"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Why a run is to end: ``why`` completes "cancelled: …", ``grace`` (seconds) shortens killGrace."""

    why: str
    grace: float | None = None


Waiting = Callable[[threading.Event, bool], AbstractContextManager[None]]
"""Entered with the event that ends the wait early, and whether it is known to take longer than a moment."""


def no_place(stop: threading.Event, long: bool) -> AbstractContextManager[None]:
    """Of a run that keeps nobody from working."""
    return contextlib.nullcontext()


class Control:
    """Cancels a run from any thread, and hears of its start and output.

    ``on_started`` gets the time (UTC) of the host's acknowledgement; ``on_output`` gets each piece of
    masked output. Both are called in the run's thread and should return at once; what they raise is logged
    and does not disturb the run. ``waiting`` is entered while the run does nothing but wait for its host.
    """

    def __init__(
        self,
        on_started: Callable[[datetime], None] | None = None,
        on_output: Callable[[Stream, bytes], None] | None = None,
        waiting: Waiting = no_place,
    ) -> None:
        self._on_started = on_started
        self._on_output = on_output
        self.waiting = waiting
        """What to enter around every wait for the host."""
        self._lock = threading.Lock()
        self._wakers: list[Callable[[], None]] = []
        self._cancellation: Cancellation | None = None
        self.cancelled = threading.Event()
        """Set when the run is to end; to be read and waited for. `cancel` sets it."""
        self.released = threading.Event()
        """Set when its owner leaves it to others. `let_go` sets it."""

    def cancel(self, why: str, grace: float | None = None) -> None:
        """End the run: TERM, after the grace KILL. The first ``why`` counts, and the shortest grace."""
        with self._lock:
            first = self._cancellation
            if first is None:
                self._cancellation = Cancellation(why, grace)
            elif grace is not None and (first.grace is None or grace < first.grace):
                self._cancellation = Cancellation(first.why, grace)
            self.cancelled.set()
            wakers = tuple(self._wakers)
        for wake in wakers:
            wake()

    def let_go(self) -> None:
        """Leave the run alone: a durable one lives on, and its executor returns with status ``OPEN``.

        Others take no notice.
        """
        with self._lock:
            self.released.set()
            wakers = tuple(self._wakers)
        for wake in wakers:
            wake()

    @property
    def cancellation(self) -> Cancellation | None:
        """Why and how, once `cancelled` is set."""
        with self._lock:
            return self._cancellation

    @contextlib.contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Within this block `cancel` and `let_go` also call ``wake``, which must not block."""
        with self._lock:
            self._wakers.append(wake)
            already = self._cancellation is not None or self.released.is_set()
        if already:
            wake()
        try:
            yield
        finally:
            with self._lock:
                self._wakers.remove(wake)

    def started(self, at: datetime) -> None:
        """Executors report the acknowledged start."""
        if self._on_started is not None:
            try:
                self._on_started(at)
            except Exception:
                _log.exception("the listener for the start of a run failed")

    def output(self, stream: Stream, data: bytes) -> None:
        """Executors report masked output."""
        if self._on_output is not None and data:
            try:
                self._on_output(stream, data)
            except Exception:
                _log.exception("the listener for the output of a run failed; it hears no more of this run")
                self._on_output = None


class Archive(Protocol):
    """Takes the whole masked output of one run."""

    def write(self, stream: Stream, data: bytes) -> None:
        """The next piece of a stream."""
        ...

    def finish(self) -> str | None:
        """All is written: where it can be found, for ``Outcome.archive``; None if there was nothing."""
        ...

    def abandon(self) -> None:
        """It will not be finished: nothing of it stays. Raises nothing."""
        ...


class Executor(Protocol):
    """Runs claimed executions, each in a thread of the caller's."""

    def run(self, job: Job, control: Control) -> Outcome:
        """Run it, or where ``job.started_at`` is set attach to it if it is durable; blocks until the end.

        Never raises for anything the world can do: everything becomes an Outcome. An Outcome with status
        ``OPEN`` is kept for durable runs that were let go of and live on; others always end here.
        """
        ...

    def recorded(self, job: Job) -> None:
        """The outcome is stored: what a durable run keeps on its host may go."""
        ...
