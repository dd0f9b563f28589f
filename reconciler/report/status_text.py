"""The status report as whoever is on call reads it at 03:00: what is wrong first, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from reconciler.model.condition import ConditionStatus, ConditionType, Health, Sync
from reconciler.model.enums import Kind
from reconciler.model.execution import State
from reconciler.model.quantity import counted
from reconciler.report.layout import Cell, Column, Paint, Style, plain, printable, table
from reconciler.report.status import ObjectStatus, StatusReport
from reconciler.report.times import coming, relative, span, stamp, wall, zone_or_utc
from reconciler.store.views import RunView

MOST_DETAILED = 20
MOST_LISTED = 100
"""More than a screenful helps nobody: the rest is counted."""

HEALTH_STYLE = {
    Health.HEALTHY: Style.GOOD,
    Health.DEGRADED: Style.BAD,
    Health.OVERDUE: Style.BAD,
    Health.SUSPENDED: Style.WARN,
    Health.UNKNOWN: Style.DIM,
}
_URGENCY = {Health.OVERDUE: 0, Health.DEGRADED: 1, Health.UNKNOWN: 2}


def status_text(report: StatusReport, paint: Paint = plain) -> Iterator[str]:
    """The lines of the report."""
    troubled = attention(report)
    yield paint(headline(report), Style.BAD if troubled else Style.GOOD) + paint(
        f"  {stamp(report.generated_at)}", Style.DIM
    )
    yield counts_line(report)
    for line in project_lines(report):
        yield paint(line, Style.DIM)
    for item in troubled[:MOST_DETAILED]:
        yield ""
        yield from _block(item, report, paint)
    yield from _further(troubled[MOST_DETAILED:], report, paint)
    yield from _short(report, paint)
    yield from _rest(report, paint)


def attention(report: StatusReport) -> list[ObjectStatus]:
    """What needs a look: overdue, then failed, then unverified; servers before tasks, the newest first."""
    items = [item for item in report.objects if item.needs_attention]
    return sorted(items, key=lambda item: (_URGENCY[item.health], item.kind is Kind.TASK, _age(item, report)))


def headline(report: StatusReport) -> str:
    """One sentence that says whether one may go back to sleep."""
    troubled = attention(report)
    tasks = report.of(Kind.TASK)
    if not report.objects:
        return "Nothing is declared yet: `reconciler apply PATH` makes a start"
    if not troubled:
        never = sum(1 for item in tasks if item.health is Health.UNKNOWN)
        tail = f", {never:,} of them {'has' if never == 1 else 'have'} not run yet" if never else ""
        drifted = sum(1 for item in report.objects if item.sync is Sync.DRIFTED)
        if not drifted:
            return f"{counted(len(tasks), 'task')}, nothing needs attention{tail}"
        by_hand = f"{counted(drifted, 'object')} {'was' if drifted == 1 else 'were'} changed by hand"
        return f"{counted(len(tasks), 'task')}, nothing failed{tail}; but {by_hand}"
    count = sum(1 for item in troubled if item.kind is Kind.TASK)
    others = len(troubled) - count
    parts = [f"{count} of {counted(len(tasks), 'task')}"] if count else []
    for kind in (Kind.SERVER, Kind.PROJECT):
        found = sum(1 for item in troubled if item.kind is kind)
        parts += [counted(found, kind.lower())] if found else []
    return f"{' and '.join(parts)} {'needs' if count + others == 1 else 'need'} attention"


def counts_line(report: StatusReport) -> str:
    """How many of what."""
    summary = report.summary
    tasks = report.of(Kind.TASK)
    by_health = [(health, sum(1 for item in tasks if item.health is health)) for health in _ORDER]
    words = ", ".join(f"{count} {health.lower()}" for health, count in by_health if count)
    parts = [
        f"{counted(summary['servers'], 'server')}, {counted(len(tasks), 'task')}"
        + (f": {words}" if words else "")
    ]
    parts += [f"{summary[name]} {name}" for name in ("running", "waiting", "drifted") if summary[name]]
    return " · ".join(parts)


_ORDER = (Health.OVERDUE, Health.DEGRADED, Health.SUSPENDED, Health.UNKNOWN, Health.HEALTHY)


def project_lines(report: StatusReport) -> Iterator[str]:
    """What each project was made from."""
    for item in report.of(Kind.PROJECT):
        synced = item.condition(ConditionType.SYNCED)
        if synced is None:
            continue
        ago = (
            ""
            if synced.last_transition is None
            else f" {relative(synced.last_transition, report.generated_at)}"
        )
        yield printable(f"project {item.name}: {synced.message}{ago}")


def name_of(item: ObjectStatus, report: StatusReport) -> str:
    """How a person addresses it, with the project only where there are several."""
    several = len(report.of(Kind.PROJECT)) > 1
    if item.kind is not Kind.TASK:
        return f"{item.kind.lower()} {item.name}"
    return f"{item.project}/{item.address}" if several and item.project else item.address


def place_of(item: ObjectStatus) -> str:
    """Where it is declared: ``path:line``."""
    return f"{item.path}:{item.line}" if item.path else ""


def reasons(item: ObjectStatus, now: datetime) -> list[str]:
    """Why it is not well, one sentence each, the decisive one first."""
    lines = []
    overdue = item.condition(ConditionType.OVERDUE)
    if overdue is not None:
        lines.append(overdue.message)
    for kind in (ConditionType.LAST_RUN_SUCCEEDED, ConditionType.REACHABLE):
        condition = item.condition(kind)
        if condition is not None and condition.status is not ConditionStatus.TRUE:
            ago = "" if item.last is None else f" ({relative(condition.last_transition, now)})"
            lines.append(f"{condition.message}{ago}")
    for kind in (ConditionType.STALLED, ConditionType.SUSPENDED, ConditionType.DRIFTED):
        condition = item.condition(kind)
        if condition is not None and condition.status is ConditionStatus.TRUE:
            lines.append(f"{kind.lower()}: {condition.message}")
    return [printable(line) for line in lines]


def next_words(item: ObjectStatus, now: datetime) -> str:
    """What happens next, and how to see more."""
    parts = [f"{_run_words(run, now)}" for run in item.open[:3]]
    if item.kind is Kind.TASK:
        when = "no next run"
        if item.next_run is not None:
            zone = zone_or_utc(item.zone or "UTC")
            next_run = "next run " if item.next_run > now else ""
            when = f"{next_run}{coming(item.next_run, now)} ({wall(item.next_run, zone, now)} {item.zone})"
        parts.append(when)
    if item.last is not None and item.last.state is State.FAILED:
        parts.append(f"reconciler logs {item.last.id}")
    return " · ".join(parts)


def healthy_rows(items: Sequence[ObjectStatus], report: StatusReport) -> list[list[Cell]]:
    """What is well, a line each: name, last run, how long it took, next run."""
    return [[name_of(item, report), *_last_cells(item, report), _next_cell(item, report)] for item in items]


HEALTHY_COLUMNS = (
    Column("TASK"),
    Column("LAST RUN", right=True),
    Column("TOOK", right=True),
    Column("NEXT RUN", right=True),
)


def _block(item: ObjectStatus, report: StatusReport, paint: Paint) -> Iterator[str]:
    word = item.health.upper() if not item.unverified else "UNVERIFIED"
    name = printable(name_of(item, report))
    place = f"  {printable(place_of(item))}" if item.path else ""
    yield f"{paint(word, HEALTH_STYLE[item.health])}  {paint(name, Style.BOLD)}{paint(place, Style.DIM)}"
    for line in reasons(item, report.generated_at):
        yield f"  {line}"
    for line in item.error_lines:
        yield paint("  │ ", Style.DIM) + line
    tail = next_words(item, report.generated_at)
    if tail:
        yield paint(f"  {tail}", Style.DIM)


def _further(items: Sequence[ObjectStatus], report: StatusReport, paint: Paint) -> Iterator[str]:
    """More trouble than fits: a line each, then a count."""
    if not items:
        return
    yield ""
    yield paint(f"and {len(items)} more that need attention", Style.BAD)
    for item in items[:MOST_LISTED]:
        why = next(iter(reasons(item, report.generated_at)), "")
        yield f"  {printable(name_of(item, report))}: {why}"
    if len(items) > MOST_LISTED:
        yield paint(f"  … {len(items) - MOST_LISTED} more: `reconciler status -o json` has all", Style.DIM)


def _short(report: StatusReport, paint: Paint) -> Iterator[str]:
    """What is on purpose or not urgent: suspended and drifted objects."""
    shown = {id(item) for item in attention(report)}
    groups = (
        ("Suspended", [item for item in report.objects if item.health is Health.SUSPENDED]),
        ("Changed by hand", [item for item in report.objects if item.sync is Sync.DRIFTED]),
    )
    for title, items in groups:
        items = [item for item in items if id(item) not in shown]
        shown |= {id(item) for item in items}
        if not items:
            continue
        yield ""
        yield paint(f"{title} ({len(items)})", Style.WARN)
        for item in items[:MOST_LISTED]:
            notes = [
                line
                for line in reasons(item, report.generated_at)
                if line.startswith(("suspended", "drifted"))
            ]
            yield f"  {printable(name_of(item, report))}  {'; '.join(notes)}"
        if len(items) > MOST_LISTED:
            yield paint(f"  … {len(items) - MOST_LISTED} more", Style.DIM)


def _rest(report: StatusReport, paint: Paint) -> Iterator[str]:
    tasks = report.of(Kind.TASK)
    groups = (
        ("Healthy", Style.GOOD, [item for item in tasks if item.health is Health.HEALTHY]),
        (
            "Not run yet",
            Style.DIM,
            [item for item in tasks if item.health is Health.UNKNOWN and item.last is None],
        ),
    )
    for title, style, items in groups:
        if not items:
            continue
        yield ""
        yield paint(f"{title} ({len(items)})", style)
        yield from table(HEALTHY_COLUMNS, healthy_rows(items[:MOST_LISTED], report), paint, indent="  ")
        if len(items) > MOST_LISTED:
            yield paint(f"  … {len(items) - MOST_LISTED} more: `reconciler get tasks` lists them", Style.DIM)


def _last_cells(item: ObjectStatus, report: StatusReport) -> list[Cell]:
    now = report.generated_at
    running = [run for run in item.open if run.state is State.RUNNING]
    if running and running[-1].started_at is not None:
        return [("running", Style.INFO), span((now - running[-1].started_at).total_seconds())]
    run = item.last
    if run is None:
        return [("-", Style.DIM), ("-", Style.DIM)]
    took = "-" if run.duration_seconds is None else span(run.duration_seconds)
    return [relative(run.started_at or run.finished_at, now), took]


def _next_cell(item: ObjectStatus, report: StatusReport) -> Cell:
    if item.next_run is None:
        scheduled = item.condition(ConditionType.SCHEDULED)
        return (_NO_NEXT.get(scheduled.reason if scheduled else "", "-"), Style.DIM)
    return coming(item.next_run, report.generated_at)


_NO_NEXT = {
    "Disabled": "disabled",
    "ServerDisabled": "server disabled",
    "NoSchedule": "when asked",
    "AfterOthers": "after others",
}


def _run_words(run: RunView, now: datetime) -> str:
    attempt = f", attempt {run.attempt}" if run.attempt > 1 else ""
    if run.state is State.RUNNING and run.started_at is not None:
        return f"running for {span((now - run.started_at).total_seconds())}{attempt}"
    due = f"due {relative(run.due_at, now)}"
    return f"waiting, {due}{attempt}"


def _age(item: ObjectStatus, report: StatusReport) -> float:
    """Seconds since it went wrong."""
    times = [
        condition.last_transition for condition in item.conditions if condition.last_transition is not None
    ]
    if item.last is not None and item.last.finished_at is not None:
        times = [item.last.finished_at]
    return (report.generated_at - max(times, default=report.generated_at)).total_seconds()
