"""Rows as the reading side hands them out: frozen, times aware in UTC, names instead of ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection as Connection  # rooms above name the type, never the library

from reconciler.model.canonical import Document
from reconciler.model.execution import State, state_of
from reconciler.model.value import value

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServerView:
    """A server. ``project`` is None where nobody owns it; ``document`` is what the columns say now."""

    id: int
    name: str
    project: str | None
    host: str
    port: int
    username: str | None
    environment: str
    enabled: bool
    document: Document
    drifted: bool
    generation: int
    protected: bool
    path: str
    line: int
    revision_id: int | None
    created_by: str
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


@value
class TaskView:
    """A task on one server. ``timezone`` is its zone's name, ``schedule`` the expression or None.

    ``runnable``: it and its server are enabled and live. ``runnable_since`` is the later of both rows' last
    changes: slots before it were another spec's business.
    """

    id: int
    name: str
    server: str
    server_id: int
    project: str
    project_id: int
    command: str
    schedule: str | None
    timezone: str
    enabled: bool
    server_enabled: bool
    document: Document
    drifted: bool
    generation: int
    protected: bool
    path: str
    line: int
    revision_id: int | None
    last_run: datetime | None
    next_run: datetime | None
    next_slot: datetime | None
    created_by: str
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    runnable_since: datetime

    @property
    def address(self) -> str:
        return f"{self.name}@{self.server}"

    @property
    def runnable(self) -> bool:
        return self.enabled and self.server_enabled and self.deleted_at is None


@value
class RunView:
    """What a status tells of an execution; reports on many thousands of tasks read no more of each."""

    id: int
    task_id: int
    task: str
    server: str
    status: int
    reason: str | None
    exit_code: int | None
    attempt: int
    scheduled_for: datetime
    due_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_by: str | None
    generation: int
    created_at: datetime

    @property
    def state(self) -> State:
        return state_of(self.status, self.started_at is not None)

    @property
    def duration_seconds(self) -> float | None:
        """From the start on the host to the end; None while either is missing."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


@value
class ExecutionView(RunView):
    """An execution without its output. ``commit`` is the whole hash of its revision, None without git.

    ``start_sent_at``: when a worker first took it; from then on its start may have reached its host.
    """

    project: str
    trigger: str
    requested_by: str | None
    cancel_requested_at: datetime | None
    revision_id: int | None
    commit: str | None
    path: str
    line: int
    output_bytes: int
    error_bytes: int
    truncated: bool
    archive: str | None
    count: int
    start_sent_at: datetime | None

    @property
    def unacknowledged(self) -> bool:
        """Its start may have reached its host, which has not said so: it counts as started."""
        return self.state is State.WAITING and self.start_sent_at is not None


@dataclass(frozen=True, slots=True)
class OutputView:
    """The two stored streams of an execution; None where nothing was recorded yet.

    ``remark``: what else is to be known of it, in one sentence, where it has an exit code.
    """

    output: str | None
    error: str | None
    remark: str | None = None


@dataclass(frozen=True, slots=True)
class RevisionView:
    """An apply that changed something. ``changes`` only where it was asked for."""

    id: int
    project: str
    commit: str | None
    branch: str | None
    author: str | None
    message: str | None
    dirty: bool
    applied_by: str
    applied_at: datetime
    digest: str
    released: str | None
    summary: Mapping[str, int]
    changes: Any = None


@dataclass(frozen=True, slots=True)
class ProjectView:
    """A project; ``revision_*`` are of the last apply that changed something."""

    id: int
    name: str
    source: str
    document: Mapping[str, Any]
    commit: str | None
    created_at: datetime
    updated_at: datetime
    revision: RevisionView | None
    servers: int
    tasks: int


@dataclass(frozen=True, slots=True)
class SuspensionView:
    """An override that keeps slots from running: ``since`` ≤ due instant < ``until`` (None: for good)."""

    reason: str
    by: str
    since: datetime
    until: datetime | None
    task_id: int | None = None
    project_id: int | None = None


@dataclass(frozen=True, slots=True)
class StoredCondition:
    """A condition that a long-running process wrote: kind, object's id, and the words.

    ``cause`` tells apart what several writers say of one type; empty for the one that reconciles.
    """

    kind: str
    object_id: int
    type: str
    cause: str
    status: str
    reason: str
    message: str
    observed_generation: int | None
    last_transition: datetime | None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items in order, and the opaque cursor of what follows; None at the end."""

    items: tuple[T, ...]
    next: str | None = None
