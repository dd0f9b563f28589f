"""One declared object against its row: created, revived, renamed, updated, drifted or unchanged."""

from __future__ import annotations

from reconciler.model.enums import Kind
from reconciler.model.state import Definition, DesiredServer, DesiredTask, ObservedServer, ObservedTask
from reconciler.plan.changes import Action, Change, Drift, FieldChange, Fields
from reconciler.plan.fields import Differences, merged

Declared = DesiredServer | DesiredTask
Row = ObservedServer | ObservedTask

_TASK_TIMING = ("spec.schedule", "spec.timezone", "spec.dst", "spec.jitter", "spec.enabled")
_SERVER_TIMING = ("spec.enabled",)


def compare(
    differences: Differences,
    kind: Kind,
    server: str | None,
    desired: Declared,
    row: Row | None,
    names: dict[str, FieldChange],
) -> Change | Drift | None:
    """What happens to one object; None if nothing does.

    ``names`` are the fields of a rename (name, server), empty where it keeps both.
    """
    if row is None:
        return Change(
            action=Action.CREATE,
            kind=kind,
            name=desired.name,
            server=server,
            origin=desired.origin,
            fields=differences.set_by(kind, desired.definition),
            desired=desired,
            scheduling_changed=kind is Kind.TASK,
        )
    git_changed = desired.definition.hash != row.applied_hash
    drifted = row.drifted
    if row.live and not names and not git_changed:
        return _drift(differences, kind, server, desired, row) if drifted else None
    fields: Fields = differences.between(kind, row.definition, desired.definition)
    by_hand: Fields = {}
    if drifted and git_changed:
        by_hand = _by_hand(differences, kind, row, desired.definition)
        fields = (
            {name: change for name, change in fields.items() if name not in by_hand} if by_hand else fields
        )
    elif drifted:
        fields, by_hand = {}, fields
    return Change(
        action=_action(row, names),
        kind=kind,
        name=desired.name,
        server=server,
        origin=desired.origin,
        fields=merged(names, fields),
        reason=_reason(row, names, fields, by_hand),
        desired=desired,
        row=row,
        git_changed=git_changed,
        scheduling_changed=_reschedules(kind, row, names, fields),
        drifted=drifted,
        drift=by_hand,
    )


def _drift(differences: Differences, kind: Kind, server: str | None, desired: Declared, row: Row) -> Drift:
    fields = differences.between(kind, row.definition, desired.definition)
    return Drift(kind, desired.name, server, fields, desired, row, _timing(kind, fields))


def _by_hand(differences: Differences, kind: Kind, row: Row, desired: Definition) -> Fields:
    """Which fields a hand changed in a row that git changes too; empty where its hash does not tell."""
    applied = differences.applied(row.definition, desired, row.applied_hash)
    return {} if applied is None else differences.between(kind, row.definition, applied)


def _reschedules(kind: Kind, row: Row, names: Fields, fields: Fields) -> bool:
    # a drifted row's next slot may be of the applied schedule or of the one made by hand
    return not row.live or bool(names) or row.drifted or _timing(kind, fields)


def _timing(kind: Kind, fields: Fields) -> bool:
    return any(name in fields for name in (_TASK_TIMING if kind is Kind.TASK else _SERVER_TIMING))


def _action(row: Row, names: Fields) -> Action:
    if not row.live:
        return Action.RESTORE
    return Action.RENAME if names else Action.UPDATE


def _reason(row: Row, names: Fields, fields: Fields, by_hand: Fields) -> str | None:
    if row.deleted_at is not None:
        return f"declared again; deleted on {row.deleted_at:%Y-%m-%d %H:%M} UTC, its id and history come back"
    if names:
        moved = "moved" if "metadata.name" not in names else "renamed"
        return f"{moved} by `formerly`; its id and history stay"
    if row.drifted and not by_hand:
        if fields:
            return "also changed by hand since the last apply; its hash does not tell which fields"
        return "already made by hand, now declared in git"
    return None
