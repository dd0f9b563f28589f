"""Lists as lines of a table: what a person looks for, times as they matter now."""

from __future__ import annotations

from datetime import datetime

from reconciler.model.condition import Condition, ConditionStatus, ConditionType, Sync
from reconciler.model.execution import Reason, State, Trigger
from reconciler.report.layout import Cell, Column, Style
from reconciler.report.status import ObjectStatus
from reconciler.report.status_text import HEALTH_STYLE
from reconciler.report.times import brief_span, coming, relative, span, wall, zone_or_utc
from reconciler.store.views import ExecutionView, ProjectView, RevisionView, ServerView, TaskView

STATE_STYLE = {
    State.WAITING: Style.DIM,
    State.RUNNING: Style.INFO,
    State.SUCCESS: Style.GOOD,
    State.FAILED: Style.BAD,
    State.SKIPPED: Style.WARN,
}

TASK_COLUMNS = (
    Column("TASK"),
    Column("SERVER"),
    Column("PROJECT"),
    Column("SCHEDULE"),
    Column("ZONE"),
    Column("HEALTH"),
    Column("LAST RUN", right=True),
    Column("NEXT RUN", right=True),
    Column("LOCAL", right=True),
)
SERVER_COLUMNS = (
    Column("SERVER"),
    Column("ADDRESS"),
    Column("ENVIRONMENT"),
    Column("STATE"),
    Column("HEALTH"),
    Column("REACHABLE"),
    Column("LABELS", most=40),
)
EXECUTION_COLUMNS = (
    Column("ID"),
    Column("TASK"),
    Column("STATE"),
    Column("TRIGGER"),
    Column("SLOT (UTC)"),
    Column("STARTED", right=True),
    Column("TOOK", right=True),
)
REVISION_COLUMNS = (
    Column("REVISION", right=True),
    Column("PROJECT"),
    Column("APPLIED", right=True),
    Column("BY", most=30),
    Column("COMMIT"),
    Column("BRANCH", most=20),
    Column("AUTHOR", most=30),
    Column("CHANGES"),
    Column("MESSAGE", most=50),
)
PROJECT_COLUMNS = (
    Column("PROJECT"),
    Column("SERVERS", right=True),
    Column("TASKS", right=True),
    Column("REVISION", right=True),
    Column("COMMIT"),
    Column("APPLIED", right=True),
    Column("BY", most=30),
    Column("SYNC"),
)


def task_row(task: TaskView, status: ObjectStatus, now: datetime, several: bool) -> list[Cell]:
    """A line of ``get tasks``; ``several``: with the project."""
    return [
        task.name,
        task.server,
        task.project if several else "",
        schedule_words(task),
        task.timezone if task.schedule else "",
        _health(status),
        relative(task.last_run, now),
        _next_run(task, status, now),
        "" if status.next_run is None else wall(status.next_run, zone_or_utc(task.timezone), now),
    ]


def schedule_words(task: TaskView) -> str:
    """When it runs: its schedule, or what stands in the place of one."""
    return task.schedule or ("after others" if task.document["spec"].get("after") else "when asked")


def server_row(server: ServerView, status: ObjectStatus, now: datetime) -> list[Cell]:
    """A line of ``get servers``."""
    return [
        server.name,
        _where(server),
        server.environment,
        _enabled(server),
        _health(status),
        _reachable(status.condition(ConditionType.REACHABLE), now),
        ",".join(f"{key}={value}" for key, value in server.document["metadata"].get("labels", {}).items()),
    ]


def _reachable(condition: Condition | None, now: datetime) -> Cell:
    if condition is None or condition.status is ConditionStatus.UNKNOWN:
        return "-"
    if condition.status is ConditionStatus.TRUE:
        return "yes"
    since = condition.last_transition
    return ("no" if since is None else f"no, for {brief_span(now - since)}", Style.BAD)


