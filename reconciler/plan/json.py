"""The plan as JSON: the shapes of the command line's contract."""

from __future__ import annotations

from typing import Any

from reconciler.plan.changes import Change, Drift, Fields, Guard, Plan

FORMAT = 1


def plan_shape(plan: Plan) -> dict[str, Any]:
    """``plan -o json``."""
    return {
        "format": FORMAT,
        "project": plan.project,
        "revision": plan.base_revision,
        "digest": plan.digest,
        "summary": plan.summary(),
        "changes": [change_shape(change) for change in plan.changes],
        "guard": guard_shape(plan.guard),
        "drift": [drift_shape(drift) for drift in plan.drift],
    }


def change_shape(change: Change) -> dict[str, Any]:
    """One change; ``effect`` is filled in where it is known."""
    return {
        "action": change.action.value,
        "kind": change.kind.value,
        "name": change.name,
        "server": change.server,
        "path": change.origin.path,
        "line": change.origin.line,
        "fields": fields_shape(change.fields),
        "reason": change.reason,
        "effect": None,
    }


def drift_shape(drift: Drift) -> dict[str, Any]:
    """One row that was changed by hand."""
    return {
        "kind": drift.kind.value,
        "name": drift.name,
        "server": drift.server,
        "fields": fields_shape(drift.fields),
    }


def guard_shape(guard: Guard) -> dict[str, Any]:
    """The verdict on deletions; ``release`` is what ``--allow-deletions`` takes."""
    return {
        "tripped": guard.tripped,
        "deletions": guard.deletions,
        "limit": guard.limit,
        "percent": guard.percent,
        "release": guard.release,
    }


def fields_shape(fields: Fields) -> dict[str, Any]:
    """``{"spec.timeout": {"before", "after"}}``."""
    return {name: {"before": change.before, "after": change.after} for name, change in fields.items()}
