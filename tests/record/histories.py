"""Ledgers with a past: rows of any age, and what is left of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from reconciler.clock import Clock
from reconciler.errors import ArchiveUnavailable
from reconciler.record.prune import Pruner
from reconciler.store.engine import Database
from reconciler.store.ids import first_id_at
from reconciler.store.tables import Execution, Project
from tests.dispatch.fleet import START, Fleet

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


class Past:
    """Writes ended rows into a fleet's ledger; ``ago`` is before the tests' own START."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._made = 0

    def row(
        self, task: int, ago: timedelta, status: int = 1, reason: str | None = None, **columns: Any
    ) -> int:
        """A row that was made, started and ended at that moment; its id."""
        return self._insert(task, [self._values(ago, status, reason, columns)])[0]

    def rows(
        self,
        task: int,
        count: int,
        every: timedelta = HOUR,
        first: timedelta = HOUR,
        status: int = 1,
        **columns: Any,
    ) -> list[int]:
        """So many, the oldest first, the newest ``first`` ago."""
        agos = [first + every * number for number in reversed(range(count))]
        return self._insert(task, [self._values(ago, status, None, columns) for ago in agos])

    def _values(
        self, ago: timedelta, status: int, reason: str | None, columns: dict[str, Any]
    ) -> dict[str, Any]:
        self._made += 1
        at = START - ago
        return {
            "id": first_id_at(at) + self._made,
            "status": status,
            "reason": reason or {0: None, 1: "completed", 2: "exit-code", 3: "missed"}[status],
            "trigger": "schedule",
            "scheduled_for": at,
            "due_at": at,
            "started_at": None if status in (0, 3) else at,
            "finished_at": None if status == 0 else at,
            "created_at": at,
            **columns,
        }

    def _insert(self, task: int, rows: list[dict[str, Any]]) -> list[int]:
        server = self.fleet.task_row(task)["server_id"]
        with self.fleet.db.write() as connection:
            connection.execute(
                Execution.__table__.insert(), [{**row, "task_id": task, "server_id": server} for row in rows]
            )
        return [row["id"] for row in rows]

    def keep(self, **history: Any) -> None:
        """The project's ``history``."""
        with self.fleet.db.write() as connection:
            document = {"spec": {"history": history}}
            connection.execute(Project.__table__.update().values(spec=document))

    def left(self, task: int | None = None) -> list[int]:
        """The ids that are there, ascending."""
        query = select(Execution.id).order_by(Execution.id)
        with self.fleet.db.read() as connection:
            return list(connection.scalars(query if task is None else query.where(Execution.task_id == task)))


class Shelf:
    """An archive in memory, of which everything may fail."""

    def __init__(self, *places: str) -> None:
        self.places = set(places)
        self.asked: list[str] = []
        self.broken = False
        self.then: Any = None
        """Called after a deletion worked."""

    def delete(self, place: str) -> None:
        self.asked.append(place)
        if self.broken:
            raise ArchiveUnavailable("the bucket does not answer")
        self.places.discard(place)
        if self.then is not None:
            self.then()


def pruner(
    db: Database, clock: Clock, owner: str = "me", shelf: Shelf | None = None, **options: Any
) -> Pruner:
    """With a shelf its archives are deleted, else ``delete_archive`` may be given."""
    if shelf is not None:
        options["delete_archive"] = shelf.delete
    return Pruner(db, clock, owner, **options)
