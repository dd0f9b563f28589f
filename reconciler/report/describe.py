"""Everything about one object, as frozen values read in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from reconciler.errors import NotFound
from reconciler.model.instant import rfc3339
from reconciler.report.build import judge_servers, judge_tasks, overrides_of
from reconciler.report.shapes import (
    Json,
    execution_json,
    revision_json,
    server_json,
    task_json,
)
from reconciler.report.status import ObjectStatus
from reconciler.report.timeline import Fire, fire_json, plan_of
from reconciler.report.timing import timing_of
from reconciler.schedule.base import Note
from reconciler.store.executions import (
    average_seconds,
    get_execution,
    last_executions,
    last_of_server,
    read_hashes,
    read_output,
)
from reconciler.store.listing import (
    ObjectFilter,
    get_revision,
    list_tasks,
    revisions_by_id,
    servers_by_id,
    tasks_by_id,
)
from reconciler.store.views import (
    Connection,
    ExecutionView,
    OutputView,
    RevisionView,
    ServerView,
    SuspensionView,
    TaskView,
)

LAST = 10
NEXT = 5
_YEAR = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class TaskDescription:
    """A task on one server. ``dst_events`` are the clock changes of the coming year that touch its schedule;
    ``average_seconds`` is of its newest successful runs."""

    task: TaskView
    status: ObjectStatus
    revision: RevisionView | None
    suspensions: tuple[SuspensionView, ...]
    fires: tuple[Fire, ...]
    dst_events: tuple[tuple[datetime, Note], ...]
    last: tuple[ExecutionView, ...]
    average_seconds: float | None
    resolved: str | None
    """The schedule with what its names, aliases and ``H`` came to."""


@dataclass(frozen=True, slots=True)
class ServerDescription:
    """A server, the tasks on it (at most ``LISTED`` of them) and its last runs."""

    server: ServerView
    status: ObjectStatus
    revision: RevisionView | None
    tasks: tuple[TaskView, ...]
    more_tasks: bool
    last: tuple[ExecutionView, ...]


@dataclass(frozen=True, slots=True)
class ExecutionDescription:
    """An execution with its stored output and the hashes of the whole of it."""

    run: ExecutionView
    revision: RevisionView | None
    output: OutputView
    hashes: tuple[str | None, str | None]


LISTED = 200


def describe_task(conn: Connection, task_id: int, now: datetime, late_after: timedelta) -> TaskDescription:
    """Everything about a row of ``tasks``; raises NotFound if it is gone."""
    found = tasks_by_id(conn, [task_id])
    if not found:
        raise NotFound(f"there is no task with id {task_id}", hint="`get tasks` lists them")
    task = found[0]
    suspensions = overrides_of(conn, task, now)
    plan, timing = plan_of(task, suspensions), timing_of(task)
    events: list[tuple[datetime, Note]] = []
    if plan is not None:
        events = plan.timing.dst_events(now, now + _YEAR)
    return TaskDescription(
        task=task,
        status=judge_tasks(conn, [task], now, late_after)[0],
        revision=_revision(conn, task.revision_id),
        suspensions=tuple(suspensions),
        fires=() if plan is None else tuple(islice(plan.fires(now, now + _YEAR * 10), NEXT)),
        dst_events=tuple(events),
        last=tuple(last_executions(conn, task_id, LAST)),
        average_seconds=average_seconds(conn, task_id),
        resolved=None if timing is None else timing.schedule.resolved,
    )


def describe_server(conn: Connection, server_id: int) -> ServerDescription:
    """Everything about a row of ``servers``; raises NotFound if it is gone."""
    found = servers_by_id(conn, [server_id])
    if not found:
        raise NotFound(f"there is no server with id {server_id}", hint="`get servers` lists them")
    page = list_tasks(conn, ObjectFilter(server_id=server_id), limit=LISTED)
    return ServerDescription(
        server=found[0],
        status=judge_servers(conn, found)[0],
        revision=_revision(conn, found[0].revision_id),
        tasks=page.items,
        more_tasks=page.next is not None,
        last=tuple(last_of_server(conn, server_id, LAST)),
    )


def describe_execution(conn: Connection, execution_id: int) -> ExecutionDescription:
    """Everything about an execution; raises NotFound."""
    run = get_execution(conn, execution_id)
    return ExecutionDescription(
        run=run,
        revision=_revision(conn, run.revision_id),
        output=read_output(conn, execution_id),
        hashes=read_hashes(conn, execution_id),
    )


def describe_revision(conn: Connection, number: int) -> RevisionView:
    """A revision with what it changed; raises NotFound."""
    return get_revision(conn, number)


def task_description_json(found: TaskDescription) -> Json:
    """``get tasks``' item and more."""
    return {
        **task_json(found.task, found.status),
        **_origin(found.revision),
        **_document(found.task.document),
        "suspensions": [_suspension(item) for item in found.suspensions],
        "nextRuns": [fire_json(fire) for fire in found.fires],
        "dstEvents": [{"at": rfc3339(at), "note": note} for at, note in found.dst_events],
        "resolvedSchedule": found.resolved,
        "averageSeconds": found.average_seconds,
        "lastRuns": [execution_json(run) for run in found.last],
    }


def server_description_json(found: ServerDescription) -> Json:
    """``get servers``' item and more."""
    return {
        **server_json(found.server, found.status),
        **_origin(found.revision),
        **_document(found.server.document),
        "tasks": [
            {"name": task.name, "project": task.project, "nextRun": rfc3339(task.next_run)}
            for task in found.tasks
        ],
        "lastRuns": [execution_json(run) for run in found.last],
    }


def execution_description_json(found: ExecutionDescription) -> Json:
    """``get executions``' item and more: the output as it is stored."""
    return {
        **execution_json(found.run),
        "author": None if found.revision is None else found.revision.author,
        "output": found.output.output,
        "error": found.output.error,
        "remark": found.output.remark,
        "outputSha256": found.hashes[0],
        "errorSha256": found.hashes[1],
    }


def revision_description_json(revision: RevisionView) -> Json:
    """``get revisions``' item and its changes."""
    return {**revision_json(revision), "changes": revision.changes}


def _revision(conn: Connection, number: int | None) -> RevisionView | None:
    found = [] if number is None else revisions_by_id(conn, [number])
    return found[0] if found else None


def _origin(revision: RevisionView | None) -> Json:
    return {
        "commit": None if revision is None else revision.commit,
        "author": None if revision is None else revision.author,
        "appliedBy": None if revision is None else revision.applied_by,
        "appliedAt": None if revision is None else rfc3339(revision.applied_at),
    }


def _document(document: Mapping[str, Any]) -> Json:
    return {"annotations": document["metadata"].get("annotations", {}), "spec": document["spec"]}


def _suspension(item: SuspensionView) -> Json:
    return {
        "by": item.by,
        "reason": item.reason,
        "since": rfc3339(item.since),
        "until": rfc3339(item.until),
        "of": "task" if item.task_id is not None else "project" if item.project_id is not None else "all",
    }
