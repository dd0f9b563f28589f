"""What a person reads: facts to a title and a text. Pure.

Plain text, since every target takes it; printable only, since output of commands is in it.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

LISTED = 20
"""Lines in a digest; the rest is counted."""
_HARMFUL = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of Unicode: control, format, surrogates, separators of lines and paragraphs."""
_LONGEST_LINE = 300
_LONGEST_TITLE = 120
_SEVERITY = ("overdue", "failure", "guard", "stalled", "drift", "recovery")
"""The worst first: what silently did not run, before what failed and says so."""
_WORDS = {
    "failure": "FAILED",
    "recovery": "RECOVERED",
    "overdue": "OVERDUE",
    "drift": "DRIFTED",
    "stalled": "STALLED",
    "guard": "GUARD TRIPPED",
}


@dataclass(frozen=True, slots=True)
class Run:
    """A run as its message tells it. ``lines`` are the last ones of its output, ``of`` says of which."""

    id: int
    attempt: int
    scheduled_for: datetime
    due_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    exit_code: int | None
    lines: tuple[str, ...] = ()
    of: str = "output"


@dataclass(frozen=True, slots=True)
class Fact:
    """One event. ``task`` and ``server`` are None for events of a project, ``said`` is the reason in words;
    ``where`` is a link or a place; ``run`` is None where none caused it, or it is no longer kept."""

    event: str
    project: str
    task: str | None
    server: str | None
    reason: str
    said: str
    at: datetime
    where: str | None = None
    run: Run | None = None

    @property
    def subject(self) -> str:
        """What it is about."""
        name = self.task or f"project {self.project}"
        return f"{name}@{self.server}" if self.server else name


@dataclass(frozen=True, slots=True)
class Note:
    """A message that can be sent. ``id`` is the same each time it is tried; ``data`` is JSON-ready."""

    id: str
    kind: str
    title: str
    text: str
    at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether it is good news."""
        return self.kind == "recovery"


def single(note_id: str, fact: Fact) -> Note:
    """One event, with all that whoever is on call needs."""
    title = clipped(f"{_word(fact.event)} {fact.subject} ({fact.project}): {_short(fact)}", _LONGEST_TITLE)
    lines = [printable(_sentence(fact)), *_times(fact)]
    if fact.run is not None and fact.run.lines:
        lines += ["", f"Last lines of its {fact.run.of}:"]
        lines += [f"  {clipped(line, _LONGEST_LINE)}" for line in fact.run.lines]
    if fact.where:
        lines += ["", f"Declared at: {printable(fact.where)}"]
    lines += ["", "Next:", *(f"  {printable(step)}" for step in _next(fact))]
    return Note(note_id, fact.event, title, "\n".join(lines), fact.at, _data(fact))


def digest(note_id: str, facts: Sequence[Fact], at: datetime, more: bool) -> Note:
    """Many events in one message: counts, and the worst first. ``more``: still others wait."""
    counts = Counter(fact.event for fact in facts)
    summary = ", ".join(f"{counts[event]} {event}" for event in _ordered(counts))
    title = clipped(f"{len(facts)} events: {summary}", _LONGEST_TITLE)
    worst = sorted(facts, key=lambda fact: (_rank(fact.event), -fact.at.timestamp()))
    lines = [f"{len(facts)} events came in a short time{'; more follow' if more else ''}: {summary}.", ""]
    lines += [_line(fact) for fact in worst[:LISTED]]
    if len(worst) > LISTED:
        lines.append(f"… and {len(worst) - LISTED} more")
    projects = Counter(fact.project for fact in facts)
    lines += ["", "By project: " + ", ".join(f"{printable(p)} {n}" for p, n in projects.most_common(LISTED))]
    lines += ["", "Next:", "  reconciler status          what needs attention first, and why"]
    data = {
        "events": dict(counts),
        "projects": dict(projects),
        "worst": [_data(fact) for fact in worst[:LISTED]],
    }
    return Note(note_id, "digest", title, "\n".join(lines), at, data)


def printable(text: str) -> str:
    """On one line and harmless: control characters, and those that turn the direction of writing, shown."""
    text = text.replace("\n", " ").replace("\t", " ").replace("\r", "")
    if text.isprintable():
        return text
    return "".join(_escape(one) if unicodedata.category(one) in _HARMFUL else one for one in text)


def _escape(one: str) -> str:
    return f"\\x{ord(one):02x}" if ord(one) < 256 else f"\\u{ord(one):04x}"


def clipped(text: str, limit: int) -> str:
    """Printable, and not longer than ``limit`` characters."""
    text = printable(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def last_lines(text: str, count: int) -> tuple[str, ...]:
    """The last lines that say something."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return tuple(lines[-count:])


