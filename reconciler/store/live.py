"""Live output: who looks at which run, and what of it is on its way to them.

A follower holds a lease ``follow/EXECUTION/NAME``, which ends by itself when the follower dies. As long as
there is one, the run's owner adds its masked output here, and keeps only the newest of it. Nothing of this is
a record: the row and the archive have that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, insert, select

from reconciler.store.engine import Database
from reconciler.store.leases import acquire
from reconciler.store.tables import Execution, Lease, LiveOutput

PREFIX = "follow/"
STDOUT, STDERR = 1, 2
READ_ROWS = 200
_LIVE = LiveOutput.__table__.c


@dataclass(frozen=True, slots=True)
class LivePiece:
    """A piece of a stream (STDOUT or STDERR); ``start`` is its place in the masked stream, in bytes.

    ``id`` is 0 before it is stored; a later piece of the same execution has a larger one.
    """

    execution_id: int
    stream: int
    start: int
    data: bytes
    id: int = 0


@dataclass(frozen=True, slots=True)
class LiveState:
    """An execution as a follower sees it: its columns, and pieces it has not seen."""

    status: int
    started: bool
    pieces: tuple[LivePiece, ...]


def follow(db: Database, connection: Connection, ids: Iterable[int], follower: str, seconds: float) -> None:
    """Say for so long, or again, that somebody looks at these; ``follower`` is a name of one's own."""
    for execution_id in sorted(ids):
        acquire(db, connection, f"{PREFIX}{execution_id}/{follower}", follower, seconds)


def unfollow(connection: Connection, ids: Iterable[int], follower: str) -> None:
    """Look at these no more."""
    names = [f"{PREFIX}{execution_id}/{follower}" for execution_id in ids]
    connection.execute(delete(Lease).where(Lease.name.in_(names), Lease.owner == follower))


def followed(db: Database, connection: Connection) -> set[int]:
    """All executions that somebody looks at now."""
    names = connection.execute(
        select(Lease.name).where(
            # a range of the key: every name that begins so
            Lease.name >= PREFIX,
            Lease.name < PREFIX[:-1] + chr(ord(PREFIX[-1]) + 1),
            Lease.until > db.now(connection),
        )
    ).scalars()
    return {int(name.split("/")[1]) for name in names}


def add(connection: Connection, pieces: Sequence[LivePiece]) -> list[int]:
    """Store pieces; their ids, ascending."""
    found = []
    for piece in pieces:
        values = {
            "execution_id": piece.execution_id,
            "stream": piece.stream,
            "start": piece.start,
            "data": piece.data,
        }
        stored = connection.execute(insert(LiveOutput), values)
        key = stored.inserted_primary_key
        assert key is not None
        found.append(int(key[0]))
    return found


_READ = (
    select(_LIVE.id, _LIVE.stream, _LIVE.start, _LIVE.data)
    .where(_LIVE.execution_id == bindparam("execution"), _LIVE.id > bindparam("after"))
    .order_by(_LIVE.id)
    .limit(READ_ROWS)
)
_STATE = select(Execution.status, Execution.started_at.is_not(None)).where(
    Execution.id == bindparam("execution")
)


def look(connection: Connection, execution_id: int, after: int) -> LiveState | None:
    """The execution, and at most ``READ_ROWS`` pieces behind the id ``after``; None if it is gone."""
    # its status first: what was stored before it ended is then among the pieces
    row = connection.execute(_STATE, {"execution": execution_id}).one_or_none()
    if row is None:
        return None
    pieces = connection.execute(_READ, {"execution": execution_id, "after": after})
    return LiveState(
        row[0],
        bool(row[1]),
        tuple(
            LivePiece(execution_id, stream, start, bytes(data), key) for key, stream, start, data in pieces
        ),
    )


def drop(connection: Connection, execution_id: int, up_to: int | None = None) -> None:
    """Delete an execution's pieces, all or those up to an id."""
    gone = delete(LiveOutput).where(LiveOutput.execution_id == execution_id)
    connection.execute(gone if up_to is None else gone.where(LiveOutput.id <= up_to))


def left_behind(db: Database, connection: Connection) -> set[int]:
    """Executions whose pieces are here although nobody looks: their owner is gone, or about to act."""
    here = set(connection.execute(select(LiveOutput.execution_id).distinct()).scalars())
    return here - followed(db, connection) if here else here


def forget(connection: Connection, ids: Collection[int]) -> None:
    """Delete all pieces of these."""
    for execution_id in sorted(ids):
        drop(connection, execution_id)
