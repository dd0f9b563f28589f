"""The one transaction: lock, look again, check, write, say who did it."""

from __future__ import annotations

import random
from typing import Any

from reconciler.apply.checks import check, released
from reconciler.apply.lock import project_lock
from reconciler.apply.request import Applied, AppliedRevision, ApplyRequest
from reconciler.apply.write import write_plan
from reconciler.clock import Clock
from reconciler.errors import LockHeld
from reconciler.model.project import project_document
from reconciler.model.state import DesiredState, ObservedState
from reconciler.plan.changes import Plan
from reconciler.plan.diff import make_plan
from reconciler.plan.json import change_shape, drift_shape
from reconciler.store import leases
from reconciler.store.engine import Connection, Database
from reconciler.store.ids import NODES, ExecutionIds
from reconciler.store.leases import Held
from reconciler.store.objects import Stamp
from reconciler.store.observe import observe
from reconciler.store.projects import (
    RevisionRecord,
    ensure_project,
    ensure_user,
    insert_revision,
    record_applied,
)

NODE_SECONDS = 60
"""How long an apply keeps its node number; it only makes ids inside its one transaction."""


def look(db: Database, desired: DesiredState) -> Plan:
    """The plan as things stand, from one consistent view. Raises PlanRefused for contradictions."""
    with db.snapshot() as connection:
        return make_plan(desired, observe(connection, desired.project, desired.formerly))


def apply(db: Database, request: ApplyRequest, clock: Clock, randomness: random.Random) -> Applied:
    """Make the desired state true, or change nothing at all.

    Raises LockHeld (somebody else applies this project), GuardTripped (guard or protection), PlanStale (the
    approved plan no longer results, or the commit is behind), PlanRefused, and the database's errors.
    """
    plan = look(db, request.desired)
    if plan.empty or (request.keep_drift and not plan.changes):
        check(request, plan)
        return Applied(plan, None, plan.summary())
    with project_lock(db, request.desired.project, request.owner) as held:
        node, node_lease = leases.lease_node(db, request.owner, NODE_SECONDS, randomness.randrange(NODES))
        ids = ExecutionIds(node, clock)
        try:
            return db.transact(lambda connection: _apply(db, connection, request, held, ids, clock))
        finally:
            db.transact(lambda connection: leases.release(connection, node_lease))


def _apply(
    db: Database,
    connection: Connection,
    request: ApplyRequest,
    held: Held,
    ids: ExecutionIds,
    clock: Clock,
) -> Applied:
    """The transaction. Looks again under the lock: what was seen before may be old."""
    if not leases.holds(db, connection, held):
        raise LockHeld(f"the lock of project {request.desired.project!r} was lost", hint="try again")
    desired = request.desired
    observed = observe(connection, desired.project, desired.formerly)
    plan = make_plan(desired, observed)
    check(request, plan)
    if plan.empty:
        return Applied(plan, None, plan.summary())

    now = clock.now()
    author, display = _creator(request)
    user_id = ensure_user(connection, author, display, now)
    project_id = observed.project.id if observed.project else ensure_project(connection, desired.project, now)
    record = RevisionRecord(
        commit=desired.commit,
        applied_by=request.applied_by,
        applied_at=now,
        digest=plan.digest,
        counts=plan.summary(),
        changes=_remembered(plan),
        released=plan.digest if released(request, plan) and plan.guard.tripped else None,
    )
    revision_id = insert_revision(connection, project_id, record)
    stamp = Stamp(project_id, revision_id, user_id, now)
    write_plan(connection, plan, observed, stamp, ids, keep_drift=request.keep_drift)
    _record_project(connection, desired, project_id, revision_id, observed, stamp)
    leases.raise_counter(connection)
    revision = AppliedRevision(revision_id, desired.commit, request.applied_by, now)
    return Applied(plan, revision, plan.summary())


def _record_project(
    connection: Connection,
    desired: DesiredState,
    project_id: int,
    revision_id: int,
    observed: ObservedState,
    stamp: Stamp,
) -> None:
    record_applied(
        connection,
        project_id,
        desired.project,
        project_document(desired.spec),
        desired.source or (observed.project.source if observed.project else ""),
        desired.commit if desired.commit and not desired.commit.dirty else None,
        revision_id,
        stamp.at,
    )


def _creator(request: ApplyRequest) -> tuple[str, str]:
    """The author of the applied commit; with a dirty tree or without git, who applied."""
    commit = request.desired.commit
    if commit is None or commit.dirty:
        return request.applied_by[:255], ""
    name = commit.author.rpartition(" <")[0]
    return (commit.author_email or request.applied_by)[:255], name[:255]


def _remembered(plan: Plan) -> list[dict[str, Any]]:
    """The changes as ``describe revision`` tells them; drift that was put back is one of them."""
    drift = [
        {"action": "heal", "reason": "changed by hand, put back", **drift_shape(one)} for one in plan.drift
    ]
    return [*(change_shape(change) for change in plan.changes), *drift]