def _word(event: str) -> str:
    return _WORDS.get(event, event.upper())


def _rank(event: str) -> int:
    return _SEVERITY.index(event) if event in _SEVERITY else len(_SEVERITY)


def _ordered(counts: Mapping[str, int]) -> list[str]:
    return sorted(counts, key=lambda event: (_rank(event), event))


def _short(fact: Fact) -> str:
    if fact.run is not None and fact.run.exit_code is not None:
        return f"exit code {fact.run.exit_code}"
    return fact.said if len(fact.said) <= 60 else fact.reason


def _sentence(fact: Fact) -> str:
    where = f" on server {fact.server}" if fact.server else ""
    what = f"Task {fact.task}{where}, project {fact.project}" if fact.task else f"Project {fact.project}"
    verb = {"failure": "failed", "recovery": "succeeded again", "overdue": "is overdue"}.get(
        fact.event,
        {"drift": "was changed by hand", "guard": "is held by its guard"}.get(fact.event, "is stalled"),
    )
    attempt = f", attempt {fact.run.attempt}" if fact.run is not None and fact.run.attempt > 1 else ""
    return f"{what}, {verb}: {fact.said}{attempt}."


def _times(fact: Fact) -> list[str]:
    if fact.run is None:
        return [f"Since {_stamp(fact.at)}."]
    run = fact.run
    words = [f"Was due {_stamp(run.due_at)}"]
    words.append("never started" if run.started_at is None else f"started {_stamp(run.started_at)}")
    if run.finished_at is not None:
        words.append(f"ended {_stamp(run.finished_at)}")
    return [", ".join(words) + "."]


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _next(fact: Fact) -> list[str]:
    if fact.event == "guard":
        return [
            "look at the commit: is so much meant to be deleted?",
            "reconciler plan PATH       shows what would go, and the digest",
            "reconciler apply PATH --allow-deletions DIGEST    releases it",
        ]
    if fact.task is None:
        return ["reconciler status          says what holds it up, and what to do"]
    address = f"'{fact.subject}'" if " " in fact.subject else fact.subject
    steps = []
    if fact.run is not None:
        steps.append(f"reconciler logs {fact.run.id}    all that it wrote")
    if fact.event == "drift":
        steps.append("reconciler plan PATH       shows the fields; an apply puts them back")
    elif fact.event != "recovery":
        steps.append(f"reconciler explain {address}    why it ran, or did not")
        steps.append(f"reconciler run {address}    runs it now")
    return steps or [f"reconciler describe task {address}"]


def _line(fact: Fact) -> str:
    execution = f"  (logs {fact.run.id})" if fact.run is not None else ""
    return clipped(
        f"{_word(fact.event)} {fact.subject} ({fact.project}): {_short(fact)}{execution}", _LONGEST_LINE
    )


def _data(fact: Fact) -> dict[str, Any]:
    run = fact.run
    return {
        "event": fact.event,
        "project": fact.project,
        "task": fact.task,
        "server": fact.server,
        "reason": fact.reason,
        "message": printable(fact.said),
        "at": _iso(fact.at),
        "declaredAt": fact.where,
        "execution": None
        if run is None
        else {
            "id": str(run.id),
            "attempt": run.attempt,
            "exitCode": run.exit_code,
            "scheduledFor": _iso(run.scheduled_for),
            "dueAt": _iso(run.due_at),
            "startedAt": _iso(run.started_at),
            "finishedAt": _iso(run.finished_at),
            "lastLines": [clipped(line, _LONGEST_LINE) for line in run.lines],
        },
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
