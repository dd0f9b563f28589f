"""Which executions are kept: ``history`` of a task or its project, and what rules and reports still need.

A row goes when it is older than ``maxAge`` or more than ``maxCount`` rows of its task are newer, and nothing
needs it (``may_go``). Ids are ordered by time, so both are one bound on the ids of a task.

Archives go before their rows, and deleting one that has gone is no error: whoever is killed in between leaves
rows that are the first to be found by the next pass. The other way round would leave files that nobody knows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reconciler.clock import Clock
from reconciler.errors import ReconcilerError
from reconciler.model.execution import Reason, Status
from reconciler.model.project import kept_history
from reconciler.store import prune as store
from reconciler.store.bulk import chunks
from reconciler.store.engine import Connection, Database
from reconciler.store.ids import first_id_at
from reconciler.store.prune import Needed, OldRow, TaskRow

log = logging.getLogger("reconciler.record")

DeleteArchive = Callable[[str], None]
"""Deletes the archive at a place; one that is not there is deleted. Raises ReconcilerErrors."""

SETTLED_SECONDS = 600.0
"""What ended so shortly ago stays, whatever the count: a dependent or a follower may still come."""
DELIVERED_SECONDS = 7 * 86_400.0
"""For so long delivered messages can be looked up."""
PAGE = 200
"""Tasks looked at together."""
_DIVES = 200_000
"""Index entries passed over in one statement: about 0.1 s, which holds no lock but keeps a snapshot."""
_LISTED = 5_000
"""Rows looked at in one transaction, also where few of them may go."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A task with rows beyond its history: those whose ids are below ``limit``."""

    task_id: int
    limit: int
    needed: Needed


def may_go(row: OldRow, needed: Needed, settled: datetime) -> bool:
    """Whether nothing needs a row that age or count lets go. ``settled``: what ended later stays.

    Kept, however old: rows that have not ended, and all attempts of their slots; the newest row, success and
    failure, the newest row of the task's own slots, and of its dependency runs (``store.prune.needed``); an
    ``unreachable`` run that began, as long as no newer row has a verdict of the host.
    """
    if row.status == Status.OPEN or row.id in needed.ids or row.slot in needed.slots:
        return False
    if row.finished_at is not None and row.finished_at > settled:
        return False
    return not (row.reason == Reason.UNREACHABLE and row.started_at is not None and row.id > needed.proven)


@dataclass(slots=True)
class Tally:
    """What goes, or went, of one task. ``bytes``: what its runs with an archive wrote, uncompressed."""

    rows: int = 0
    oldest: int = 0
    newest: int = 0
    archives: int = 0
    bytes: int = 0

    def add(self, row: OldRow) -> None:
        """One more row."""
        self.rows += 1
        self.oldest = min(self.oldest or row.id, row.id)
        self.newest = max(self.newest, row.id)
        if row.archive is not None:
            self.archives += 1
            self.bytes += row.bytes


@dataclass(slots=True)
class Pruned:
    """What goes, or went: by task, and delivered messages.

    ``stuck`` rows stay because their archives could not be deleted, ``fault`` says why. ``longest`` is the
    longest transaction in seconds.
    """

    tasks: dict[int, Tally] = field(default_factory=dict)
    messages: int = 0
    stuck: int = 0
    fault: ReconcilerError | None = None
    longest: float = 0.0

    def add(self, rows: Iterable[OldRow]) -> None:
        """These go."""
        for row in rows:
            self.tasks.setdefault(row.task_id, Tally()).add(row)

    @property
    def rows(self) -> int:
        return sum(tally.rows for tally in self.tasks.values())


class _Walk:
    """Where the reading of the old rows of some tasks stands."""

    def __init__(self, candidates: Sequence[Candidate], settled: datetime) -> None:
        self.left = list(reversed(candidates))
        self._settled = settled
        self._after = 0

    def read(self, connection: Connection, size: int) -> list[OldRow]:
        """The next rows that go, ``size`` of them or a few more; fewer at the end, or where many stay."""
        batch: list[OldRow] = []
        seen = 0
        while self.left and len(batch) < size and seen < _LISTED:
            candidate = self.left[-1]
            wanted = max(1, size - len(batch))
            rows = store.old_rows(connection, candidate.task_id, self._after, candidate.limit, wanted)
            batch += [row for row in rows if may_go(row, candidate.needed, self._settled)]
            seen += len(rows)
            if len(rows) < wanted:
                self.left.pop()
                self._after = 0
            else:
                self._after = rows[-1].id
        return batch


class Selection:
    """Finds what goes; reads only."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._spoilt: set[int] = set()

    def page(self, cursor: int) -> list[TaskRow]:
        """The next tasks by id, at most ``PAGE``."""
        with self._db.read() as connection:
            return store.tasks_after(connection, cursor, PAGE)

    def batches(self, tasks: Sequence[TaskRow], size: Callable[[], int]) -> Iterator[list[OldRow]]:
        """The rows of these tasks that go, about ``size()`` at a time; none is given twice."""
        with self._db.read() as connection:
            now = self.now(connection)
            candidates = self._candidates(connection, tasks, now)
        settled = now - timedelta(seconds=SETTLED_SECONDS)
        walk = _Walk(candidates, settled)
        while walk.left:
            # many tasks in one transaction: each has few old rows, and a transaction costs more than a look
            with self._db.read() as connection:
                batch = walk.read(connection, size())
            if batch:
                yield batch

    def now(self, connection: Connection) -> datetime:
        """The earlier of our clock and the database's: one that jumped ahead must not delete a history."""
        return min(self._clock.now(), self._db.now(connection))

    def _candidates(self, connection: Connection, tasks: Sequence[TaskRow], now: datetime) -> list[Candidate]:
        projects = store.project_histories(connection)
        groups: dict[tuple[int, int], list[int]] = {}
        for task in tasks:
            try:
                kept = kept_history(task.history, projects.get(task.project_id))
            except ValueError as error:
                self._tell(task.id, error)
                continue
            groups.setdefault((kept.max_age, kept.max_count), []).append(task.id)
        limits: dict[int, int] = {}
        for (age, count), ids in groups.items():
            aged = first_id_at(now - timedelta(seconds=age))
            for some in chunks(ids, max(1, _DIVES // count)):
                for task_id, ends in store.ends_of(connection, some, count).items():
                    limit = max(aged, 0 if ends.beyond is None else ends.beyond + 1)
                    if ends.oldest is not None and ends.oldest < limit:
                        limits[task_id] = limit
        over = [task for task in tasks if task.id in limits]
        needed = store.needed(connection, over) if over else {}
        return [Candidate(key, limits[key], needed[key]) for key in sorted(limits) if key in needed]

    def _tell(self, task_id: int, error: ValueError) -> None:
        """A row without a readable history keeps everything, until an apply puts it back."""
        if task_id not in self._spoilt:
            self._spoilt.add(task_id)
            log.warning("nothing is pruned of task %d: its history cannot be read (%s)", task_id, error)


def preview(db: Database, clock: Clock) -> Pruned:
    """What a pass would delete now; nothing is written."""
    selection, found, cursor = Selection(db, clock), Pruned(), 0
    while tasks := selection.page(cursor):
        for batch in selection.batches(tasks, lambda: _LISTED):
            found.add(batch)
        cursor = tasks[-1].id
    with db.read() as connection:
        moment = selection.now(connection) - timedelta(seconds=DELIVERED_SECONDS)
        found.messages = store.count_settled(connection, moment)
    return found
