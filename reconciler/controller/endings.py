"""The ends of runs as events: what became of each, and that it is tried again."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.controller.events import Event, EventKind
from reconciler.model.execution import Outcome, state_of
from reconciler.record.batch import Recorded


def events_of_end(item: Recorded, commit: str | None) -> Iterator[Event]:
    """What is to be told of an end that is in the database; ``commit`` is the one that the run is of."""
    job, outcome = item.job, item.outcome
    yield Event(
        EventKind.ENDED,
        job.execution_id,
        job.task_id,
        job.task,
        job.server.name,
        outcome.finished_at,
        attempt=job.attempt,
        state=state_of(outcome.status, started=True),
        reason=outcome.reason,
        exit_code=outcome.exit_code,
        seconds=_seconds(outcome),
        message=outcome.message,
        project=job.project,
        commit=commit,
    )
    if item.retry_at is not None:
        yield Event(
            EventKind.RETRYING,
            job.execution_id,
            job.task_id,
            job.task,
            job.server.name,
            item.retry_at,
            attempt=job.attempt + 1,
            project=job.project,
            commit=commit,
        )


def _seconds(outcome: Outcome) -> float | None:
    if outcome.started_at is None:
        return None
    return (outcome.finished_at - outcome.started_at).total_seconds()
