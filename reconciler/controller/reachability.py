"""Writes down what the ways to hosts say of them: the condition ``Reachable`` of each server."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.clock import Clock
from reconciler.controller.loop import Loop
from reconciler.controller.outage import Outage
from reconciler.model.enums import Kind
from reconciler.model.execution import Reason
from reconciler.report.reachable import NO_CONTACT, reachable_as
from reconciler.store import conditions, fleet
from reconciler.store.engine import Connection, Database

REPEAT_SECONDS = 60.0
"""What was written is compared with the row again after so long: another process may have said otherwise."""


@dataclass(frozen=True, slots=True)
class Word:
    """What came of going to a server: ``reason`` None if it was entered."""

    reason: Reason | None
    message: str


class Reachability:
    """``heard`` may be called from any thread and returns at once; a loop of its own writes."""

    def __init__(self, db: Database, clock: Clock, outage: Outage) -> None:
        self._db = db
        self._clock = clock
        self._lock = threading.Lock()
        self._pending: dict[str, Word] = {}
        self._written: dict[str, tuple[Reason | None, float]] = {}
        self._loop = Loop("reach", self._write, clock, outage)

    def heard(self, server: str, reason: Reason | None, message: str) -> None:
        """What came of going to ``server``; see `Word`. Other reasons than those of `NO_CONTACT` are ours."""
        if reason is not None and reason not in NO_CONTACT:
            return
        with self._lock:
            before = self._written.get(server)
            known = before is not None and before[0] == reason and server not in self._pending
            if before is not None and known and self._clock.monotonic() - before[1] < REPEAT_SECONDS:
                return
            self._pending[server] = Word(reason, message)
        self._loop.wake()

    def start(self) -> None:
        self._loop.start()

    def stop(self, seconds: float) -> None:
        """Write no more."""
        self._loop.stop(seconds)

    def _write(self) -> None:
        with self._lock:
            words = dict(self._pending)
        if not words:
            return
        self._db.transact(lambda connection: put_all(connection, self._clock, words))
        now = self._clock.monotonic()
        with self._lock:
            for server, word in words.items():
                self._written[server] = word.reason, now
                # a newer word may have come meanwhile
                if self._pending.get(server) is word:
                    del self._pending[server]


def put_all(connection: Connection, clock: Clock, words: Mapping[str, Word]) -> None:
    """Write down what was heard of these servers; those that are there no more are left out."""
    for server, (server_id, generation) in sorted(fleet.ids_of(connection, set(words)).items()):
        word = words[server]
        said = reachable_as(word.reason, word.message, generation)
        conditions.put(connection, Kind.SERVER, server_id, said, clock.now())
