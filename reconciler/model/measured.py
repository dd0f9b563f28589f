"""What the ledger knows about tasks that are about to change: how long they take, what of them runs now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures by task id; a task that is missing was never measured, or has nothing in progress.

    ``average_seconds`` is the mean duration of its latest successful runs. ``running`` are the ids of
    executions that have not ended: they finish under the generation they began with.
    """

    average_seconds: Mapping[int, float] = field(default_factory=dict)
    running: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
