"""The project's lock: a lease that ends by itself, and a fence at the end of the transaction it protects."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from reconciler.errors import LockHeld, ReconcilerError
from reconciler.model.instant import rfc3339
from reconciler.store import leases
from reconciler.store.engine import Connection, Database
from reconciler.store.ids import NODES
from reconciler.store.leases import Held

SHORTEST = 30.0
"""Seconds a lock lasts: after a crash nobody can apply the project for so long."""
ROWS_PER_SECOND = 500
"""A large apply holds it for longer; a tenth of what the slowest database that was measured writes."""
_MARK = " #"
"""Between an owner as people know it and what tells two applies of one person apart."""


@dataclass(slots=True)
class Locks:
    """What an apply holds: the project's lock (its former name's too), and a node number for ids.

    ``given_back`` is set when a transaction that ended with ``fence`` has committed.
    """

    db: Database
    project: str
    held: tuple[Held, ...]
    node: int
    node_lease: Held
    given_back: bool = False


@contextmanager
def locked(
    db: Database, project: str, former: str | None, owner: str, rows: int, randomness: random.Random
) -> Iterator[Locks]:
    """Hold the project's lock for the block; ``rows`` is how many will be written, about.

    Raises LockHeld, saying who has it and until when.
    """
    seconds = SHORTEST + rows / ROWS_PER_SECOND
    # two applies of one person on one machine are two owners
    unique = f"{owner[:200]}{_MARK}{randomness.getrandbits(64):016x}"
    taken: list[Held] = []
    locks: Locks | None = None
    try:
        for name in sorted({project, former or project}):
            taken += [_take(db, name, unique, seconds)]
        node, node_lease = leases.lease_node(db, unique, seconds, randomness.randrange(NODES))
        locks = Locks(db, project, tuple(taken), node, node_lease)
        yield locks
    finally:
        if taken and (locks is None or not locks.given_back):
            # a database that is away ends the leases by its own clock, and must not hide what went wrong
            with suppress(ReconcilerError):
                _let_go(db, taken, locks)


def fence(connection: Connection, locks: Locks) -> None:
    """Give everything back at the end of the transaction that it protected; until then nobody waits for it.

    Raises LockHeld where another took the lock meanwhile; then the transaction must not commit.
    """
    for held in locks.held:
        if not leases.release(connection, held):
            raise LockHeld(
                f"the lock of project {locks.project!r} was lost during the apply: nothing was written",
                hint="try again",
                details={"project": locks.project, "owner": None, "until": None},
            )
    leases.return_node(locks.db, connection, locks.node_lease)


def _take(db: Database, project: str, owner: str, seconds: float) -> Held:
    name = f"apply/{project}"
    # to look first needs no lock: whoever holds it is named at once, also while their transaction is open
    with db.read() as connection:
        other = leases.holder(db, connection, name)
    held = None
    if other is None:
        held = db.transact(lambda connection: leases.acquire(db, connection, name, owner, seconds))
    if held is None:
        raise _held_by_other(db, project, other)
    return held


def _let_go(db: Database, taken: list[Held], locks: Locks | None) -> None:
    def give_back(connection: Connection) -> None:
        for held in taken:
            leases.release(connection, held)
        if locks is not None:
            leases.return_node(db, connection, locks.node_lease)

    db.transact(give_back, attempts=2)


def _held_by_other(db: Database, project: str, other: Held | None) -> LockHeld:
    if other is None:
        with db.read() as connection:
            other = leases.holder(db, connection, f"apply/{project}")
    if other is None or other.until is None:
        return LockHeld(
            f"project {project!r} was locked a moment ago",
            hint="try again",
            details={"project": project, "owner": None, "until": None},
        )
    owner = other.owner.partition(_MARK)[0]
    until = rfc3339(other.until)
    return LockHeld(
        f"project {project!r} is being applied by {owner} (lock until {until} at the latest)",
        hint="try again when it is done",
        details={"project": project, "owner": owner, "until": until},
    )
