"""A run of a task: what is asked of an executor, and what came of it."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from reconciler.model.value import value

if TYPE_CHECKING:  # who only reads what became of runs needs no models of manifests
    from reconciler.model.server import ServerSpec
    from reconciler.model.task import TaskSpec


class Status(IntEnum):
    """The column ``task_executions.status``."""

    OPEN = 0
    SUCCESS = 1
    FAILED = 2
    SKIPPED = 3


class State(StrEnum):
    """What people read: ``OPEN`` is waiting until the run started on a host, then running."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"


class Reason(StrEnum):
    """Why an execution ended as it did: the whole vocabulary, grouped by status."""

    COMPLETED = "completed"

    EXIT_CODE = "exit-code"
    TIMED_OUT = "timed-out"
    CANCELLED = "cancelled"
    UNREACHABLE = "unreachable"
    AUTH_FAILED = "auth-failed"
    HOST_KEY = "host-key"
    START_FAILED = "start-failed"
    HOST_REBOOTED = "host-rebooted"
    LOST = "lost"
    INTERNAL = "internal"

    OVERLAP = "overlap"
    MISSED = "missed"
    SUSPENDED = "suspended"
    DISABLED = "disabled"
    SUPERSEDED = "superseded"


class Trigger(StrEnum):
    """What made an execution."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    RETRY = "retry"
    CATCH_UP = "catch-up"
    DEPENDENCY = "dependency"


_OPEN = int(Status.OPEN)
_WAITING, _RUNNING = State.WAITING, State.RUNNING
# as plain values: looking a member up in its class takes ten times as long as the rest of `state_of`
_ENDED = {
    int(Status.SUCCESS): State.SUCCESS,
    int(Status.FAILED): State.FAILED,
    int(Status.SKIPPED): State.SKIPPED,
}


def state_of(status: int, started: bool) -> State:
    """The word for a row: its status, and whether it has a ``started_at``."""
    if status == _OPEN:
        return _RUNNING if started else _WAITING
    return _ENDED[status]


@value
class CapturedStream:
    """One stream of a finished run, as it is stored.

    ``text`` is at most ``output.maxBytes`` bytes of UTF-8 (head, marker, tail), secrets masked;
    ``total_bytes`` and ``sha256`` (hex) are of the whole masked stream before UTF-8 repair.
    """

    text: str = ""
    total_bytes: int = 0
    sha256: str = ""
    truncated: bool = False


@value
class Outcome:
    """How an execution ended: a verdict that is recorded once and never argued with.

    ``started_at`` is None when the command never started on the host. ``message`` is one
    sentence for a person (no secrets); it is stored in front of ``error`` when the run
    has no exit code of its own, else beside it. ``proven`` is False only for verdicts that a later
    answer of the host may replace (``unreachable``, ``lost``).
    """

    execution_id: int
    status: Status
    reason: Reason
    finished_at: datetime
    started_at: datetime | None = None
    exit_code: int | None = None
    stdout: CapturedStream = field(default_factory=CapturedStream)
    stderr: CapturedStream = field(default_factory=CapturedStream)
    message: str | None = None
    archive: str | None = None

    @property
    def proven(self) -> bool:
        """Whether the host itself vouches for this end."""
        return self.reason not in (Reason.UNREACHABLE, Reason.LOST)


@value
class Hop:
    """A server as an executor reaches it: its name and its spec."""

    name: str
    spec: ServerSpec


@value
class Job:
    """One claimed execution, complete: an executor needs nothing else but secrets and a clock.

    ``jumps`` are the servers to go through, the first to dial first. ``started_at`` is set when an
    earlier owner's start was acknowledged: then the run is attached to, not started. ``start_sent``: an
    earlier owner may have sent its start, and nobody knows whether it arrived.
    """

    execution_id: int
    task_id: int
    project: str
    task: str
    server: Hop
    spec: TaskSpec
    attempt: int
    scheduled_for: datetime
    due_at: datetime
    jumps: tuple[Hop, ...] = ()
    started_at: datetime | None = None
    start_sent: bool = False

    @property
    def begun(self) -> bool:
        """Whether an earlier owner's start may have reached the host."""
        return self.start_sent or self.started_at is not None
