"""Looks at the whole status now and then: exceptions begin and end while nobody asks.

What begins is written down with its moment, and told to those who want to know, in one transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from reconciler.clock import Clock
from reconciler.controller.telling import Event, Events, rules_of
from reconciler.model.condition import Condition, ConditionStatus, ConditionType
from reconciler.model.enums import Kind
from reconciler.model.notification import Targets
from reconciler.report.build import Everything, everything
from reconciler.report.exceptions import exceptions
from reconciler.store import conditions, leases, outbox, told, transitions
from reconciler.store.engine import Connection, Database
from reconciler.store.leases import Held
from reconciler.store.transitions import Key, Seen

log = logging.getLogger("reconciler.controller")

LOOK_SECONDS = 10.0
SHARE = 20
"""A look that takes a second is made every twenty: at most a twentieth of a core goes into it."""
LEASE = "observe"
LEASE_SECONDS = 60.0
UNDELIVERED = "notify"
"""The cause of ``Stalled`` where messages to people do not arrive."""
_TRIES = 3
_RECENT = timedelta(days=1)
_STRANGER = "no settings know the target"
_ROWS = 250
"""Changes in one transaction."""


@dataclass(slots=True)
class _Changes:
    """Rows to add, to replace and to delete, and what is told of them."""

    begun: dict[Key, Seen] = field(default_factory=dict)
    changed: dict[int, Seen] = field(default_factory=dict)
    over: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


class Observer:
    """``step`` is called by a loop; of all processes on a database one looks at a time."""

    def __init__(
        self, db: Database, clock: Clock, owner: str, late_after: timedelta, targets: Targets
    ) -> None:
        self._db = db
        self._clock = clock
        self._owner = owner
        self._late_after = late_after
        self._targets = targets
        self._pause = LOOK_SECONDS
        self._lease: Held | None = None
        self._unknown: set[str] = set()

    def step(self) -> float:
        """Look, and write down what changed; seconds to sleep. Raises the database's Temporary errors."""
        begun = self._clock.monotonic()
        seconds = max(LEASE_SECONDS, 3 * self._pause)
        self._lease = self._db.transact(
            lambda connection: leases.acquire(self._db, connection, LEASE, self._owner, seconds)
        )
        if self._lease is None:
            return LOOK_SECONDS
        now = self._clock.now()
        seen = everything(self._db, now, self._late_after)
        with self._db.read() as connection:
            before = transitions.read(connection)
        self._write(compare(seen, before, now, self._targets), now)
        self._undelivered(seen, now)
        self._strangers(seen, now)
        self._pause = max(LOOK_SECONDS, SHARE * (self._clock.monotonic() - begun))
        return self._pause

    def resign(self) -> None:
        """Let another process look at once."""
        lease, self._lease = self._lease, None
        if lease is not None:
            self._db.transact(lambda connection: leases.release(connection, lease))

    def _write(self, changes: Iterator[_Changes], now: datetime) -> None:
        for some in changes:
            if not self._db.transact(partial(self._write_some, some=some, now=now)):
                return

    def _write_some(self, connection: Connection, *, some: _Changes, now: datetime) -> bool:
        """False where another process looks by now: what it sees is newer."""
        if self._lease is None or not leases.holds(self._db, connection, self._lease):
            return False
        transitions.write(connection, some.begun, some.changed, some.over)
        for event in some.events:
            # only who really tells a failure makes its end worth telling
            if outbox.tell(connection, event.messages, now) and event.recovers is not None:
                told.failed(connection, [event.recovers], now)
        return True

    def _undelivered(self, seen: Everything, now: datetime) -> None:
        """Say of a project that its messages do not arrive."""
        with self._db.read() as connection:
            found = outbox.undelivered(connection, _TRIES, now - _RECENT)
            stalled = conditions.objects_with(
                connection, Kind.PROJECT, ConditionType.STALLED, cause=UNDELIVERED
            )
        words: dict[str, list[str]] = {}
        for one in found:
            text = f"{one.target}: {one.waiting} wait, {one.given_up} were given up ({one.error})"
            words.setdefault(one.project, []).append(text)
        if not words and not stalled:
            return

        def write(connection: Connection) -> None:
            for project, _ in seen.projects:
                if project.name in words:
                    message = f"notifications do not arrive at {'; '.join(words[project.name])}"
                    said = Condition(
                        ConditionType.STALLED, ConditionStatus.TRUE, "NotDelivered", message, None, None
                    )
                    conditions.put(connection, Kind.PROJECT, project.id, said, now, cause=UNDELIVERED)
                elif project.id in stalled:
                    conditions.clear(
                        connection, Kind.PROJECT, project.id, ConditionType.STALLED, cause=UNDELIVERED
                    )

        self._db.transact(write)

    def _strangers(self, seen: Everything, now: datetime) -> None:
        """Tell of targets that no settings here know, once each; their messages are given up in the end."""
        named = {rule.to for task, _ in seen.tasks for rule in rules_of(task)}
        for name in sorted(named - self._targets.keys() - self._unknown):
            self._unknown.add(name)
            log.warning("tasks notify %r, and no [notify.%s] table is in the settings here", name, name)
        with self._db.read() as connection:
            waiting = set(outbox.waiting_targets(connection)) - self._targets.keys()
        for name in sorted(waiting):
            give_up = partial(outbox.give_up, target=name, before=now - _RECENT, now=now, error=_STRANGER)
            count = self._db.transact(give_up)
            if count:
                log.error("giving up %d notifications to %r after 24 h: no settings know it", count, name)


