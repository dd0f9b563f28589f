"""The digest of a plan: the same for the same effect, whatever the time, the checkout or the lines."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from reconciler.model.canonical import canonical_json
from reconciler.plan.changes import Change, Drift, Fields


def digest_of(project: str, changes: Iterable[Change], drift: Iterable[Drift]) -> str:
    """SHA-256 (64 hex digits) over the project, the ordered changes and the drift.

    No time, commit, line or effect is in it, so a plan made on another checkout of the same tree
    has the same digest.
    """
    content = {
        "project": project,
        "changes": [
            [change.action, change.kind, change.name, change.server, _pairs(change.fields)]
            for change in changes
        ],
        "drift": [[one.kind, one.name, one.server, _pairs(one.fields)] for one in drift],
    }
    return hashlib.sha256(canonical_json(content).encode("utf-8", "surrogatepass")).hexdigest()


def _pairs(fields: Fields) -> dict[str, list[object]]:
    return {name: [change.before, change.after] for name, change in fields.items()}
