"""A revision as other rooms cite it: who applied what, when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RevisionNote:
    """Enough of a revision to say who changed a row. ``author`` is ``Name <email>`` of its commit.

    ``commit`` and ``author`` are None for a tree without git.
    """

    id: int
    applied_by: str
    applied_at: datetime
    commit: str | None = None
    author: str | None = None
