"""Rows of a small world, put straight into the tables: what apply, scheduler and recorder would have left."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update

from reconciler.model.canonical import document_hash
from reconciler.store.engine import Database
from reconciler.store.ids import first_id_at
from reconciler.store.rows import server_columns, task_columns
from reconciler.store.tables import (
    Condition,
    Execution,
    Override,
    Project,
    Revision,
    Server,
    Task,
    User,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
APPLIED = NOW - timedelta(days=3)
COMMIT = "1a2b3c4d5e6f" + "0" * 28
SUMMARY = {"create": 2, "update": 0, "rename": 0, "delete": 0, "restore": 0, "unchanged": 0}


class World:
    """Puts rows into a migrated database; names are looked up, so a test reads like a manifest."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self._sequence = 0
        self._user = self._insert(
            User, username="ann@example.net", display_name="Ann", email="ann@example.net", created_at=APPLIED
        )
        self.project("shop")

    def project(self, name: str, **columns: Any) -> int:
        """A project and its first revision."""
        values = {"name": name, "source": "/srv/git", "spec": {}, "spec_hash": "", "commit": COMMIT}
        times = {"created_at": APPLIED, "updated_at": APPLIED}
        key = self._insert(Project, **{**values, **times, **columns})
        revision = self.revision(project=name)
        self._update(Project, key, revision_id=revision)
        return key

    def revision(self, project: str = "shop", **columns: Any) -> int:
        """An apply."""
        values: dict[str, Any] = {
            "project_id": self.id_of(Project, project),
            "commit": COMMIT,
            "branch": "main",
            "author": "Ann Lee <ann@example.net>",
            "message": "Begin the shop\n\nWith two tasks.",
            "dirty": 0,
            "applied_by": "ann@laptop",
            "applied_at": APPLIED,
            "digest": "d" * 64,
            "released": None,
            "counts": SUMMARY,
            "changes": [],
        }
        return self._insert(Revision, **{**values, **columns})

    def server(self, name: str, *, spec: Mapping[str, Any] | None = None, **columns: Any) -> int:
        """A live server as applied; ``spec`` in the manifest's words, ``columns`` override the row's."""
        document = self._document({"host": "10.0.0.1", "username": "deploy", **(spec or {})}, columns)
        return self._insert(
            Server,
            **{
                "name": name,
                **server_columns(document),
                **self._declared("servers.yaml", document),
                **columns,
            },
        )

    def task(
        self,
        name: str,
        on: str,
        *,
        spec: Mapping[str, Any] | None = None,
        project: str = "shop",
        **columns: Any,
    ) -> int:
        """A live task as applied; without a word on it, it runs at two each night."""
        document = self._document({"command": "true", "schedule": "0 2 * * *", **(spec or {})}, columns)
        document["spec"] = {key: value for key, value in document["spec"].items() if value is not None}
        due = datetime(2026, 3, 2, 2, 0, tzinfo=UTC) if document["spec"].get("schedule") else None
        return self._insert(
            Task,
            **{
                "name": name,
                "server_id": self.id_of(Server, on),
                "next_run": due,
                "next_slot": due,
                **task_columns(document),
                **self._declared("tasks.yaml", document, project),
                **columns,
            },
        )

    def run(self, task: int, at: datetime, seconds: float | None = 2.0, **columns: Any) -> int:
        """An execution of the slot ``at``: by default a success that began on time and took two seconds."""
        status = columns.get("status", 1)
        started = None if status == 3 or seconds is None else at
        finished = None if status == 0 else at + timedelta(seconds=seconds or 0)
        self._sequence += 1
        with self.db.read() as conn:
            row = conn.execute(select(Task.server_id, Task.revision_id).where(Task.id == task)).one()
        values: dict[str, Any] = {
            "id": first_id_at(at) + self._sequence,
            "task_id": task,
            "server_id": row.server_id,
            "status": status,
            "reason": {0: None, 1: "completed", 2: "exit-code", 3: "overlap"}[status],
            "output": None if status == 0 else "",
            "error": None if status == 0 else "",
            "exit_code": {1: 0, 2: 1}.get(status),
            "trigger": "schedule",
            "attempt": 1,
            "scheduled_for": at,
            "due_at": at,
            "started_at": started,
            "finished_at": finished,
            "generation": 1,
            "revision_id": row.revision_id,
            "path": "tasks.yaml",
            "line": 3,
            "created_at": at,
        }
        values |= columns
        with self.db.write() as conn:
            conn.execute(insert(Execution), [values])
        return int(values["id"])

    def suspend(self, *, task: int | None = None, project: str | None = None, **columns: Any) -> int:
        """A suspension that began an hour ago, for good."""
        values: dict[str, Any] = {
            "task_id": task,
            "project_id": None if project is None else self.id_of(Project, project),
            "kind": "suspend",
            "reason": "migration of the database",
            "by": "ann@laptop",
            "since": NOW - timedelta(hours=1),
            "until": None,
        }
        return self._insert(Override, **{**values, **columns})

    def condition(self, kind: str, object_id: int, /, **columns: Any) -> int:
        """A condition that a controller stored."""
        values = {"kind": kind, "object_id": object_id, "status": "True", "last_transition": NOW}
        return self._insert(Condition, **{**values, **columns})

    def change(self, kind: type[Any], key: int, /, **columns: Any) -> None:
        """What a hand, or time, changed in a row."""
        self._update(kind, key, **columns)

    def id_of(self, kind: type[Any], name: str) -> int:
        """The id of the row of that name."""
        with self.db.read() as conn:
            return int(conn.execute(select(kind.id).where(kind.name == name)).scalar_one())

    def _document(self, spec: Mapping[str, Any], columns: dict[str, Any]) -> dict[str, Any]:
        metadata = {}
        for word in ("labels", "annotations"):
            if word in columns:
                metadata[word] = columns.pop(word)
        return {"metadata": metadata, "spec": dict(spec)}

    def _declared(self, path: str, document: Mapping[str, Any], project: str = "shop") -> dict[str, Any]:
        key = self.id_of(Project, project)
        with self.db.read() as conn:
            revision = conn.execute(select(Project.revision_id).where(Project.id == key)).scalar_one()
        return {
            "spec_hash": document_hash(document),
            "project_id": key,
            "revision_id": revision,
            "path": path,
            "line": 3,
            "created_by": self._user,
            "created_at": APPLIED,
            "updated_at": APPLIED,
        }

    def _insert(self, table: type[Any], /, **values: Any) -> int:
        with self.db.write() as conn:
            key: Any = conn.execute(insert(table).values(**values)).inserted_primary_key
            return int(key[0])

    def _update(self, kind: type[Any], key: int, /, **values: Any) -> None:
        with self.db.write() as conn:
            conn.execute(update(kind).where(kind.id == key).values(**values))
