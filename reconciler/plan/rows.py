"""One declared object against its row: created, revived, renamed, updated, drifted or unchanged."""

from __future__ import annotations

from reconciler.model.enums import Kind
from reconciler.model.state import DesiredServer, DesiredTask, ObservedServer, ObservedTask
from reconciler.plan.changes import Action, Change, Drift, FieldChange
from reconciler.plan.fields import differences, settings

Declared = DesiredServer | DesiredTask
Row = ObservedServer | ObservedTask


def compare(
    kind: Kind, server: str | None, desired: Declared, row: Row | None, names: dict[str, FieldChange]
) -> Change | Drift | None:
    """What happens to one object; None if nothing does.

    ``names`` are the fields of a rename (name, server), empty where it keeps both.
    """
    if row is None:
        return Change(
            Action.CREATE, kind, desired.name, server, desired.origin, settings(desired.definition.document),
            desired=desired,
        )  # fmt: skip
    git_changed = desired.definition.hash != row.applied_hash
    if row.live and not names and not git_changed and not row.drifted:
        return None
    fields = differences(kind, row.definition.document, desired.definition.document)
    if row.live and not names and not git_changed:
        return Drift(kind, desired.name, server, fields, desired, row)
    return Change(
        action=_action(row, names),
        kind=kind,
        name=desired.name,
        server=server,
        origin=desired.origin,
        fields={**names, **fields},
        reason=_reason(row, names, fields),
        desired=desired,
        row=row,
        git_changed=git_changed,
    )


def _action(row: Row, names: dict[str, FieldChange]) -> Action:
    if not row.live:
        return Action.RESTORE
    return Action.RENAME if names else Action.UPDATE


def _reason(row: Row, names: dict[str, FieldChange], fields: dict[str, FieldChange]) -> str | None:
    if row.deleted_at is not None:
        return f"declared again; deleted on {row.deleted_at:%Y-%m-%d %H:%M} UTC, its id and history come back"
    if names:
        return "renamed by `formerly`; its id and history stay"
    if row.drifted:
        return (
            "also changed by hand since the last apply"
            if fields
            else "already made by hand, now declared in git"
        )
    return None
