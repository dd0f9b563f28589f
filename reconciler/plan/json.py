"""The plan as JSON: the shapes of the command line's contract."""

from __future__ import annotations

from typing import Any

from reconciler.model.instant import rfc3339
from reconciler.model.measured import Suspended
from reconciler.plan.changes import Change, Drift, Effect, Fields, Guard, Plan, Times

FORMAT = 1


def plan_shape(plan: Plan) -> dict[str, Any]:
    """``plan -o json``."""
    return {
        "format": FORMAT,
        "project": plan.project,
        "formerProject": plan.former_project,
        "revision": plan.base_revision,
        "baseCommit": plan.base_commit,
        "commit": plan.commit,
        "digest": plan.digest,
        "summary": plan.summary(),
        "changes": [change_shape(change) for change in plan.changes],
        "guard": guard_shape(plan.guard),
        "drift": [drift_shape(drift) for drift in plan.all_drift()],
        "appliedAs": plan.applied_as,
        "targets": list(plan.targets),
        "leftOut": plan.left_out,
    }


def change_shape(change: Change) -> dict[str, Any]:
    """One change; ``effect`` is null where nothing runs, or where it was not asked for."""
    return {
        "action": change.action.value,
        "kind": change.kind.value,
        "name": change.name,
        "server": change.server,
        "path": change.origin.path,
        "line": change.origin.line,
        "fields": fields_shape(change.fields),
        "reason": change.reason,
        "effect": effect_shape(change.effect),
    }


def drift_shape(drift: Drift) -> dict[str, Any]:
    """One row that was changed by hand: before is what the row says, after what an apply puts back."""
    return {
        "kind": drift.kind.value,
        "name": drift.name,
        "server": drift.server,
        "fields": fields_shape(drift.fields),
        "path": drift.origin.path,
        "line": drift.origin.line,
        "effect": effect_shape(drift.effect),
    }


def guard_shape(guard: Guard) -> dict[str, Any]:
    """The verdict: ``tripped`` where an apply is stopped, ``release`` is what ``--allow-deletions`` takes.

    ``release`` is null where nothing is stopped, and where a protected row would go: that is never released.
    """
    return {
        "tripped": guard.stops,
        "deletions": guard.deletions,
        "limit": guard.limit,
        "percent": guard.percent,
        "release": guard.release,
        "live": guard.live,
        "reasons": list(guard.reasons),
        "protected": list(guard.protected),
    }


def fields_shape(fields: Fields) -> dict[str, Any]:
    """``{"spec.timeout": {"before", "after"}}``."""
    return {name: {"before": change.before, "after": change.after} for name, change in fields.items()}


def effect_shape(effect: Effect | None) -> dict[str, Any] | None:
    """Times are UTC; ids are text, as everywhere in JSON."""
    if effect is None:
        return None
    busiest = effect.busiest_minute
    return {
        "runsPerDay": {"before": effect.before.runs_per_day, "after": effect.after.runs_per_day},
        "nextFires": {"before": _instants(effect.before), "after": _instants(effect.after)},
        "timezone": {"before": effect.before.timezone, "after": effect.after.timezone},
        "dst": [{"at": rfc3339(at), "note": note, "runs": runs} for at, note, runs in effect.dst],
        "overlapPerDay": effect.overlap_per_day,
        "busiestMinute": None if busiest is None else {"at": rfc3339(busiest[0]), "runs": busiest[1]},
        "running": [str(execution) for execution in effect.running],
        "suspended": _suspended(effect.suspended),
        "shifted": [
            {
                "name": shift.name,
                "nextFires": {"before": _instants(shift.before), "after": _instants(shift.after)},
            }
            for shift in effect.shifted
        ],
    }


def _suspended(found: Suspended | None) -> dict[str, Any] | None:
    if found is None:
        return None
    until = None if found.until is None else rfc3339(found.until)
    return {
        "of": found.of,
        "by": found.by,
        "reason": found.reason,
        "since": rfc3339(found.since),
        "until": until,
    }


def _instants(times: Times) -> list[str]:
    return [rfc3339(moment) for moment in times.next_fires]
