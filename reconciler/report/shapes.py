"""The JSON of what is listed and reported: every field always present, null where there is no value.

Scripts rely on these shapes: fields may be added, never renamed or removed. Words of an enum are texts that
JSON writes as they are; to ask ten thousand for their ``value`` takes as long as to encode them.
"""

from __future__ import annotations

from typing import Any

from reconciler.model.condition import Condition
from reconciler.model.instant import rfc3339
from reconciler.report.status import ObjectStatus, StatusReport
from reconciler.store.views import ExecutionView, ProjectView, RevisionView, RunView, ServerView, TaskView

Json = dict[str, Any]


def condition_json(condition: Condition) -> Json:
    """One of an object's ``conditions``."""
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": rfc3339(condition.last_transition),
        "observedGeneration": condition.observed_generation,
    }


def conditions_json(status: ObjectStatus) -> list[Json]:
    """All of them, in the order of the judgement."""
    return [condition_json(condition) for condition in status.conditions]


def task_json(task: TaskView, status: ObjectStatus) -> Json:
    """An item of ``get tasks``. ``schedule`` is null for a task that runs only when asked or after others."""
    return {
        "id": task.id,
        "name": task.name,
        "server": task.server,
        "project": task.project,
        "command": task.command,
        "schedule": task.schedule,
        "timezone": task.timezone,
        "enabled": task.enabled,
        "lastRun": rfc3339(task.last_run),
        "nextRun": rfc3339(task.next_run),
        "nextSlot": rfc3339(task.next_slot),
        "createdBy": task.created_by,
        "createdAt": rfc3339(task.created_at),
        "updatedAt": rfc3339(task.updated_at),
        "deletedAt": rfc3339(task.deleted_at),
        "generation": task.generation,
        "path": task.path,
        "line": task.line,
        "labels": dict(task.document["metadata"].get("labels", {})),
        "protected": task.protected,
        "revision": task.revision_id,
        "sync": status.sync,
        "health": status.health,
        "conditions": conditions_json(status),
    }


def server_json(server: ServerView, status: ObjectStatus) -> Json:
    """An item of ``get servers``. ``project`` is null for a deleted server: nobody owns it."""
    return {
        "id": server.id,
        "name": server.name,
        "project": server.project,
        "host": server.host,
        "port": server.port,
        "username": server.username,
        "environment": server.environment,
        "enabled": server.enabled,
        "connection": server.document["spec"].get("connection", "ssh"),
        "createdBy": server.created_by,
        "createdAt": rfc3339(server.created_at),
        "updatedAt": rfc3339(server.updated_at),
        "deletedAt": rfc3339(server.deleted_at),
        "generation": server.generation,
        "path": server.path,
        "line": server.line,
        "labels": dict(server.document["metadata"].get("labels", {})),
        "protected": server.protected,
        "revision": server.revision_id,
        "sync": status.sync,
        "health": status.health,
        "conditions": conditions_json(status),
    }


def project_json(project: ProjectView, status: ObjectStatus) -> Json:
    """An item of ``get projects``: what was applied last, by whom, and how much it declares."""
    revision = project.revision
    return {
        "id": project.id,
        "name": project.name,
        "source": project.source,
        "commit": project.commit,
        "revision": None if revision is None else revision.id,
        "branch": None if revision is None else revision.branch,
        "author": None if revision is None else revision.author,
        "appliedBy": None if revision is None else revision.applied_by,
        "appliedAt": None if revision is None else rfc3339(revision.applied_at),
        "servers": project.servers,
        "tasks": project.tasks,
        "createdAt": rfc3339(project.created_at),
        "updatedAt": rfc3339(project.updated_at),
        "sync": status.sync,
        "health": status.health,
        "conditions": conditions_json(status),
    }


def execution_json(run: ExecutionView) -> Json:
    """An item of ``get executions``. ``id`` is text: it does not fit the numbers of JavaScript."""
    return {
        "id": str(run.id),
        "task": run.task,
        "server": run.server,
        "project": run.project,
        "status": run.status,
        "state": run.state,
        "reason": run.reason,
        "exitCode": run.exit_code,
        "trigger": run.trigger,
        "requestedBy": run.requested_by,
        "attempt": run.attempt,
        "scheduledFor": rfc3339(run.scheduled_for),
        "dueAt": rfc3339(run.due_at),
        "startedAt": rfc3339(run.started_at),
        "finishedAt": rfc3339(run.finished_at),
        "durationSeconds": run.duration_seconds,
        "outputBytes": run.output_bytes,
        "errorBytes": run.error_bytes,
        "truncated": run.truncated,
        "count": run.count,
        "commit": run.commit,
        "path": run.path,
        "line": run.line,
        "revision": run.revision_id,
        "generation": run.generation,
        "archive": run.archive,
        "cancelRequestedAt": rfc3339(run.cancel_requested_at),
        "cancelRequestedBy": run.cancel_requested_by,
        "startSentAt": rfc3339(run.start_sent_at),
    }


def revision_json(revision: RevisionView) -> Json:
    """An item of ``get revisions``."""
    return {
        "id": revision.id,
        "project": revision.project,
        "commit": revision.commit,
        "branch": revision.branch,
        "author": revision.author,
        "message": revision.message,
        "dirty": revision.dirty,
        "appliedBy": revision.applied_by,
        "appliedAt": rfc3339(revision.applied_at),
        "digest": revision.digest,
        "released": revision.released,
        "summary": dict(revision.summary),
    }


def status_json(report: StatusReport) -> Json:
    """The whole status report."""
    return {
        "generatedAt": rfc3339(report.generated_at),
        "summary": report.summary,
        "objects": [object_json(item) for item in report.objects],
    }


def object_json(status: ObjectStatus) -> Json:
    """An item of ``objects``."""
    return {
        "kind": status.kind,
        "name": status.name,
        "server": status.server,
        "project": status.project,
        "sync": status.sync,
        "health": status.health,
        "conditions": conditions_json(status),
        "path": status.path,
        "line": status.line,
        "nextRun": rfc3339(status.next_run),
        "lastRun": None if status.last is None else last_run_json(status.last),
        "open": [str(run.id) for run in status.open],
        "errorLines": list(status.error_lines),
    }


def last_run_json(run: RunView) -> Json:
    """The run that an object's health was judged by."""
    return {
        "id": str(run.id),
        "state": run.state,
        "reason": run.reason,
        "exitCode": run.exit_code,
        "attempt": run.attempt,
        "scheduledFor": rfc3339(run.scheduled_for),
        "startedAt": rfc3339(run.started_at),
        "finishedAt": rfc3339(run.finished_at),
        "durationSeconds": run.duration_seconds,
    }
