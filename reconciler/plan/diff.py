"""(desired, observed) → Plan: compare whole states, once, in linear time.

Identity comes first: which row is which declared object (by name, by ``formerly``, or revived). Then
hashes are compared, and only what differs is looked at in detail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from reconciler.errors import GuardTripped, PlanRefused
from reconciler.model.canonical import document_hash
from reconciler.model.enums import Kind
from reconciler.model.measured import Measured
from reconciler.model.project import ProjectSpec, project_document
from reconciler.model.state import DesiredState, ObservedProject, ObservedState, Origin
from reconciler.plan import guard
from reconciler.plan.changes import Action, Change, Drift, FieldChange, Fields, Plan
from reconciler.plan.contradictions import Contradiction, contradiction_list, in_order, refusal
from reconciler.plan.digest import plan_digest
from reconciler.plan.effect import with_effects
from reconciler.plan.fields import Differences, differences
from reconciler.plan.servers import ServerPart, compare_servers
from reconciler.plan.target import Target, select
from reconciler.plan.tasks import TaskPart, compare_tasks


def make_plan(
    desired: DesiredState,
    observed: ObservedState,
    now: datetime | None = None,
    targets: Sequence[Target] = (),
    measured: Measured | None = None,
) -> Plan:
    """What an apply of ``desired`` does to ``observed``.

    With ``now`` (aware) the changes tell their effect on runs, else not: an apply needs none, and
    ``effect.with_effects`` adds them later. With ``targets`` only those changes, and what they need.

    Raises PlanRefused with every contradiction at once (an object of another project, a server that
    others still need, an unknown server of another project, a ``formerly`` that cannot be followed),
    GuardTripped where all of them come from a tree that was last applied as another project, and
    NotFound for an unknown target.
    """
    compare = Differences()
    servers = compare_servers(desired, observed, compare)
    tasks = compare_tasks(desired, observed, servers, compare)
    problems = [*servers.problems, *tasks.problems]
    if problems:
        raise _refused(problems, desired, observed)

    changes = _in_order(desired, observed, servers, tasks)
    drift = _drift_in_order(servers, tasks)
    left_out = 0
    if targets:
        selected = select(targets, changes, drift, desired, observed)
        changes, drift, left_out = selected.changes, selected.drift, selected.left_out
    stored = observed.project
    other = guard.applied_as_other(desired.source, observed)
    plan = Plan(
        project=desired.project,
        changes=changes,
        drift=drift,
        unchanged=servers.unchanged + tasks.unchanged,
        guard=guard.NOTHING_JUDGED,
        digest="",
        former_project=stored.name if stored and stored.name != desired.project else None,
        base_revision=stored.revision_id if stored else None,
        base_commit=stored.commit if stored else None,
        spec=desired.spec,
        source=desired.source,
        git=desired.commit,
        targets=tuple(str(target) for target in targets),
        left_out=left_out,
        declared=len(desired.servers) + len(desired.tasks),
        settings_drift=None if targets else settings_drift(desired, stored, changes),
        applied_as=other.name if other else None,
        forget=(*servers.forget, *tasks.forget),
    )
    plan = replace(plan, digest=plan_digest(plan))
    plan = replace(plan, guard=guard.judge(plan, observed))
    return plan if now is None else with_effects(plan, desired, observed, now, measured or Measured())


def _refused(
    problems: list[Contradiction], desired: DesiredState, observed: ObservedState
) -> PlanRefused | GuardTripped:
    other = None if desired.commit is None else guard.applied_as_other(desired.source, observed)
    if other is None or any(problem.owner != other.name for problem in problems):
        return refusal(problems)
    return GuardTripped(
        f"this source was last applied as project {other.name!r}, and now calls itself {desired.project!r}",
        hint=f"if the project was renamed, write `formerly: {other.name}` in the metadata of its Project;"
        f" else give it back the name {other.name!r}",
        details={"problems": contradiction_list(in_order(problems)), "guard": None, "digest": None},
    )


def _in_order(
    desired: DesiredState, observed: ObservedState, servers: ServerPart, tasks: TaskPart
) -> tuple[Change, ...]:
    """Servers before tasks, deletions the other way round; sorted, so that moved lines keep the digest."""
    project = project_change(desired.project, desired.spec, desired.origin, observed.project)
    parts = (servers.kept, tasks.kept, tasks.deleted, servers.deleted)
    first = () if project is None else (project,)
    return (*first, *(change for part in parts for change in sorted(part, key=_rank)))


def _rank(change: Change) -> tuple[bool, str, str]:
    # names are left before they are taken
    return change.action is not Action.RENAME, change.name, change.server or ""


def _drift_in_order(servers: ServerPart, tasks: TaskPart) -> tuple[Drift, ...]:
    found = (*servers.drift, *tasks.drift)
    return tuple(sorted(found, key=lambda one: (one.kind, one.name, one.server or "")))


def project_change(
    project: str, spec: ProjectSpec, origin: Origin | None, stored: ObservedProject | None
) -> Change | None:
    """The project's own settings; creating a project is no change of its own, its objects are."""
    if stored is None:
        return None
    renamed = stored.name != project
    if document_hash(project_document(spec)) == stored.spec_hash and not renamed:
        return None
    fields: Fields = differences(Kind.PROJECT, _settings(stored.spec), _settings(spec))
    if renamed:
        fields = {"metadata.name": FieldChange(stored.name, project), **fields}
    return Change(
        action=Action.RENAME if renamed else Action.UPDATE,
        kind=Kind.PROJECT,
        name=project,
        server=None,
        origin=origin or Origin("", 0),
        fields=fields,
        reason="renamed by `formerly`; its objects and their history stay" if renamed else None,
    )


def settings_drift(
    desired: DesiredState, stored: ObservedProject | None, changes: Sequence[Change]
) -> Drift | None:
    """The project's settings were changed by hand and git did not change them."""
    if stored is None or not guard.settings_drifted(stored):
        return None
    if changes and changes[0].kind is Kind.PROJECT:
        # a rename writes the settings too, and shows them
        return None
    if document_hash(project_document(desired.spec)) != stored.spec_hash:
        return None
    fields = differences(Kind.PROJECT, _settings(stored.spec), _settings(desired.spec))
    return Drift(Kind.PROJECT, desired.project, None, fields, None, None)


def _settings(spec: ProjectSpec) -> dict[str, object]:
    return {"spec": project_document(spec)}
