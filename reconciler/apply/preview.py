"""What a request comes to on the rows as they are: of a tree, or of a plan that was saved earlier."""

from __future__ import annotations

from reconciler.apply.request import ApplyRequest
from reconciler.model.state import ObservedState
from reconciler.plan.changes import Plan
from reconciler.plan.diff import make_plan
from reconciler.plan.planfile import SavedPlan
from reconciler.plan.stale import check_stale, refresh, stale_error, stale_revisions
from reconciler.store.engine import Connection, Database
from reconciler.store.observe import observe
from reconciler.store.projects import revision_notes


def look_again(connection: Connection, request: ApplyRequest) -> tuple[Plan, ObservedState]:
    """What the request comes to on the rows as this transaction sees them.

    Raises as ``look``; PlanStale where a saved plan no longer does what it said.
    """
    observed = observe(connection, request.project, request.formerly)
    if not isinstance(request.desired, SavedPlan):
        return make_plan(request.desired, observed, targets=request.targets), observed
    stale = check_stale(request.desired, observed)
    if stale:
        raise stale_error(stale, revision_notes(connection, stale_revisions(stale)))
    return refresh(request.desired, observed), observed


def preview(db: Database, request: ApplyRequest) -> Plan:
    """What the request comes to at this moment, changing nothing. Raises as ``look_again``."""
    with db.snapshot() as connection:
        return look_again(connection, request)[0]
