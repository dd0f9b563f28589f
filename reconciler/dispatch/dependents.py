"""Runs that follow other runs: ``after``.

Level-based: whether a task's turn has come is read from the ledger, whoever asks and however late, so a crash
between an end and this look costs time and no run. Every process that records ends asks after each success,
and about all dependents now and then.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from reconciler.clock import Clock
from reconciler.dispatch.decide import why_suspended
from reconciler.dispatch.scheduler import REPLACED_BY
from reconciler.model.execution import Reason, Trigger
from reconciler.model.task import TaskSpec
from reconciler.model.value import value
from reconciler.schedule.concurrency import Admission, admit
from reconciler.schedule.dependency import dependency_slot, successes_count_from
from reconciler.schedule.forbidden import forbidden_by
from reconciler.store import claims
from reconciler.store import dependents as store
from reconciler.store.claims import NewExecution
from reconciler.store.dependents import LockedDependent
from reconciler.store.engine import Connection, Database
from reconciler.store.leases import raise_counter
from reconciler.store.node import Ids
from reconciler.store.specs import SpecSpoilt, scheduling_spec

KNOWN_SECONDS = 5.0
"""How long what was read of the dependents is believed at most, also when nothing seems to have changed."""


@value
class Success:
    """A task that succeeded on a server."""

    project_id: int
    server_id: int
    task: str


class Dependents:
    """Inserts dependency runs; its methods are called by one thread of a process."""

    def __init__(self, db: Database, clock: Clock, ids: Ids) -> None:
        self._db = db
        self._clock = clock
        self._ids = ids
        self._known: dict[Success, list[int]] = {}
        self._known_until = float("-inf")
        self._unsettled: set[int] = set()

    def changed(self) -> None:
        """Something was applied: who depends on whom is read anew."""
        self._known_until = float("-inf")

    @property
    def unsettled(self) -> bool:
        """Whether a task was locked by someone else, an apply say, and has to be looked at again."""
        return bool(self._unsettled)

    def follow(self, successes: Iterable[Success]) -> int:
        """Insert the runs whose turn these successes make it; how many were inserted."""
        known = self._dependents()
        return self._settle({task_id for success in successes for task_id in known.get(success, ())})

    def sweep(self) -> int:
        """The same for every task that depends on others."""
        return self._settle({task_id for waiting in self._dependents().values() for task_id in waiting})

    def _settle(self, tasks: set[int]) -> int:
        self._unsettled |= tasks
        inserted = 0
        for task_id in sorted(self._unsettled):
            outcome = self._db.transact(partial(self._insert, task_id=task_id))
            if outcome is not None:
                self._unsettled.discard(task_id)
                inserted += outcome
        return inserted

    def _dependents(self) -> dict[Success, list[int]]:
        if self._clock.monotonic() < self._known_until:
            return self._known
        with self._db.read() as connection:
            rows = store.dependents(connection)
        known: dict[Success, list[int]] = {}
        for row in rows:
            try:
                spec = scheduling_spec(row.cron_expr, row.timezone, row.spec)
            except SpecSpoilt:
                continue
            for name in spec.after:
                known.setdefault(Success(row.project_id, row.server_id, name), []).append(row.id)
        self._known = known
        self._known_until = self._clock.monotonic() + KNOWN_SECONDS
        return known

    def _insert(self, connection: Connection, task_id: int) -> bool | None:
        """Whether it was the task's turn; None if somebody holds it just now."""
        task = store.lock_dependent(connection, task_id)
        if task is None:
            return None if store.is_there(connection, task_id) else False
        if not task.runnable:
            return False
        try:
            spec = scheduling_spec(task.cron_expr, task.timezone, task.spec)
        except SpecSpoilt:
            return False
        row = self._next(connection, task, spec)
        if row is None or claims.insert_executions(connection, [row], self._clock.now()):
            return False
        raise_counter(connection)
        return True

    def _next(self, connection: Connection, task: LockedDependent, spec: TaskSpec) -> NewExecution | None:
        """The row of the run whose turn it is; also one that is only recorded as skipped."""
        if not spec.after:
            return None
        fresh = successes_count_from(task.after_since, store.latest_dependency_run(connection, task.id))
        found = store.first_successes(connection, task.project_id, task.server_id, spec.after, fresh)
        slot = dependency_slot({name: [found[name]] if name in found else [] for name in spec.after}, fresh)
        if slot is None:
            return None
        verdict, why = self._admit(connection, task, spec)
        return NewExecution(
            id=self._ids.one(),
            task_id=task.id,
            server_id=task.server_id,
            trigger=Trigger.DEPENDENCY,
            scheduled_for=slot,
            due_at=slot,
            generation=task.generation,
            revision_id=task.revision_id,
            path=task.path,
            line=task.line,
            reason=verdict.skip,
            note=why,
        )

    def _admit(
        self, connection: Connection, task: LockedDependent, spec: TaskSpec
    ) -> tuple[Admission, str | None]:
        """What becomes of the run, and where it is suspended or forbidden, by whom or what."""
        now = self._clock.now()
        paused = claims.suspensions(connection, now).touching(task.project_id, task.id)
        why = why_suspended(now, paused, forbidden_by(spec.calendars))
        if why is not None:
            return Admission(skip=Reason.SUSPENDED), why
        unfinished = claims.open_slots(connection, [task.id]).get(task.id, ())
        verdict = admit(spec.concurrency, spec.catch_up, Trigger.DEPENDENCY, unfinished)
        if verdict.supersede or verdict.cancel:
            claims.supersede(connection, verdict.supersede, now)
            claims.request_cancels(connection, [*verdict.supersede, *verdict.cancel], REPLACED_BY, now)
        return verdict, None
