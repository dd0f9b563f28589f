"""Which runs one process of all asks silent hosts about again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from reconciler.clock import Clock
from reconciler.dispatch.candidates import candidates_of
from reconciler.dispatch.durable import survives_owner
from reconciler.dispatch.taker import job_of
from reconciler.model.execution import Job
from reconciler.store import leases, takes, unproven
from reconciler.store.engine import Connection, Database
from reconciler.store.leases import Held

NAME = "inquest"
LEASE_SECONDS = 180.0
"""Longer than the time between two looks; two that ask the same would do no harm."""
KEPT = timedelta(days=7)
"""So long hosts keep folders that nobody asked about."""
MOST = 500


@dataclass(frozen=True, slots=True)
class Silent:
    """A run that its host has said nothing of."""

    job: Job
    server_id: int


class Unproven:
    """Looks for one process; called by one thread."""

    def __init__(self, db: Database, clock: Clock, owner: str) -> None:
        self._db = db
        self._clock = clock
        self._owner = owner
        self._lease: Held | None = None

    def look(self) -> list[Silent]:
        """At most `MOST` runs that could be proven yet, the newest first; none while another process asks."""
        self._lease = self._db.transact(
            lambda connection: leases.acquire(self._db, connection, NAME, self._owner, LEASE_SECONDS)
        )
        if self._lease is None:
            return []
        with self._db.read() as connection:
            return self._found(connection)

    def leave(self) -> None:
        """Let another process ask."""
        lease, self._lease = self._lease, None
        if lease is not None:
            self._db.transact(lambda connection: leases.release(connection, lease))

    def _found(self, connection: Connection) -> list[Silent]:
        ids = unproven.unreachable_since(connection, self._clock.now() - KEPT, MOST)
        candidates, _ = candidates_of(connection, takes.rows_of(connection, ids))
        silent = [
            Silent(job_of(candidate), candidate.row.server_id)
            for candidate in candidates
            if survives_owner(candidate.server)
        ]
        return sorted(silent, key=lambda item: -item.job.execution_id)
