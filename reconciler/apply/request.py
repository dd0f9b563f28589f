"""What is asked of an apply, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from reconciler.model.state import Commit, DesiredState
from reconciler.plan.changes import Plan
from reconciler.plan.planfile import SavedPlan
from reconciler.plan.target import Target


def _never(ancestor: str, commit: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class ApplyRequest:
    """One wish to make a desired state true, or exactly a plan that was saved.

    ``applied_by`` is who asks (``user@host``), ``owner`` who others are told holds the lock. ``targets``:
    only these parts of a tree (a saved plan has its own). ``approved`` is the digest of the plan somebody saw
    (None: whatever results is wanted). ``allow_deletions`` is a digest, or at least its first 12 characters,
    that releases a tripped guard. ``is_ancestor(a, b)`` tells whether commit ``a`` comes before ``b``;
    ``allow_older`` lets an ancestor of the applied commit through, because it was named. ``keep_drift``
    leaves rows as they were changed by hand (a controller of a project with ``selfHeal: false``). ``command``
    is what a person types to ask the same once more.
    """

    desired: DesiredState | SavedPlan
    applied_by: str
    owner: str
    targets: tuple[Target, ...] = ()
    approved: str | None = None
    allow_deletions: str | None = None
    is_ancestor: Callable[[str, str], bool] = field(default=_never)
    allow_older: bool = False
    keep_drift: bool = False
    command: str = "reconciler apply PATH"

    @property
    def project(self) -> str:
        """The project's name when all is done."""
        return self.desired.plan.project if isinstance(self.desired, SavedPlan) else self.desired.project

    @property
    def formerly(self) -> str | None:
        """The name it may still be stored under."""
        if isinstance(self.desired, SavedPlan):
            return self.desired.plan.former_project
        return self.desired.formerly


@dataclass(frozen=True, slots=True)
class AppliedRevision:
    """The revision that an apply wrote. ``commit`` is None without git."""

    id: int
    commit: Commit | None
    applied_by: str
    applied_at: datetime


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done. ``revision`` is None where there was nothing to do: then nothing was written."""

    plan: Plan
    revision: AppliedRevision | None
    summary: Mapping[str, int]
