"""Everything about one object, for a person: facts, then how it was declared, then what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from difflib import SequenceMatcher
from typing import Any

from reconciler.model.calendar_words import calendar_lines
from reconciler.model.condition import Condition, ConditionStatus, ConditionType
from reconciler.report.describe import ExecutionDescription, ServerDescription, TaskDescription
from reconciler.report.layout import Cell, Column, Paint, Style, plain, printable, table
from reconciler.report.rows import (
    EXECUTION_COLUMNS,
    STATE_STYLE,
    execution_row,
    schedule_words,
    state_words,
    summary_words,
    trigger_words,
)
from reconciler.report.spec_text import one_line, spec_lines
from reconciler.report.status_text import HEALTH_STYLE
from reconciler.report.timeline import held
from reconciler.report.timeline_text import NOTES
from reconciler.report.times import relative, span, stamp, wall, zone_or_utc
from reconciler.store.views import ExecutionView, OutputView, RevisionView, TaskView

Facts = list[tuple[str, Cell | None]]
_BESIDE = 100
"""Columns up to which what a field was and what it became stand beside each other."""
_BAD_WHEN_TRUE = {
    ConditionType.OVERDUE,
    ConditionType.SUSPENDED,
    ConditionType.DRIFTED,
    ConditionType.STALLED,
}


def task_text(found: TaskDescription, now: datetime, paint: Paint = plain) -> Iterator[str]:
    """The lines about a task."""
    task, status = found.task, found.status
    yield paint(f"Task {printable(task.address)}", Style.BOLD) + paint(
        f"  {status.health.value}, {status.sync.value}", HEALTH_STYLE[status.health]
    )
    same = found.resolved in (None, task.schedule)
    resolved = "" if same else f"  = {found.resolved}"
    schedule = f"{task.schedule}{resolved}  in {task.timezone}"
    if task.schedule is None:
        schedule = "only when asked"
    facts: Facts = [
        ("project", task.project),
        ("server", task.server if task.server_enabled else f"{task.server} (disabled or deleted)"),
        ("enabled", "yes" if task.enabled else ("no", Style.WARN)),
        ("schedule", schedule),
        ("last run", _moment(task.last_run, now)),
        ("next run", _moment(status.next_run, now)),
        ("takes", None if found.average_seconds is None else f"{span(found.average_seconds)} on average"),
        *_origin(task.path, task.line, task.generation, found.revision, now),
        ("created", f"{stamp(task.created_at)} by {task.created_by}"),
        ("deleted", None if task.deleted_at is None else _moment(task.deleted_at, now)),
        ("protected", "yes" if task.protected else None),
    ]
    yield from _facts(facts, paint)
    yield from _conditions(status.conditions, now, paint)
    yield from _declared(_by_name(task.document), paint)
    yield from _calendars(task, paint)
    yield from _fires(found, now, paint)
    yield from _runs(found.last, now, paint)


def server_text(found: ServerDescription, now: datetime, paint: Paint = plain) -> Iterator[str]:
    """The lines about a server."""
    server, status = found.server, found.status
    yield paint(f"Server {printable(server.name)}", Style.BOLD) + paint(
        f"  {status.health.value}, {status.sync.value}", HEALTH_STYLE[status.health]
    )
    user = f"{server.username}@" if server.username else ""
    facts: Facts = [
        ("project", server.project or "nobody's"),
        ("address", f"{user}{server.host} port {server.port}"),
        ("environment", server.environment or None),
        ("enabled", "yes" if server.enabled else ("no", Style.WARN)),
        *_origin(server.path, server.line, server.generation, found.revision, now),
        ("created", f"{stamp(server.created_at)} by {server.created_by}"),
        ("deleted", None if server.deleted_at is None else _moment(server.deleted_at, now)),
        ("protected", "yes" if server.protected else None),
    ]
    yield from _facts(facts, paint)
    yield from _conditions(status.conditions, now, paint)
    yield from _declared(server.document, paint)
    if found.tasks:
        yield from _title(f"Tasks ({len(found.tasks)}{' and more' if found.more_tasks else ''})", paint)
        columns = (Column("TASK"), Column("PROJECT"), Column("SCHEDULE"), Column("NEXT RUN", right=True))
        rows = [
            [task.name, task.project, schedule_words(task), relative(task.next_run, now)]
            for task in found.tasks
        ]
        yield from table(columns, rows, paint, indent="  ")
    yield from _runs(found.last, now, paint)


def execution_text(found: ExecutionDescription, now: datetime, paint: Paint = plain) -> Iterator[str]:
    """The lines about an execution."""
    run = found.run
    yield paint(f"Execution {run.id}", Style.BOLD) + paint(f"  {state_words(run)}", STATE_STYLE[run.state])
    cancelled = None
    if run.cancel_requested_at is not None:
        cancelled = f"asked for by {run.cancel_requested_by or '?'}, {_moment(run.cancel_requested_at, now)}"
    facts: Facts = [
        ("task", f"{run.task}@{run.server}"),
        ("project", run.project),
        ("trigger", trigger_words(run)),
        ("attempt", str(run.attempt)),
        ("slot", _moment(run.scheduled_for, now)),
        ("due", None if run.due_at == run.scheduled_for else _moment(run.due_at, now)),
        ("start sent", _unacknowledged(run, now)),
        ("started", _moment(run.started_at, now)),
        ("finished", _moment(run.finished_at, now)),
        ("took", None if run.duration_seconds is None else span(run.duration_seconds)),
        ("exit code", None if run.exit_code is None else str(run.exit_code)),
        ("cancel", cancelled),
        ("slots", None if run.count == 1 else f"this row stands for {run.count:,} slots"),
        *_origin(run.path, run.line, run.generation, found.revision, now),
        ("output", _size(run.output_bytes, found.output.output, run)),
        ("error", _size(run.error_bytes, found.output.error, run)),
        ("archive", run.archive),
        ("remark", None if found.output.remark is None else (found.output.remark, Style.WARN)),
    ]
    yield from _facts(facts, paint)
    yield from _tail(found.output, run, paint)


def _unacknowledged(run: ExecutionView, now: datetime) -> str | None:
    if not run.unacknowledged:
        return None
    return f"{_moment(run.start_sent_at, now)}; it counts as started until its host says otherwise"


def revision_text(revision: RevisionView, now: datetime, paint: Paint = plain) -> Iterator[str]:
    """The lines about a revision: who, from what, and every change."""
    yield paint(f"Revision {revision.id}", Style.BOLD) + f"  {summary_words(revision.summary)}"
    dirty = " with local changes" if revision.dirty else ""
    facts: Facts = [
        ("project", revision.project),
        ("applied", f"{_moment(revision.applied_at, now)} by {revision.applied_by}"),
        ("commit", f"{revision.commit or 'none'}{dirty}"),
        ("branch", revision.branch),
        ("author", revision.author),
        ("digest", revision.digest),
        ("released", revision.released),
    ]
    yield from _facts(facts, paint)
    if revision.message:
        yield from _title("Message", paint)
        for line in revision.message.rstrip().split("\n"):
            yield f"  {printable(line)}"
    yield from _changes(revision.changes, paint)


def _title(text: str, paint: Paint) -> Iterator[str]:
    yield ""
    yield paint(text, Style.BOLD)


def _facts(facts: Facts, paint: Paint) -> Iterator[str]:
    shown = [(name, value) for name, value in facts if value is not None]
    size = max(len(name) for name, _ in shown)
    for name, value in shown:
        text, style = (value, Style.PLAIN) if isinstance(value, str) else value
        yield f"  {paint(name.ljust(size), Style.DIM)}  {paint(printable(text), style)}"


def _origin(path: str, line: int, generation: int, revision: RevisionView | None, now: datetime) -> Facts:
    facts: Facts = [("declared", f"{path}:{line}" if path else None), ("generation", str(generation))]
    if revision is not None:
        dirty = " with local changes" if revision.dirty else ""
        facts += [
            ("commit", None if revision.commit is None else f"{revision.commit}{dirty}"),
            ("author", revision.author),
            (
                "applied",
                f"revision {revision.id} by {revision.applied_by}, {_moment(revision.applied_at, now)}",
            ),
        ]
    return facts


def _conditions(conditions: Sequence[Condition], now: datetime, paint: Paint) -> Iterator[str]:
    yield from _title("Conditions", paint)
    rows: list[list[Cell]] = [
        [
            condition.type.value,
            (condition.status.value, _condition_style(condition)),
            condition.reason,
            relative(condition.last_transition, now),
            condition.message,
        ]
        for condition in conditions
    ]
    columns = (
        Column("TYPE"),
        Column("STATUS"),
        Column("REASON"),
        Column("SINCE", right=True),
        Column("MESSAGE", most=400),
    )
    yield from table(columns, rows, paint, indent="  ")


def _condition_style(condition: Condition) -> Style:
    if condition.status is ConditionStatus.UNKNOWN:
        return Style.DIM
    bad = (condition.status is ConditionStatus.TRUE) == (condition.type in _BAD_WHEN_TRUE)
    if condition.type is ConditionType.SCHEDULED and bad:
        return Style.WARN
    return Style.BAD if bad else Style.GOOD


def _declared(document: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    yield from _title("Declared", paint)
    for part in ("metadata", "spec"):
        if document.get(part):
            yield f"  {part}:"
            for line in spec_lines(document[part], "    "):
                yield printable(line)


def _by_name(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """A task's document as it was declared: with the names of its calendars."""
    calendars = document["spec"].get("calendars")
    if not calendars or calendar_lines(calendars) is None:
        return document
    return {**document, "spec": {**document["spec"], "calendars": [item["name"] for item in calendars]}}


