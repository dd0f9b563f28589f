"""Rows of tasks, servers and executions to views: documents rebuilt, drift noticed.

Nothing is trusted that a hand may have spoilt: a row that cannot be read has drifted, and must not keep the
report of all others from being made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from reconciler.model.canonical import document_hash
from reconciler.store.packed import SEPARATOR, Times, cleaned, number
from reconciler.store.rows import server_document, task_document
from reconciler.store.tables import Execution, Task
from reconciler.store.views import ExecutionView, ServerView, TaskView


class Texts(dict[str, Any]):
    """JSON text → mapping, each distinct text decoded once; anything else is an empty mapping.

    The values are shared: never change them.
    """

    def __missing__(self, text: str | None) -> dict[str, Any]:
        try:
            value = json.loads(text or "")
        except ValueError:
            value = None
        found: dict[str, Any] = value if isinstance(value, dict) else {}
        if text is not None and len(self) < 100_000:
            self[text] = found
        return found


TASK_VALUES = (
    Task.id,
    Task.server_id,
    Task.project_id,
    Task.created_by,
    Task.revision_id,
    Task.status,
    Task.protected,
    Task.generation,
    Task.line,
    Task.last_run,
    Task.next_run,
    Task.next_slot,
    Task.created_at,
    Task.updated_at,
    Task.deleted_at,
    Task.spec_hash,
)
"""What ``TaskReader.view`` takes as the first column of a row, packed; then name, command, cron_expr,
timezone, path, labels and spec as they are in the database."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a task must know of its server."""

    name: str
    enabled: bool
    updated_at: datetime


class TaskReader:
    """Makes views of many rows; names of what they refer to are looked up, not sent with every row."""

    def __init__(
        self, servers: Mapping[int, ServerFacts], projects: Mapping[int, str], users: Mapping[int, str]
    ) -> None:
        self._servers = servers
        self._projects = projects
        self._users = users
        self._texts = Texts()
        self._times = Times()

    def view(self, row: Sequence[Any]) -> TaskView:
        """One row as a value."""
        values, name, command, schedule, timezone, path, labels, spec = row
        (
            id_, server_id, project_id, created_by, revision_id, status, protected, generation, line,
            last_run, next_run, next_slot, created_at, updated_at, deleted_at, spec_hash,
        ) = values.split(SEPARATOR)  # fmt: skip
        document = task_document(
            command,
            schedule,
            timezone,
            int(status),
            self._texts[labels],
            int(protected),
            _rest(self._texts[spec]),
        )
        server = self._servers[int(server_id)]
        times = self._times
        changed = times.known(updated_at)
        return TaskView(
            id=int(id_),
            name=name,
            server=server.name,
            server_id=int(server_id),
            project=self._projects[int(project_id)],
            project_id=int(project_id),
            command=command,
            schedule=schedule,
            timezone=timezone,
            enabled=status != "0",
            server_enabled=server.enabled,
            document=document,
            drifted=not deleted_at and document_hash(document) != spec_hash,
            generation=int(generation),
            protected=protected != "0",
            path=path,
            line=int(line),
            revision_id=number(revision_id),
            last_run=times[last_run],
            next_run=times[next_run],
            next_slot=times[next_slot],
            created_by=self._users[int(created_by)],
            created_at=times.known(created_at),
            updated_at=changed,
            deleted_at=times[deleted_at],
            runnable_since=max(changed, server.updated_at),
        )


def server_view(row: Row[Any], texts: Texts) -> ServerView:
    """A row of ``listing.server_rows``."""
    document = server_document(
        row.host,
        row.port,
        row.username,
        row.environment,
        row.status,
        texts[row.labels],
        row.protected,
        _rest(texts[row.spec]),
    )
    return ServerView(
        id=row.id,
        name=row.name,
        project=row.project,
        host=row.host,
        port=row.port,
        username=row.username,
        environment=row.environment,
        enabled=bool(row.status),
        document=document,
        drifted=row.deleted_at is None and document_hash(document) != row.spec_hash,
        generation=row.generation,
        protected=bool(row.protected),
        path=row.path,
        line=row.line,
        revision_id=row.revision_id,
        created_by=row.created_by_name,
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
    )


EXECUTION_VALUES = (
    Execution.id,
    Execution.task_id,
    Execution.status,
    Execution.reason,
    Execution.exit_code,
    Execution.trigger,
    Execution.attempt,
    Execution.scheduled_for,
    Execution.due_at,
    Execution.started_at,
    Execution.finished_at,
    Execution.cancel_requested_at,
    Execution.generation,
    Execution.revision_id,
    Execution.line,
    Execution.output_bytes,
    Execution.error_bytes,
    Execution.truncated,
    Execution.count,
    Execution.created_at,
    cleaned(Execution.path),
    cleaned(Execution.requested_by),
    cleaned(Execution.cancel_requested_by),
    cleaned(Execution.archive),
)
"""What ``ExecutionReader`` takes, packed."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What an execution is called after: its task, the server as it was then, the project, the commit."""

    task: str
    server: str
    project: str
    commit: str | None = None


class ExecutionReader:
    """Makes views of many rows."""

    def __init__(self) -> None:
        self._times = Times()

    def view(self, values: str, labels: Labels) -> ExecutionView:
        """One row as a value."""
        (
            id_, task_id, status, reason, exit_code, trigger, attempt, scheduled_for, due_at, started_at,
            finished_at, cancel_requested_at, generation, revision_id, line, output_bytes, error_bytes,
            truncated, count, created_at, path, requested_by, cancel_requested_by, archive,
        ) = values.split(SEPARATOR)  # fmt: skip
        times = self._times
        return ExecutionView(
            id=int(id_),
            task_id=int(task_id),
            task=labels.task,
            server=labels.server,
            project=labels.project,
            status=int(status),
            reason=reason or None,
            exit_code=number(exit_code),
            trigger=trigger,
            requested_by=requested_by or None,
            attempt=int(attempt),
            scheduled_for=times.known(scheduled_for),
            due_at=times.known(due_at),
            started_at=times[started_at],
            finished_at=times[finished_at],
            cancel_requested_at=times[cancel_requested_at],
            cancel_requested_by=cancel_requested_by or None,
            generation=int(generation),
            revision_id=number(revision_id),
            commit=labels.commit,
            path=path,
            line=int(line),
            output_bytes=int(output_bytes),
            error_bytes=int(error_bytes),
            truncated=truncated != "0",
            archive=archive or None,
            count=int(count),
            created_at=times.known(created_at),
        )


def _rest(value: dict[str, Any]) -> dict[str, Any]:
    return value if isinstance(value.get("spec", {}), dict) else {**value, "spec": {}}
