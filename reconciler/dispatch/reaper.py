"""What vanished processes held: given back, or ended with a truthful word."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.clock import Clock
from reconciler.dispatch.durable import survives_owner
from reconciler.dispatch.leases import LEASE_SECONDS, WORKER_PREFIX
from reconciler.model.execution import Reason
from reconciler.store import ends, held, live, server_rows
from reconciler.store.engine import Connection, Database
from reconciler.store.held import Lapsed, Stranded

log = logging.getLogger("reconciler.dispatch")

BATCH = 200
_FORGOTTEN_SECONDS = 3600.0
STRANDED_MARGIN = 60.0
"""So long behind its timeout a local run whose machine is silent gets its end: time for TERM, KILL and us."""


@dataclass(frozen=True, slots=True)
class Reaped:
    """Executions of vanished owners: those that others may take, those that ended (lost, cancelled)."""

    given_back: tuple[int, ...] = ()
    ended: tuple[int, ...] = ()


class Reaper:
    """Looks for lapsed leases; called by one thread of a process, any number of processes."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def may_reap(self, steady_since: float) -> bool:
        """Whether every living owner has had the time of one lease to renew since the database came back.

        ``steady_since``: monotonic second from which our own calls came through; -inf if they always did.
        """
        if self._clock.monotonic() - steady_since < LEASE_SECONDS:
            return False
        with self._db.read() as connection:
            return held.uptime_seconds(connection) >= LEASE_SECONDS

    def reap(self) -> Reaped:
        """Deal with one batch of lapsed executions, each in a transaction that looks again."""
        with self._db.read() as connection:
            found = held.lapsed(self._db, connection, BATCH)
            durable = {
                name
                for name, spec in server_rows.server_specs(
                    connection, {row.server_id for row in found}
                ).items()
                if survives_owner(spec)
            }
        stranded = self._end_stranded()
        if not found:
            return Reaped(ended=stranded)
        living = [row.id for row in found if row.server_id in durable and _may_live(row)]
        unbegun = [row for row in found if not _may_live(row)]
        waiting = [row.id for row in unbegun if not row.cancel_requested]
        for ids, alive in ((living, True), (waiting, False)):
            if ids:
                self._give_back(ids, alive)
        back = {*living, *waiting}
        ended = [row.id for row in found if row.id not in back and self._end(row, row in unbegun)]
        for row in found:
            extra = {"execution": str(row.id)}
            log.warning(
                "the lease of execution %d lapsed: its owner %s is gone", row.id, row.owner, extra=extra
            )
        return Reaped((*living, *waiting), (*stranded, *ended))

    def _end_stranded(self) -> tuple[int, ...]:
        """End local runs whose time is over and whose machine nobody came back on."""
        with self._db.read() as connection:
            found = held.stranded(self._db, connection)
            timeouts = held.timeouts(connection, {row.task_id for row in found})
            now = self._db.now(connection)
        ended = []
        for row in found:
            over = (row.started_at or row.sent_at) + timedelta(
                seconds=timeouts[row.task_id] + STRANDED_MARGIN
            )
            if now < over:
                continue
            log.warning(
                "execution %d ends: no worker of the machine %s came back",
                row.id,
                row.machine,
                extra={"execution": str(row.id)},
            )
            if self._write_end(row.id, row.task_id, row.started_at, Reason.LOST, _stranded_words(row)):
                ended.append(row.id)
        return tuple(ended)

    def _give_back(self, ids: list[int], living: bool) -> None:
        self._db.transact(lambda connection: held.give_back(self._db, connection, ids, living=living))

    def tidy(self) -> None:
        """Forget processes that have been gone for long, and what they wrote for followers."""
        self._db.transact(self._tidy)

    def _tidy(self, connection: Connection) -> None:
        for prefix in (WORKER_PREFIX, live.PREFIX):
            held.forget_workers(self._db, connection, prefix, _FORGOTTEN_SECONDS)
        live.forget(connection, live.left_behind(self._db, connection))

    def _end(self, row: Lapsed, waiting: bool) -> bool:
        return self._write_end(row.id, row.task_id, row.started_at, *_verdict(row, waiting))

    def _write_end(
        self, execution_id: int, task_id: int, started_at: datetime | None, reason: Reason, message: str
    ) -> bool:
        now = self._clock.now()

        def end(connection: Connection) -> bool:
            return held.end_lapsed(self._db, connection, execution_id, reason, message, now)

        if not self._db.transact(end):
            return False
        if started_at is not None:
            started = {task_id: started_at}
            self._db.transact(lambda connection: ends.touch_last_runs(connection, started))
        return True


def _may_live(row: Lapsed) -> bool:
    """Whether it may have begun. Where runs are durable the next owner asks the host, and where that knows
    nothing of it a second start under its id is safe; elsewhere nobody can tell.
    """
    return row.started_at is not None or row.start_sent_at is not None


def _stranded_words(row: Stranded) -> str:
    began = "ran" if row.started_at is not None else "may have begun"
    return (
        f"it {began} on the machine {row.machine}, by `connection: local`, and no worker there has come back "
        "until its timeout: nobody can tell how it ended"
    )


def _verdict(row: Lapsed, never_began: bool) -> tuple[Reason, str]:
    if never_began:
        return Reason.CANCELLED, "cancelled before it began; the process that held it is gone"
    if row.started_at is None:
        said = "vanished while it was starting the command: nobody can tell whether it began"
        return Reason.LOST, f"{row.owner} {said}, and starting it again might run it twice"
    return Reason.LOST, f"{row.owner}, which ran the command, vanished: nobody can tell how it ended"
