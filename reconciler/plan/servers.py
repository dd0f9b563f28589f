"""The servers' part of a plan. A server's name is unique in the whole database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from reconciler.model.canonical import Document
from reconciler.model.enums import Kind
from reconciler.model.state import DesiredServer, DesiredState, ObservedServer, ObservedState
from reconciler.plan.changes import Action, Change, Drift, FieldChange
from reconciler.plan.contradictions import Contradiction, did_you_mean, some
from reconciler.plan.fields import Differences
from reconciler.plan.renames import resolve
from reconciler.plan.rows import compare


@dataclass(frozen=True, slots=True)
class ServerPart:
    """Changes in two halves (``kept`` before tasks, ``deleted`` after them), drift, contradictions.

    ``ids`` maps each declared name to the id of its row; a name without a row is new. ``forget`` are
    unchanged rows whose remembered ``formerly`` is no longer declared.
    """

    kept: tuple[Change, ...]
    deleted: tuple[Change, ...]
    drift: tuple[Drift, ...]
    unchanged: int
    problems: tuple[Contradiction, ...]
    ids: Mapping[str, int]
    forget: tuple[ObservedServer, ...]


def owner_of(desired: DesiredState, observed: ObservedState) -> str:
    """The name the project is stored under: what its rows belong to."""
    return observed.project.name if observed.project else desired.project


def compare_servers(desired: DesiredState, observed: ObservedState, differences: Differences) -> ServerPart:
    """Compare every declared server with its row, and find the rows that left the tree."""
    owner = owner_of(desired, observed)
    rows = observed.servers
    own = {name: row for name, row in rows.items() if row.project == owner and row.live}
    active, problems = _renames(desired, observed, own, owner)
    leaving = set(active.values())
    kept: list[Change] = []
    drift: list[Drift] = []
    forget: list[ObservedServer] = []
    ids: dict[str, int] = {}
    taken: set[int] = set()
    unchanged = 0
    for name, server in desired.servers.items():
        holder, former = rows.get(name), active.get(name)
        if holder is not None and _is_foreign(holder, owner):
            problems.append(_owned(server, holder, desired))
            continue
        problems += _unknown_jump(server, desired, observed)
        row = own[former] if former is not None else None if name in leaving else holder
        if row is not None:
            ids[name] = row.id
            taken.add(row.id)
        names = {"metadata.name": FieldChange(former, name)} if former is not None else {}
        result = compare(differences, Kind.SERVER, None, server, row, names)
        if row is not None and row.live and row.project is None:
            result = _taken_over(server, row, result)
        if result is None:
            unchanged += 1
            if row is not None and row.renamed_from not in (None, server.formerly):
                forget.append(row)
        elif isinstance(result, Drift):
            drift.append(result)
        else:
            kept.append(result)
    gone = [row for row in own.values() if row.id not in taken]
    deleted = tuple(_deletion(row) for row in gone) if desired.spec.prune else ()
    if not desired.spec.prune:
        unchanged += len(gone)
    problems += _needed(kept, deleted, observed, owner)
    return ServerPart(
        kept=_naming_followers(kept, observed),
        deleted=deleted,
        drift=tuple(drift),
        unchanged=unchanged,
        problems=tuple(problems),
        ids=ids,
        forget=tuple(forget),
    )


def _renames(
    desired: DesiredState, observed: ObservedState, own: Mapping[str, ObservedServer], owner: str
) -> tuple[Mapping[str, str], list[Contradiction]]:
    """Which servers are renamed from what, and the ``formerly`` that cannot be followed."""
    former = {name: server.formerly for name, server in desired.servers.items() if server.formerly}
    if not former:
        return {}, []
    rows = observed.servers
    done = {
        new
        for new, old in former.items()
        if new in rows and (rows[new].renamed_from == old or rows[new].spoilt)
    }
    otherwise = {new for new in former if new in rows and rows[new].renamed_from and new not in done}
    deleted = {new for new in former if new in rows and not rows[new].live}
    found = resolve(former, own, deleted, done, otherwise)
    servers = desired.servers
    problems = [_name_held(servers[new]) for new in found.held]
    problems += [_clash(servers[new], servers[other]) for new, other in found.clashes.items()]
    for new, old in former.items():
        holder = rows.get(old)
        free = new not in rows or not (rows[new].live or new in done)
        if holder is not None and free and _is_foreign(holder, owner):
            problems.append(_formerly_owned(servers[new], holder))
    return found.active, problems


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
        scheduling_changed=True,
        drifted=row.drifted,
    )


def _taken_over(server: DesiredServer, row: ObservedServer, result: Change | Drift | None) -> Change:
    """A live row that belongs to nobody (a hand wrote NULL there) is whoever's who declares it."""
    reason = "it belonged to no project, and is this one's now"
    if isinstance(result, Change):
        return replace(result, reason=f"{result.reason}; {reason}" if result.reason else reason)
    return Change(
        action=Action.UPDATE,
        kind=Kind.SERVER,
        name=server.name,
        server=None,
        origin=server.origin,
        reason=reason,
        desired=server,
        row=row,
        git_changed=False,
        scheduling_changed=row.drifted,
        drifted=row.drifted,
        drift={} if result is None else result.fields,
    )


