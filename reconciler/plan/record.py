"""The parts of a saved plan as JSON values, and back; the inverse of each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from reconciler.model.canonical import document_hash
from reconciler.model.enums import Kind
from reconciler.model.instant import rfc3339
from reconciler.model.state import (
    Commit,
    Definition,
    DesiredServer,
    DesiredTask,
    ObservedServer,
    ObservedTask,
    Origin,
    server_spec,
    task_spec,
)
from reconciler.plan.changes import (
    Action,
    Change,
    Drift,
    Effect,
    FieldChange,
    Fields,
    Guard,
    Shift,
    Times,
)
from reconciler.plan.references import Reference

Value = dict[str, Any]


def change_value(change: Change) -> Value:
    return {
        "action": change.action.value,
        "kind": change.kind.value,
        "name": change.name,
        "server": change.server,
        "origin": _origin_value(change.origin),
        "fields": _fields_value(change.fields),
        "reason": change.reason,
        "desired": _desired_value(change.desired),
        "row": _row_value(change.row),
        "gitChanged": change.git_changed,
        "schedulingChanged": change.scheduling_changed,
        "drifted": change.drifted,
        "drift": _fields_value(change.drift),
        "effect": _effect_value(change.effect),
    }


def change_of(value: Mapping[str, Any]) -> Change:
    kind = Kind(value["kind"])
    return Change(
        action=Action(value["action"]),
        kind=kind,
        name=value["name"],
        server=value["server"],
        origin=_origin_of(value["origin"]),
        fields=_fields_of(value["fields"]),
        reason=value["reason"],
        desired=_desired_of(kind, value["desired"]),
        row=_row_of(kind, value["row"]),
        git_changed=bool(value["gitChanged"]),
        scheduling_changed=bool(value["schedulingChanged"]),
        drifted=bool(value["drifted"]),
        drift=_fields_of(value["drift"]),
        effect=_effect_of(value["effect"]),
    )


def drift_value(drift: Drift) -> Value:
    return {
        "kind": drift.kind.value,
        "name": drift.name,
        "server": drift.server,
        "fields": _fields_value(drift.fields),
        "desired": _desired_value(drift.desired),
        "row": _row_value(drift.row),
        "schedulingChanged": drift.scheduling_changed,
        "effect": _effect_value(drift.effect),
    }


def drift_of(value: Mapping[str, Any]) -> Drift:
    kind = Kind(value["kind"])
    desired, row = _desired_of(kind, value["desired"]), _row_of(kind, value["row"])
    if kind is not Kind.PROJECT and (desired is None or row is None):
        raise ValueError("drift without a declaration or a row")
    return Drift(
        kind=kind,
        name=value["name"],
        server=value["server"],
        fields=_fields_of(value["fields"]),
        desired=desired,
        row=row,
        scheduling_changed=bool(value["schedulingChanged"]),
        effect=_effect_of(value["effect"]),
    )


def reference_value(reference: Reference) -> Value:
    return {**asdict(reference), "kind": reference.kind.value}


def reference_of(value: Mapping[str, Any]) -> Reference:
    return Reference(**{**value, "kind": Kind(value["kind"])})


def guard_value(guard: Guard) -> Value:
    return asdict(guard)


def guard_of(value: Mapping[str, Any]) -> Guard:
    return Guard(**{**value, "reasons": tuple(value["reasons"]), "protected": tuple(value["protected"])})


def commit_value(commit: Commit | None) -> Value | None:
    return None if commit is None else asdict(commit)


def moment_of(text: str) -> datetime:
    """An instant as JSON has it, aware in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _origin_value(origin: Origin) -> list[Any]:
    return [origin.path, origin.line]


def _origin_of(value: list[Any]) -> Origin:
    path, line = value
    return Origin(str(path), int(line))


def _fields_value(fields: Fields) -> dict[str, list[Any]]:
    return {name: [change.before, change.after] for name, change in fields.items()}


def _fields_of(value: Mapping[str, list[Any]]) -> Fields:
    return {name: FieldChange(before, after) for name, (before, after) in value.items()}


def _definition_of(document: Any) -> Definition:
    if not isinstance(document, dict) or not {"metadata", "spec"} <= document.keys():
        raise ValueError("a document has metadata and spec")
    return Definition(document, document_hash(document))