def compare(
    seen: Everything, before: Mapping[Key, tuple[int, Seen]], now: datetime, targets: Targets
) -> Iterator[_Changes]:
    """What is to be written, in parts that each stand alone."""
    events = Events(seen, targets, now)
    wanted: dict[Key, Condition] = {}
    for (kind, object_id), found in _all(seen):
        for condition in found:
            wanted[kind, object_id, condition.type] = condition
    gone = [row for key, (row, _) in before.items() if key not in wanted]
    different = (key for key, condition in wanted.items() if _differs(before.get(key), condition, seen, key))
    while keys := list(islice(different, _ROWS)):
        part = _Changes()
        for key in keys:
            _add(part, key, before.get(key), _as_seen(seen, key, wanted[key], now), wanted[key], events)
        yield part
    for start in range(0, len(gone), _ROWS):
        yield _Changes(over=gone[start : start + _ROWS])


def _all(seen: Everything) -> Iterator[tuple[tuple[Kind, int], Sequence[Condition]]]:
    for kind, pairs in (
        (Kind.PROJECT, seen.projects), (Kind.SERVER, seen.servers), (Kind.TASK, seen.tasks),
    ):  # fmt: skip
        for row, status in pairs:
            yield (kind, row.id), exceptions(status)


def _as_seen(seen: Everything, key: Key, condition: Condition, now: datetime) -> Seen:
    return Seen(
        condition.status,
        condition.reason,
        _occasion(seen, key, condition),
        condition.last_transition or now,
        condition.observed_generation,
    )


def _occasion(seen: Everything, key: Key, condition: Condition) -> str:
    """Of a project that is held up: by what, each cause with its time. Else the message."""
    kind, object_id, type = key
    if (kind, type) != (Kind.PROJECT, ConditionType.STALLED):
        return condition.message
    rows = [row for row in seen.stored if (row.kind, row.object_id, row.type) == (kind, object_id, type)]
    return "\n".join(sorted(f"{row.cause} {row.reason} {row.last_transition}" for row in rows))


def _differs(before: tuple[int, Seen] | None, condition: Condition, seen: Everything, key: Key) -> bool:
    if before is None:
        return True
    old = before[1]
    return (old.status, old.reason, old.message) != (
        condition.status,
        condition.reason,
        _occasion(seen, key, condition),
    )


def _add(
    part: _Changes, key: Key, before: tuple[int, Seen] | None, now: Seen, condition: Condition, events: Events
) -> None:
    if before is None:
        part.begun[key] = now
    else:
        row, old = before
        # it has been so since then, whatever else is new
        part.changed[row] = replace(now, since=old.since) if old.status is now.status else now
    part.events += events.of(key, condition, now, None if before is None else before[1])
