"""Keep one tree applied: look when woken and at intervals, lead or stand by, survive every bad commit."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from reconciler.apply.apply import apply
from reconciler.apply.request import Applied, ApplyRequest
from reconciler.clock import Clock
from reconciler.controller.sources import TreeSource
from reconciler.controller.standing import Standing
from reconciler.controller.subject import concerning
from reconciler.controller.tally import Passes
from reconciler.errors import (
    GuardTripped,
    LockHeld,
    ManifestsInvalid,
    Permanent,
    PlanStale,
    ReconcilerError,
    SourceUnavailable,
    SourceUntrusted,
)
from reconciler.manifest.tree import Tree
from reconciler.model.state import DesiredState
from reconciler.store import leases, projects
from reconciler.store.engine import Database
from reconciler.store.leases import Held

LEASE_SECONDS = 15.0
"""How long a leader is missed before another takes its place."""
RENEW_SECONDS = 5.0
RETRY_SECONDS = 1.0
"""After a lock that somebody else held: applies are short."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0
"""Between two looks at a source that cannot be read: the first is soon, the others ever later."""
STUCK_PAUSE = 60.0
"""The shortest such pause where only a person can help: another look is no help, only load."""


class News(StrEnum):
    """What a reconciler has to tell."""

    APPLIED = "applied"
    WELL_AGAIN = "well-again"
    INVALID = "invalid"
    STOPPED = "stopped"
    LEADING = "leading"
    STANDING_BY = "standing-by"


@dataclass(frozen=True, slots=True)
class Report:
    """One piece of news of the source called ``path``.

    ``applied`` for APPLIED, ``tree`` for INVALID, ``error`` for STOPPED. ``project`` and ``commit`` (whole)
    are those that were looked at, None as long as they are not known.
    """

    news: News
    path: str
    message: str
    applied: Applied | None = None
    tree: Tree | None = None
    error: ReconcilerError | None = None
    project: str | None = None
    commit: str | None = None


