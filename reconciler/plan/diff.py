"""(desired, observed) → Plan: compare whole states, once, in linear time.

Identity comes first: which row is which declared object (by name, by ``formerly``, or revived). Then
hashes are compared, and only what differs is looked at in detail.
"""

from __future__ import annotations

from dataclasses import replace

from reconciler.errors import PlanRefused
from reconciler.model.canonical import document_hash
from reconciler.model.enums import Kind
from reconciler.model.project import project_document
from reconciler.model.state import DesiredState, ObservedState, Origin
from reconciler.plan import guard
from reconciler.plan.changes import Action, Change, FieldChange, Guard, Plan
from reconciler.plan.contradictions import Contradiction, contradiction_list
from reconciler.plan.digest import digest_of
from reconciler.plan.fields import plain_differences
from reconciler.plan.servers import ServerPart, compare_servers
from reconciler.plan.tasks import TaskPart, compare_tasks


def make_plan(desired: DesiredState, observed: ObservedState) -> Plan:
    """What an apply of ``desired`` does to ``observed``.

    Raises PlanRefused with every contradiction at once: an object of another project, a server that
    others still need, an unknown server of another project, a ``formerly`` that cannot be followed.
    """
    servers = compare_servers(desired, observed)
    tasks = compare_tasks(desired, observed, servers)
    problems = [*servers.problems, *tasks.problems, *needed_servers(servers, observed, desired)]
    if problems:
        raise refusal(problems)

    changes = (*_project_change(desired, observed), *_in_order(servers, tasks))
    drift = (*servers.drift, *tasks.drift)
    verdict = _guard(desired, observed, servers, tasks)
    digest = digest_of(desired.project, changes, drift)
    if verdict.tripped:
        verdict = replace(verdict, release=digest)
    stored = observed.project
    return Plan(
        project=desired.project,
        changes=changes,
        drift=drift,
        unchanged=servers.unchanged + tasks.unchanged,
        guard=verdict,
        digest=digest,
        former_project=stored.name if stored and stored.name != desired.project else None,
        base_revision=stored.revision_id if stored else None,
        base_commit=stored.commit if stored else None,
        commit=desired.commit.hash if desired.commit else None,
    )


def refusal(problems: list[Contradiction]) -> PlanRefused:
    """The error for contradictions between the tree and the database."""
    count = "a contradiction" if len(problems) == 1 else f"{len(problems)} contradictions"
    first = problems[0]
    return PlanRefused(
        f"{count} between the manifests and the database: {first.path}:{first.line}: {first.message}"
        if len(problems) == 1
        else f"{count} between the manifests and the database",
        hint=first.hint if len(problems) == 1 else None,
        details={"problems": contradiction_list(problems)},
    )


def needed_servers(
    servers: ServerPart, observed: ObservedState, desired: DesiredState
) -> list[Contradiction]:
    """Deleting a server that a live task or server of another project needs."""
    going = {change.name: change for change in servers.deleted}
    if not going:
        return []
    needs: dict[str, list[str]] = {}
    for task in observed.foreign_tasks:
        if task.server in going:
            needs.setdefault(task.server, []).append(f"{task.project}/{task.name}@{task.server}")
    for row in observed.servers.values():
        jump = row.definition.document["spec"].get("jump") if row.live else None
        if jump and row.project != desired.project and jump.rpartition("/")[2] in going:
            needs.setdefault(jump.rpartition("/")[2], []).append(f"{row.project}/{row.name} (jump)")
    return [
        Contradiction(
            code="server-needed",
            message=f"server {name!r} cannot be deleted: {', '.join(sorted(users))} still need it",
            origin=going[name].origin,
            field="metadata.name",
            hint="keep the server, or let the other project move its tasks first",
        )
        for name, users in needs.items()
    ]


def _project_change(desired: DesiredState, observed: ObservedState) -> tuple[Change, ...]:
    """The project's own settings; creating a project is no change of its own, its objects are."""
    stored = observed.project
    if stored is None:
        return ()
    after = project_document(desired.spec)
    renamed = stored.name != desired.project
    if document_hash(after) == stored.spec_hash and not renamed:
        return ()
    fields = plain_differences(project_document(stored.spec), after)
    if renamed:
        fields = {"metadata.name": FieldChange(stored.name, desired.project), **fields}
    return (
        Change(
            action=Action.RENAME if renamed else Action.UPDATE,
            kind=Kind.PROJECT,
            name=desired.project,
            server=None,
            origin=desired.origin or Origin("", 0),
            fields=fields,
        ),
    )


def _in_order(servers: ServerPart, tasks: TaskPart) -> tuple[Change, ...]:
    """Servers before tasks; deletions the other way round."""
    return (*servers.kept, *tasks.kept, *tasks.deleted, *servers.deleted)


def _guard(desired: DesiredState, observed: ObservedState, servers: ServerPart, tasks: TaskPart) -> Guard:
    """The limits are those last applied, so that a commit cannot raise its own."""
    limits = (observed.project.spec if observed.project else desired.spec).guard
    going = (*tasks.deleted, *servers.deleted)
    live = sum(
        row.live and row.project == _stored_name(desired, observed) for row in observed.servers.values()
    )
    live += sum(row.live for row in observed.tasks.values())
    protected = tuple(_address(change) for change in going if change.row is not None and change.row.protected)
    return guard.judge(len(going), live, len(desired.servers) + len(desired.tasks), limits, protected)


def _stored_name(desired: DesiredState, observed: ObservedState) -> str:
    return observed.project.name if observed.project else desired.project


def _address(change: Change) -> str:
    return change.name if change.server is None else f"{change.name}@{change.server}"
