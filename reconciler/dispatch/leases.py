"""The leases of one process: who it is, and how it keeps what it holds."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.clock import Clock
from reconciler.store import held, leases
from reconciler.store.engine import Connection, Database
from reconciler.store.held import StillHeld
from reconciler.store.node import NodeIds

log = logging.getLogger("reconciler.dispatch")

LEASE_SECONDS = 15.0
RENEW_SECONDS = 5.0
"""Two renewals may fail before a lease ends."""
WORKER_PREFIX = "worker/"
LOCAL_SUFFIX = "/local"
"""Marks a worker that may run ``connection: local``."""
CLOCK_OFF = 1.0
"""Seconds by which our clock may differ from the database's before it is worth a warning."""


def owner_name(token: str) -> str:
    """Who holds a lease, for people and for the database: host, process, and ``token`` (random, unique)."""
    host = re.sub(r"[^\w.-]", "-", socket.gethostname())[:60]
    return f"{host}-{os.getpid()}-{token}"


@dataclass(frozen=True, slots=True)
class Worker:
    """This process as others see it: a lease row that says that it executes, and whether it may locally."""

    owner: str
    local: bool

    @property
    def lease(self) -> str:
        return f"{WORKER_PREFIX}{self.owner}{LOCAL_SUFFIX if self.local else ''}"


def live_workers(db: Database, connection: Connection) -> list[str]:
    """The leases of processes that execute, anywhere, now."""
    return [worker.name for worker in leases.live(db, connection, WORKER_PREFIX)]


def local_workers(db: Database, connection: Connection) -> list[str]:
    """Those that may run ``connection: local``."""
    return [name for name in live_workers(db, connection) if name.endswith(LOCAL_SUFFIX)]


class Keeper:
    """Renews everything this process holds: its executions, its node number, its sign of life as a worker."""

    def __init__(self, db: Database, clock: Clock, owner: str, ids: NodeIds, worker: Worker | None) -> None:
        self._db = db
        self._clock = clock
        self._owner = owner
        self._ids = ids
        self._worker = worker
        self._warned = False
        self.renewed_at = clock.monotonic()
        """The monotonic second before the last renewal that came through."""
        self.numbered = True
        """Whether the node number is ours, as of then."""

    def renew(self, executions: Sequence[int]) -> StillHeld:
        """One transaction for all; which ``executions`` are still ours, and which are to be cancelled."""
        before = self._clock.monotonic()
        still, offset, self.numbered = self._db.transact(
            lambda connection: self._renew(connection, executions)
        )
        if not self.numbered:
            self._ids.replace()
            self.numbered = True
        self.renewed_at = before
        if abs(offset) > CLOCK_OFF and not self._warned:
            log.warning("our clock differs from the database's by %.1f s; slots are due by ours", offset)
        self._warned = abs(offset) > CLOCK_OFF
        return still

    def cancels(self, executions: Sequence[int]) -> StillHeld:
        """The same look without renewing: after the change counter moved."""
        with self._db.read() as connection:
            return held.held(connection, executions, self._owner)

    def hand_back(self, executions: Sequence[int], *, living: bool) -> int:
        """Let others take what was taken and never begun, or with ``living`` what may go on on its host."""
        return self._db.transact(
            lambda connection: held.release(connection, executions, self._owner, living=living)
        )

    def leave(self, unbegun: Sequence[int], living: Sequence[int]) -> int:
        """This process ends: hand back what it never began and what goes on without it, and everything else
        it is known by.
        """
        return self._db.transact(lambda connection: self._leave(connection, unbegun, living))

    def _renew(self, connection: Connection, executions: Sequence[int]) -> tuple[StillHeld, float, bool]:
        if self._worker is not None:
            leases.acquire(self._db, connection, self._worker.lease, self._owner, LEASE_SECONDS)
        numbered = self._ids.renew(connection)
        still = held.renew(self._db, connection, executions, self._owner, LEASE_SECONDS)
        offset = (self._clock.now() - self._db.now(connection)).total_seconds()
        return still, offset, numbered

    def _leave(self, connection: Connection, unbegun: Sequence[int], living: Sequence[int]) -> int:
        if self._worker is not None:
            held.forget(connection, self._worker.lease, self._owner)
        self._ids.release(connection)
        released = held.release(connection, unbegun, self._owner, living=False)
        return released + held.release(connection, living, self._owner, living=True)
