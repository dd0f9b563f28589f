"""What is true of an object: conditions in the style of Kubernetes, and the two words that sum them up."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from reconciler.model.value import value


class ConditionType(StrEnum):
    """The whole vocabulary. Those after the first three (and ``Reachable``, ``SourceVerified``) are abnormal:
    present only when true."""

    SYNCED = "Synced"
    SCHEDULED = "Scheduled"
    LAST_RUN_SUCCEEDED = "LastRunSucceeded"
    REACHABLE = "Reachable"
    SOURCE_VERIFIED = "SourceVerified"
    OVERDUE = "Overdue"
    SUSPENDED = "Suspended"
    DRIFTED = "Drifted"
    STALLED = "Stalled"


class ConditionStatus(StrEnum):
    """Whether a condition holds; ``Unknown`` where nothing was seen yet."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Sync(StrEnum):
    """How an object stands to what git says."""

    SYNCED = "Synced"
    DRIFTED = "Drifted"
    PENDING = "Pending"


class Health(StrEnum):
    """How an object is doing."""

    HEALTHY = "Healthy"
    DEGRADED = "Degraded"
    OVERDUE = "Overdue"
    SUSPENDED = "Suspended"
    UNKNOWN = "Unknown"


@value
class Condition:
    """One condition. ``reason`` is a CamelCase word for programs, ``message`` a sentence for people.

    ``last_transition`` is when it became so, None where no row tells; ``observed_generation`` is the
    generation of the object that it was judged on.
    """

    type: ConditionType
    status: ConditionStatus
    reason: str
    message: str
    last_transition: datetime | None
    observed_generation: int | None
