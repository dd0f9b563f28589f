"""Claims: due slots become ledger rows, exactly once, whoever else schedules."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from reconciler.clock import Clock
from reconciler.dispatch.decide import SlotRow, decide
from reconciler.store import claims
from reconciler.store.claims import DueTask, NewExecution
from reconciler.store.engine import Connection, Database
from reconciler.store.leases import raise_counter
from reconciler.store.node import Ids
from reconciler.store.specs import scheduling_spec

log = logging.getLogger("reconciler.dispatch")

BATCH = 500
"""Tasks in one claim: more make the transaction longer, not the claiming faster."""
MAX_ROWS = 5_000
"""Ledger rows in one claim; when many tasks catch up at once, the rest waits for the next one."""
FLOOR_MARGIN = timedelta(seconds=2)
"""The scan begins so much before the last time at which nothing due was left: clocks of several schedulers
differ a little, and the index entries that were moved since are few."""
SWEEP_SECONDS = 10.0
"""How often the scan begins at the very beginning: for rows that were set by hand."""
PUSH = timedelta(seconds=60)
"""How far a task is pushed whose spec cannot be read: often enough to notice the repair."""
REPLACED_BY = "concurrency: replace"
"""Who asked for the cancel, in the ledger."""
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Claimed:
    """What one claim did. ``complete``: nothing due was left behind for lack of room."""

    tasks: int = 0
    waiting: tuple[NewExecution, ...] = ()
    skipped: tuple[NewExecution, ...] = ()
    names: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    """Task id → its name and its server's."""
    times: Sequence[tuple[int, datetime | None]] = ()
    """Task id and when it is due next, of each task that was claimed."""
    replacing: bool = False
    """Runs were told to end for newer ones: their owners should look."""
    complete: bool = True
    floor: datetime = _BEGINNING
    """Everything due before this was claimed, or is held by someone else."""
    oldest: datetime | None = None
    """When the longest due of these tasks was due."""
    projects: frozenset[int] = frozenset()
    """Those of the tasks (ids)."""


@dataclass(slots=True)
class _Batch:
    """What a claim is going to write."""

    slots: list[tuple[DueTask, SlotRow]] = field(default_factory=list)
    times: list[tuple[int, datetime | None, datetime | None]] = field(default_factory=list)
    supersede: list[int] = field(default_factory=list)
    cancel: list[int] = field(default_factory=list)
    names: dict[int, tuple[str, str]] = field(default_factory=dict)


