"""The output of runs that somebody follows, written to the database while it comes.

Runs that nobody follows cost nothing but the few bytes of their newest output, kept in memory so that a
follower who comes late sees the last lines. No run ever waits for this: what comes faster than it is written
is left out, and a follower sees by the places of the pieces that it was.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from reconciler.clock import Clock
from reconciler.controller.loop import Loop
from reconciler.controller.outage import Outage
from reconciler.controller.recent import Recent
from reconciler.errors import Temporary
from reconciler.execute.control import Stream
from reconciler.store import live
from reconciler.store.engine import Connection, Database
from reconciler.store.live import STDERR, STDOUT, LivePiece

PACE_SECONDS = 0.15
"""Between two writes. The first output after a silence is written at once."""
LOOK_SECONDS = 2.0
"""How often followers are looked for while there is one: those that died end by themselves."""
STORED_BYTES = 262_144
"""Of each run, in the database: time for a slow follower, little for the database."""

_STREAMS: dict[Stream, int] = {"stdout": STDOUT, "stderr": STDERR}


@dataclass(slots=True)
class _Shown:
    """A run of this process. ``at``: what is before this place is stored. ``stored``: id and size of its
    pieces in the database, oldest first. ``ended``: no more will come.
    """

    execution_id: int
    recent: Recent = field(default_factory=Recent)
    followed: bool = False
    ended: bool = False
    at: int = 0
    stored: deque[tuple[int, int]] = field(default_factory=deque)
    stored_bytes: int = 0


class LiveOutput:
    """One loop; `begin`, `end` and `changed` are called from any thread and never wait."""

    def __init__(self, db: Database, clock: Clock, outage: Outage) -> None:
        self._db = db
        self._clock = clock
        self._lock = threading.Lock()
        self._runs: dict[int, _Shown] = {}
        self._look = False
        self._looked = float("-inf")
        self._wrote = float("-inf")
        self._anyone = False
        self._awake = False
        self._loop = Loop("live", self._step, clock, outage)

    def start(self) -> None:
        """Begin to look for followers."""
        self._loop.start()

    def stop(self, seconds: float) -> None:
        """End, and leave nothing in the database; what followers still miss is in the rows of the runs."""
        self._loop.stop(seconds)
        stored = [run.execution_id for run in self._all() if run.stored]
        if stored:
            with suppress(Temporary):
                self._db.transact(lambda connection: live.forget(connection, stored))

    def changed(self) -> None:
        """Somebody may have begun to follow."""
        self._look = True
        self._loop.wake()

    def begin(self, execution_id: int, *, asked_for: bool) -> Callable[[Stream, bytes], None]:
        """A run of this process begins; gives what to call with each piece of its masked output.

        ``asked_for``: by a person, who may follow it from its first line.
        """
        run = _Shown(execution_id)
        with self._lock:
            self._runs[execution_id] = run
        if asked_for or self._anyone:
            self.changed()

        def output(stream: Stream, data: bytes) -> None:
            run.recent.add(stream, data)
            if run.followed and not self._awake:
                self._awake = True
                self._loop.wake()

        return output

    def end(self, execution_id: int) -> None:
        """A run has ended: nothing more will come of it."""
        with self._lock:
            run = self._runs.get(execution_id)
            if run is not None and not run.followed:
                del self._runs[execution_id]
                return
        if run is not None:
            run.ended = True
            self._loop.wake()

    # -- the loop -------------------------------------------------------------------------------

    def _step(self) -> float | None:
        now = self._clock.monotonic()
        if now - self._wrote < PACE_SECONDS:
            return PACE_SECONDS - (now - self._wrote)
        self._awake = False
        if self._look or (self._anyone and now - self._looked >= LOOK_SECONDS):
            self._look_for_followers(now)
        followed = [run for run in self._all() if run.followed]
        if followed and self._write(followed):
            self._wrote = self._clock.monotonic()
        return LOOK_SECONDS if self._anyone else None

    def _look_for_followers(self, now: float) -> None:
        self._look = False
        try:
            with self._db.read() as connection:
                followed = live.followed(self._db, connection)
        except Temporary:
            self._look = True
            raise
        self._looked = now
        self._anyone = bool(followed)
        for run in self._all():
            run.followed = run.execution_id in followed
            if not run.followed and run.stored:
                self._db.transact(partial(live.drop, execution_id=run.execution_id))
                run.stored.clear()
                run.at = run.stored_bytes = 0
            if run.ended and not run.followed:
                with self._lock:
                    self._runs.pop(run.execution_id, None)

    def _write(self, runs: list[_Shown]) -> bool:
        """Store what came since the last time; whether anything did."""
        fresh: list[tuple[_Shown, int, list[LivePiece]]] = []
        for run in runs:
            pieces, end = run.recent.since(run.at)
            if pieces:
                rows = [
                    LivePiece(run.execution_id, _STREAMS[piece.stream], piece.start, piece.data)
                    for piece in pieces
                ]
                fresh.append((run, end, rows))
        if not fresh:
            return False

        def write(connection: Connection) -> list[list[int]]:
            ids = [live.add(connection, rows) for _, _, rows in fresh]
            for run, _, rows in fresh:
                old = _outgrown(run, sum(len(row.data) for row in rows))
                if old is not None:
                    live.drop(connection, run.execution_id, old)
            return ids

        for (run, end, rows), ids in zip(fresh, self._db.transact(write), strict=True):
            run.at = end
            run.stored.extend((key, len(row.data)) for key, row in zip(ids, rows, strict=True))
            run.stored_bytes += sum(len(row.data) for row in rows)
            while run.stored_bytes > STORED_BYTES:
                run.stored_bytes -= run.stored.popleft()[1]
        return True

    def _all(self) -> list[_Shown]:
        with self._lock:
            return list(self._runs.values())


def _outgrown(run: _Shown, more: int) -> int | None:
    """The id of the newest stored piece that has to go when so many bytes are added; None if none has."""
    left, last = run.stored_bytes + more, None
    for key, size in run.stored:
        if left <= STORED_BYTES:
            break
        left, last = left - size, key
    return last
