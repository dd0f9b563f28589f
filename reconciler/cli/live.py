"""What a long-running command shows while it works: a line for each end, apply and trouble."""

from __future__ import annotations

import json
import shlex
import threading
from datetime import datetime
from typing import Any

from reconciler.cli.console import CYAN, DIM, GREEN, RED, YELLOW, Console, paint
from reconciler.cli.trees import show_problems
from reconciler.clock import Clock
from reconciler.controller.events import Event, EventKind
from reconciler.controller.reconcile import News, Report
from reconciler.model.execution import Reason, State
from reconciler.model.instant import rfc3339

_SIGNS = {
    State.SUCCESS: ("✓", GREEN),
    State.FAILED: ("✗", RED),
    State.SKIPPED: ("-", YELLOW),
    State.WAITING: ("…", DIM),
    State.RUNNING: ("▶", DIM),
}


class Live:
    """Prints events and reports, from any thread, as text or (RECONCILER_LOG=json) as JSON lines."""

    def __init__(self, console: Console, clock: Clock, form: str) -> None:
        self._console = console
        self._clock = clock
        self._json = False
        self.use(form)
        self._lock = threading.Lock()

    def use(self, form: str) -> None:
        """From now on print as ``text`` or ``json``."""
        self._json = form == "json"

    def event(self, event: Event) -> None:
        """One execution went on; claims and starts are only told to machines."""
        if self._json:
            self._object(_event_shape(event))
        elif event.kind in (EventKind.ENDED, EventKind.SKIPPED, EventKind.RETRYING) and event.slots:
            self._line(event.at, self._event_text(event))

    def report(self, report: Report) -> None:
        """A tree was applied, or could not be; its problems go to stderr with their lines."""
        if self._json:
            self._object(_report_shape(report, self._clock.now()))
            return
        text = f"{report.path}: {report.message}"
        match report.news:
            case News.APPLIED if report.applied is not None:
                text = f"applied {report.message}: {_counts(report.applied.summary)}"
                self._line(self._clock.now(), self._paint(text, CYAN))
            case News.INVALID if report.tree is not None:
                with self._lock:
                    show_problems(report.tree, self._console)
                self._warn(f"{text}; what was applied last goes on")
            case News.STOPPED:
                hint = report.error.hint if report.error is not None else None
                self._warn(text + (f" ({hint})" if hint else ""))
            case _:
                self._line(self._clock.now(), self._paint(report.message, DIM))

    def say(self, text: str) -> None:
        """A line about the process itself."""
        if not self._json:
            self._line(self._clock.now(), self._paint(text, DIM))

    def _event_text(self, event: Event) -> str:
        state = State.SKIPPED if event.kind is EventKind.SKIPPED else event.state or State.RUNNING
        sign, style = _SIGNS[state]
        if event.kind is EventKind.RETRYING:
            again = f"{event.task}@{event.server}  attempt {event.attempt} at {event.at:%H:%M:%S}"
            return f"{self._paint('↻', YELLOW)} {again}"
        words = [f"{event.task}@{event.server}"]
        if event.reason is not None and state is not State.SUCCESS:
            words.append(event.reason.value + (f" {event.exit_code}" if event.exit_code else ""))
        if event.reason is Reason.MISSED or event.slots > 1:
            words.append(_skipped_text(event))
        if event.seconds is not None:
            words.append(f"{event.seconds:.2f} s")
        if event.message:
            words.append(event.message)
        return f"{self._paint(sign, style)} {'  '.join(words)}"

    def _warn(self, text: str) -> None:
        at = self._clock.now()
        with self._lock:
            warning = paint("warning: ", YELLOW, self._console.colour_err)
            self._console.note(f"{at:%H:%M:%S} {warning}{text}")

    def _paint(self, text: str, style: str) -> str:
        return paint(text, style, self._console.colour)

    def _line(self, at: datetime, text: str) -> None:
        with self._lock:
            self._console.out.write(f"{at:%H:%M:%S} {text}\n")
            self._console.out.flush()

    def _object(self, value: dict[str, Any]) -> None:
        with self._lock:
            self._console.out.write(json.dumps(value, ensure_ascii=False) + "\n")
            self._console.out.flush()


def _skipped_text(event: Event) -> str:
    """Which slots did not run, and how to find out why."""
    until = event.at if event.until is None else event.until
    first = f"{event.at:%Y-%m-%d %H:%M:%S}"
    which = f"the slot of {first} UTC"
    if event.slots > 1:
        last = f"{until:%H:%M:%S}" if until.date() == event.at.date() else f"{until:%Y-%m-%d %H:%M:%S}"
        which = f"{event.slots} slots from {first} to {last} UTC"
    return f"{which}; why: reconciler explain {shlex.quote(f'{event.task}@{event.server}')}"


def _counts(summary: Any) -> str:
    done = {
        "create": "created",
        "update": "updated",
        "rename": "renamed",
        "delete": "deleted",
        "restore": "restored",
    }
    parts = [f"{summary[name]} {word}" for name, word in done.items() if summary.get(name)]
    return ", ".join(parts) or "put back what was changed by hand"


def _event_shape(event: Event) -> dict[str, Any]:
    return {
        "time": rfc3339(event.at),
        "event": event.kind.value,
        "execution": str(event.execution_id),
        "task": event.task,
        "server": event.server,
        "attempt": event.attempt,
        "state": event.state.value if event.state else None,
        "reason": event.reason.value if event.reason else None,
        "exitCode": event.exit_code,
        "durationSeconds": event.seconds,
        "message": event.message,
        "project": event.project,
        "commit": event.commit,
    }


def _report_shape(report: Report, now: datetime) -> dict[str, Any]:
    applied = report.applied
    problems = report.tree.loaded.problems if report.tree is not None else ()
    return {
        "time": rfc3339(now),
        "event": report.news.value,
        "path": str(report.path),
        "message": report.message,
        "project": report.project,
        "commit": report.commit,
        "revision": applied.revision.id if applied is not None and applied.revision is not None else None,
        "problems": [f"{one.path}:{one.line}:{one.column}: {one.message}" for one in problems],
    }
