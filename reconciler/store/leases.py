"""Named leases: who may do something, until when. Judged by the database's clock alone.

A lease ends by itself, so a crash never blocks anyone for long. Its token grows with every new
owner: work that was begun under an older token is fenced off by checking the token in the same
transaction (``holds``).

The same table has two more things that must be claimed atomically: the node numbers of running
processes (``node/N``) and the change counter (``changes``), which every apply and request raises and
every sleeping process looks at.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection, func, select, update
from sqlalchemy.exc import IntegrityError

from reconciler.errors import DatabaseRejected
from reconciler.store.engine import Database
from reconciler.store.ids import NODES
from reconciler.store.tables import Lease

COUNTER = "changes"
NODE_REST = 5.0


@dataclass(frozen=True, slots=True)
class Held:
    """A lease as it stands; ``token`` fences."""

    name: str
    owner: str
    token: int
    until: datetime | None


def acquire(db: Database, connection: Connection, name: str, owner: str, seconds: float) -> Held | None:
    """Take or renew the lease; None if someone else holds it (see ``holder``).

    A renewal by the same owner keeps the token, a change of owner raises it.
    """
    now = db.now(connection)
    until = now + timedelta(seconds=seconds)
    table = Lease.__table__
    row = _locked(connection, name)
    if row is None:
        try:
            with connection.begin_nested():
                connection.execute(table.insert().values(name=name, owner=owner, token=1, until=until))
        except IntegrityError:
            # somebody was quicker; their row is locked until they commit
            row = _locked(connection, name)
        else:
            return Held(name, owner, 1, until)
    if row is None:
        return None
    if row.owner != owner and row.until is not None and row.until > now:
        return None
    token = row.token if row.owner == owner else row.token + 1
    connection.execute(update(Lease).where(Lease.name == name).values(owner=owner, token=token, until=until))
    return Held(name, owner, token, until)


def _locked(connection: Connection, name: str) -> Held | None:
    """The row, locked until the end of the transaction; None if there is none."""
    row = connection.execute(
        select(Lease.name, Lease.owner, Lease.token, Lease.until).where(Lease.name == name).with_for_update()
    ).one_or_none()
    return None if row is None else Held(row.name, row.owner, row.token, row.until)


def holder(db: Database, connection: Connection, name: str) -> Held | None:
    """Who holds the lease now; None if nobody does."""
    row = connection.execute(
        select(Lease.name, Lease.owner, Lease.token, Lease.until).where(Lease.name == name)
    ).one_or_none()
    if row is None or row.until is None or row.until <= db.now(connection):
        return None
    return Held(row.name, row.owner, row.token, row.until)


def holds(db: Database, connection: Connection, held: Held) -> bool:
    """Whether this very lease is still ours; its row stays locked until the transaction ends.

    To be asked in the transaction that must not happen without the lease.
    """
    row = _locked(connection, held.name)
    return (
        row is not None
        and row.owner == held.owner
        and row.token == held.token
        and row.until is not None
        and row.until > db.now(connection)
    )


def release(connection: Connection, held: Held) -> bool:
    """End the lease now; False if it is not ours any more. The token stays, so that it keeps growing.

    A lease that ran out and that nobody took is still ours: as the last statement of a transaction this
    is a fence that keeps nobody waiting meanwhile.
    """
    done = connection.execute(
        update(Lease)
        .where(Lease.name == held.name, Lease.owner == held.owner, Lease.token == held.token)
        .values(until=None)
    )
    return done.rowcount == 1


def live(db: Database, connection: Connection, prefix: str) -> list[Held]:
    """All leases whose names begin with ``prefix`` and that somebody holds now."""
    rows = connection.execute(
        select(Lease.name, Lease.owner, Lease.token, Lease.until)
        # not LIKE: SQLite's does not tell a from A
        .where(func.substr(Lease.name, 1, len(prefix)) == prefix, Lease.until > db.now(connection))
        .order_by(Lease.name)
    )
    return [Held(row.name, row.owner, row.token, row.until) for row in rows]


def lease_node(db: Database, owner: str, seconds: float, start: int) -> tuple[int, Held]:
    """A node number nobody else uses, looked for from ``start`` (a random number) on.

    Renew it like any lease. Raises DatabaseRejected when all 512 are taken.
    """
    for step in range(NODES):
        node = (start + step) % NODES
        held = db.transact(partial(acquire, db, name=f"node/{node}", owner=owner, seconds=seconds))
        if held is not None:
            return node, held
    raise DatabaseRejected(f"all {NODES} node numbers are in use", hint="stop some controllers or workers")


def return_node(db: Database, connection: Connection, held: Held) -> None:
    """Give a node number back; nobody gets it for ``NODE_REST`` seconds.

    Its last ids may carry a time a little ahead of the clock (more than 4,096 in a millisecond, a clock that
    was set back): whoever had the number at once would make the same ones.
    """
    connection.execute(
        update(Lease)
        .where(Lease.name == held.name, Lease.owner == held.owner, Lease.token == held.token)
        .values(until=db.now(connection) + timedelta(seconds=NODE_REST))
    )


def raise_counter(connection: Connection) -> None:
    """Say that something changed that sleeping processes should look at.

    Last in its transaction: the row is a meeting point of all writers.
    """
    changed = connection.execute(update(Lease).where(Lease.name == COUNTER).values(token=Lease.token + 1))
    if changed.rowcount == 0:
        try:
            with connection.begin_nested():
                connection.execute(Lease.__table__.insert().values(name=COUNTER, owner="", token=1))
        except IntegrityError:
            connection.execute(update(Lease).where(Lease.name == COUNTER).values(token=Lease.token + 1))


def read_counter(connection: Connection) -> int:
    """The counter's value; 0 before anything happened."""
    return connection.execute(select(Lease.token).where(Lease.name == COUNTER)).scalar_one_or_none() or 0
