"""What the database knows besides a project's own rows: how long its tasks take, what runs beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from reconciler.model.canonical import Document


@dataclass(frozen=True, slots=True)
class Suspended:
    """Who keeps something from running, why and until when (None: until it is resumed).

    ``of`` is ``task``, ``project`` or ``all``.
    """

    of: str
    by: str
    reason: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures by task id; a task that is missing was never measured, or has nothing in progress.

    ``average_seconds`` is the mean duration of its latest successful runs. ``running`` are the ids of
    executions that have not ended: they finish under the generation they began with. ``others`` are the
    names and documents of what other projects have scheduled on a server, by its id. ``suspended`` are tasks
    that are suspended themselves; ``all_suspended`` holds for all of them, new ones too.
    """

    average_seconds: Mapping[int, float] = field(default_factory=dict)
    running: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    others: Mapping[int, tuple[tuple[str, Document], ...]] = field(default_factory=dict)
    suspended: Mapping[int, Suspended] = field(default_factory=dict)
    all_suspended: Suspended | None = None

    def suspension_of(self, task_id: int | None) -> Suspended | None:
        """What keeps a task from running now; None as the id: one that has no row yet."""
        own = None if task_id is None else self.suspended.get(task_id)
        return own or self.all_suspended
