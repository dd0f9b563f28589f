"""Delivers what waits for one target: paced, retried, given up after a day, by one process at a time."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from reconciler.clock import Clock
from reconciler.errors import NotDelivered, SecretUnavailable
from reconciler.notify.compose import facts
from reconciler.notify.note import Note, digest, single
from reconciler.notify.pace import Pace, pause_after
from reconciler.store import leases, outbox
from reconciler.store.engine import Database
from reconciler.store.leases import Held
from reconciler.store.outbox import Waiting

log = logging.getLogger("reconciler.notify")

LOOK_SECONDS = 2.0
LEASE_SECONDS = 60.0
"""Longer than any one attempt, so that a second process does not send what the first is sending."""
GIVE_UP = timedelta(hours=24)
_DIGEST_ROWS = 2000
_LONGEST_PAUSE = 900.0
"""Between two attempts at one message."""


class Sender(Protocol):
    """A way to a target."""

    def send(self, note: Note) -> None:
        """Give it away. Raises NotDelivered or SecretUnavailable, whose words hold no secret."""
        ...


@dataclass(slots=True)
class Counts:
    """Of one target by this process: messages it took, attempts it did not take, messages given up."""

    sent: int = 0
    failed: int = 0
    given_up: int = 0


class Delivery:
    """``step`` is called by a loop; it returns the seconds to sleep."""

    def __init__(
        self, db: Database, clock: Clock, randomness: random.Random, owner: str, name: str, sender: Sender
    ) -> None:
        self._db = db
        self._clock = clock
        self._random = randomness
        self._owner = owner
        self.name = name
        self._sender = sender
        self._pace = Pace()
        self._lease: Held | None = None
        self._error: str | None = None
        self._unmarked: list[int] = []
        self.counts = Counts()

    def step(self) -> float:
        """Send what is due. Raises the database's Temporary errors."""
        self._mark()
        pause = self._pace.wait(self._clock.monotonic())
        if pause:
            return min(pause, LOOK_SECONDS)
        with self._db.read() as connection:
            some = outbox.waiting(connection, self.name, self._clock.now(), 1)
        # who does not hold it asks for it only where something waits
        if not some or not self._hold():
            return LOOK_SECONDS
        with self._db.read() as connection:
            # again: somebody else may have sent them before we had the lease
            rows = outbox.waiting(connection, self.name, self._clock.now(), _DIGEST_ROWS + 1)
        count, together = self._pace.plan(len(rows), self._clock.monotonic())
        if together:
            self._deliver(rows[:_DIGEST_ROWS], more=len(rows) > _DIGEST_ROWS)
            return LOOK_SECONDS
        for row in rows[:count]:
            if not self._hold() or not self._deliver([row]):
                break
        return LOOK_SECONDS

    def resign(self) -> None:
        """Let another process deliver at once."""
        lease, self._lease = self._lease, None
        if lease is not None:
            self._db.transact(lambda connection: leases.release(connection, lease))

    def _hold(self) -> bool:
        name = f"notify/{self.name}"
        self._lease = self._db.transact(
            lambda connection: leases.acquire(self._db, connection, name, self._owner, LEASE_SECONDS)
        )
        return self._lease is not None

    def _deliver(self, rows: Sequence[Waiting], *, more: bool = False) -> bool:
        """Send them in one note, then mark them: whoever dies in between makes them come twice, never not."""
        with self._db.read() as connection:
            told = facts(connection, rows)
        if len(rows) == 1:
            note = single(_note_id(rows), told[0])
        else:
            note = digest(_note_id(rows), told, self._clock.now(), more)
        try:
            self._sender.send(note)
        except (NotDelivered, SecretUnavailable) as error:
            self._failed(rows, error.message)
            return False
        self.counts.sent += len(rows)
        self._unmarked = [row.id for row in rows]
        self._pace.sent(self._clock.monotonic(), digest=len(rows) > 1)
        if self._error is not None:
            self._error = None
            log.warning("notifications reach %s again", self.name)
        self._mark()
        return True

    def _mark(self) -> None:
        """Note what the target has. A database that is away just then is no reason to send it again."""
        if self._unmarked:
            ids, now = self._unmarked, self._clock.now()
            self._db.transact(lambda connection: outbox.delivered(connection, ids, now))
            self._unmarked = []

    def _failed(self, rows: Sequence[Waiting], error: str) -> None:
        now = self._clock.now()
        tried = min(row.attempts for row in rows)
        pause = pause_after(tried, _LONGEST_PAUSE) * self._random.uniform(0.75, 1.25)
        until = now + timedelta(seconds=pause)
        ids = [row.id for row in rows]
        self._pace.failed(self._clock.monotonic())

        def write(connection: outbox.Connection) -> int:
            outbox.postpone(connection, ids, until, error)
            return outbox.give_up(connection, self.name, now - GIVE_UP, now, error)

        self.counts.failed += 1
        given_up = self._db.transact(write)
        self.counts.given_up += given_up
        if error != self._error:
            self._error = error
            log.warning("notifications to %s are not delivered: %s; trying again for 24 h", self.name, error)
        if given_up:
            log.error("giving up %d notifications to %s after 24 h: %s", given_up, self.name, error)


def _note_id(rows: Sequence[Waiting]) -> str:
    """The same for the same messages: who gets one twice can tell. Row numbers alone may come again."""
    first, last = min(rows, key=lambda row: row.id), max(rows, key=lambda row: row.id)
    stamp = int(first.created_at.timestamp() * 1000)
    return f"msg_{first.id}_{stamp}" if len(rows) == 1 else f"digest_{first.id}_{last.id}_{len(rows)}_{stamp}"