def execution_row(run: ExecutionView, now: datetime) -> list[Cell]:
    """A line of ``get executions``."""
    return [
        str(run.id),
        f"{run.task}@{run.server}",
        (state_words(run), STATE_STYLE[run.state]),
        trigger_words(run),
        run.scheduled_for.isoformat(" ", "seconds")[:19],
        relative(run.started_at, now),
        _took(run, now),
    ]


def revision_row(revision: RevisionView, now: datetime) -> list[Cell]:
    """A line of ``get revisions``."""
    commit = "" if revision.commit is None else revision.commit[:12] + ("+" if revision.dirty else "")
    return [
        str(revision.id),
        revision.project,
        relative(revision.applied_at, now),
        revision.applied_by,
        commit,
        revision.branch or "",
        (revision.author or "").partition(" <")[0],
        summary_words(revision.summary),
        (revision.message or "").partition("\n")[0],
    ]


def project_row(project: ProjectView, status: ObjectStatus, now: datetime) -> list[Cell]:
    """A line of ``get projects``."""
    revision = project.revision
    style = Style.GOOD if status.sync is Sync.SYNCED else Style.WARN
    return [
        project.name,
        str(project.servers),
        str(project.tasks),
        "-" if revision is None else str(revision.id),
        (project.commit or "-")[:12],
        relative(None if revision is None else revision.applied_at, now),
        "-" if revision is None else revision.applied_by,
        (status.sync.value, style),
    ]


def state_words(run: ExecutionView) -> str:
    """``success``, ``failed: exit code 2``, ``skipped: overlap``, ``failed: timed-out``."""
    if run.reason in (None, Reason.COMPLETED):
        return run.state.value
    detail = f"exit code {run.exit_code}" if run.reason == Reason.EXIT_CODE else run.reason
    times = f" ×{run.count:,}" if run.count > 1 else ""
    return f"{run.state.value}: {detail}{times}"


def trigger_words(run: ExecutionView) -> str:
    """``schedule``, ``manual (ann)``, ``retry 2``."""
    if run.trigger == Trigger.RETRY or run.attempt > 1:
        return f"retry {run.attempt}"
    return f"{run.trigger} ({run.requested_by})" if run.requested_by else run.trigger


def summary_words(summary: object) -> str:
    """``2 create, 1 delete``; what did not happen is left out, what a hand had changed was ``put back``."""
    if not isinstance(summary, dict):
        return ""
    words = [
        f"{count} {'put back' if action == 'heal' else action}"
        for action, count in summary.items()
        if count and action != "unchanged"
    ]
    return ", ".join(words) or "nothing"


def _health(status: ObjectStatus) -> Cell:
    text = status.health.value if status.sync is not Sync.DRIFTED else f"{status.health.value}, drifted"
    return text, HEALTH_STYLE[status.health]


def _next_run(task: TaskView, status: ObjectStatus, now: datetime) -> Cell:
    if task.deleted_at is not None:
        return f"deleted {relative(task.deleted_at, now)}", Style.DIM
    if status.next_run is not None:
        return coming(status.next_run, now)
    scheduled = status.condition(ConditionType.SCHEDULED)
    words = {
        "Disabled": "disabled",
        "ServerDisabled": "server disabled",
        "NoNextRun": "none",
        "Forbidden": "forbidden",
    }
    return words.get(scheduled.reason if scheduled else "", "-"), Style.DIM


def _where(server: ServerView) -> str:
    if server.document["spec"].get("connection") == "local":
        return "local"
    port = "" if server.port == 22 else f":{server.port}"
    host = f"[{server.host}]" if port and ":" in server.host else server.host
    return f"{server.username}@{host}{port}" if server.username else f"{host}{port}"


def _enabled(server: ServerView) -> Cell:
    if server.deleted_at is not None:
        return "deleted", Style.DIM
    return "enabled" if server.enabled else ("disabled", Style.WARN)


def _took(run: ExecutionView, now: datetime) -> str:
    if run.state is State.RUNNING and run.started_at is not None:
        return span((now - run.started_at).total_seconds()) + " …"
    return "-" if run.duration_seconds is None else span(run.duration_seconds)
