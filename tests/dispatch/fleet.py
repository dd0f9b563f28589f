"""A fleet in a database, written directly: servers and tasks as an apply leaves them, and what became
of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from reconciler.store.engine import Database
from reconciler.store.tables import Execution, Project, Server, Task, User

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
"""Where the tests' own clock begins, too."""


class Fleet:
    """Writes rows and reads the ledger; times are ``START`` plus seconds where a number is given."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.servers: dict[str, int] = {}
        self._tasks = 0
        with db.write() as connection:
            connection.execute(User.__table__.insert().values(id=1, username="me", created_at=START))
            connection.execute(
                Project.__table__.insert().values(
                    id=1, name="shop", spec={}, spec_hash="-", created_at=START, updated_at=START
                )
            )

    def server(self, name: str = "web-1", *, enabled: bool = True, **spec: Any) -> int:
        """A server; ``spec`` in the manifest's words (connection, maxConcurrentRuns, jump)."""
        self.servers[name] = len(self.servers) + 1
        with self.db.write() as connection:
            connection.execute(
                Server.__table__.insert().values(
                    id=self.servers[name],
                    name=name,
                    host="h",
                    port=22,
                    username="u",
                    status=int(enabled),
                    labels={},
                    spec={"spec": spec},
                    **_common(),
                )
            )
        return self.servers[name]

    def task(
        self,
        name: str = "backup",
        server: str = "web-1",
        *,
        schedule: str | None = "@every 1m",
        due: datetime | float | None = 0,
        delay: float = 0,
        enabled: bool = True,
        command: str = "true",
        **spec: Any,
    ) -> int:
        """A task on a server, due at its next slot plus ``delay`` seconds (its jitter); None: nothing
        comes.
        """
        return self.tasks(
            [name], server, schedule=schedule, due=due, delay=delay, enabled=enabled, command=command, **spec
        )[0]

    def tasks(
        self,
        names: Sequence[str],
        server: str = "web-1",
        *,
        schedule: str | None = "@every 1m",
        due: datetime | float | None = 0,
        delay: float = 0,
        enabled: bool = True,
        command: str = "true",
        **spec: Any,
    ) -> list[int]:
        """Many alike."""
        if server not in self.servers:
            self.server(server)
        slot = START + timedelta(seconds=due) if isinstance(due, int | float) else due
        first = self._tasks + 1
        self._tasks += len(names)
        rows = [
            {
                "id": first + number,
                "name": name,
                "command": command,
                "cron_expr": schedule,
                "server_id": self.servers[server],
                "status": int(enabled),
                "labels": {},
                "spec": {"spec": spec},
                "next_slot": slot if schedule else None,
                "next_run": slot + timedelta(seconds=delay) if schedule and slot else None,
                **_common(),
            }
            for number, name in enumerate(names)
        ]
        with self.db.write() as connection:
            connection.execute(Task.__table__.insert(), rows)
        return [row["id"] for row in rows]

    def change_task(self, task_id: int, **columns: Any) -> None:
        with self.db.write() as connection:
            connection.execute(Task.__table__.update().where(Task.id == task_id).values(**columns))

    def change_server(self, server: str, **columns: Any) -> None:
        with self.db.write() as connection:
            connection.execute(Server.__table__.update().where(Server.name == server).values(**columns))

    def change_execution(self, execution_id: int, **columns: Any) -> None:
        with self.db.write() as connection:
            connection.execute(
                Execution.__table__.update().where(Execution.id == execution_id).values(**columns)
            )

    def execution(self, task_id: int, execution_id: int, **columns: Any) -> int:
        """A row of the ledger, waiting unless the columns say otherwise."""
        values: dict[str, Any] = {
            "id": execution_id,
            "task_id": task_id,
            "server_id": self.task_row(task_id)["server_id"],
            "trigger": "schedule",
            "scheduled_for": START + timedelta(seconds=execution_id % 100_000),
            "due_at": START,
            "created_at": START,
            **columns,
        }
        with self.db.write() as connection:
            connection.execute(Execution.__table__.insert().values(**values))
        return execution_id

    # -- reading --------------------------------------------------------------------------------

    def task_row(self, task_id: int) -> dict[str, Any]:
        with self.db.read() as connection:
            return dict(connection.execute(select(Task.__table__).where(Task.id == task_id)).mappings().one())

    def ledger(self, task_id: int | None = None) -> list[dict[str, Any]]:
        """All rows, or those of a task, by slot and attempt."""
        query = select(Execution.__table__).order_by(
            Execution.task_id, Execution.scheduled_for, Execution.attempt
        )
        if task_id is not None:
            query = query.where(Execution.task_id == task_id)
        with self.db.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def row(self, execution_id: int) -> dict[str, Any]:
        return next(row for row in self.ledger() if row["id"] == execution_id)

    def states(self, task_id: int | None = None) -> Counter[str]:
        """How many rows are waiting, taken, or have which reason."""
        return Counter(_word(row) for row in self.ledger(task_id))


def _word(row: dict[str, Any]) -> str:
    if row["status"]:
        return str(row["reason"])
    if row["started_at"]:
        return "running"
    return "taken" if row["lease_owner"] else "waiting"


def _common() -> dict[str, Any]:
    return {
        "spec_hash": "-",
        "project_id": 1,
        "created_by": 1,
        "created_at": START,
        "updated_at": START,
        "path": "fleet.yaml",
        "line": 1,
    }


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)