class Reconciler:
    """One source, reconciled by one of any number of processes.

    ``step`` is called by a loop; it returns the seconds to sleep. ``changed`` makes the next step look
    at the source whatever the interval says. The same trouble is told once, until it changes or ends.
    """

    def __init__(
        self,
        db: Database,
        source: TreeSource,
        clock: Clock,
        randomness: random.Random,
        *,
        owner: str,
        applied_by: str,
        interval: float,
        tell: Callable[[Report], None],
        stop: threading.Event,
    ) -> None:
        """``stop``: set when the process ends; a look at a slow source is then given up."""
        self._db = db
        self.source = source
        self._clock = clock
        self._random = randomness
        self._owner = owner
        self._applied_by = applied_by
        self._interval = interval
        self._listener = tell
        self._stop = stop
        self._standing = Standing(db, clock, source.place)
        self._due = clock.monotonic()
        self._asked = False
        self._project: str | None = None
        self._commit: str | None = None
        self._lease: Held | None = None
        self._standing_by = False
        self._told: str | None = None
        self._failures = 0
        self._result = ""
        self.passes = Passes()

    @property
    def name(self) -> str:
        """Its project, or before that is known its source."""
        return self._project or self.source.label

    def changed(self) -> None:
        """Something changed at the source: look at the next step, also after one that is under way."""
        self._asked = True

    def step(self) -> float:
        """Reconcile if it is time, else only stay the leader. Raises Temporary errors of the database."""
        now = self._clock.monotonic()
        if now < self._due and not self._asked:
            self._lead()
            return min(RENEW_SECONDS, self._due - now)
        self._asked = False
        self._due = now + self._interval
        self._result = "Failed"
        try:
            with concerning({"project": self._project, "commit": self._commit}):
                self._pass()
        except LockHeld:
            # somebody applies this very project; what they leave is looked at in a moment
            self._due = now + RETRY_SECONDS
            self._result = "LockHeld"
        finally:
            self.passes.add(self._result, self._clock.monotonic() - now)
        return 0.0 if self._asked else max(0.0, min(RENEW_SECONDS, self._due - self._clock.monotonic()))

    def resign(self) -> None:
        """Let another process lead at once."""
        lease, self._lease = self._lease, None
        if lease is not None:
            self._db.transact(lambda connection: leases.release(connection, lease))

    # -- one look -------------------------------------------------------------------------------

    def _pass(self) -> None:
        try:
            tree = self.source.read(self._stop)
        except SourceUnavailable as error:
            self._failed(error, "SourceUnavailable", FIRST_PAUSE)
            return
        except SourceUntrusted as error:
            self._distrusted(error)
            return
        except Permanent as error:
            self._unreadable(error)
            return
        self._commit = None if tree.commit is None else tree.commit.hash
        try:
            desired = tree.desired()
        except ManifestsInvalid as error:
            self._invalid(tree, error)
            return
        except Permanent as error:
            self._unreadable(error)
            return
        self._failures = 0
        self._project = desired.project
        self._commit = None if desired.commit is None else desired.commit.hash
        if not self._lead():
            self._result = "StandingBy"
            return
        try:
            applied = apply(self._db, self._request(desired), self._clock, self._random)
        except LockHeld:
            raise
        except SourceUnavailable as error:
            # it was asked whether the applied commit comes before this one
            self._failed(error, "SourceUnavailable", FIRST_PAUSE)
            return
        except Permanent as error:
            self._due = max(self._due, self._clock.monotonic() + STUCK_PAUSE)
            self._stopped(error, _reason(error))
            return
        self._applied(desired, applied)

    def _applied(self, desired: DesiredState, applied: Applied) -> None:
        self._standing.well(desired.project)
        self._standing.verified(desired.project, self.source.signer)
        told, self._told = self._told, None
        self._result = "Unchanged" if applied.revision is None else "Applied"
        if applied.revision is not None:
            message = f"revision {applied.revision.id} of project {desired.project}"
            self._tell(Report(News.APPLIED, self.source.label, message, applied=applied))
        elif told is not None:
            message = f"project {desired.project} is as declared again"
            self._tell(Report(News.WELL_AGAIN, self.source.label, message))

    def _request(self, desired: DesiredState) -> ApplyRequest:
        if desired.commit is not None:
            # the answer may take a fetch, which must not happen inside the apply's transaction
            with self._db.read() as connection:
                before = projects.applied_commit(connection, desired.project)
            if before is not None and before != desired.commit.hash:
                self.source.is_ancestor(desired.commit.hash, before)
        return ApplyRequest(
            desired=desired,
            applied_by=self._applied_by,
            owner=self._owner,
            is_ancestor=self.source.is_ancestor,
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
            self._tell(Report(news, self.source.label, f"project {self._project} {words}"))
            if leads:
                self._due = self._clock.monotonic()
        return leads

    def _tell(self, report: Report) -> None:
        self._listener(replace(report, project=self._project, commit=self._commit))

    # -- trouble --------------------------------------------------------------------------------

    def _invalid(self, tree: Tree, error: ManifestsInvalid) -> None:
        if self._local:
            # its files are watched; a commit of git's is not judged twice anyway
            self._due = max(self._due, self._clock.monotonic() + STUCK_PAUSE)
        told = Report(News.INVALID, self.source.label, error.message, tree=tree)
        at = f" of commit {tree.commit.hash[:12]}" if tree.commit is not None else ""
        self._trouble(told, f"{at}{tree.loaded.problems}", "ManifestsInvalid", f"{error.message}{at}")

    def _distrusted(self, error: SourceUntrusted) -> None:
        if not self._standing_by:
            self._standing.distrusted(self._project, str(error.details["reason"]), error.message)
        self._stopped(error, "SourceUntrusted")

    def _unreadable(self, error: Permanent) -> None:
        self._failed(error, "SourceUnreadable", 0.0 if self._local else STUCK_PAUSE)

    def _failed(self, error: ReconcilerError, reason: str, shortest: float) -> None:
        """Look again later and later; a change that is noticed, or told by a webhook, cuts that short."""
        if self._stop.is_set():
            return
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures, 16))
        self._failures += 1
        if self._local:
            pause = min(pause, self._interval)
        # many controllers that lost one server do not come back in step
        pause *= self._random.uniform(0.75, 1.25)
        self._due = self._clock.monotonic() + max(pause, shortest)
        self._stopped(error, reason)

    @property
    def _local(self) -> bool:
        return self.source.place is None

    def _stopped(self, error: ReconcilerError, reason: str) -> None:
        report = Report(News.STOPPED, self.source.label, error.message, error=error)
        self._trouble(report, f"{error.code}: {error}", reason, error.message)

    def _trouble(self, report: Report, fingerprint: str, reason: str, message: str) -> None:
        self._result = reason
        if not self._standing_by:
            self._standing.stalled(self._project, reason, message)
        if fingerprint != self._told:
            self._told = fingerprint
            self._tell(report)


def _reason(error: Permanent) -> str:
    """The reason of the condition ``Stalled``."""
    if isinstance(error, PlanStale):
        return "BehindApplied"
    if isinstance(error, GuardTripped):
        return "GuardTripped"
    return "ApplyRefused"
