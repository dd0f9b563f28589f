"""How much may disappear in one apply, and what never may."""

from __future__ import annotations

from reconciler.model.canonical import document_hash
from reconciler.model.project import Guard as Limits
from reconciler.model.project import project_document
from reconciler.model.state import ObservedProject, ObservedState
from reconciler.plan.changes import Action, Guard, Plan, address

NOTHING_JUDGED = Guard(tripped=False, deletions=0, live=0, limit=0, percent=0)

SMALLEST_SHARE = 5
"""Below this many deletions the percentage says nothing: of four rows, one is 25 %."""

SHORTEST_RELEASE = 12
"""Characters of a digest that name it: 48 bits, nobody hits them by chance."""


def judge(plan: Plan, observed: ObservedState) -> Guard:
    """The verdict on a plan's deletions among the project's live rows (servers, and tasks on each server).

    Protection is read from the rows.
    """
    limits = _limits(plan, observed.project)
    going = [change for change in plan.changes if change.action is Action.DELETE]
    protected = tuple(
        address(change.name, change.server) for change in going if change.row and change.row.protected
    )
    live = live_rows(plan.former_project or plan.project, observed)
    reasons = _too_many(len(going), live, limits)
    if going and not plan.declared:
        reasons.append("the tree declares nothing any more")
    other = applied_as_other(plan.source, observed)
    if other is not None and plan.git is not None:
        reasons.append(
            f"this source was last applied as project {other.name!r}, not as {plan.project!r};"
            f" if it was renamed, write `formerly: {other.name}` in the metadata of its Project"
        )
    return Guard(
        tripped=bool(reasons),
        deletions=len(going),
        live=live,
        limit=limits.max_deletions,
        percent=limits.max_deletion_percent,
        reasons=tuple(reasons),
        protected=protected,
        release=plan.digest if reasons and not protected else None,
    )


def _limits(plan: Plan, stored: ObservedProject | None) -> Limits:
    """Those last applied, so that a commit cannot raise its own; before any apply the declared ones.

    Where a hand changed the stored ones, they are the declared ones if git did not change them, else
    the smaller of both.
    """
    declared = plan.spec.guard
    if stored is None:
        return declared
    present = stored.spec.guard
    if not settings_drifted(stored):
        return present
    if document_hash(project_document(plan.spec)) == stored.spec_hash:
        return declared
    return Limits.model_construct(
        max_deletions=min(declared.max_deletions, present.max_deletions),
        max_deletion_percent=min(declared.max_deletion_percent, present.max_deletion_percent),
    )


def settings_drifted(stored: ObservedProject) -> bool:
    """Whether the project's row no longer says what was applied."""
    return stored.spoilt or document_hash(project_document(stored.spec)) != stored.spec_hash


def live_rows(project: str, observed: ObservedState) -> int:
    """Servers of the project and its tasks on each server that are not deleted."""
    servers = sum(row.deleted_at is None and row.project == project for row in observed.servers.values())
    return servers + sum(row.deleted_at is None for row in observed.tasks.values())


def _too_many(deletions: int, live: int, limits: Limits) -> list[str]:
    reasons = []
    if deletions > limits.max_deletions:
        reasons.append(f"{deletions} deletions are more than maxDeletions {limits.max_deletions}")
    if deletions >= SMALLEST_SHARE and deletions * 100 > limits.max_deletion_percent * live:
        share = f"{deletions} of {live} live rows are more than maxDeletionPercent"
        reasons.append(f"{share} {limits.max_deletion_percent}")
    return reasons


def applied_as_other(source: str, observed: ObservedState) -> ObservedProject | None:
    """The other project that this source was last applied as, if there is one.

    A tree that lost its Project document is called "default": it would leave all that it was behind. Only a
    git source names the same tree everywhere: a folder (``/manifests`` in a container) may hold another one
    each time, so that stops nothing and is only told.
    """
    if not source:
        return None
    there = [one for one in observed.other_projects.values() if one.source == source]
    if not there:
        return None
    latest = max(there, key=lambda one: one.revision_id or 0)
    mine = observed.project
    if mine is not None and mine.source == source and (mine.revision_id or 0) > (latest.revision_id or 0):
        return None
    return latest


def released(guard: Guard, digest: str, given: str | None) -> bool:
    """Whether ``--allow-deletions`` names this very plan: its digest, or at least 12 characters of it."""
    if guard.protected or given is None:
        return False
    return len(given) >= SHORTEST_RELEASE and digest.startswith(given)
