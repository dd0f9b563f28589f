"""Keep one tree applied: look when woken and at intervals, lead or stand by, survive every bad commit."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from reconciler.apply.apply import apply
from reconciler.apply.request import Applied, ApplyRequest
from reconciler.clock import Clock
from reconciler.errors import LockHeld, ManifestsInvalid, Permanent
from reconciler.manifest.source import is_ancestor
from reconciler.manifest.tree import Tree, read_tree
from reconciler.model.state import DesiredState
from reconciler.store import leases
from reconciler.store.engine import Database
from reconciler.store.leases import Held

LEASE_SECONDS = 15.0
"""How long a leader is missed before another takes its place."""
RENEW_SECONDS = 5.0
RETRY_SECONDS = 1.0
"""After a lock that somebody else held: applies are short."""


class News(StrEnum):
    """What a reconciler has to tell."""

    APPLIED = "applied"
    INVALID = "invalid"
    STOPPED = "stopped"
    LEADING = "leading"
    STANDING_BY = "standing-by"


@dataclass(frozen=True, slots=True)
class Report:
    """One piece of news. ``applied`` for APPLIED, ``tree`` for INVALID, ``error`` for STOPPED."""

    news: News
    path: Path
    message: str
    applied: Applied | None = None
    tree: Tree | None = None
    error: Permanent | None = None


class Reconciler:
    """One tree, reconciled by one of any number of processes.

    ``step`` is called by a loop; it returns the seconds to sleep. ``changed`` makes the next step look
    at the tree whatever the interval says. The same trouble is told once, until it changes or ends.
    """

    def __init__(
        self,
        db: Database,
        path: Path,
        clock: Clock,
        randomness: random.Random,
        *,
        owner: str,
        applied_by: str,
        interval: float,
        tell: Callable[[Report], None],
    ) -> None:
        self._db = db
        self._path = path
        self._clock = clock
        self._random = randomness
        self._owner = owner
        self._applied_by = applied_by
        self._interval = interval
        self._tell = tell
        self._due = clock.monotonic()
        self._project: str | None = None
        self._lease: Held | None = None
        self._standing_by = False
        self._told: str | None = None

    def changed(self) -> None:
        """Files changed: look at the next step."""
        self._due = self._clock.monotonic()

    def step(self) -> float:
        """Reconcile if it is time, else only stay the leader. Raises Temporary errors of the database."""
        now = self._clock.monotonic()
        if now < self._due:
            self._lead()
            return min(RENEW_SECONDS, self._due - now)
        self._due = now + self._interval
        try:
            self._pass()
        except LockHeld:
            # somebody applies this very project; what they leave is looked at in a moment
            self._due = now + RETRY_SECONDS
        return max(0.0, min(RENEW_SECONDS, self._due - self._clock.monotonic()))

    def resign(self) -> None:
        """Let another process lead at once."""
        lease, self._lease = self._lease, None
        if lease is not None:
            self._db.transact(lambda connection: leases.release(connection, lease))

    def _pass(self) -> None:
        try:
            tree = read_tree(self._path)
            desired = tree.desired()
        except ManifestsInvalid as error:
            self._trouble(
                Report(News.INVALID, self._path, error.message, tree=tree), str(tree.loaded.problems)
            )
            return
        except Permanent as error:
            self._stopped(error)
            return
        self._project = desired.project
        if not self._lead():
            return
        try:
            applied = apply(self._db, self._request(desired), self._clock, self._random)
        except LockHeld:
            raise
        except Permanent as error:
            self._stopped(error)
            return
        self._told = None
        if applied.revision is not None:
            message = f"revision {applied.revision.id} of project {desired.project}"
            self._tell(Report(News.APPLIED, self._path, message, applied=applied))

    def _request(self, desired: DesiredState) -> ApplyRequest:
        return ApplyRequest(
            desired=desired,
            applied_by=self._applied_by,
            owner=self._owner,
            is_ancestor=partial(_comes_before, self._path),
            keep_drift=not desired.spec.self_heal,
        )

    def _lead(self) -> bool:
        """Take or keep the project's leader lease; tell when that changes."""
        if self._project is None:
            return False
        name = f"leader/{self._project}"
        self._lease = self._db.transact(
            lambda connection: leases.acquire(self._db, connection, name, self._owner, LEASE_SECONDS)
        )
        leads = self._lease is not None
        if leads == self._standing_by:
            self._standing_by = not leads
            news = News.LEADING if leads else News.STANDING_BY
            words = "reconciles" if leads else "is reconciled by another process; standing by"
            self._tell(Report(news, self._path, f"project {self._project} {words}"))
            if leads:
                self._due = self._clock.monotonic()
        return leads

    def _stopped(self, error: Permanent) -> None:
        self._trouble(Report(News.STOPPED, self._path, error.message, error=error), f"{error.code}: {error}")

    def _trouble(self, report: Report, fingerprint: str) -> None:
        if fingerprint != self._told:
            self._told = fingerprint
            self._tell(report)


def _comes_before(path: Path, older: str, newer: str) -> bool:
    """A commit that this clone lacks cannot be shown to come before."""
    return bool(is_ancestor(path, older, newer))
