"""Suspensions as rows: who put them in force, why, from when until when. Ended ones stay, as evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, insert, or_, select, update

from reconciler.store.bulk import chunks
from reconciler.store.tables import Override

SUSPEND = "suspend"
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Scope:
    """What a suspension concerns: one task's row, one project, or with neither everything."""

    task_id: int | None = None
    project_id: int | None = None


def suspend(
    connection: Connection, scopes: Sequence[Scope], reason: str, by: str, now: datetime, until: datetime
) -> None:
    """Suspend each of these from ``now`` until ``until``. End what is in force of them first (``lift``)."""
    rows = [
        {
            "task_id": scope.task_id,
            "project_id": scope.project_id,
            "kind": SUSPEND,
            "reason": reason,
            "by": by,
            "since": now,
            "until": until,
        }
        for scope in scopes
    ]
    connection.execute(insert(Override), rows)


def lift(connection: Connection, scopes: Sequence[Scope], now: datetime) -> set[Scope]:
    """End what is in force of exactly these scopes; those that had something."""
    wanted = set(scopes)
    found = {
        row.id: Scope(row.task_id, row.project_id)
        for row in connection.execute(
            select(Override.id, Override.task_id, Override.project_id).where(*not_ended(now))
        )
        if Scope(row.task_id, row.project_id) in wanted
    }
    for ids in chunks(sorted(found), _BATCH):
        connection.execute(update(Override).where(Override.id.in_(ids), *not_ended(now)).values(until=now))
    return set(found.values())


def not_ended(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Of suspensions in force at ``now``, and of those that have not begun."""
    return Override.kind == SUSPEND, or_(Override.until.is_(None), Override.until > now)
