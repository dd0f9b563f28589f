"""Takes: waiting executions become jobs of this process, oldest due first, within every limit."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from reconciler.clock import Clock
from reconciler.dispatch.candidates import Candidate, Caution, Dead, Room, candidates_of, learn
from reconciler.dispatch.leases import local_workers
from reconciler.model.enums import Connection as Reach
from reconciler.model.execution import Hop, Job, Trigger
from reconciler.model.value import value
from reconciler.store import held, takes
from reconciler.store.engine import Connection, Database
from reconciler.store.takes import WaitingRow

log = logging.getLogger("reconciler.dispatch")

PAGES = 20
_LARGEST_PAGE = 256
"""A take looks through so many pages of waiting rows, each leaving out what was found to have no room;
then it gives way, for it holds the lock of all takers."""


@value
class Taken:
    """One execution that this process now holds the lease of."""

    job: Job
    server_id: int
    project_id: int
    trigger: Trigger
    lease_until: float
    """Monotonic second at which the lease ends, rather too early than too late."""
    commit: str | None = None
    """The commit by which its task was as it is now, when it was claimed."""


@dataclass(frozen=True, slots=True)
class Take:
    """What one take brought. ``blocked``: a limit or an earlier run is in the way of something due."""

    taken: tuple[Taken, ...] = ()
    blocked: bool = False
    closed: int = 0


SURE = Caution()
"""Every server is known to answer."""


class Taker:
    """Takes for one process; its methods are called by one thread."""

    def __init__(
        self, db: Database, clock: Clock, owner: str, lease_seconds: float, workers: int, machine: str | None
    ) -> None:
        """``machine``: where this process runs ``connection: local`` (`machine_name`); None: it may not."""
        self._db = db
        self._clock = clock
        self._owner = owner
        self._lease_seconds = lease_seconds
        self.resize(workers)
        self._machine = machine
        self._ready = False
        self._expected = False
        self._unanswered: dict[int, tuple[Candidate, float]] = {}
        """What a commit without an answer may have given us, and the monotonic second its lease ends at."""

    def resize(self, workers: int) -> None:
        """This process executes so many runs at once."""
        # one server, slow or dead, never has all threads: the others' runs always find one
        self._share = workers if workers < 4 else workers * 3 // 4

    def expect(self) -> None:
        """Something waits for sure: the next take need not ask first. May be called by any thread."""
        self._expected = True

    def take(
        self,
        free: int,
        here: Mapping[int, int],
        horizon: datetime | None = None,
        caution: Caution = SURE,
    ) -> Take:
        """Take at most ``free`` due executions; ``here``: runs per server (id) that keep our threads busy.

        ``horizon`` leaves alone what is due later than that, though it is due by now; ``caution``
        says which servers get one run at a time from us. Raises the database's Temporary errors;
        where only the commit's answer was lost, a later take brings what this one took.
        """
        now = self._clock.now()
        due = now if horizon is None else min(now, horizon)
        if not self._ready:
            self._db.transact(takes.ensure_lock)
            self._ready = True
        expected, self._expected = self._expected, False
        if not expected and not self._unanswered and not self._any(due):
            return Take()
        found, ids = self._db.transact(
            lambda connection: self._take(connection, free, Room(here, self._share, caution), due, now)
        )
        for end in found.dead:
            if end.message is not None:
                extra = {"execution": str(end.execution_id)}
                log.error("execution %d will not run: %s", end.execution_id, end.message, extra=extra)
        taken = tuple(_taken(*self._unanswered[key]) for key in self._unanswered if key in ids)
        self._unanswered.clear()
        if len(taken) == free:
            # after a full hand there is probably more
            self._expected = True
        return Take(taken, found.blocked, len(found.dead))

    def _any(self, due: datetime) -> bool:
        """Whether anything waits at all: most looks find nothing, and need no lock for that."""
        with self._db.read() as connection:
            return takes.any_waiting(connection, due, self._machine or "")

    def _take(
        self, connection: Connection, free: int, room: Room, due: datetime, now: datetime
    ) -> tuple[_Found, set[int]]:
        """Under the lock of all takers: look, count, take; the ids are of all that is ours then."""
        until = self._clock.monotonic() + self._lease_seconds
        takes.lock(connection)
        ours = held.held(connection, list(self._unanswered), self._owner).ids
        found = _Found(free - len(ours))
        if not found.enough:
            self._look(connection, due, found, room)
        for end in found.dead:
            takes.close_waiting(connection, [end.execution_id], end.status, end.reason, now, end.message)
        if not found.chosen:
            return found, set(ours)
        ids = [candidate.row.id for candidate in found.chosen]
        self._unanswered.update({candidate.row.id: (candidate, until) for candidate in found.chosen})
        taken = takes.take(self._db, connection, ids, self._owner, self._lease_seconds, now)
        if self._machine is not None:
            local = {item.row.id for item in found.chosen if item.server.connection is Reach.LOCAL} & taken
            held.begin_on(connection, local, self._machine)
        return found, taken | ours

    def _look(self, connection: Connection, due: datetime, found: _Found, room: Room) -> None:
        """The longest due first; of each task the one whose turn it is."""
        size = found.wanted + 8
        machine = self._machine or ""
        after: tuple[datetime, int] | None = None
        for _ in range(PAGES):
            rows = takes.waiting(
                connection, due, size, machine, after=after, but_servers=found.full, but_tasks=found.stuck
            )
            before = self._choose(connection, rows, found, room)
            if before and not found.enough:
                # they came due later than what waits for them, and may be far behind in the line
                self._choose(connection, takes.waiting_of(connection, due, before, machine), found, room)
            if found.enough or len(rows) < size:
                break
            after = rows[-1].due_at, rows[-1].id
            size = min(size * 2, _LARGEST_PAGE)

    def _choose(
        self, connection: Connection, rows: Sequence[WaitingRow], found: _Found, room: Room
    ) -> set[int]:
        """Choose what has room among these; the ids of others whose turn comes before one of these."""
        candidates, dead = candidates_of(connection, rows)
        found.dead += dead
        learn(connection, room, candidates)
        before: set[int] = set()
        for candidate in candidates:
            if found.enough:
                break
            if self._leave(connection, candidate, found):
                found.full.add(candidate.row.server_id)
            elif candidate.row.begun:
                # it has its room on the host already
                room.add(candidate)
                found.chosen.append(candidate)
            elif room.server_full(candidate):
                found.full.add(candidate.row.server_id)
                found.blocked = True
            elif room.task_blocked(candidate):
                found.stuck.add(candidate.row.task_id)
                found.blocked = True
                first = room.goes_first(candidate)
                if first is not None:
                    before.add(first)
            else:
                room.add(candidate)
                found.chosen.append(candidate)
        return before - {row.id for row in rows}

    def _leave(self, connection: Connection, candidate: Candidate, found: _Found) -> bool:
        """A local run is left to a process that may run it; where there is none, ours says why not."""
        if self._machine is not None or candidate.server.connection is not Reach.LOCAL:
            return False
        if found.leave_local is None:
            found.leave_local = bool(local_workers(self._db, connection))
        return found.leave_local


@dataclass(slots=True)
class _Found:
    """What a look found so far. ``full`` servers and ``stuck`` tasks (ids) are left out of further pages."""

    wanted: int
    chosen: list[Candidate] = field(default_factory=list)
    dead: list[Dead] = field(default_factory=list)
    full: set[int] = field(default_factory=set)
    stuck: set[int] = field(default_factory=set)
    leave_local: bool | None = None
    blocked: bool = False

    @property
    def enough(self) -> bool:
        return len(self.chosen) >= self.wanted


def _taken(candidate: Candidate, until: float) -> Taken:
    row = candidate.row
    return Taken(job_of(candidate), row.server_id, row.project_id, row.trigger, until, row.commit)


def job_of(candidate: Candidate) -> Job:
    """The execution as an executor gets it."""
    row = candidate.row
    return Job(
        execution_id=row.id,
        task_id=row.task_id,
        project=row.project,
        task=row.task,
        server=Hop(row.server_columns.name, candidate.server),
        spec=candidate.spec,
        attempt=row.attempt,
        scheduled_for=row.scheduled_for,
        due_at=row.due_at,
        jumps=candidate.jumps,
        started_at=row.started_at,
        start_sent=row.start_sent,
    )
