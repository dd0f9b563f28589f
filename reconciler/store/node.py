"""A process's node number: leased, renewed, and what its execution ids are made under."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Protocol, Self

from sqlalchemy import Connection

from reconciler.clock import Clock
from reconciler.errors import Temporary
from reconciler.store import leases
from reconciler.store.engine import Database
from reconciler.store.ids import ExecutionIds

log = logging.getLogger("reconciler.store")

NODE_SECONDS = 60.0
"""Longer than other leases: a short outage must not give one number to two processes."""


class Ids(Protocol):
    """Where execution ids come from; safe for many threads."""

    def take(self, count: int) -> list[int]:
        """``count`` new ids, ascending."""
        ...

    def one(self) -> int:
        """A new id."""
        ...


class NodeIds:
    """Execution ids under a number that this process has leased; implements ``Ids``. A short-lived
    command uses it in a ``with``."""

    def __init__(self, db: Database, clock: Clock, owner: str, start: int) -> None:
        """Lease a number, looking from ``start`` (a random number) on.

        Raises the database's errors, DatabaseRejected when all numbers are taken.
        """
        self._db = db
        self._clock = clock
        self._owner = owner
        self._start = start
        self._lease()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The number goes back; should that fail, its lease ends by itself."""
        with suppress(Temporary):
            self._db.transact(self.release)

    def take(self, count: int) -> list[int]:
        """``count`` new ids, ascending."""
        return self._ids.take(count)

    def one(self) -> int:
        """A new id."""
        return self._ids.one()

    def renew(self, connection: Connection) -> bool:
        """Keep the number; False if somebody else has it by now, because we slept for too long."""
        return leases.acquire(self._db, connection, self._held.name, self._owner, NODE_SECONDS) is not None

    def replace(self) -> None:
        """Take another number; not within a transaction, for it is one of its own."""
        log.warning("the node number of this process was given to another one; it takes a new one")
        self._lease()

    def release(self, connection: Connection) -> None:
        """Let others have the number, after a rest."""
        leases.return_node(self._db, connection, self._held)

    def _lease(self) -> None:
        number, self._held = leases.lease_node(self._db, self._owner, NODE_SECONDS, self._start)
        self._ids = ExecutionIds(number, self._clock)
