"""What ``get`` lists, kind by kind: names resolved, rows read, and both of their forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from reconciler.cli.console import Console
from reconciler.cli.tables import print_items, print_table
from reconciler.errors import NotFound, UsageError
from reconciler.model.execution import State
from reconciler.report import shapes
from reconciler.report.build import judge_projects, judge_servers, judge_tasks
from reconciler.report.layout import Cell, Column
from reconciler.report.rows import (
    EXECUTION_COLUMNS,
    PROJECT_COLUMNS,
    REVISION_COLUMNS,
    SERVER_COLUMNS,
    TASK_COLUMNS,
    execution_row,
    project_row,
    revision_row,
    server_row,
    task_row,
)
from reconciler.store import executions as ledger
from reconciler.store import listing
from reconciler.store.addresses import (
    deleted_tasks,
    parse_address,
    project_ids,
    resolve_one_task,
    resolve_tasks,
    server_ids,
)
from reconciler.store.overview import KnownRows
from reconciler.store.pages import ExecutionFilter
from reconciler.store.views import Connection, ExecutionView, Page


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for, with the moment that relative times are counted from."""

    kind: str
    names: list[str]
    labels: dict[str, str]
    server: str | None
    project: str | None
    state: State | None
    since: datetime | None
    deleted: bool
    limit: int
    after: str | None
    now: datetime
    late_after: timedelta
    rows: KnownRows | None = None
    """Ledger rows that were read before, for a page of many tasks."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A page in both forms, and the cursor of the next one."""

    items: Sequence[dict[str, Any]]
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    next: str | None


def tasks(conn: Connection, request: Request) -> Listed:
    """Tasks by project, name and server."""
    wanted = listing.ObjectFilter(
        ids=_task_ids(conn, request) if request.names else None,
        project_id=_project_id(conn, request),
        server_id=_server_id(conn, request),
        labels=request.labels,
        since=request.since,
        deleted=request.deleted,
    )
    page = listing.list_tasks(conn, wanted, limit=request.limit, after=request.after)
    judged = judge_tasks(conn, page.items, request.now, request.late_after, rows=request.rows)
    several = len({task.project for task in page.items}) > 1
    return Listed(
        [shapes.task_json(task, status) for task, status in zip(page.items, judged, strict=True)],
        TASK_COLUMNS,
        [
            task_row(task, status, request.now, several)
            for task, status in zip(page.items, judged, strict=True)
        ],
        page.next,
    )


def servers(conn: Connection, request: Request) -> Listed:
    """Servers by name."""
    ids = list(server_ids(conn, request.names, deleted=request.deleted).values()) if request.names else None
    wanted = listing.ObjectFilter(
        ids=ids,
        project_id=_project_id(conn, request),
        labels=request.labels,
        since=request.since,
        deleted=request.deleted,
    )
    page = listing.list_servers(conn, wanted, limit=request.limit, after=request.after)
    judged = judge_servers(conn, page.items)
    return Listed(
        [shapes.server_json(server, status) for server, status in zip(page.items, judged, strict=True)],
        SERVER_COLUMNS,
        [server_row(server, status, request.now) for server, status in zip(page.items, judged, strict=True)],
        page.next,
    )


def executions(conn: Connection, request: Request) -> Listed:
    """Executions, newest first; the names are tasks."""
    page = _executions(conn, request)
    return Listed(
        [shapes.execution_json(run) for run in page.items],
        EXECUTION_COLUMNS,
        [execution_row(run, request.now) for run in page.items],
        page.next,
    )


def revisions(conn: Connection, request: Request) -> Listed:
    """Revisions, newest first; the names are numbers."""
    ids = [listing.get_revision(conn, revision_number(name)).id for name in request.names] or None
    page = listing.list_revisions(
        conn,
        ids=ids,
        project_id=_project_id(conn, request),
        since=request.since,
        limit=request.limit,
        after=request.after,
    )
    return Listed(
        [shapes.revision_json(revision) for revision in page.items],
        REVISION_COLUMNS,
        [revision_row(revision, request.now) for revision in page.items],
        page.next,
    )


def projects(conn: Connection, request: Request) -> Listed:
    """Projects by name."""
    ids = list(project_ids(conn, request.names).values()) if request.names else None
    page = listing.list_projects(conn, ids=ids, since=request.since, limit=request.limit, after=request.after)
    judged = judge_projects(conn, page.items)
    return Listed(
        [shapes.project_json(project, status) for project, status in zip(page.items, judged, strict=True)],
        PROJECT_COLUMNS,
        [
            project_row(project, status, request.now)
            for project, status in zip(page.items, judged, strict=True)
        ],
        page.next,
    )


def show(page: Listed, request: Request, console: Console, form: str) -> None:
    """Print a page; how to go on is told on standard error."""
    if form == "json":
        print_items(console, {}, "items", page.items, {"next": page.next})
        return
    print_table(console, page.columns, page.rows, request.kind)
    if page.next is not None:
        console.note(f"there is more: the same command with --after {page.next}")


def revision_number(text: str) -> int:
    """The number of a revision; raises UsageError."""
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    raise UsageError(f"{text!r} is not the number of a revision", hint="`get revisions` lists them")


def execution_number(text: str) -> int | None:
    """The id of an execution if the text can be one: decimal digits that fit 63 bits."""
    if text.isascii() and text.isdigit() and len(text) <= 19 and int(text) < 1 << 63:
        return int(text)
    return None


def _executions(conn: Connection, request: Request) -> Page[ExecutionView]:
    task_ids: list[int] = []
    own: list[ExecutionView] = []
    for name in request.names:
        try:
            task_ids.append(resolve_one_task(conn, parse_address(name), deleted=True).id)
        except NotFound:
            # a number that names no task may be an execution
            number = execution_number(name)
            found = None if number is None else ledger.find_execution(conn, number)
            if found is None:
                raise
            own.append(found)
    if own and not task_ids:
        return Page(tuple(sorted(own, key=lambda run: -run.id)))
    if own:
        raise UsageError("`get executions` takes tasks or execution ids, not both at once")
    wanted = ExecutionFilter(
        task_ids=task_ids or None,
        server_id=_server_id(conn, request),
        project_id=_project_id(conn, request),
        labels=request.labels,
        state=request.state,
        since=request.since,
    )
    return ledger.list_executions(conn, wanted, limit=request.limit, after=request.after)


def _task_ids(conn: Connection, request: Request) -> list[int]:
    fitting = deleted_tasks if request.deleted else resolve_tasks
    return [row.id for name in request.names for row in fitting(conn, parse_address(name))]


def _server_id(conn: Connection, request: Request) -> int | None:
    return None if request.server is None else server_ids(conn, [request.server])[request.server]


def _project_id(conn: Connection, request: Request) -> int | None:
    return None if request.project is None else project_ids(conn, [request.project])[request.project]
