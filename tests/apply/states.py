"""Desired states and a small world (database, clock, applies) for the tests of this room."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, event, text

from reconciler.apply.apply import apply
from reconciler.apply.look import look
from reconciler.apply.request import Applied, ApplyRequest
from reconciler.model.canonical import document_hash
from reconciler.model.project import ProjectSpec
from reconciler.model.server import ServerDeclaration, server_document
from reconciler.model.state import Commit, Definition, DesiredServer, DesiredState, DesiredTask, Origin
from reconciler.model.task import TaskDeclaration, task_document
from reconciler.plan.changes import Action, Change, Plan
from reconciler.plan.planfile import SavedPlan
from reconciler.store.engine import Database
from reconciler.store.tables import Base
from tests.services.clock import FakeClock

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def commit(hash_: str = "a" * 40, *, dirty: bool = False, email: str = "ada@example.net") -> Commit:
    """A commit by Ada."""
    return Commit(hash_, f"Ada <{email}>", email, f"change {hash_[:4]}", "main", dirty)


def server(
    name: str,
    *,
    at: tuple[str, int] = ("servers.yaml", 1),
    formerly: str | None = None,
    metadata: dict[str, Any] | None = None,
    **spec: Any,
) -> DesiredServer:
    """A declared server; ``spec`` in the manifest's words."""
    written = {
        "apiVersion": "reconciler/v1",
        "kind": "Server",
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"host": f"{name}.example", "username": "deploy", **spec},
    }
    document = server_document(ServerDeclaration.model_validate(written))
    return DesiredServer(name, Definition(document, document_hash(document)), Origin(*at), formerly)


def task(
    name: str,
    on: str = "db-1",
    *,
    at: tuple[str, int] = ("tasks.yaml", 1),
    formerly: str | None = None,
    metadata: dict[str, Any] | None = None,
    calendars: Sequence[dict[str, Any]] = (),
    **spec: Any,
) -> DesiredTask:
    """A declared row of a task; ``spec`` in the manifest's words, ``calendars`` as documents hold them."""
    written = {
        "apiVersion": "reconciler/v1",
        "kind": "Task",
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"server": on, "command": f"echo {name}", **spec},
    }
    document = task_document(TaskDeclaration.model_validate(written), calendars=calendars)
    old, _, place = (formerly or "").partition("@")
    definition = Definition(document, document_hash(document))
    return DesiredTask(name, on, definition, Origin(*at), old or None, place or None)


def tree(*objects: DesiredServer | DesiredTask, project: str = "billing", **more: Any) -> DesiredState:
    """A whole tree; ``more`` are fields of DesiredState, or ``settings``: the Project's spec as written."""
    settings = more.pop("settings", {})
    return DesiredState(
        project=project,
        spec=ProjectSpec.model_validate(settings),
        servers={one.name: one for one in objects if isinstance(one, DesiredServer)},
        tasks={(one.name, one.server): one for one in objects if isinstance(one, DesiredTask)},
        origin=Origin("project.yaml", 1),
        **{"source": f"https://git.example/{project}.git//", **more},
    )


def told(plan: Plan) -> list[tuple[str, str]]:
    """What a plan says it does: (action, address)."""
    return [(change.action.value, _address(change)) for change in plan.changes]


def _address(change: Change) -> str:
    return change.name if change.server is None else f"{change.name}@{change.server}"


def the(plan: Plan, action: Action) -> Change:
    """The only change of that action."""
    (change,) = (change for change in plan.changes if change.action is action)
    return change


@dataclass
class World:
    """A database with its tables, a clock of its own, and everything a test does to them."""

    db: Database
    clock: FakeClock
    randomness: random.Random

    @classmethod
    def open(cls, url: str) -> World:
        """``url`` has our tables already."""
        clock = FakeClock(NOON, auto=True)
        return cls(Database.open(url, clock, randomness=random.Random(7)), clock, random.Random(7))

    def request(self, desired: DesiredState | SavedPlan, **more: Any) -> ApplyRequest:
        return ApplyRequest(**{"desired": desired, "applied_by": "otto@ci", "owner": "otto@ci", **more})

    def apply(self, desired: DesiredState | SavedPlan, **more: Any) -> Applied:
        return apply(self.db, self.request(desired, **more), self.clock, self.randomness)

    def plan(self, desired: DesiredState) -> Plan:
        return look(self.db, desired)

    def settle(self, desired: DesiredState, **more: Any) -> Applied:
        """Apply, and see that nothing is left: the plan is empty, and a second apply writes nothing."""
        applied = self.apply(desired, **more)
        left = self.plan(desired)
        assert told(left) == []
        assert left.drift == ()
        before = self.dump()
        again = self.apply(replace(desired))
        assert again.revision is None
        assert self.dump() == before
        return applied

    def sql(self, statement: str, **values: Any) -> int:
        """What a person does by hand; the number of rows."""
        with self.db.write() as connection:
            return connection.execute(text(statement), values).rowcount

    def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        with self.db.read() as connection:
            return [dict(row) for row in connection.execute(text(statement), values).mappings()]

    def one(self, statement: str, **values: Any) -> dict[str, Any]:
        (row,) = self.rows(statement, **values)
        return row

    def task_row(self, name: str, on: str = "db-1", project: str = "billing") -> dict[str, Any]:
        return self.one(
            "SELECT t.* FROM tasks t JOIN servers s ON s.id = t.server_id"
            " JOIN projects p ON p.id = t.project_id "
            "WHERE t.name = :name AND s.name = :server AND p.name = :project",
            name=name,
            server=on,
            project=project,
        )

    def server_row(self, name: str = "db-1") -> dict[str, Any]:
        return self.one("SELECT * FROM servers WHERE name = :name", name=name)

    def slots(self, task_id: int) -> list[tuple[int, str | None]]:
        """(status, reason) of the task's executions, oldest first."""
        found = self.rows(
            "SELECT status, reason FROM task_executions WHERE task_id = :id ORDER BY scheduled_for, id",
            id=task_id,
        )
        return [(row["status"], row["reason"]) for row in found]

    def dump(self, but: Iterable[str] = ()) -> dict[str, list[tuple[Any, ...]]]:
        """Every table, every column."""
        left_out = set(but)
        with self.db.read() as connection:
            return {
                table.name: sorted(
                    (tuple(row) for row in connection.execute(text(f"SELECT * FROM {table.name}"))), key=repr
                )
                for table in Base.metadata.sorted_tables
                if table.name not in left_out
            }


class Paused:
    """An apply in a thread that stops after the first statement with ``at`` in it, until told to go on."""

    def __init__(self, world: World, desired: Any, at: str = "INSERT INTO revisions") -> None:
        self._at = at
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.result: Any = None
        self._world = world
        self._thread = threading.Thread(target=self._run, args=(desired,))

    def __enter__(self) -> Paused:
        event.listen(self._world.db.engine, "after_cursor_execute", self._listen)
        self._thread.start()
        assert self.reached.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()
        event.remove(self._world.db.engine, "after_cursor_execute", self._listen)

    def finish(self) -> None:
        self.go_on.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self, desired: Any) -> None:
        try:
            self.result = self._world.apply(desired)
        except Exception as error:
            self.result = error
            self.reached.set()

    def _listen(self, connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        if self._at in statement and not self.reached.is_set():
            self.reached.set()
            assert self.go_on.wait(20)
