"""Suspensions that people ask for: tasks, projects, everything; they end by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reconciler.clock import Clock
from reconciler.errors import NotFound
from reconciler.store import overrides
from reconciler.store.addresses import parse_address, project_ids, resolve_one_task
from reconciler.store.engine import Connection, Database
from reconciler.store.leases import raise_counter
from reconciler.store.listing import ObjectFilter, list_tasks
from reconciler.store.overrides import Scope

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody named: addresses of tasks, labels of tasks (as they are now), projects, or everything."""

    tasks: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    projects: Sequence[str] = ()
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """One scope in words (``task p/t@s``, ``project p``, ``everything``); ``before``: it was suspended."""

    name: str
    before: bool


def suspend(
    db: Database, clock: Clock, wanted: Wanted, seconds: int, reason: str, by: str
) -> tuple[datetime, list[Changed]]:
    """Suspend all of it from now on for ``seconds``, in one transaction; when that ends, and what it is.

    Slots due meanwhile become skipped rows, runs in progress go on. Raises UsageError, NotFound, Ambiguous.
    """
    now = clock.now()
    until = now + timedelta(seconds=seconds)

    def write(connection: Connection) -> list[Changed]:
        scopes = _scopes(connection, wanted)
        before = overrides.lift(connection, list(scopes), now)
        overrides.suspend(connection, list(scopes), reason, by, now, until)
        raise_counter(connection)
        return [Changed(name, scope in before) for scope, name in scopes.items()]

    return until, db.transact(write)


def resume(db: Database, clock: Clock, wanted: Wanted) -> list[Changed]:
    """End the suspensions of exactly what is named now; a task may still be held by its project's."""
    now = clock.now()

    def write(connection: Connection) -> list[Changed]:
        scopes = _scopes(connection, wanted)
        before = overrides.lift(connection, list(scopes), now)
        if before:
            raise_counter(connection)
        return [Changed(name, scope in before) for scope, name in scopes.items()]

    return db.transact(write)


def _scopes(connection: Connection, wanted: Wanted) -> dict[Scope, str]:
    found: dict[Scope, str] = {}
    if wanted.everything:
        found[Scope()] = "everything"
    for name, key in project_ids(connection, wanted.projects).items():
        found[Scope(project_id=key)] = f"project {name}"
    for text in wanted.tasks:
        task = resolve_one_task(connection, parse_address(text))
        found[Scope(task_id=task.id)] = f"task {task.address}"
    if wanted.labels:
        labelled = _labelled(connection, wanted.labels)
        if not labelled:
            words = ",".join(f"{key}={value}" for key, value in wanted.labels.items())
            raise NotFound(f"no task has the labels {words}", hint="`get tasks -l …` shows what they select")
        found |= labelled
    return found


def _labelled(connection: Connection, labels: Mapping[str, str]) -> dict[Scope, str]:
    found: dict[Scope, str] = {}
    after: str | None = None
    while True:
        page = list_tasks(connection, ObjectFilter(labels=dict(labels)), limit=_PAGE, after=after)
        for task in page.items:
            found[Scope(task_id=task.id)] = f"task {task.project}/{task.address}"
        after = page.next
        if after is None:
            return found
