"""What a revision remembers of its changes, within what a database takes in one statement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reconciler.model.canonical import canonical_json
from reconciler.plan.changes import Plan
from reconciler.plan.json import change_shape, drift_shape

LONGEST = 16_384
"""Characters of one value; of a longer one the beginning and the end are kept."""
WITH_FIELDS = 10 << 20
"""Characters after which only who was changed is kept, not what: ten thousand creations say it in their rows.
The column is packed, but texts that do not shrink must fit into MariaDB's max_allowed_packet (16 MiB) too."""
ENOUGH = 24 << 20
"""Characters after which the rest is only counted; names shrink well."""
_FRAME = 150
"""Characters of an entry without its fields, about."""


def remembered(plan: Plan, *, keep_drift: bool) -> list[dict[str, Any]]:
    """The changes as ``describe revision`` tells them; ``heal`` is what a hand changed, put back."""
    kept: list[dict[str, Any]] = []
    size = left_out = 0
    for entry in _entries(plan, keep_drift):
        length = _FRAME + _length(entry["fields"])
        if size + length > WITH_FIELDS:
            entry["fields"], length = {}, _FRAME
        if size + length > ENOUGH:
            left_out += 1
            continue
        size += length
        kept.append(entry)
    return [*kept, _more(left_out)] if left_out else kept


def _length(value: Any) -> int:
    """About how many characters of JSON."""
    if isinstance(value, str):
        return len(value) + 3
    if isinstance(value, dict):
        return sum(len(key) + 4 + _length(item) for key, item in value.items())
    if isinstance(value, list):
        return sum(map(_length, value)) + 2
    return 6


def _entries(plan: Plan, keep_drift: bool) -> Iterator[dict[str, Any]]:
    for change in plan.changes:
        yield _entry(change_shape(change))
    # a row that git changes as well is written whole, whatever becomes of the others
    untouched = len(plan.drift) + (plan.settings_drift is not None)
    for drift in plan.all_drift()[untouched if keep_drift else 0 :]:
        yield {"action": "heal", "reason": "changed by hand, put back", **_entry(drift_shape(drift))}


def _entry(shape: dict[str, Any]) -> dict[str, Any]:
    # an effect is of the moment it was shown
    shape.pop("effect", None)
    return _shortened(shape)


def _shortened(shape: dict[str, Any]) -> dict[str, Any]:
    fields = {
        name: {side: _short(value) for side, value in change.items()}
        for name, change in shape["fields"].items()
    }
    return {**shape, "fields": fields}


def _short(value: Any) -> Any:
    text = value if isinstance(value, str) else None
    if text is None and isinstance(value, dict | list):
        text = canonical_json(value)
        if len(text) <= LONGEST:
            return value
    if text is None or len(text) <= LONGEST:
        return value
    half = LONGEST // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def _more(count: int) -> dict[str, Any]:
    return {
        "action": "omitted",
        "kind": None,
        "name": None,
        "server": None,
        "path": "",
        "line": 0,
        "fields": {},
        "reason": f"{count} more changes: the revision's counts have them, its commit tells them",
    }
