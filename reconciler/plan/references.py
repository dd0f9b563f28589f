"""What a plan relies on without touching it: servers of its tasks, jump hosts, tasks to run after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.model.enums import Kind
from reconciler.model.state import ObservedServer, ObservedState, ObservedTask
from reconciler.plan.changes import Change, Drift, Plan
from reconciler.plan.servers import jump_of


@dataclass(frozen=True, slots=True)
class Reference:
    """A live row as it was when the plan was made; ``why`` names the object that needs it."""

    kind: Kind
    id: int
    name: str
    server: str | None
    project: str | None
    generation: int
    hash: str
    revision_id: int | None
    why: str


def references_of(plan: Plan, observed: ObservedState) -> tuple[Reference, ...]:
    """Each row once, in the order in which the plan comes upon it."""
    touched = {(one.kind, one.row.id) for one in plan.touched() if one.row is not None}
    found: dict[tuple[Kind, int], Reference] = {}
    for one in plan.touched():
        if one.desired is None:
            continue
        for row in _needed_rows(one, observed):
            kind = Kind.SERVER if isinstance(row, ObservedServer) else Kind.TASK
            key = kind, row.id
            if row.live and key not in touched and key not in found:
                found[key] = _reference(kind, row, f"{one.kind.value} {one.name}")
    return tuple(found.values())


def _needed_rows(one: Change | Drift, observed: ObservedState) -> Iterator[ObservedServer | ObservedTask]:
    assert one.desired is not None
    document = one.desired.definition.document
    for name in (one.server, jump_of(document)):
        row = observed.servers.get(name) if name else None
        if row is not None:
            yield row
    after = document["spec"].get("after", ()) if one.server is not None else ()
    for name in after:
        task = observed.tasks.get((name, str(one.server)))
        if task is not None:
            yield task


def _reference(kind: Kind, row: ObservedServer | ObservedTask, why: str) -> Reference:
    return Reference(
        kind=kind,
        id=row.id,
        name=row.name,
        server=row.server if isinstance(row, ObservedTask) else None,
        project=row.project,
        generation=row.generation,
        hash=row.applied_hash,
        revision_id=row.revision_id,
        why=why,
    )
