"""The answer of ``explain`` for a person: what happened and why, what would change it, what comes next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import datetime, tzinfo

from reconciler.report.explain import Explanation
from reconciler.report.explain_words import Verdict
from reconciler.report.layout import Cell, Column, Paint, Style, plain, printable, table
from reconciler.report.rows import EXECUTION_COLUMNS, execution_row
from reconciler.report.timeline import Fire
from reconciler.report.timeline_text import NOTES
from reconciler.report.times import moment_text, relative, stamp, zone_or_utc

_STYLES = {
    Verdict.RAN: Style.GOOD,
    Verdict.SKIPPED: Style.WARN,
    Verdict.RUNNING: Style.INFO,
    Verdict.NOT_DUE: Style.DIM,
    Verdict.OVERDUE: Style.BAD,
    Verdict.UPCOMING: Style.INFO,
}


def explanation_text(found: Explanation, paint: Paint = plain, columns: int | None = None) -> Iterator[str]:
    """The lines of an answer; its sentences broken at so many columns, None: not at all."""
    task, said = found.task, found.answer
    last = found.execution
    style = Style.BAD if last is not None and last.status == 2 else _STYLES[said.verdict]
    word = said.verdict.value if said.reason == said.verdict else f"{said.verdict.value}: {said.reason}"
    yield (
        paint(printable(task.address), Style.BOLD)
        + f" at {moment_text(found.at, task.timezone)}  "
        + paint(printable(word), style)
    )
    yield ""
    yield from _prose(_sentence(said.message, _names(found)), columns)
    if said.hint is not None:
        yield from _prose(_sentence(said.hint), columns)
    if found.note is not None:
        yield paint(f"  {NOTES[found.note].capitalize()} ({found.note}).", Style.WARN)
    if len(found.runs) > 1:
        yield from _title("Attempts", paint)
        rows = [execution_row(run, found.now) for run in found.runs]
        yield from table(EXECUTION_COLUMNS, rows, paint, indent="  ")
    yield ""
    yield from _beside("previous slot", found.previous, found, paint)
    yield from _beside("next slot", found.next, found, paint)
    if found.next_forbidden is not None:
        yield paint(f"  {'':<13}  does not run: {printable(found.next_forbidden)}", Style.WARN)
    yield from _coming(found, paint)


def _prose(text: str, columns: int | None) -> list[str]:
    """A sentence, in lines of at most so many columns as far as its words allow."""
    if columns is None:
        return [f"  {printable(text)}"]
    indent = "  "
    return textwrap.wrap(
        printable(text),
        columns,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _names(found: Explanation) -> tuple[str, ...]:
    """Who and what a sentence may begin with: they are written as they are."""
    after = found.task.document["spec"].get("after")
    names = after if isinstance(after, list) else []
    return tuple(filter(None, [*map(str, names), *(run.requested_by for run in found.runs)]))


def _sentence(text: str, names: tuple[str, ...] = ()) -> str:
    begun = text if text.startswith(("`", *names)) else text[:1].upper() + text[1:]
    return begun if begun.endswith((".", "!", "?")) else begun + "."


def _title(text: str, paint: Paint) -> Iterator[str]:
    yield ""
    yield paint(text, Style.BOLD)


def _beside(name: str, slot: datetime | None, found: Explanation, paint: Paint) -> Iterator[str]:
    label = paint(f"  {name:<13}", Style.DIM)
    if slot is None:
        yield f"{label}  none"
        return
    # where nothing else is known the present schedule tells, as `schedule` does; but it was not in force
    only = "" if found.in_force(slot) else paint("  by the present schedule, not in force then", Style.DIM)
    yield f"{label}  {moment_text(slot, found.task.timezone)}, {relative(slot, found.now)}{only}"


def _coming(found: Explanation, paint: Paint) -> Iterator[str]:
    yield from _title("Next runs", paint)
    if not found.fires:
        yield "  none by itself"
        return
    zone = zone_or_utc(found.task.timezone)
    rows: list[list[Cell]] = [
        [
            _local(fire, zone),
            stamp(fire.at),
            relative(fire.at, found.now),
            "" if fire.scheduled_for == fire.at else f"slot {stamp(fire.scheduled_for)}",
            (NOTES.get(fire.note or "", ""), Style.WARN),
        ]
        for fire in found.fires
    ]
    columns = (Column("LOCAL"), Column("UTC"), Column("", right=True), Column("SLOT"), Column("NOTE"))
    yield from table(columns, rows, paint, indent="  ")


def _local(fire: Fire, zone: tzinfo) -> str:
    """``Sun 2026-03-29 03:00 CEST Europe/Berlin``; nothing for UTC, which stands beside it."""
    if fire.task.timezone == "UTC":
        return ""
    local = fire.at.astimezone(zone)
    clock = local.strftime("%H:%M:%S" if local.second else "%H:%M")
    return f"{local:%a %Y-%m-%d} {clock} {local:%Z} {fire.task.timezone}"
