"""The digest of a plan: the same for the same effect, whatever the time, the checkout or the lines."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from reconciler.model.canonical import canonical_json
from reconciler.plan.changes import Change, Drift, Fields, Plan


def digest_of(project: str, changes: Iterable[Change], drift: Iterable[Drift]) -> str:
    """SHA-256 (64 hex digits) over the project, the ordered changes and the drift.

    No time, commit, line or effect is in it, so a plan made on another checkout of the same tree
    has the same digest. One line of canonical JSON for each, so that a large plan is never held twice.
    """
    digest = hashlib.sha256(_line({"project": project}))
    for change in changes:
        who = [change.action, change.kind, change.name, change.server]
        digest.update(_line({"change": who, "fields": _pairs(change.fields)}))
        if change.drifted:
            digest.update(_line({"by hand": _pairs(change.drift)}))
    for one in drift:
        digest.update(_line({"drift": [one.kind, one.name, one.server], "fields": _pairs(one.fields)}))
    return digest.hexdigest()


def plan_digest(plan: Plan) -> str:
    """The digest that belongs to a plan's content."""
    settings = () if plan.settings_drift is None else (plan.settings_drift,)
    return digest_of(plan.project, plan.changes, (*settings, *plan.drift))


def _line(value: object) -> bytes:
    return canonical_json(value).encode("utf-8", "surrogatepass") + b"\n"


def _pairs(fields: Fields) -> dict[str, list[object]]:
    return {name: [change.before, change.after] for name, change in fields.items()}