def _naming_followers(kept: list[Change], observed: ObservedState) -> tuple[Change, ...]:
    """Renames tell which tasks of other projects use the old name in their trees."""
    renamed = {change.row.name for change in kept if change.action is Action.RENAME and change.row}
    if not renamed:
        return tuple(kept)
    users = _foreign_tasks(renamed, observed)
    followed = []
    for change in kept:
        names = users.get(change.row.name) if change.action is Action.RENAME and change.row else None
        if names:
            reason = f"{change.reason}; other projects must now write the new name: {some(sorted(names))}"
            followed.append(replace(change, reason=reason))
        else:
            followed.append(change)
    return tuple(followed)


def _foreign_tasks(names: Collection[str], observed: ObservedState) -> dict[str, list[str]]:
    """Live tasks of other projects on these servers."""
    users: dict[str, list[str]] = {}
    for task in observed.foreign_tasks:
        if task.server in names:
            users.setdefault(task.server, []).append(f"task {task.project}/{task.name}@{task.server}")
    return users


def _foreign_jumps(names: Collection[str], observed: ObservedState, owner: str) -> dict[str, list[str]]:
    """Live servers of other projects that are reached through these."""
    users: dict[str, list[str]] = {}
    for row in observed.servers.values():
        if row.project == owner or not row.live:
            continue
        # names are unique in the database, so the project in front of it tells nothing more
        name = jump_of(row.definition.document)
        if name in names:
            users.setdefault(name, []).append(f"server {row.project}/{row.name}, which is reached through it")
    return users


def jump_of(document: Document) -> str:
    """The plain name of the jump host; empty without one, and where a hand wrote something else there."""
    jump = document["spec"].get("jump")
    return jump.rpartition("/")[2] if isinstance(jump, str) else ""


def _needed(
    kept: Iterable[Change], deleted: Iterable[Change], observed: ObservedState, owner: str
) -> list[Contradiction]:
    """Servers that go, or lose the name by which others are reached through them, while others need them."""
    going = {change.name: change for change in deleted}
    renamed = {one.row.name: one for one in kept if one.action is Action.RENAME and one.row is not None}
    if not going and not renamed:
        return []
    tasks = _foreign_tasks(going, observed)
    jumps = _foreign_jumps({*going, *renamed}, observed, owner)
    problems = []
    for name, change in (going | renamed).items():
        users = sorted([*tasks.get(name, ()), *jumps.get(name, ())])
        if users:
            problems.append(_needed_by(name, change, users))
    return problems


def _needed_by(name: str, change: Change, users: list[str]) -> Contradiction:
    renamed = change.action is Action.RENAME
    what = f"cannot be renamed to {change.name!r}" if renamed else "cannot be deleted"
    return Contradiction(
        code="server-needed",
        message=f"server {name!r} {what}, it is needed by {some(users)}",
        origin=change.origin,
        field="metadata.formerly" if renamed else "metadata.name",
        hint="declare the new one beside it, and let the other project move over first"
        if renamed
        else "keep the server, or let the other project move away first",
    )


