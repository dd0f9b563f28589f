"""Jobs and outcomes as an executor would give them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from reconciler.model.execution import CapturedStream, Hop, Job, Outcome, Reason, Status
from reconciler.model.server import ServerSpec
from reconciler.model.task import TaskSpec
from reconciler.record.batch import Ended
from tests.dispatch.fleet import START, at

SHA = "a" * 64


def job(
    execution_id: int, task_id: int = 1, *, slot: datetime | None = None, attempt: int = 1, **spec: Any
) -> Job:
    when = slot or at(execution_id)
    return Job(
        execution_id=execution_id,
        task_id=task_id,
        project="shop",
        task="backup",
        server=Hop("web-1", ServerSpec(host="h", username="u")),
        spec=TaskSpec.model_validate({"command": "true", **spec}),
        attempt=attempt,
        scheduled_for=when,
        due_at=when,
    )


def outcome(execution_id: int, reason: Reason = Reason.COMPLETED, **values: Any) -> Outcome:
    status = Status.SUCCESS if reason is Reason.COMPLETED else Status.FAILED
    given: dict[str, Any] = {
        "finished_at": at(100),
        "started_at": at(90),
        "exit_code": {Reason.COMPLETED: 0, Reason.EXIT_CODE: 3}.get(reason),
        "stdout": CapturedStream(f"out of {execution_id}\n", 12, SHA),
        "stderr": CapturedStream("", 0, SHA),
        **values,
    }
    return Outcome(execution_id, status, reason, **given)


def ended(
    execution_id: int, reason: Reason = Reason.COMPLETED, *, of: Job | None = None, **values: Any
) -> Ended:
    return Ended(of or job(execution_id), outcome(execution_id, reason, **values))


__all__ = ["SHA", "START", "ended", "job", "outcome"]
