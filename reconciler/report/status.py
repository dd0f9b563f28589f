"""The status report: a frozen value of every object's sync, health and conditions at one moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from reconciler.model.condition import Condition, ConditionType, Health, Sync
from reconciler.model.enums import Kind
from reconciler.model.execution import State
from reconciler.model.value import value
from reconciler.store.views import RunView


@value
class ObjectStatus:
    """What is true of one object. The fields after ``conditions`` that a task alone has are None or empty
    for the others; ``zone`` is the name of the task's zone, ``open`` its runs that have not ended."""

    kind: Kind
    name: str
    server: str | None
    project: str | None
    sync: Sync
    health: Health
    conditions: tuple[Condition, ...]
    path: str | None = None
    line: int | None = None
    task_id: int | None = None
    zone: str | None = None
    next_run: datetime | None = None
    last: RunView | None = None
    open: tuple[RunView, ...] = ()
    error_lines: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        return self.name if self.server is None else f"{self.name}@{self.server}"

    def condition(self, wanted: ConditionType) -> Condition | None:
        """The condition of that type, if it is there."""
        return next((condition for condition in self.conditions if condition.type is wanted), None)

    @property
    def needs_attention(self) -> bool:
        """Whether whoever is on call should look at it now."""
        return self.health in (Health.OVERDUE, Health.DEGRADED) or self.unverified

    @property
    def unverified(self) -> bool:
        """A run began, and its host has not answered since: neither good nor bad."""
        return self.health is Health.UNKNOWN and self.last is not None


@dataclass(frozen=True, slots=True)
class StatusReport:
    """Everything at ``generated_at``. Objects are projects, then servers, then tasks, each by name."""

    generated_at: datetime
    objects: tuple[ObjectStatus, ...]

    @property
    def summary(self) -> dict[str, int]:
        """Counts: objects by kind, by health and by sync, and runs in progress."""
        return summarise(self.objects)

    def of(self, kind: Kind) -> tuple[ObjectStatus, ...]:
        return tuple(item for item in self.objects if item.kind is kind)


def summarise(objects: Iterable[ObjectStatus]) -> dict[str, int]:
    """The ``summary`` of the JSON: every key is always there."""
    items = list(objects)
    kinds, healths, syncs = (
        Counter(item.kind for item in items),
        Counter(item.health for item in items),
        Counter(item.sync for item in items),
    )
    states = Counter(run.state for item in items for run in item.open)
    counts: Mapping[str, int] = {
        "objects": len(items),
        "projects": kinds[Kind.PROJECT],
        "servers": kinds[Kind.SERVER],
        "tasks": kinds[Kind.TASK],
        **{health.value.lower(): healths[health] for health in Health},
        **{sync.value.lower(): syncs[sync] for sync in Sync},
        "running": states[State.RUNNING],
        "waiting": states[State.WAITING],
    }
    return dict(counts)
