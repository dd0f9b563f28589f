"""Rows of the outbox to notes: what the ledger knows of them is read when they are sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from reconciler.notify.link import line_link, line_text
from reconciler.notify.note import Fact, Run, last_lines
from reconciler.store import projects
from reconciler.store.engine import Connection
from reconciler.store.executions import executions_by_id, tails
from reconciler.store.outbox import Waiting
from reconciler.store.views import ExecutionView, OutputView

LINES = 10
_TAILS = 20
"""Messages that show output; in a digest nobody reads more."""


def facts(connection: Connection, rows: Sequence[Waiting]) -> list[Fact]:
    """What these messages tell, in their order."""
    ids = [int(row.payload["execution"]) for row in rows if row.payload.get("execution")]
    runs = {view.id: view for view in executions_by_id(connection, ids)}
    outputs = tails(connection, ids) if len(ids) <= _TAILS else {}
    sources = projects.sources(connection, {str(row.payload.get("project", "")) for row in rows})
    revisions = {int(row.payload["revision"]) for row in rows if row.payload.get("revision")}
    commits = projects.commits(connection, revisions)
    return [_fact(row, runs, outputs, sources, commits) for row in rows]


def _fact(
    row: Waiting,
    runs: Mapping[int, ExecutionView],
    outputs: Mapping[int, OutputView],
    sources: Mapping[str, str],
    commits: Mapping[int, str],
) -> Fact:
    payload = row.payload
    project = str(payload.get("project", ""))
    run = runs.get(int(payload.get("execution") or 0))
    reason = str(payload.get("reason", ""))
    path, line = str(payload.get("path", "")), int(payload.get("line", 0))
    commit = commits.get(int(payload.get("revision") or 0))
    if run is not None:
        path, line, commit = run.path, run.line, run.commit
    where = None
    if path:
        where = line_link(sources.get(project, ""), commit, path, line) or line_text(commit, path, line)
    return Fact(
        event=row.kind,
        project=project,
        task=payload.get("task"),
        server=payload.get("server"),
        reason=reason,
        said=str(payload.get("message") or _said(run, reason)),
        at=_moment(payload.get("at"), row.created_at),
        where=where,
        run=None if run is None else _run(run, outputs.get(run.id)),
    )


def _said(run: ExecutionView | None, reason: str) -> str:
    if run is not None and run.exit_code is not None:
        return f"exit code {run.exit_code}"
    return reason.replace("-", " ")


def _run(view: ExecutionView, output: OutputView | None) -> Run:
    error = "" if output is None else (output.error or "").strip()
    text = error or ("" if output is None else (output.output or "").strip())
    return Run(
        id=view.id,
        attempt=view.attempt,
        scheduled_for=view.scheduled_for,
        due_at=view.due_at,
        started_at=view.started_at,
        finished_at=view.finished_at,
        exit_code=view.exit_code,
        lines=last_lines(text, LINES),
        of="error output" if error else "output",
    )


def _moment(text: object, otherwise: datetime) -> datetime:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return otherwise
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
