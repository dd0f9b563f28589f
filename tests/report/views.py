"""Views without a database, for the pure parts of a report."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from reconciler.store.views import ExecutionView, TaskView
from tests.report.world import APPLIED


def task_view(name: str = "backup", server: str = "db-1", **values: Any) -> TaskView:
    """A runnable task without a schedule of its own; ``spec`` is the rest of its document."""
    spec = values.pop("spec", {})
    given: dict[str, Any] = {
        "id": 1,
        "name": name,
        "server": server,
        "server_id": 1,
        "project": "shop",
        "project_id": 1,
        "command": "true",
        "schedule": None,
        "timezone": "UTC",
        "enabled": True,
        "server_enabled": True,
        "document": {"metadata": {}, "spec": spec},
        "drifted": False,
        "generation": 1,
        "protected": False,
        "path": "tasks.yaml",
        "line": 3,
        "revision_id": 1,
        "last_run": None,
        "next_run": None,
        "next_slot": None,
        "created_by": "ann",
        "created_at": APPLIED,
        "updated_at": APPLIED,
        "deleted_at": None,
        "runnable_since": APPLIED,
    }
    return TaskView(**{**given, **values})


def run_view(at: datetime, seconds: float | None = 3.25, **values: Any) -> ExecutionView:
    """A success of the slot ``at`` that began on time; ``status=2`` a failure with exit code 1."""
    status = values.get("status", 1)
    given: dict[str, Any] = {
        "id": 7000000000000000001,
        "task_id": 1,
        "task": "backup",
        "server": "db-1",
        "project": "shop",
        "status": status,
        "reason": {0: None, 1: "completed", 2: "exit-code", 3: "overlap"}[status],
        "exit_code": {1: 0, 2: 1}.get(status),
        "trigger": "schedule",
        "requested_by": None,
        "attempt": 1,
        "scheduled_for": at,
        "due_at": at,
        "started_at": None if status == 3 or seconds is None else at,
        "finished_at": None if status == 0 else at + timedelta(seconds=seconds or 0),
        "cancel_requested_at": None,
        "cancel_requested_by": None,
        "generation": 1,
        "revision_id": 1,
        "commit": None,
        "path": "tasks.yaml",
        "line": 3,
        "output_bytes": 0,
        "error_bytes": 0,
        "truncated": False,
        "archive": None,
        "count": 1,
        "start_sent_at": None,
        "created_at": at,
    }
    return ExecutionView(**{**given, **values})