def _desired_value(desired: DesiredServer | DesiredTask | None) -> Value | None:
    if desired is None:
        return None
    common = {
        "name": desired.name,
        "document": desired.definition.document,
        "origin": _origin_value(desired.origin),
        "formerly": desired.formerly,
    }
    if isinstance(desired, DesiredTask):
        return {**common, "server": desired.server, "formerlyServer": desired.formerly_server}
    return common


def _desired_of(kind: Kind, value: Mapping[str, Any] | None) -> DesiredServer | DesiredTask | None:
    if value is None:
        return None
    definition, origin = _definition_of(value["document"]), _origin_of(value["origin"])
    # what is written into rows is checked like a manifest: a ValidationError is a ValueError
    if kind is Kind.SERVER:
        server_spec(definition.document)
        return DesiredServer(value["name"], definition, origin, value["formerly"])
    task_spec(definition.document)
    return DesiredTask(
        value["name"], value["server"], definition, origin, value["formerly"], value["formerlyServer"]
    )


def _row_value(row: ObservedServer | ObservedTask | None) -> Value | None:
    if row is None:
        return None
    common = {
        "id": row.id,
        "name": row.name,
        "project": row.project,
        "document": row.definition.document,
        "appliedHash": row.applied_hash,
        "generation": row.generation,
        "protected": row.protected,
        "origin": _origin_value(row.origin),
        "revision": row.revision_id,
        "deletedAt": None if row.deleted_at is None else rfc3339(row.deleted_at),
        "renamedFrom": row.renamed_from,
    }
    if isinstance(row, ObservedTask):
        return {**common, "server": row.server, "serverId": row.server_id}
    return common


def _row_of(kind: Kind, value: Mapping[str, Any] | None) -> ObservedServer | ObservedTask | None:
    if value is None:
        return None
    deleted = value["deletedAt"]
    common: dict[str, Any] = {
        "id": int(value["id"]),
        "name": value["name"],
        "project": value["project"],
        "definition": _definition_of(value["document"]),
        "applied_hash": value["appliedHash"],
        "generation": int(value["generation"]),
        "protected": bool(value["protected"]),
        "origin": _origin_of(value["origin"]),
        "revision_id": value["revision"],
        "deleted_at": None if deleted is None else moment_of(deleted),
        "renamed_from": value["renamedFrom"],
    }
    if kind is Kind.SERVER:
        return ObservedServer(**common)
    return ObservedTask(**common, server=value["server"], server_id=int(value["serverId"]))


def _effect_value(effect: Effect | None) -> Value | None:
    if effect is None:
        return None
    busiest = effect.busiest_minute
    return {
        "before": _times_value(effect.before),
        "after": _times_value(effect.after),
        "dst": [[rfc3339(at), note, runs] for at, note, runs in effect.dst],
        "overlapPerDay": effect.overlap_per_day,
        "busiestMinute": None if busiest is None else [rfc3339(busiest[0]), busiest[1]],
        "running": [str(execution) for execution in effect.running],
        "shifted": [
            [shift.name, _times_value(shift.before), _times_value(shift.after)] for shift in effect.shifted
        ],
    }


def _effect_of(value: Mapping[str, Any] | None) -> Effect | None:
    if value is None:
        return None
    busiest = value["busiestMinute"]
    return Effect(
        before=_times_of(value["before"]),
        after=_times_of(value["after"]),
        dst=tuple((moment_of(at), note, runs[0] if runs else None) for at, note, *runs in value["dst"]),
        overlap_per_day=value["overlapPerDay"],
        busiest_minute=None if busiest is None else (moment_of(busiest[0]), int(busiest[1])),
        running=tuple(int(execution) for execution in value["running"]),
        shifted=tuple(
            Shift(name, _times_of(before), _times_of(after)) for name, before, after in value["shifted"]
        ),
    )


def _times_value(times: Times) -> Value:
    return {
        "runsPerDay": times.runs_per_day,
        "nextFires": [rfc3339(moment) for moment in times.next_fires],
        "timezone": times.timezone,
    }


def _times_of(value: Mapping[str, Any]) -> Times:
    fires = tuple(moment_of(text) for text in value["nextFires"])
    return Times(value["runsPerDay"], fires, value["timezone"])
