"""How much may disappear in one apply, and what never may."""

from __future__ import annotations

from reconciler.model.project import Guard as Limits
from reconciler.plan.changes import Guard

SMALLEST_SHARE = 5
"""Below this many deletions the percentage says nothing: of four rows, one is 25 %."""


def judge(deletions: int, live: int, remaining: int, limits: Limits, protected: tuple[str, ...]) -> Guard:
    """The verdict on a plan that deletes ``deletions`` of ``live`` rows and leaves ``remaining`` declared."""
    reasons = []
    if deletions > limits.max_deletions:
        reasons.append(f"{deletions} deletions are more than maxDeletions {limits.max_deletions}")
    if deletions >= SMALLEST_SHARE and deletions * 100 > limits.max_deletion_percent * live:
        share = f"{deletions} of {live} live rows are more than maxDeletionPercent"
        reasons.append(f"{share} {limits.max_deletion_percent}")
    if deletions and not remaining:
        reasons.append("the tree declares nothing any more")
    return Guard(
        tripped=bool(reasons),
        deletions=deletions,
        live=live,
        limit=limits.max_deletions,
        percent=limits.max_deletion_percent,
        reasons=tuple(reasons),
        protected=protected,
    )
