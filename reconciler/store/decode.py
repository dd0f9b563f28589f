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

from sqlalchemy import Row, Text, type_coerce

from reconciler.model.canonical import document_hash
from reconciler.store import wire
from reconciler.store.packed import SEPARATOR, Times, cleaned, number
from reconciler.store.rows import server_document, task_document
from reconciler.store.tables import Execution, Task
from reconciler.store.views import ExecutionView, RunView, ServerView, TaskView


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
    Task.name,
    Task.server_id,
    Task.project_id,
    Task.command,
    Task.cron_expr,
    Task.timezone,
    Task.status,
    type_coerce(Task.labels, Text),
    type_coerce(Task.spec, Text),
    Task.spec_hash,
    Task.generation,
    Task.protected,
    Task.path,
    Task.line,
    Task.revision_id,
    Task.last_run,
    Task.next_run,
    Task.next_slot,
    Task.created_by,
    Task.created_at,
    Task.updated_at,
    Task.deleted_at,
)
"""What ``TaskReader.view`` takes, as ``wire`` brings it."""


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
        self._times = wire.Moments()

    def view(self, row: Sequence[Any]) -> TaskView:
        """One row as a value."""
        (
            id_, name, server_id, project_id, command, schedule, timezone, status, labels, spec, spec_hash,
            generation, protected, path, line, revision_id, last_run, next_run, next_slot, created_by,
            created_at, updated_at, deleted_at,
        ) = row  # fmt: skip
        texts, times = self._texts, self._times
        document = task_document(
            command, schedule, timezone, status, texts[labels], protected, _rest(texts[spec])
        )
        server = self._servers[server_id]
        changed = times.known(updated_at)
        return TaskView(
            id=id_,
            name=name,
            server=server.name,
            server_id=server_id,
            project=self._projects[project_id],
            project_id=project_id,
            command=command,
            schedule=schedule,
            timezone=timezone,
            enabled=status != 0,
            server_enabled=server.enabled,
            document=document,
            drifted=deleted_at is None and document_hash(document) != spec_hash,
            generation=generation,
            protected=protected != 0,
            path=path,
            line=line,
            revision_id=revision_id,
            last_run=times[last_run],
            next_run=times[next_run],
            next_slot=times[next_slot],
            created_by=self._users[created_by],
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


RUN_VALUES = (
    Execution.id,
    Execution.task_id,
    Execution.status,
    Execution.reason,
    Execution.exit_code,
    Execution.attempt,
    Execution.scheduled_for,
    Execution.due_at,
    Execution.started_at,
    Execution.finished_at,
    cleaned(Execution.cancel_requested_by),
    Execution.generation,
    Execution.created_at,
)
"""What ``RunReader`` takes, packed."""

EXECUTION_VALUES = (
    *RUN_VALUES,
    Execution.trigger,
    cleaned(Execution.requested_by),
    Execution.cancel_requested_at,
    Execution.revision_id,
    cleaned(Execution.path),
    Execution.line,
    Execution.output_bytes,
    Execution.error_bytes,
    Execution.truncated,
    cleaned(Execution.archive),
    Execution.count,
)
"""What ``ExecutionReader`` takes, packed."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What an execution is called after: its task, the server as it was then, the project, the commit."""

    task: str
    server: str
    project: str
    commit: str | None = None


class RunReader:
    """Makes the views of a status."""

    def __init__(self) -> None:
        self._times = Times()

    def view(self, text: str, task: str, server: str) -> RunView:
        """One row of that task and server as a value; raises ValueError for what is none."""
        (
            id_, task_id, status, reason, exit_code, attempt, scheduled_for, due_at, started_at, finished_at,
            cancel_requested_by, generation, created_at,
        ) = text.split(SEPARATOR)  # fmt: skip
        times = self._times
        return RunView(
            int(id_),
            int(task_id),
            task,
            server,
            int(status),
            reason or None,
            int(exit_code) if exit_code else None,
            int(attempt),
            times.known(scheduled_for),
            times.known(due_at),
            times[started_at],
            times[finished_at],
            cancel_requested_by or None,
            int(generation),
            times.known(created_at),
        )


class ExecutionReader:
    """Makes views of many rows."""

    def __init__(self) -> None:
        self._times = Times()

    def view(self, text: str, labels: Labels) -> ExecutionView:
        """One row as a value."""
        (
            id_, task_id, status, reason, exit_code, attempt, scheduled_for, due_at, started_at, finished_at,
            cancel_requested_by, generation, created_at, trigger, requested_by, cancel_requested_at,
            revision_id, path, line, output_bytes, error_bytes, truncated, archive, count,
        ) = text.split(SEPARATOR)  # fmt: skip
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