def _is_foreign(row: ObservedServer, owner: str) -> bool:
    return row.live and row.project is not None and row.project != owner


def _owned(server: DesiredServer, row: ObservedServer, desired: DesiredState) -> Contradiction:
    """A live server of another project cannot be declared a second time."""
    where = f"{row.origin.path}:{row.origin.line}"
    return Contradiction(
        code="owned-by-other-project",
        message=f"server {server.name!r} belongs to project {row.project!r}, declared there at {where};"
        f" here it is declared by project {desired.project!r}",
        origin=server.origin,
        field="metadata.name",
        hint=f"refer to it as {row.project}/{server.name}, or choose another name",
        owner=row.project,
    )


def _formerly_owned(server: DesiredServer, row: ObservedServer) -> Contradiction:
    """Renaming would take a row away from the project that owns it."""
    where = f"{row.origin.path}:{row.origin.line}"
    return Contradiction(
        code="owned-by-other-project",
        message=f"server {server.name!r} says it was {row.name!r}, which belongs to project {row.project!r},"
        f" declared there at {where}",
        origin=server.origin,
        field="metadata.formerly",
        hint="drop `formerly`; a server changes hands when one project deletes it and the other declares it",
        owner=row.project,
    )


def _unknown_jump(
    server: DesiredServer, desired: DesiredState, observed: ObservedState
) -> list[Contradiction]:
    """A jump host of another project is looked up here; those of this tree were by ``validate``."""
    reference = server.definition.document["spec"].get("jump", "")
    if "/" not in reference:
        return []
    problem = unknown_server(reference, desired, observed)
    if problem is None:
        return []
    message, hint = problem
    return [
        Contradiction(
            code="unknown-server",
            message=f"server {server.name!r} is to be reached through {reference!r}: {message}",
            origin=server.origin,
            field="spec.jump",
            hint=hint,
        )
    ]


def unknown_server(reference: str, desired: DesiredState, observed: ObservedState) -> tuple[str, str] | None:
    """What is wrong with ``project/name`` (a message and a hint), None if nothing is."""
    project, _, name = reference.rpartition("/")
    row = observed.servers.get(name)
    if project == desired.project:
        known = desired.servers
        if name in known:
            return None
        return f"this tree declares no server {name!r}", did_you_mean(name, known) or "declare it"
    if project == owner_of(desired, observed):
        return f"project {project!r} is called {desired.project!r} now", f"write {name}"
    if row is not None and row.live and row.project == project:
        return None
    if row is not None and row.live:
        return f"that server belongs to project {row.project!r}", f"write {row.project}/{name}"
    if row is not None:
        return "that server was deleted", f"let project {project!r} declare it again, or choose another"
    theirs = [other.name for other in observed.servers.values() if other.live and other.project == project]
    if not theirs and project not in observed.other_projects:
        hint = did_you_mean(project, observed.other_projects) or f"apply project {project!r} first"
        return f"there is no project {project!r} in this database", hint
    hint = did_you_mean(name, theirs) or f"apply project {project!r} first, or correct the name"
    return f"project {project!r} has no such server", hint


def _name_held(server: DesiredServer) -> Contradiction:
    """A rename onto a name that a deleted row holds would leave that row without a name."""
    return Contradiction(
        code="name-held-by-deleted",
        message=f"server {server.formerly!r} cannot become {server.name!r}: a deleted server holds that name",
        origin=server.origin,
        field="metadata.formerly",
        hint="drop `formerly` to restore the deleted one, or choose another name",
    )


def _clash(server: DesiredServer, other: DesiredServer) -> Contradiction:
    return Contradiction(
        code="duplicate-formerly",
        message=f"server {server.name!r} says it was {server.formerly!r}, and so does {other.name!r}"
        f" at {other.origin.path}:{other.origin.line}",
        origin=server.origin,
        field="metadata.formerly",
        hint="remove `formerly` from one of the two: only one object can go on with a row",
    )
