"""Verdicts that people asked to be told of: written to the outbox in the transaction that records them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from reconciler.model.enums import NotifyOn
from reconciler.model.execution import Reason, Status
from reconciler.model.notification import Targets, receivers
from reconciler.record.batch import Ended
from reconciler.store import outbox, told
from reconciler.store.ends import OpenRow
from reconciler.store.engine import Connection
from reconciler.store.outbox import Message

FAILURE, RECOVERY = NotifyOn.FAILURE, NotifyOn.RECOVERY


class Telling:
    """Failure: the verdict of a slot's last attempt. Recovery: the first success after a failure that was
    told. A run that somebody cancelled is neither: who asked for it knows."""

    def __init__(self, targets: Targets) -> None:
        # the others are told only where a task names them
        self._targets = {name: target for name, target in targets.items() if target.events}

    def watched(self, connection: Connection, ends: Sequence[Ended]) -> set[int]:
        """The executions whose ends may be told: failures that somebody wants to know of, and successes of
        tasks of which a failure was told. Cheap, because most are neither."""
        failures, successes = set(), {}
        for end in ends:
            if not self._targets and not end.job.spec.notify:
                continue
            failed = end.outcome.status == Status.FAILED
            if not self._to(FAILURE if failed else RECOVERY, end):
                continue
            if failed:
                failures.add(end.job.execution_id)
            else:
                successes[end.job.execution_id] = end.job.task_id
        if successes:
            over = told.told(connection, set(successes.values()))
            failures.update(key for key, task_id in successes.items() if task_id in over)
        return failures

    def tell(
        self, connection: Connection, ends: Sequence[Ended], opened: Mapping[int, OpenRow], now: datetime
    ) -> None:
        """Write what is to be told of ``ends``: watched, and each the last of its slot. Those that are not
        among ``opened`` had been recorded before."""
        failures, successes = [], []
        for end in ends:
            row = opened.get(end.job.execution_id)
            if row is None or (row.ended and not end.outcome.proven):
                continue
            if end.outcome.status == Status.SUCCESS:
                successes.append(end)
            elif not (end.outcome.reason is Reason.CANCELLED and row.cancel_requested):
                failures.append(end)
        messages = [message for end in failures for message in self._messages(FAILURE, end)]
        if failures:
            remembered = {end.job.task_id for end in failures if self._to(RECOVERY, end)}
            told.failed(connection, remembered, now)
        if successes:
            over = told.recovered(connection, {end.job.task_id for end in successes})
            # of several in one batch the first one tells it
            first = {end.job.task_id: end for end in reversed(successes) if end.job.task_id in over}
            messages += [message for end in first.values() for message in self._messages(RECOVERY, end)]
        outbox.tell(connection, messages, now)

    def _to(self, event: NotifyOn, end: Ended) -> list[str]:
        return receivers(event, end.job.project, end.job.spec.notify, self._targets)

    def _messages(self, event: NotifyOn, end: Ended) -> list[Message]:
        job, outcome = end.job, end.outcome
        payload = {
            "project": job.project,
            "task": job.task,
            "server": job.server.name,
            "execution": job.execution_id,
            "reason": outcome.reason.value,
            "at": outcome.finished_at.isoformat(),
        }
        return [
            Message(event, name, verdict_key(event, name, job.task_id, job.scheduled_for), payload)
            for name in self._to(event, end)
        ]


def verdict_key(event: NotifyOn, target: str, task_id: int, slot: datetime) -> str:
    """One slot's verdict is told once to a target, whoever finds it."""
    return f"{event}/{target}/{task_id}/{slot.isoformat()}"