def _calendars(task: TaskView, paint: Paint) -> Iterator[str]:
    lines = calendar_lines(task.document["spec"].get("calendars"))
    if not lines:
        return
    yield from _title("Calendars", paint)
    yield from (f"  {printable(line)}" for line in lines)
    forbidden = held(task)
    if forbidden is not None:
        yield paint(f"  The next slot does not run: {printable(forbidden.words)}", Style.WARN)


def _fires(found: TaskDescription, now: datetime, paint: Paint) -> Iterator[str]:
    task = found.task
    if not found.fires and not found.dst_events:
        return
    zone = zone_or_utc(task.timezone)
    yield from _title("Next runs", paint)
    rows: list[list[Cell]] = []
    for fire in found.fires:
        slot = "" if fire.scheduled_for == fire.at else f"slot {wall(fire.scheduled_for, zone, now)}"
        local = "" if task.timezone == "UTC" else f"{wall(fire.at, zone, now)} {task.timezone}"
        rows.append(
            [
                stamp(fire.at),
                local,
                relative(fire.at, now),
                slot,
                (NOTES.get(fire.note or "", ""), Style.WARN),
            ]
        )
    columns = (Column("DUE"), Column("LOCAL"), Column("", right=True), Column("SLOT"), Column("NOTE"))
    yield from table(columns, rows, paint, indent="  ")
    for at, note in found.dst_events:
        yield paint(f"  {stamp(at)} ({wall(at, zone, now)} {task.timezone}): {NOTES[note]}", Style.WARN)


