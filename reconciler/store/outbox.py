"""What people are to be told: written in the transaction that causes it, delivered later by ``notify``.

A message goes to one target. ``dedup`` says what it tells to whom, and is unique: whoever comes second, a
repeated observation or another process, writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection as Connection
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from reconciler.store.bulk import chunks
from reconciler.store.tables import Outbox

_ROWS = 500
_LONGEST_KEY = 255
_LONGEST_ERROR = 500


@dataclass(frozen=True, slots=True)
class Message:
    """One event for one target. ``kind`` is the event; no secret may be in ``payload``."""

    kind: str
    target: str
    dedup: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message on its way: how often it was tried, and when it was written."""

    id: int
    kind: str
    payload: Mapping[str, Any]
    attempts: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Undelivered:
    """What one target did not take: how many messages wait or were given up, and why the last one failed."""

    target: str
    project: str
    waiting: int
    given_up: int
    error: str


def tell(connection: Connection, messages: Sequence[Message], now: datetime) -> int:
    """Write those messages that nobody wrote before; how many those were."""
    rows = {message.dedup[:_LONGEST_KEY]: message for message in messages}
    written = 0
    for keys in chunks(sorted(rows), _ROWS):
        known = set(connection.scalars(select(Outbox.dedup).where(Outbox.dedup.in_(keys))))
        values = [_values(rows[key], key, now) for key in keys if key not in known]
        written += _insert(connection, values)
    return written


def _values(message: Message, key: str, now: datetime) -> dict[str, Any]:
    return {
        "kind": message.kind,
        "target": message.target,
        "dedup": key,
        "payload": dict(message.payload),
        "attempts": 0,
        "next_attempt": now,
        "created_at": now,
    }


def _insert(connection: Connection, values: Sequence[dict[str, Any]]) -> int:
    if not values:
        return 0
    try:
        with connection.begin_nested():
            connection.execute(insert(Outbox), values)
        return len(values)
    except IntegrityError:
        if len(values) == 1:
            # somebody tells it at the same time
            return 0
    return sum(_insert(connection, [one]) for one in values)


def waiting(connection: Connection, target: str, now: datetime, count: int) -> list[Waiting]:
    """Messages to ``target`` that are to be tried now, the longest due first."""
    query = (
        select(Outbox.id, Outbox.kind, Outbox.payload, Outbox.attempts, Outbox.created_at)
        .where(Outbox.target == target, Outbox.delivered_at.is_(None), Outbox.next_attempt <= now)
        .order_by(Outbox.next_attempt, Outbox.id)
        .limit(count)
    )
    return [Waiting(*row) for row in connection.execute(query)]


def delivered(connection: Connection, ids: Sequence[int], now: datetime) -> None:
    """The target has these."""
    for some in chunks(sorted(ids), _ROWS):
        connection.execute(
            update(Outbox)
            .where(Outbox.id.in_(some), Outbox.delivered_at.is_(None))
            .values(delivered_at=now, next_attempt=None, attempts=Outbox.attempts + 1, error=None)
        )


def postpone(connection: Connection, ids: Sequence[int], until: datetime, error: str) -> None:
    """The target did not take these: to be tried again at ``until``."""
    for some in chunks(sorted(ids), _ROWS):
        connection.execute(
            update(Outbox)
            .where(Outbox.id.in_(some), Outbox.delivered_at.is_(None))
            .values(next_attempt=until, attempts=Outbox.attempts + 1, error=error[:_LONGEST_ERROR])
        )


def give_up(connection: Connection, target: str, before: datetime, now: datetime, error: str) -> int:
    """Try no more what was written for ``target`` before that; how many messages that ends."""
    done = connection.execute(
        update(Outbox)
        .where(
            Outbox.target == target,
            Outbox.delivered_at.is_(None),
            Outbox.next_attempt.is_not(None),
            Outbox.created_at < before,
        )
        .values(next_attempt=None, given_up_at=now, error=error[:_LONGEST_ERROR])
    )
    return done.rowcount


def waiting_targets(connection: Connection) -> list[str]:
    """The names of targets for which something waits."""
    query = (
        select(Outbox.target)
        .where(Outbox.target.is_not(None), Outbox.delivered_at.is_(None), Outbox.next_attempt.is_not(None))
        .distinct()
    )
    return sorted(name for name in connection.scalars(query) if name is not None)


def undelivered(connection: Connection, tried: int, since: datetime) -> list[Undelivered]:
    """What waits and failed ``tried`` times or more, and what was given up after ``since``: by target and
    project."""
    open_ones = (Outbox.delivered_at.is_(None), Outbox.next_attempt.is_not(None))
    lost = (Outbox.delivered_at.is_(None), Outbox.next_attempt.is_(None), Outbox.given_up_at >= since)
    stuck = select(Outbox.target).where(*open_ones, Outbox.attempts >= tried).distinct()
    targets = {name for name in connection.scalars(stuck) if name is not None}
    counts: Counter[tuple[str, str, bool]] = Counter()
    errors: dict[tuple[str, str], str] = {}
    columns = (Outbox.target, Outbox.payload, Outbox.error)
    for where, given_up in (((*open_ones, Outbox.target.in_(targets)), False), (lost, True)):
        for target, payload, error in connection.execute(select(*columns).where(*where).limit(5000)):
            key = str(target), str(payload.get("project", ""))
            counts[*key, given_up] += 1
            errors[key] = error or errors.get(key, "")
    return [
        Undelivered(target, project, counts[target, project, False], counts[target, project, True], error)
        for (target, project), error in sorted(errors.items())
    ]
