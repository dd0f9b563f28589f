"""The servers' part of a plan. A server's name is unique in the whole database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.model.enums import Kind
from reconciler.model.state import DesiredServer, DesiredState, ObservedServer, ObservedState
from reconciler.plan.changes import Action, Change, Drift, FieldChange
from reconciler.plan.contradictions import Contradiction
from reconciler.plan.renames import resolve
from reconciler.plan.rows import compare


@dataclass(frozen=True, slots=True)
class ServerPart:
    """Changes in two halves (``kept`` before tasks, ``deleted`` after them), drift, contradictions.

    ``ids`` maps each declared name to the id of its row; a name without a row is new.
    """

    kept: tuple[Change, ...]
    deleted: tuple[Change, ...]
    drift: tuple[Drift, ...]
    unchanged: int
    problems: tuple[Contradiction, ...]
    ids: Mapping[str, int]


def compare_servers(desired: DesiredState, observed: ObservedState) -> ServerPart:
    """Compare every declared server with its row, and find the rows that left the tree."""
    owner = observed.project.name if observed.project else desired.project
    own = {name: row for name, row in observed.servers.items() if row.project == owner and row.live}
    renames = resolve(
        {name: server.formerly for name, server in desired.servers.items() if server.formerly},
        desired.servers,
        own,
        {name: row.renamed_from for name, row in own.items() if row.renamed_from},
    )
    problems = [_still_declared(desired.servers[name]) for name in renames.still_declared]
    kept: list[Change] = []
    drift: list[Drift] = []
    ids: dict[str, int] = {}
    taken: set[int] = set()
    unchanged = 0
    for name, server in desired.servers.items():
        former = renames.active.get(name)
        row = observed.servers.get(former or name)
        problem = _ownership(server, row, owner) or _name_taken(server, observed.servers.get(name), former)
        if problem:
            problems.append(problem)
            continue
        if row is not None:
            ids[name] = row.id
            taken.add(row.id)
        names = {"metadata.name": FieldChange(former, name)} if former else {}
        result = compare(Kind.SERVER, None, server, row, names)
        if result is None:
            unchanged += 1
        elif isinstance(result, Drift):
            drift.append(result)
        else:
            kept.append(result)
    gone = [row for row in own.values() if row.id not in taken]
    deleted = tuple(_deletion(row) for row in gone) if desired.spec.prune else ()
    if not desired.spec.prune:
        unchanged += len(gone)
    return ServerPart(tuple(kept), deleted, tuple(drift), unchanged, tuple(problems), ids)


def _deletion(row: ObservedServer) -> Change:
    return Change(
        action=Action.DELETE,
        kind=Kind.SERVER,
        name=row.name,
        server=None,
        origin=row.origin,
        reason="no longer declared in the tree",
        row=row,
        git_changed=False,
    )


def _ownership(server: DesiredServer, row: ObservedServer | None, owner: str) -> Contradiction | None:
    """A live server of another project cannot be declared a second time."""
    if row is None or not row.live or row.project == owner:
        return None
    return Contradiction(
        code="owned-by-other-project",
        message=f"server {server.name!r} belongs to project {row.project!r} "
        f"({row.origin.path}:{row.origin.line} there)",
        origin=server.origin,
        field="metadata.name",
        hint=f"refer to it as {row.project}/{server.name}, or choose another name",
    )


def _name_taken(
    server: DesiredServer, holder: ObservedServer | None, former: str | None
) -> Contradiction | None:
    """A rename onto a name that a deleted row holds would leave that row without a name."""
    if former is None or holder is None or holder.live:
        return None
    return Contradiction(
        code="name-held-by-deleted",
        message=f"server {former!r} cannot become {server.name!r}: a deleted server holds that name",
        origin=server.origin,
        field="metadata.formerly",
        hint="drop `formerly` to restore the deleted one, or choose another name",
    )


def _still_declared(server: DesiredServer) -> Contradiction:
    return Contradiction(
        code="formerly-still-declared",
        message=f"server {server.name!r} says it was {server.formerly!r}, which is still declared",
        origin=server.origin,
        field="metadata.formerly",
        hint="drop `formerly`, or the other declaration",
    )