def _runs(runs: Sequence[ExecutionView], now: datetime, paint: Paint) -> Iterator[str]:
    yield from _title("Last runs", paint)
    if not runs:
        yield "  none yet"
        return
    yield from table(EXECUTION_COLUMNS, [execution_row(run, now) for run in runs], paint, indent="  ")


def _tail(output: OutputView, run: ExecutionView, paint: Paint, count: int = 20) -> Iterator[str]:
    for title, text in (("Output", output.output), ("Error", output.error)):
        if not text:
            continue
        lines = text.rstrip("\n").split("\n")
        yield from _title(
            title if len(lines) <= count else f"{title}, the last {count} of {len(lines):,} lines", paint
        )
        for line in lines[-count:]:
            yield f"  {printable(line.rstrip(chr(13)))}"
        if len(lines) > count:
            lost = run.truncated and run.archive is None
            what = "what was kept, its head and its tail" if lost else "all of it"
            yield paint(f"  {what}: reconciler logs {run.id}", Style.DIM)


def _changes(changes: Any, paint: Paint) -> Iterator[str]:
    """The plan's own shape, as it was stored; older or newer ones are shown as far as they are known."""
    items = [change for change in changes or () if isinstance(change, Mapping)]
    if not items:
        return
    yield from _title(f"Changes ({len(items)})", paint)
    styles = {"create": Style.GOOD, "delete": Style.BAD, "restore": Style.GOOD}
    for change in items:
        server = f"@{change['server']}" if change.get("server") else ""
        what = f"{str(change.get('kind', '')).lower()} {change.get('name', '')}{server}"
        place = f"  {change['path']}:{change.get('line', 0)}" if change.get("path") else ""
        action = str(change.get("action", "?"))
        style = styles.get(action, Style.WARN)
        yield f"  {paint(action, style)} {printable(what)}{paint(printable(place), Style.DIM)}"
        if action in ("create", "delete"):
            continue
        yield from _fields(change.get("fields"), paint)


def _fields(fields: Any, paint: Paint) -> Iterator[str]:
    for name, pair in (fields or {}).items() if isinstance(fields, Mapping) else ():
        if not isinstance(pair, Mapping):
            continue
        before, after = pair.get("before"), pair.get("after")
        beside = f"    {name}: {_value(before)} → {_value(after)}"
        if len(beside) <= _BESIDE:
            yield printable(beside)
            continue
        yield printable(f"    {name}:")
        for sign, line in _difference(_lines(before), _lines(after)):
            style = {"-": Style.BAD, "+": Style.GOOD}.get(sign, Style.DIM)
            yield paint(printable(f"      {sign} {line}".rstrip()), style)


def _difference(before: list[str], after: list[str]) -> Iterator[tuple[str, str]]:
    """What changed, with its sign and the lines around it; ``…`` stands for what did not."""
    last = 0
    for group in SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(1):
        if group[0][1] > last:
            yield "…", ""
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                yield from ((" ", line) for line in before[old_from:old_to])
            else:
                yield from (("-", line) for line in before[old_from:old_to])
                yield from (("+", line) for line in after[new_from:new_to])
        last = group[-1][2]
    if last < len(before):
        yield "…", ""


def _lines(value: Any) -> list[str]:
    if value is None:
        return []
    return value.split("\n") if isinstance(value, str) else [_value(value)]


def _value(value: Any) -> str:
    return "none" if value is None else one_line(value)


def _moment(moment: datetime | None, now: datetime) -> str:
    return "-" if moment is None else f"{stamp(moment)} ({relative(moment, now)})"


def _size(size: int, stored: str | None, run: ExecutionView) -> str | None:
    if stored is None and not size:
        return None
    kept = len((stored or "").encode("utf-8", "replace"))
    return f"{size:,} bytes" + (f", {kept:,} kept" if run.truncated and kept < size else "")