class Scheduler:
    """Claims for one process; its methods are called by one thread."""

    def __init__(
        self, db: Database, clock: Clock, ids: Ids, late_after: float, *, batch: int = BATCH
    ) -> None:
        self._db = db
        self._clock = clock
        self._ids = ids
        self._late_after = timedelta(seconds=late_after)
        self._batch = batch
        self._floor = _BEGINNING
        self._scanned_from = _BEGINNING
        self._swept = float("-inf")
        self._spoilt: set[int] = set()

    def count_as_missed(self, late_after: float) -> None:
        """From the next claim on, slots are missed that are so many seconds late."""
        self._late_after = timedelta(seconds=late_after)

    def look_everywhere(self) -> None:
        """Due times may have been set anywhere (an apply): the next scan begins at the beginning."""
        self._swept = float("-inf")

    def claim(self) -> Claimed:
        """Claim one batch of what is due now, in one transaction; raises the database's Temporary errors."""
        now = self._clock.now()
        floor = self._lower_bound(now)
        claimed = self._db.transact(lambda connection: self._claim(connection, floor, now))
        self._scanned_from = floor
        self._floor = max(floor, min(claimed.floor, now - FLOOR_MARGIN))
        return claimed

    def next_due(self) -> datetime | None:
        """When the next task is due, None when nothing is scheduled; after a claim.

        Looks from where that claim did: what somebody held locked meanwhile is due, too, and the next scan
        begins with it.
        """
        with self._db.read() as connection:
            due = claims.next_due(connection, self._scanned_from)
        if due is not None:
            self._floor = min(self._floor, due)
        return due

    def _lower_bound(self, now: datetime) -> datetime:
        monotonic = self._clock.monotonic()
        if monotonic - self._swept >= SWEEP_SECONDS or self._floor > now:
            self._swept = monotonic
            self._floor = _BEGINNING
        return self._floor

    def _claim(self, connection: Connection, floor: datetime, now: datetime) -> Claimed:
        tasks = claims.due_tasks(connection, floor, now, self._batch)
        if not tasks:
            return Claimed(floor=now)
        batch, done = self._decide_all(connection, tasks, now)
        rows = self._rows(batch.slots)
        duplicates = claims.insert_executions(connection, rows, now)
        claims.advance(connection, batch.times)
        if batch.supersede or batch.cancel:
            claims.supersede(connection, batch.supersede, now)
            # those to be superseded, too: one that was taken in this very moment runs, and must end
            claims.request_cancels(connection, batch.supersede + batch.cancel, REPLACED_BY, now)
            raise_counter(connection)
        if duplicates:
            rows = [row for row in rows if row.id not in duplicates]
        complete = len(tasks) < self._batch and done == len(tasks)
        reached = now if complete else tasks[done - 1].next_run
        return Claimed(
            tasks=done,
            waiting=tuple(row for row in rows if row.reason is None),
            skipped=tuple(row for row in rows if row.reason is not None),
            names=batch.names,
            times=[(task_id, next_run) for task_id, _, next_run in batch.times],
            replacing=bool(batch.supersede or batch.cancel),
            complete=complete,
            # a task that catches up in several claims is still due, earlier than all the others
            floor=min([reached, *(next_run for _, _, next_run in batch.times if next_run is not None)]),
            oldest=tasks[0].next_run,
            projects=frozenset(task.project_id for task in tasks),
        )

    def _decide_all(self, connection: Connection, tasks: list[DueTask], now: datetime) -> tuple[_Batch, int]:
        names = claims.server_names(connection, [task.server_id for task in tasks])
        unfinished = claims.open_slots(connection, [task.id for task in tasks])
        pauses = claims.suspensions(connection, min(task.next_run for task in tasks))
        batch = _Batch()
        for done, task in enumerate(tasks):
            if len(batch.slots) >= MAX_ROWS:
                return batch, done
            server = names[task.server_id]
            batch.names[task.id] = task.name, server
            key = f"{task.name}@{server}"
            try:
                spec = scheduling_spec(task.cron_expr, task.timezone, task.spec)
                decided = decide(
                    spec,
                    key,
                    task.next_slot or task.next_run,
                    now,
                    self._late_after,
                    unfinished.get(task.id, ()),
                    pauses.touching(task.project_id, task.id),
                )
            except (ValueError, OverflowError) as error:
                self._push(task, key, error, now)
                batch.times.append((task.id, task.next_slot, now + PUSH))
                continue
            self._spoilt.discard(task.id)
            batch.times.append((task.id, decided.next_slot, decided.next_run))
            batch.supersede += decided.supersede
            batch.cancel += decided.cancel
            batch.slots += [(task, row) for row in decided.rows]
        return batch, len(tasks)

    def _rows(self, slots: Sequence[tuple[DueTask, SlotRow]]) -> list[NewExecution]:
        return [
            NewExecution(
                id=execution_id,
                task_id=task.id,
                server_id=task.server_id,
                trigger=row.trigger,
                scheduled_for=row.scheduled_for,
                due_at=row.due_at,
                generation=task.generation,
                revision_id=task.revision_id,
                path=task.path,
                line=task.line,
                reason=row.reason,
                count=row.count,
                note=row.note,
            )
            for execution_id, (task, row) in zip(self._ids.take(len(slots)), slots, strict=True)
        ]

    def _push(self, task: DueTask, key: str, error: Exception, now: datetime) -> None:
        """One task that cannot be read must not stop the others; once it can be, its slots are late."""
        if task.id not in self._spoilt:
            self._spoilt.add(task.id)
            log.error(
                "task %s (row %d) is not scheduled: its row holds no valid spec (%s); apply its project "
                "again to put it back; next look in %d s",
                key,
                task.id,
                error,
                PUSH.total_seconds(),
            )
