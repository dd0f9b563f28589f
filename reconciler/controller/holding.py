"""No new work while too many records of old work wait on the disk."""

from __future__ import annotations

import logging
import threading

from reconciler.clock import Clock
from reconciler.model.quantity import counted
from reconciler.record.spool import Spool
from reconciler.store import stalls
from reconciler.store.engine import Database

log = logging.getLogger("reconciler.controller")

REASON = "RecordsSpooled"
MOST_RECORDS = 1_000
"""More than these in the spool, or half of its bound in bytes, and nothing is claimed or taken until half of
that is recorded. An outage alone does not come so far: what cannot be written cannot be claimed either."""


class Holding:
    """Judged at each question; ``step``, called by one loop, says it in conditions of all projects."""

    def __init__(self, db: Database, clock: Clock, spool: Spool, owner: str, max_bytes: int) -> None:
        self._db = db
        self._clock = clock
        self._spool = spool
        self._owner = owner
        self._most_bytes = max_bytes // 2
        self._lock = threading.Lock()
        self._held = False
        self._said = False
        self._gone: set[str] = set()

    def held(self) -> bool:
        """Whether nothing more may be claimed or taken now."""
        records, size = self._spool.waiting
        with self._lock:
            share = 0.5 if self._held else 1.0
            held = records > MOST_RECORDS * share or size > self._most_bytes * share
            changed, self._held = held != self._held, held
        if changed and held:
            log.warning("nothing is claimed while %d records wait in %s", records, self._spool.root)
        elif changed:
            log.warning("claiming goes on: the spool is down to %s", counted(records, "record"))
        return held

    def step(self) -> None:
        """Write the conditions down when they change; those of ended processes go with their records.

        Raises the database's Temporary errors, and is then called again.
        """
        self._gone |= self._spool.gone()
        for owner in tuple(self._gone):
            self._release(owner)
            self._gone.discard(owner)
        held = self.held()
        if held == self._said:
            return
        if held:
            message = (
                f"records of runs wait on the disk of {self._owner} ({self._spool.root}): "
                "it claims nothing until the database has taken them"
            )
            now = self._clock.now()
            self._db.transact(
                lambda connection: stalls.stall_all(connection, _cause(self._owner), REASON, message, now)
            )
        else:
            self._release(self._owner)
        self._said = held

    def _release(self, owner: str) -> None:
        self._db.transact(lambda connection: stalls.release_all(connection, _cause(owner)))


def _cause(owner: str) -> str:
    """Of one process: the random part of its name."""
    return f"spool-{owner.rpartition('-')[2]}"[:24]
