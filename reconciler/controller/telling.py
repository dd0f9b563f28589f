"""Which changes of the status people asked to be told of, and in which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from reconciler.model.condition import Condition, ConditionType
from reconciler.model.enums import Kind, NotifyOn
from reconciler.model.execution import Status
from reconciler.model.notification import Targets, receivers
from reconciler.model.task import Notify
from reconciler.record.telling import verdict_key
from reconciler.report.build import Everything
from reconciler.report.status import ObjectStatus
from reconciler.store.outbox import Message
from reconciler.store.transitions import Key, Seen
from reconciler.store.views import ServerView, TaskView

_OLD = timedelta(hours=1)
"""An observer that begins to look tells no failures that ended longer ago."""
_OURS = "notify"


@dataclass(frozen=True, slots=True)
class Event:
    """What is told of one change; ``recovers``: the task whose next success is then worth telling."""

    messages: Sequence[Message]
    recovers: int | None = None


class Events:
    """Of one look."""

    def __init__(self, seen: Everything, targets: Targets, now: datetime) -> None:
        self._targets = targets
        self._now = now
        self._tasks = {task.id: (task, status) for task, status in seen.tasks}
        self._servers = {server.id: server for server, _ in seen.servers}
        self._projects = {project.id: project.name for project, _ in seen.projects}
        self._stored = [row for row in seen.stored if row.kind == Kind.PROJECT]
        self._rules: dict[str, list[Notify]] | None = None

    def of(self, key: Key, condition: Condition, now: Seen, before: Seen | None) -> list[Event]:
        """The events of a condition that began, or whose reason or occasion is another."""
        kind, object_id, type = key
        if kind is Kind.TASK:
            task, status = self._tasks[object_id]
            return self._of_task(task, status, type, condition, now)
        if kind is Kind.SERVER:
            new = type is ConditionType.DRIFTED and before is None
            return [self._of_server(self._servers[object_id], condition, now)] if new else []
        return self._of_project(object_id, now, before) if type is ConditionType.STALLED else []

    def _of_task(
        self, task: TaskView, status: ObjectStatus, type: ConditionType, condition: Condition, now: Seen
    ) -> list[Event]:
        rules = rules_of(task)
        if not rules and not self._targets:
            return []
        payload: dict[str, Any] = {
            "project": task.project,
            "task": task.name,
            "server": task.server,
            "reason": condition.reason,
            "message": condition.message,
            "at": now.since.isoformat(),
            "path": task.path,
            "line": task.line,
            "revision": task.revision_id,
        }
        if type is ConditionType.LAST_RUN_SUCCEEDED and condition.reason != "Missed":
            return self._failure(task, status, rules)
        event = {
            ConditionType.OVERDUE: NotifyOn.OVERDUE,
            ConditionType.LAST_RUN_SUCCEEDED: NotifyOn.OVERDUE,
            ConditionType.DRIFTED: NotifyOn.DRIFT,
        }.get(type)
        if event is None:
            return []
        # of one type the moment tells one occasion from the next; the rows' own where they have one
        moment = (condition.last_transition or now.since).isoformat()
        names = receivers(event, task.project, rules, self._targets)
        return [
            Event(
                [
                    Message(event, name, f"{event}/{name}/{task.id}/{condition.reason}/{moment}", payload)
                    for name in names
                ]
            )
        ]

    def _failure(self, task: TaskView, status: ObjectStatus, rules: Sequence[Notify]) -> list[Event]:
        """A verdict that no recorder wrote, such as that of a run that was given up as lost."""
        last = status.last
        if last is None or last.status != Status.FAILED or last.finished_at is None:
            return []
        if last.cancel_requested_by is not None or last.finished_at < self._now - _OLD:
            return []
        if any(run.scheduled_for == last.scheduled_for for run in status.open):
            return []
        event = NotifyOn.FAILURE
        payload = {
            "project": task.project,
            "task": task.name,
            "server": task.server,
            "execution": last.id,
            "reason": last.reason,
            "at": last.finished_at.isoformat(),
        }
        messages = [
            Message(event, name, verdict_key(event, name, task.id, last.scheduled_for), payload)
            for name in receivers(event, task.project, rules, self._targets)
        ]
        recovers = bool(receivers(NotifyOn.RECOVERY, task.project, rules, self._targets))
        return [Event(messages, task.id if recovers else None)]

    def _of_server(self, server: ServerView, condition: Condition, now: Seen) -> Event:
        """A server's row that a hand changed: who listens to its project."""
        event, project = NotifyOn.DRIFT, server.project or ""
        payload = {
            "project": project,
            "server": server.name,
            "reason": condition.reason,
            "message": condition.message,
            "at": now.since.isoformat(),
            "path": server.path,
            "line": server.line,
            "revision": server.revision_id,
        }
        moment = now.since.isoformat()
        return Event(
            [
                Message(event, name, f"{event}/{name}/server {server.id}/{moment}", payload)
                for name in receivers(event, project, (), self._targets)
            ]
        )

    def _of_project(self, project_id: int, now: Seen, before: Seen | None) -> list[Event]:
        """Each cause that holds it up and did not before; all who are named by its tasks."""
        known = set() if before is None else set(before.message.split("\n"))
        project = self._projects[project_id]
        events = []
        for row in self._stored:
            token = f"{row.cause} {row.reason} {row.last_transition}"
            if (row.object_id, row.type) != (project_id, ConditionType.STALLED) or token in known:
                continue
            if row.cause == _OURS:
                # that messages do not arrive would be one more that does not
                continue
            event = NotifyOn.GUARD if row.reason == "GuardTripped" else NotifyOn.STALLED
            payload = {
                "project": project,
                "reason": row.reason,
                "message": row.message,
                "at": (row.last_transition or self._now).isoformat(),
            }
            names = receivers(event, project, self._rules_of(project), self._targets)
            events.append(
                Event(
                    [Message(event, name, f"{event}/{name}/{project_id}/{token}", payload) for name in names]
                )
            )
        return events

    def _rules_of(self, project: str) -> list[Notify]:
        if self._rules is None:
            self._rules = {}
            for task, _ in self._tasks.values():
                self._rules.setdefault(task.project, []).extend(rules_of(task))
        return self._rules.get(project, [])


def rules_of(task: TaskView) -> list[Notify]:
    """Whom a task names; what a hand has spoilt in the row names nobody."""
    given = _spec(task.document).get("notify") or ()
    try:
        return [Notify.model_validate(rule) for rule in given]
    except (ValueError, TypeError):
        return []


def _spec(document: Mapping[str, Any]) -> Mapping[str, Any]:
    spec = document.get("spec")
    return spec if isinstance(spec, Mapping) else {}
