"""Starts and ends in the database, with the retries that ends decide: one transaction each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from reconciler.clock import Clock
from reconciler.model.execution import Outcome, Reason, Status, Trigger
from reconciler.model.notification import Targets
from reconciler.record.batch import Ended, Recorded, Started
from reconciler.record.telling import Telling
from reconciler.schedule.retry import retry_at
from reconciler.store import ends as store
from reconciler.store.claims import NewExecution, insert_executions
from reconciler.store.ends import LockedTask, OpenRow
from reconciler.store.engine import Connection, Database
from reconciler.store.node import Ids

SHARE_OF_PACKET = 4
"""A statement carries at most a quarter of max_allowed_packet in texts: escaping may double them."""


class DatabaseLedger:
    """Implements ``Ledger``."""

    def __init__(self, db: Database, clock: Clock, ids: Ids, targets: Targets | None = None) -> None:
        """``targets``: who listens to events of whole projects; a task's own are in its spec."""
        self._db = db
        self._clock = clock
        self._ids = ids
        self._telling = Telling(targets or {})
        self._max_bytes: int | None = None

    def max_bytes(self) -> int:
        """How many bytes of texts one transaction may carry; asks the database the first time."""
        if self._max_bytes is None:
            with self._db.read() as connection:
                self._max_bytes = store.packet_bytes(connection) // SHARE_OF_PACKET
        return self._max_bytes

    def listen(self, targets: Targets) -> None:
        """From the next write on these listen to events of whole projects."""
        self._telling = Telling(targets)

    def write(self, starts: Sequence[Started], ends: Sequence[Ended]) -> list[Recorded]:
        """Record starts and ends, but those ends whose retry needs a task that somebody holds locked.

        Safe to repeat: a row that has ended is not touched again (but ``lost`` and ``unreachable`` by a
        proven end), and its retry is inserted only with the end itself.
        """
        return self._db.transact(lambda connection: self._write(connection, starts, ends))

    def touch_tasks(self, last_runs: dict[int, datetime]) -> set[int]:
        """See ``Ledger.touch_tasks``."""
        return self._db.transact(lambda connection: store.touch_last_runs(connection, last_runs))

    def _write(
        self, connection: Connection, starts: Sequence[Started], ends: Sequence[Ended]
    ) -> list[Recorded]:
        wanted = {end.job.execution_id: at for end in ends if (at := next_attempt(end)) is not None}
        tasks: dict[int, LockedTask] = {}
        opened: dict[int, OpenRow] = {}
        watched = self._telling.watched(connection, ends)
        if wanted:
            # tasks first, as everywhere: a claim locks in this order too
            tasks = store.lock_tasks(
                connection, [end.job.task_id for end in ends if end.job.execution_id in wanted]
            )
            ends = [end for end in ends if end.job.execution_id not in wanted or end.job.task_id in tasks]
        if wanted or watched:
            known = {end.job.execution_id for end in ends} if wanted else watched
            opened = store.lock_open_rows(connection, sorted(known))
        void = self._void(connection, ends)
        recorded = [Recorded(end.job, end.outcome, void=True) for end in void]
        ends = [end for end in ends if end not in void] if void else ends
        store.write_starts(connection, {start.job.execution_id: start.at for start in starts})
        store.write_ends(connection, [end.outcome for end in ends])
        retries = [
            retry
            for end in ends
            if end.job.execution_id in wanted
            and (retry := self._retry(end, wanted[end.job.execution_id], tasks, opened)) is not None
        ]
        insert_executions(connection, retries, self._clock.now())
        due = {(retry.task_id, retry.scheduled_for): retry.due_at for retry in retries}
        if watched:
            final = [
                end
                for end in ends
                if end.job.execution_id in watched and (end.job.task_id, end.job.scheduled_for) not in due
            ]
            self._telling.tell(connection, final, opened, self._clock.now())
        return recorded + [
            Recorded(end.job, end.outcome, due.get((end.job.task_id, end.job.scheduled_for))) for end in ends
        ]

    def _void(self, connection: Connection, ends: Sequence[Ended]) -> list[Ended]:
        """Ends without proof from a spool, whose runs were given to others meanwhile: they may be running."""
        owners = {
            end.job.execution_id: end.owner
            for end in ends
            if end.owner is not None and not end.outcome.proven
        }
        if not owners:
            return []
        others = store.lock_held_by_others(connection, owners)
        return [end for end in ends if end.job.execution_id in others and end.job.execution_id in owners]

    def _retry(
        self, end: Ended, due_at: datetime, tasks: dict[int, LockedTask], opened: dict[int, OpenRow]
    ) -> NewExecution | None:
        """The next attempt; None if this end came second, was cancelled, or may not run any more.

        An end that proves what was only ``lost`` (it waited in a spool while its lease lapsed) comes first.
        """
        row = opened.get(end.job.execution_id)
        task = tasks[end.job.task_id]
        if row is None or row.cancel_requested or not task.server_enabled:
            return None
        if row.ended and not end.outcome.proven:
            return None
        # a manual run ignores the task's switch, and so does its next attempt
        if not task.enabled and row.requested_by is None:
            return None
        return NewExecution(
            id=self._ids.one(),
            task_id=row.task_id,
            server_id=task.server_id,
            trigger=Trigger.RETRY,
            scheduled_for=row.scheduled_for,
            due_at=due_at,
            generation=task.generation,
            revision_id=task.revision_id,
            path=task.path,
            line=task.line,
            attempt=row.attempt + 1,
            requested_by=row.requested_by,
        )


def next_attempt(end: Ended) -> datetime | None:
    """When this end's next attempt is due, as far as the outcome and the spec it ran under tell."""
    outcome, retries = end.outcome, end.job.spec.retries
    if outcome.status != Status.FAILED or not retries.limit:
        return None
    return retry_at(
        outcome.reason,
        end.job.attempt,
        outcome.finished_at,
        limit=retries.limit,
        backoff=retries.backoff,
        factor=retries.factor,
        max_backoff=retries.max_backoff,
        may_be_alive=may_be_alive(outcome),
    )


def may_be_alive(outcome: Outcome) -> bool:
    """Whether the command may still run on its host: it began, and nobody has seen it end."""
    if outcome.reason is Reason.LOST:
        return True
    return outcome.reason is Reason.UNREACHABLE and outcome.started_at is not None
