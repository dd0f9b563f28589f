"""What of a status is not normal, and since when where rows do not tell it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from reconciler.model.condition import Condition, ConditionStatus, ConditionType
from reconciler.model.enums import Kind
from reconciler.report.status import ObjectStatus
from reconciler.store import transitions
from reconciler.store.views import Connection, ServerView, TaskView

TRUE, FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE
_BAD_WHEN_FALSE = frozenset(
    {
        ConditionType.SYNCED,
        ConditionType.LAST_RUN_SUCCEEDED,
        ConditionType.REACHABLE,
        ConditionType.SOURCE_VERIFIED,
    }
)
_BAD_WHEN_TRUE = frozenset(
    {ConditionType.OVERDUE, ConditionType.SUSPENDED, ConditionType.DRIFTED, ConditionType.STALLED}
)


def exceptions(status: ObjectStatus) -> list[Condition]:
    """The conditions that say that something is not normal."""
    return [
        condition
        for condition in status.conditions
        if (condition.status is FALSE and condition.type in _BAD_WHEN_FALSE)
        or (condition.status is TRUE and condition.type in _BAD_WHEN_TRUE)
    ]


def with_transitions(
    conn: Connection,
    kind: Kind,
    rows: Sequence[TaskView] | Sequence[ServerView],
    statuses: Sequence[ObjectStatus],
) -> list[ObjectStatus]:
    """The statuses of these rows, with the moments that an observer wrote down: a hand that changes a row
    leaves no time."""
    drifted = [row.id for row in rows if row.drifted]
    if not drifted:
        return list(statuses)
    known = transitions.since(conn, kind, drifted)
    return [
        _filled(key, status, known) for key, status in zip([row.id for row in rows], statuses, strict=True)
    ]


def _filled(
    key: int, status: ObjectStatus, known: Mapping[tuple[int, ConditionType], datetime]
) -> ObjectStatus:
    bad = {condition.type for condition in exceptions(status)}
    conditions = tuple(
        replace(one, last_transition=known.get((key, one.type)))
        if one.last_transition is None and one.type in bad
        else one
        for one in status.conditions
    )
    return replace(status, conditions=conditions)
