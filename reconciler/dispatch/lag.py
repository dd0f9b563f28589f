"""How late slots are claimed: a number, and a condition of the projects concerned while it is too much."""

from __future__ import annotations

import logging
from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime

from reconciler.clock import Clock
from reconciler.dispatch.scheduler import Claimed
from reconciler.model.condition import Condition, ConditionStatus, ConditionType
from reconciler.model.enums import Kind
from reconciler.store import conditions
from reconciler.store.engine import Connection, Database

log = logging.getLogger("reconciler.dispatch")

LAGGING_SECONDS = 5.0
"""Slots that wait for longer than this are too many for the schedulers; well before they count as missed."""
TELL_SECONDS = 5.0
"""How often the condition's words are renewed: overload is no time for many writes."""
LOOK_SECONDS = 10.0
"""How often a scheduler that keeps up takes back what one that is gone had said."""
CAUSE = "scheduler"


@dataclass(slots=True)
class Lag:
    """What this process knows of its claims; written by one thread, read by any.

    ``seconds``: how late the longest due slot is that nobody has claimed, at the last look; 0: none is due.
    ``since``: from when that has been more than ``LAGGING_SECONDS``, None while schedulers keep up.
    ``claims``: transactions that found something; ``waiting``, ``skipped``: what became of the slots.
    """

    seconds: float = 0.0
    since: datetime | None = None
    claims: int = 0
    waiting: int = 0
    skipped: int = 0


class Lagging:
    """Keeps a ``Lag`` and says ``Stalled``, reason ``SchedulerLagging``; called by one thread.

    Lag is of the queue that all schedulers share: any of them that sees no late slot left may take the
    condition back, also that of a process that was killed.
    """

    def __init__(self, db: Database, clock: Clock, lag: Lag) -> None:
        self._db = db
        self._clock = clock
        self._lag = lag
        self._projects: Set[int] = frozenset()
        self._told = float("-inf")
        self._looked = float("-inf")

    def claimed(self, claimed: Claimed, next_due: datetime | None) -> None:
        """After a claim; ``next_due``: of what is left, whoever holds it.

        Raises the database's Temporary errors.
        """
        lag, now = self._lag, self._clock.now()
        lag.claims += bool(claimed.tasks)
        lag.waiting += len(claimed.waiting)
        lag.skipped += len(claimed.skipped)
        oldest = next_due if claimed.complete else claimed.oldest
        lag.seconds = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
        if lag.seconds > LAGGING_SECONDS:
            self._behind(claimed, now)
        else:
            self._keeps_up()

    def _behind(self, claimed: Claimed, now: datetime) -> None:
        lag, monotonic = self._lag, self._clock.monotonic()
        if lag.since is None:
            lag.since = now
            log.warning("slots are claimed %.0f s late: the schedulers cannot keep up", lag.seconds)
        self._projects |= claimed.projects
        if self._projects and monotonic - self._told >= TELL_SECONDS:
            said = _condition(lag.seconds, lag.since)
            self._db.transact(lambda connection: self._say(connection, said, now))
            self._told = monotonic

    def _say(self, connection: Connection, said: Condition, now: datetime) -> None:
        for project in sorted(self._projects):
            conditions.put(connection, Kind.PROJECT, project, said, now, cause=CAUSE)

    def _keeps_up(self) -> None:
        lag, monotonic = self._lag, self._clock.monotonic()
        if lag.since is None and monotonic - self._looked < LOOK_SECONDS:
            return
        with self._db.read() as connection:
            projects = conditions.objects_with(connection, Kind.PROJECT, ConditionType.STALLED, cause=CAUSE)
        if projects:
            self._db.transact(lambda connection: _take_back(connection, projects))
        if lag.since is not None:
            log.warning("slots are claimed in time again")
        lag.since, self._projects = None, frozenset()
        self._told, self._looked = float("-inf"), monotonic


def _take_back(connection: Connection, projects: list[int]) -> None:
    for project in projects:
        conditions.clear(connection, Kind.PROJECT, project, ConditionType.STALLED, cause=CAUSE)


def _condition(seconds: float, since: datetime) -> Condition:
    message = (
        f"due slots wait {seconds:.0f} s for a scheduler, since {since:%Y-%m-%d %H:%M:%S} UTC: more is due "
        "than is claimed. Start another controller on this database, give the database more, or spread the "
        "schedules (jitter). None is lost: those later than RECONCILER_LATE_AFTER follow their task's catchUp"
    )
    return Condition(ConditionType.STALLED, ConditionStatus.TRUE, "SchedulerLagging", message, since, None)
