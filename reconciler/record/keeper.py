"""The thread between memory and disk: what the database has not taken for a while goes to the spool."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from reconciler.clock import Clock
from reconciler.errors import ReconcilerError, SpoolFull
from reconciler.model.quantity import counted
from reconciler.record.batch import Record
from reconciler.record.pending import Pending
from reconciler.record.spool import Spool

log = logging.getLogger("reconciler.record")

STUCK_SECONDS = 2.0
"""So long a record may be in memory alone while the database takes nothing and says nothing: it may hang. As
soon as it is known to be away, nothing stays in memory alone."""
SLOW_SECONDS = 10.0
"""The same while it takes others: many came at once, or somebody holds what this one needs."""
LOOK_SECONDS = 1.0
AWAY_LOOK_SECONDS = 0.2
ADOPT_SECONDS = 30.0
"""How often processes look for what others left in the spool."""
_CHUNK = 200
"""Records written to the disk at once."""


class SpoolKeeper:
    """Not slowed by the database; every method may be called from any thread."""

    def __init__(self, spool: Spool, pending: Pending, clock: Clock, wake: Callable[[], None]) -> None:
        """``wake``: there is something to replay."""
        self._spool = spool
        self._pending = pending
        self._clock = clock
        self._wake = wake
        self._bell = threading.Event()
        self._end = threading.Event()
        self._away = False
        self._kept = 0
        self._full_told = False
        self._failed = ""
        self._adopted_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)

    def start(self) -> None:
        """Begin, with a look for what ended processes left."""
        if not self._spool.usable:
            log.warning(
                "%s cannot be written: while the database is away, runs wait to be recorded, and a killed "
                "process loses what became of them; RECONCILER_STATE_DIR names another place",
                self._spool.root,
            )
        self._thread.start()

    @property
    def full(self) -> bool:
        """Whether the disk took nothing when it was last asked."""
        return self._full_told

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def away(self, away: bool) -> None:
        """Whether the database is known to take nothing."""
        if self._away != away:
            self._away = away
            self._bell.set()

    def refuse(self, record: Record, error: ReconcilerError) -> Path:
        """Keep a record for people, in this file; raises SpoolFull."""
        return self._spool.refuse(record, error)

    def tell(self, error: SpoolFull) -> None:
        """One line for a disk that takes nothing, until it does again."""
        if not self._full_told:
            self._full_told = True
            log.error("%s; runs wait until their ends are recorded", error.message)

    def close(self) -> bool:
        """Keep whatever is left and let the spool go; whether nothing is lost."""
        self._end.set()
        self._bell.set()
        if self._thread.ident is not None:
            self._thread.join(5.0)
        left = self._pending.everything()
        try:
            self._keep(left)
        except SpoolFull as error:
            names = ", ".join(str(record.job.execution_id) for record in left[:10])
            more = f" and {len(left) - 10} more" if len(left) > 10 else ""
            log.error(
                "what became of %s could neither be recorded nor kept (%s): %s%s",
                counted(len(left), "execution"),
                error.message,
                names,
                more,
            )
            return False
        finally:
            waiting = self._spool.records
            self._spool.close()
        if waiting:
            log.warning(
                "what the database did not take until the end of this process is kept in %s (%s): the next "
                "process that starts here records it",
                self._spool.root,
                counted(waiting, "record"),
            )
        return True

    # -- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                self._look()
            except SpoolFull as error:
                self.tell(error)
            except Exception as error:  # without this thread an outage would end in lost records
                if self._failed != (failed := f"{type(error).__name__}: {error}"):
                    self._failed = failed
                    log.error("the spool failed and goes on: %s", failed)
                    log.debug("the spool failed", exc_info=error)
            self._clock.wait(self._bell, AWAY_LOOK_SECONDS if self._away else LOOK_SECONDS)
            self._bell.clear()

    def _look(self) -> None:
        now = self._clock.monotonic()
        if now - self._adopted_at >= ADOPT_SECONDS:
            self._adopted_at = now
            self._spool.adopt()
            if self._spool.waits:
                self._wake()
        self._keep(
            self._pending.everything() if self._away else self._pending.overdue(STUCK_SECONDS, SLOW_SECONDS)
        )
        if self._kept and not self._away and not self._spool.records:
            log.warning(
                "the database has taken what was kept in the spool: %s", counted(self._kept, "record")
            )
            self._kept = 0

    def _keep(self, records: list[Record]) -> None:
        for start in range(0, len(records), _CHUNK):
            chunk = records[start : start + _CHUNK]
            self._spool.keep(chunk)
            self._pending.moved(chunk)
            self._full_told = False
            if not self._kept:
                log.warning(
                    "what becomes of runs is kept in %s until the database takes it", self._spool.root
                )
            self._kept += len(chunk)
            self._wake()
