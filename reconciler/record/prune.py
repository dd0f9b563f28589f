"""Deletes what ``retention`` lets go: in short transactions, one process at a time.

A batch is as large as its last ones say it may be: no lock is held for more than 0.1 s (``MOST_SECONDS``), so
that on SQLite, where a transaction keeps every other writer waiting, claims are not late for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from reconciler.clock import Clock
from reconciler.errors import NotFound, ReconcilerError, Refused, Temporary
from reconciler.model.quantity import counted
from reconciler.record.retention import DELIVERED_SECONDS, DeleteArchive, Pruned, Selection
from reconciler.store import leases
from reconciler.store import prune as store
from reconciler.store.engine import Connection, Database
from reconciler.store.leases import Held
from reconciler.store.prune import OldRow

log = logging.getLogger("reconciler.record")

PASS_SECONDS = 600.0
"""From the end of a pass over all tasks to the beginning of the next one."""
MOST_SECONDS = 0.1
"""No transaction is to last longer."""
_AIM_SECONDS = 0.04
"""Well under it: the next batch may meet a busier disk."""
SMALLEST, FIRST, LARGEST = 50, 100, 5_000
"""Rows of a batch: few until it is known how long they take; in the end under 500 only on a slow database."""
LEASE_SECONDS = 30.0
STEP_SECONDS = 5.0
"""A step of the controller ends after so long, and the next one goes on."""
_IDLE_REST = 150.0
"""How long a step pauses after a page of which nothing went, in times of what it took: to look for work all
over a large fleet is to cost under 1 % of a core, right after a start, too. It does not hold up what goes."""
_LONGEST_REST = 5.0
_BUSY_SECONDS = 5.0
_LONGEST_SLEEP = 60.0
_ARCHIVES = 50
"""Archives deleted between two looks at the lease."""


class BatchSize:
    """How many rows the next transaction may delete, by how long the last ones took."""

    def __init__(self) -> None:
        self.rows = FIRST

    def took(self, rows: int, seconds: float) -> None:
        """At most twice as many as before, and at once as few as are needed."""
        fitting = int(_AIM_SECONDS / seconds * rows) if seconds > 0 else LARGEST
        # a few rows that are quickly gone tell of round trips only
        if seconds > _AIM_SECONDS or rows >= self.rows // 2:
            self.rows = max(SMALLEST, min(LARGEST, 2 * self.rows, fitting))


class _LeaseLost(Exception):
    """Somebody else prunes now; what was deleted so far is."""


class Pruner:
    """Deletes for one process; its methods are called by one thread.

    ``rest``: how long to pause after each transaction, in times of its own duration. ``stopping`` is asked
    between transactions. Without ``delete_archive`` rows with an archive stay.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        owner: str,
        delete_archive: DeleteArchive | None = None,
        *,
        rest: float = 1.0,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._db = db
        self._clock = clock
        self._owner = owner
        self._delete_archive = delete_archive
        self._rest = rest
        self._stopping = stopping
        self._selection = Selection(db, clock)
        self._size = BatchSize()
        self._held: Held | None = None
        self._renewed = 0.0
        self._busy = 0.0
        """Seconds of transactions and the pauses after them."""
        self._pass = Pruned()

    def step(self) -> float:
        """One page of tasks of a pass that all processes share; the seconds until the next step."""
        begin = self._clock.monotonic()
        with self._db.read() as connection:
            _, pause_until = store.read_cursor(connection)
            wait = 0.0 if pause_until is None else (pause_until - self._db.now(connection)).total_seconds()
        if wait > 0:
            return min(wait, _LONGEST_SLEEP)
        if not self._take():
            return _BUSY_SECONDS
        try:
            return self._page(begin)
        except _LeaseLost:
            return _BUSY_SECONDS
        finally:
            self._give_back()

    def run(self, patience: float = LEASE_SECONDS + 5) -> Pruned:
        """A whole pass at once, of its own. Raises Refused if another process prunes for all that time."""
        deadline = self._clock.monotonic() + patience
        while not self._take():
            if self._clock.monotonic() >= deadline:
                raise Refused("another process prunes at this moment", hint="try again in a minute")
            self._clock.sleep(0.2)
        done, cursor = Pruned(), 0
        try:
            while tasks := self._selection.page(cursor):
                for batch in self._selection.batches(tasks, lambda: self._size.rows):
                    self._delete(batch, done)
                cursor = tasks[-1].id
            self._messages(done)
        except _LeaseLost:
            raise Refused(
                "another process began to prune, because this one stood still for too long",
                hint="what was deleted stays deleted; run it again for the rest",
            ) from None
        finally:
            self._give_back()
        return done

    # -- one page -------------------------------------------------------------------------------

    def _page(self, begin: float) -> float:
        """``begin``: since when this step is at work: its looks for the lease are a third of what a page
        costs of which nothing goes.
        """
        with self._db.read() as connection:
            cursor, _ = store.read_cursor(connection)
        before, deleting = self._pass.rows, self._busy
        tasks = self._selection.page(cursor)
        for batch in self._selection.batches(tasks, lambda: self._size.rows):
            self._delete(batch, self._pass)
            long = self._clock.monotonic() - begin > STEP_SECONDS and self._pass.rows > before
            if self._stopping() or long:
                # the last task may have more; rows that cannot go (an archive that is away) end no step,
                # or they would be all that is ever looked at
                self._go_on(batch[-1].task_id - 1, 0)
                return 0.0
        if tasks:
            # deleting has paused by itself
            looked = max(0.0, self._clock.monotonic() - begin - (self._busy - deleting))
            pause = self._rest * looked
            if self._pass.rows == before:
                pause = min(_IDLE_REST * pause, _LONGEST_REST)
            self._go_on(tasks[-1].id, pause)
            return pause
        self._messages(self._pass)
        self._go_on(0, PASS_SECONDS)
        self._tell()
        return min(PASS_SECONDS, _LONGEST_SLEEP)

    def _go_on(self, task_id: int, seconds: float) -> None:
        def write(connection: Connection) -> None:
            # the fence: a process that stood still must not set the others back
            if self._held is not None and leases.holds(self._db, connection, self._held):
                moment = self._db.now(connection) + timedelta(seconds=seconds)
                store.write_cursor(connection, task_id, moment)

        self._db.transact(write)

    def _tell(self) -> None:
        done, self._pass = self._pass, Pruned()
        if done.rows or done.messages:
            messages = counted(done.messages, "delivered message")
            log.info("pruned %s and %s", counted(done.rows, "execution"), messages)
        if done.stuck:
            why = "no archive is configured here" if done.fault is None else done.fault.message
            log.warning(
                "cannot be pruned although the time is over: %s, %s", counted(done.stuck, "execution"), why
            )

    # -- one batch ------------------------------------------------------------------------------

    def _delete(self, rows: list[OldRow], done: Pruned) -> None:
        plain = [row for row in rows if row.archive is None]
        freed = self._archives([row for row in rows if row.archive is not None], done)
        for some, archived in ((plain, False), (freed, True)):
            if some:
                ids = [row.id for row in some]
                self._timed(partial(store.delete_rows, ids=ids, archived=archived), len(ids), done)
                done.add(some)

    def _archives(self, rows: list[OldRow], done: Pruned) -> list[OldRow]:
        """The rows whose archives are gone now; while they cannot be reached the next pass has the rest."""
        freed: list[OldRow] = []
        for number, row in enumerate(rows):
            away = isinstance(done.fault, Temporary)
            if self._delete_archive is None or away or row.archive is None:
                break
            if number % _ARCHIVES == 0:
                self._renew()
            try:
                self._delete_archive(row.archive)
            except NotFound as error:
                log.warning("execution %d goes without its archive: %s", row.id, error.message)
            except Temporary as error:
                done.fault = error
                break
            except ReconcilerError as error:
                done.fault = error
                continue
            freed.append(row)
        done.stuck += len(rows) - len(freed)
        return freed

    def _messages(self, done: Pruned) -> None:
        with self._db.read() as connection:
            moment = self._selection.now(connection) - timedelta(seconds=DELIVERED_SECONDS)
        while not self._stopping():
            with self._db.read() as connection:
                ids = store.settled_before(connection, moment, self._size.rows)
            if not ids:
                return
            self._timed(partial(store.delete_messages, ids=ids), len(ids), done)
            done.messages += len(ids)

    def _timed(self, work: Callable[[Connection], int], rows: int, done: Pruned) -> None:
        """One transaction, and the pause after it."""
        self._renew()
        begin = self._clock.monotonic()
        self._db.transact(work)
        seconds = self._clock.monotonic() - begin
        done.longest = max(done.longest, seconds)
        self._size.took(rows, seconds)
        self._clock.sleep(self._rest * seconds)
        self._busy += self._clock.monotonic() - begin

    # -- one process at a time ------------------------------------------------------------------

    def _take(self) -> bool:
        self._held = self._db.transact(
            lambda connection: leases.acquire(self._db, connection, store.LEASE, self._owner, LEASE_SECONDS)
        )
        self._renewed = self._clock.monotonic()
        return self._held is not None

    def _renew(self) -> None:
        if self._clock.monotonic() - self._renewed > LEASE_SECONDS / 3 and not self._take():
            raise _LeaseLost

    def _give_back(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._db.transact(lambda connection: leases.release(connection, held))
