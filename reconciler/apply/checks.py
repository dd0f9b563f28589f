"""What may stop an apply: a guard, a protection, a state that moved on, a commit from the past."""

from __future__ import annotations

from reconciler.apply.request import ApplyRequest
from reconciler.errors import GuardTripped, PlanStale, ReconcilerError
from reconciler.plan.changes import Plan
from reconciler.plan.guard import SHORTEST_RELEASE, released
from reconciler.plan.json import guard_shape


def check(request: ApplyRequest, plan: Plan) -> None:
    """Raise the reason why this plan must not be applied, if there is one."""
    for problem in (_older(request, plan), _moved(request, plan), _protected(plan), _guarded(request, plan)):
        if problem is not None:
            raise problem


def _older(request: ApplyRequest, plan: Plan) -> ReconcilerError | None:
    ours, applied = plan.commit, plan.base_commit
    if request.allow_older or not ours or not applied or ours == applied:
        return None
    if not request.is_ancestor(ours, applied):
        return None
    return PlanStale(
        f"commit {ours[:12]} is an ancestor of the applied commit {applied[:12]}",
        hint=f"apply a newer commit, or go back on purpose with `git revert` or `apply --commit {ours[:12]}`",
        details={"commit": ours, "applied": applied},
    )


def _moved(request: ApplyRequest, plan: Plan) -> ReconcilerError | None:
    if request.approved is None or request.approved == plan.digest or plan.empty:
        # an empty plan: somebody made the very same change meanwhile
        return None
    return PlanStale(
        f"project {plan.project!r} changed since the plan was made: the same manifests now give another plan",
        hint="look at the new plan with `reconciler plan`, then apply again",
        details={"approved": request.approved, "digest": plan.digest},
    )


def _protected(plan: Plan) -> ReconcilerError | None:
    names = plan.guard.protected
    if not names:
        return None
    return GuardTripped(
        f"protected, and would be deleted: {', '.join(names)}",
        hint="declare them again; to delete one, first apply a commit that sets `protected: false`",
        details={"guard": guard_shape(plan.guard), "digest": plan.digest, "protected": list(names)},
    )


def _guarded(request: ApplyRequest, plan: Plan) -> ReconcilerError | None:
    if not plan.guard.tripped or released(plan.guard, plan.digest, request.allow_deletions):
        return None
    wrong = " (the given digest is another plan's)" if request.allow_deletions is not None else ""
    return GuardTripped(
        f"the deletion guard stopped this: {'; '.join(plan.guard.reasons)}{wrong}",
        hint=f"if it is meant: {request.command} --allow-deletions {plan.digest[:SHORTEST_RELEASE]}",
        details={"guard": guard_shape(plan.guard), "digest": plan.digest},
    )
