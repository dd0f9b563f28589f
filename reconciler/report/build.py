"""The database to a StatusReport: rows read in a few statements, then judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from reconciler.collector import without_collector
from reconciler.model.enums import Kind
from reconciler.model.execution import Status
from reconciler.report.exceptions import with_transitions
from reconciler.report.judge import TaskFacts, judge_project, judge_server, judge_task, longest
from reconciler.report.layout import printable
from reconciler.report.overdue import Coming, Overdue, find_overdue, suspect_slot
from reconciler.report.status import ObjectStatus, StatusReport
from reconciler.report.timeline import Planned, plan_of
from reconciler.store.engine import Database
from reconciler.store.executions import tails
from reconciler.store.listing import all_servers, all_tasks, list_projects, stored_conditions, suspensions
from reconciler.store.overview import KnownRows, TaskRuns, recorded_slots, server_contacts, task_runs
from reconciler.store.views import (
    Connection,
    OutputView,
    ProjectView,
    ServerView,
    StoredCondition,
    SuspensionView,
    TaskView,
)

_EVERY = 1_000_000
_TAILS = 50
"""Failures whose last lines are read; a page of more helps nobody, `logs` shows each."""
_LINES = 5


def status_report(
    db: Database, now: datetime, late_after: timedelta, rows: KnownRows | None = None
) -> StatusReport:
    """Everything that is declared, at one instant of the database; ``rows`` may spare reading some of it."""
    with db.snapshot() as conn, without_collector():
        projects = list_projects(conn, limit=_EVERY).items
        servers, tasks = all_servers(conn), all_tasks(conn)
        objects = judge_projects(conn, projects)
        objects += judge_servers(conn, servers, every=True)
        objects += with_tails(conn, judge_tasks(conn, tasks, now, late_after, every=True, rows=rows))
    return StatusReport(now, tuple(objects))


@dataclass(frozen=True, slots=True)
class Everything:
    """All that is declared at one instant: the rows, each with its status, and what processes wrote down."""

    projects: Sequence[tuple[ProjectView, ObjectStatus]]
    servers: Sequence[tuple[ServerView, ObjectStatus]]
    tasks: Sequence[tuple[TaskView, ObjectStatus]]
    stored: Sequence[StoredCondition]


def everything(db: Database, now: datetime, late_after: timedelta) -> Everything:
    """The same as a report for those who need the rows, too."""
    with db.snapshot() as conn, without_collector():
        projects = list_projects(conn, limit=_EVERY).items
        servers, tasks = all_servers(conn), all_tasks(conn)
        return Everything(
            list(zip(projects, judge_projects(conn, projects), strict=True)),
            list(zip(servers, judge_servers(conn, servers, every=True), strict=True)),
            list(zip(tasks, judge_tasks(conn, tasks, now, late_after, every=True), strict=True)),
            stored_conditions(conn),
        )


def planned_tasks(db: Database, now: datetime) -> list[Planned]:
    """Every runnable task with a schedule, and the suspensions that have not ended at ``now``."""
    with db.snapshot() as conn, without_collector():
        overrides = _Overrides(suspensions(conn, now))
        plans = (plan_of(task, overrides.of(task)) for task in all_tasks(conn))
        return [plan for plan in plans if plan is not None]


def overrides_of(conn: Connection, task: TaskView, now: datetime) -> list[SuspensionView]:
    """The suspensions of one task that have not ended at ``now``."""
    return _Overrides(suspensions(conn, now)).of(task)


def judge_projects(conn: Connection, projects: Sequence[ProjectView]) -> list[ObjectStatus]:
    """The status of these projects, in their order."""
    stored = [row for row in stored_conditions(conn) if row.kind == Kind.PROJECT]
    return [
        judge_project(project, [row for row in stored if row.object_id == project.id]) for project in projects
    ]


def judge_servers(
    conn: Connection, servers: Sequence[ServerView], *, every: bool = False
) -> list[ObjectStatus]:
    """The status of these servers, in their order."""
    contacts = server_contacts(conn, servers, every=every)
    stored = defaultdict(list)
    for row in stored_conditions(conn):
        if row.kind == Kind.SERVER:
            stored[row.object_id].append(row)
    judged = [judge_server(server, contacts.get(server.id), stored[server.id]) for server in servers]
    return with_transitions(conn, Kind.SERVER, servers, judged)


def judge_tasks(
    conn: Connection,
    tasks: Sequence[TaskView],
    now: datetime,
    late_after: timedelta,
    *,
    every: bool = False,
    rows: KnownRows | None = None,
) -> list[ObjectStatus]:
    """The status of these tasks, in their order."""
    runs = task_runs(conn, tasks, every=every, rows=rows)
    overrides = _Overrides(suspensions(conn, now))
    overdue = _overdue(conn, tasks, runs, overrides, now, late_after)
    judged = []
    for task in tasks:
        found = runs[task.id]
        suspension = longest(overrides.of(task), now)
        facts = TaskFacts(found.newest, found.finished, found.open, suspension, overdue.get(task.id))
        judged.append(judge_task(task, facts))
    return with_transitions(conn, Kind.TASK, tasks, judged)


def with_tails(conn: Connection, objects: Sequence[ObjectStatus]) -> list[ObjectStatus]:
    """The same objects, the newest failures with the last lines of their error, or else their output."""
    failed = sorted((item.last.id for item in objects if _failed(item) and item.last), reverse=True)
    found = tails(conn, failed[:_TAILS])
    return [
        replace(item, error_lines=last_lines(found[item.last.id]))
        if item.last is not None and item.last.id in found
        else item
        for item in objects
    ]


def _failed(item: ObjectStatus) -> bool:
    return item.needs_attention and item.last is not None and item.last.status == Status.FAILED


def last_lines(output: OutputView, count: int = _LINES) -> tuple[str, ...]:
    """The last lines that say something: of the error, or where there is none, of the output."""
    text = (output.error or "").strip() or (output.output or "").strip()
    lines = [printable(line.rstrip()) for line in text.splitlines() if line.strip()]
    return tuple(lines[-count:])


class _Overrides:
    """Suspensions by what they concern."""

    def __init__(self, found: Sequence[SuspensionView]) -> None:
        self._any = bool(found)
        self._all = [item for item in found if item.task_id is None and item.project_id is None]
        self._tasks: dict[int, list[SuspensionView]] = defaultdict(list)
        self._projects: dict[int, list[SuspensionView]] = defaultdict(list)
        for item in found:
            if item.task_id is not None:
                self._tasks[item.task_id].append(item)
            elif item.project_id is not None:
                self._projects[item.project_id].append(item)

    def of(self, task: TaskView) -> list[SuspensionView]:
        if not self._any:
            return []
        return [*self._all, *self._projects.get(task.project_id, ()), *self._tasks.get(task.id, ())]


def _overdue(
    conn: Connection,
    tasks: Sequence[TaskView],
    runs: Mapping[int, TaskRuns],
    overrides: _Overrides,
    now: datetime,
    late_after: timedelta,
) -> dict[int, Overdue]:
    found: dict[int, Overdue] = {}
    suspects: dict[int, Overdue] = {}
    coming = Coming(now)
    for task in tasks:
        covering = overrides.of(task)
        overdue = find_overdue(task, runs[task.id].open, covering, now, late_after)
        if overdue is not None:
            found[task.id] = overdue
        elif (suspect := suspect_slot(task, covering, coming, late_after)) is not None:
            suspects[task.id] = suspect
    recorded = recorded_slots(conn, {key: item.slot for key, item in suspects.items()})
    return found | {key: item for key, item in suspects.items() if key not in recorded}
