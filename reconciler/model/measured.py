"""What the database knows besides a project's own rows: how long its tasks take, what runs beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.model.canonical import Document


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures by task id; a task that is missing was never measured, or has nothing in progress.

    ``average_seconds`` is the mean duration of its latest successful runs. ``running`` are the ids of
    executions that have not ended: they finish under the generation they began with. ``others`` are the
    names and documents of what other projects have scheduled on a server, by its id.
    """

    average_seconds: Mapping[int, float] = field(default_factory=dict)
    running: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    others: Mapping[int, tuple[tuple[str, Document], ...]] = field(default_factory=dict)
