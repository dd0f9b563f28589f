"""The one transaction: lock, look again, check, write, say who did it."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass

from reconciler.apply.checks import check
from reconciler.apply.lock import Locks, fence, locked
from reconciler.apply.preview import look_again, preview
from reconciler.apply.remember import remembered
from reconciler.apply.request import Applied, AppliedRevision, ApplyRequest
from reconciler.apply.write import write_plan
from reconciler.clock import Clock
from reconciler.errors import DatabaseUnavailable, ReconcilerError
from reconciler.model.enums import Kind
from reconciler.model.project import project_document
from reconciler.model.state import Commit, ObservedProject, ObservedState
from reconciler.plan.changes import Plan
from reconciler.plan.guard import released
from reconciler.store import leases, projects
from reconciler.store.engine import Connection, Database
from reconciler.store.formerly import forget
from reconciler.store.ids import ExecutionIds
from reconciler.store.objects import Stamp
from reconciler.store.serial import one_at_a_time


def apply(db: Database, request: ApplyRequest, clock: Clock, randomness: random.Random) -> Applied:
    """Make the desired state (or the saved plan) true, or change nothing at all.

    Raises LockHeld (somebody else applies this project), GuardTripped (guard or protection), PlanStale (the
    approved or saved plan no longer results, or the commit is behind), PlanRefused, NotFound for an unknown
    target, and the database's errors.
    """
    plan = preview(db, request)
    check(request, plan)
    if _nothing_to_do(request, plan):
        if plan.forget:
            # bookkeeping that can wait: the next apply does it
            with suppress(ReconcilerError):
                db.transact(lambda connection: _forget(connection, request), attempts=1)
        return Applied(plan, None, plan.summary())
    rows = len(plan.touched())
    with locked(db, request.project, request.formerly, request.owner, rows, randomness) as locks:
        work = _Work(request, locks, clock)
        try:
            applied = db.transact(work.attempt)
        except DatabaseUnavailable as error:
            if work.attempted is None:
                raise
            raise DatabaseUnavailable(
                f"{error.message}, just while project {request.project!r} was being committed: all of it was"
                " applied or nothing",
                hint="`reconciler plan` shows which; applying again does no harm",
            ) from error
        locks.given_back = applied.revision is not None
        return applied


@dataclass(slots=True)
class _Work:
    """One apply's transaction, which may be tried more than once.

    ``attempted`` is what an earlier try did up to its commit, where the commit's answer was lost.
    """

    request: ApplyRequest
    locks: Locks
    clock: Clock
    attempted: Applied | None = None

    def attempt(self, connection: Connection) -> Applied:
        """Look again under the lock, since what was seen before may be old; then write."""
        one_at_a_time(connection)
        if self.attempted is not None and _is_written(connection, self.attempted):
            return self.attempted
        self.attempted = None
        plan, observed = look_again(connection, self.request)
        check(self.request, plan)
        if _nothing_to_do(self.request, plan):
            return Applied(plan, None, plan.summary())
        revision = self._write(connection, plan, observed)
        fence(connection, self.locks)
        leases.raise_counter(connection)
        self.attempted = Applied(plan, revision, plan.summary())
        return self.attempted

    def _write(self, connection: Connection, plan: Plan, observed: ObservedState) -> AppliedRevision:
        request, now, stored = self.request, self.clock.now(), observed.project
        user_id = projects.ensure_user(connection, _creator(plan.git, request.applied_by), now)
        project_id = stored.id if stored else projects.insert_project(connection, plan.project, now)
        tripped = plan.guard.tripped and released(plan.guard, plan.digest, request.allow_deletions)
        record = projects.RevisionRecord(
            commit=plan.git,
            applied_by=request.applied_by,
            applied_at=now,
            digest=plan.digest,
            counts={**plan.summary(), "heal": 0 if request.keep_drift else len(plan.all_drift())},
            changes=remembered(plan, keep_drift=request.keep_drift),
            released=plan.digest if tripped else None,
        )
        revision_id = projects.insert_revision(connection, project_id, record)
        stamp = Stamp(project_id, revision_id, user_id, now)
        ids = ExecutionIds(self.locks.node, self.clock)
        write_plan(connection, plan, observed, stamp, ids, keep_drift=request.keep_drift)
        forget(connection, plan.forget)
        projects.record_applied(connection, project_id, _state(request, plan, stored, stamp))
        return AppliedRevision(revision_id, plan.git, request.applied_by, now)


def _nothing_to_do(request: ApplyRequest, plan: Plan) -> bool:
    return not plan.changes and (request.keep_drift or plan.empty)


def _state(
    request: ApplyRequest, plan: Plan, stored: ObservedProject | None, stamp: Stamp
) -> projects.AppliedState:
    """What the project's row says from now on. A part of a tree moves neither its commit nor its source."""
    changed = stored is None or any(change.kind is Kind.PROJECT for change in plan.changes)
    partial = bool(plan.targets)
    healed = plan.settings_drift is not None and not request.keep_drift
    commit, source = (plan.git.hash if plan.git else None), plan.source
    if stored is not None:
        commit, source = (stored.commit if partial else commit), (stored.source if partial else source)
    return projects.AppliedState(
        name=plan.project if changed or stored is None else stored.name,
        settings=project_document(plan.spec) if changed or healed else None,
        source=source or (stored.source if stored else ""),
        commit=None if partial and stored is None else commit,
        revision_id=stamp.revision_id,
        at=stamp.at,
    )


def _is_written(connection: Connection, attempted: Applied) -> bool:
    """Whether the earlier try's commit went through: its very revision is there."""
    revision = attempted.revision
    return revision is not None and projects.is_revision(
        connection, revision.id, attempted.plan.digest, revision.applied_by, revision.applied_at
    )


def _forget(connection: Connection, request: ApplyRequest) -> None:
    """Bookkeeping of renames that the tree no longer speaks of: no revision, nobody sees a change."""
    one_at_a_time(connection)
    forget(connection, look_again(connection, request)[0].forget)


def _creator(commit: Commit | None, applied_by: str) -> projects.Person:
    """The author of the applied commit; with a dirty tree or without git, who applied."""
    if commit is None or commit.dirty or not commit.author_email:
        return projects.Person(applied_by)
    name = commit.author.rpartition(" <")[0]
    return projects.Person(commit.author_email, name, commit.author_email)
