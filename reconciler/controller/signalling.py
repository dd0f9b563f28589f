"""What one process tells the others through the cache, and what it does when it hears them."""

from __future__ import annotations

import threading
from collections.abc import Collection
from datetime import datetime

from reconciler.cache.signals import LiveState, Message, Signals
from reconciler.clock import Clock
from reconciler.controller.events import Event, EventKind
from reconciler.controller.loop import Loop
from reconciler.controller.outage import Outage
from reconciler.model.execution import Reason, State
from reconciler.store import claims
from reconciler.store.engine import Database

REBUILD_SECONDS = 300.0
"""How often the due times are written anew, whatever is believed of them."""
SOON_SECONDS = 10.0
"""After an apply, an outage, a flush: but no more often than that."""
_LOOK_SECONDS = 1.0
_UNPROVEN = (Reason.LOST, Reason.UNREACHABLE)


class DueTimes:
    """One loop of a process that schedules: rebuilds the cache's due times from the database."""

    def __init__(self, db: Database, signals: Signals, clock: Clock, outage: Outage) -> None:
        self._db = db
        self._signals = signals
        self._clock = clock
        self._outage = outage
        self._changed = False
        self._rebuilt = float("-inf")
        self._loop = Loop("due-times", self._step, clock, outage)

    def start(self) -> None:
        """Begin, with a rebuild as soon as the cache can take it."""
        self._loop.start()

    def changed(self) -> None:
        """Something was applied: due times may be anywhere."""
        self._changed = True

    def end(self) -> None:
        """No further rebuild begins."""
        self._loop.end()

    def _step(self) -> float:
        age = self._clock.monotonic() - self._rebuilt
        wanted = self._changed or self._signals.wants_due_times()
        if age >= REBUILD_SECONDS or (wanted and age >= SOON_SECONDS):
            self._rebuilt = self._clock.monotonic()
            self._changed = False
            with self._db.read() as connection:
                times = claims.due_times(connection)
            self._outage.succeeded()
            self._signals.rebuild(times)
        return _LOOK_SECONDS


class Feed:
    """Passes events on: to live views, and as the live state of their tasks."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._lock = threading.Lock()
        self._running: dict[int, LiveState] = {}

    def event(self, event: Event) -> None:
        """A listener for the announcer."""
        state = state_of_task(event)
        if state is not None:
            with self._lock:
                if event.kind is EventKind.STARTED:
                    self._running[event.execution_id] = state
                else:
                    self._running.pop(event.execution_id, None)
        self._signals.happened(message_of(event), state)

    def still(self, held: Collection[int]) -> None:
        """Tell again what runs, so that it comes back after a flush; ``held``: what this process holds."""
        with self._lock:
            self._running = {key: state for key, state in self._running.items() if key in held}
            states = list(self._running.values())
        for state in states:
            self._signals.still(state)


def message_of(event: Event) -> Message:
    """The event as JSON, without its sentence: that may be long, and whoever wants it reads the row."""
    words = {
        "kind": event.kind.value,
        "execution": str(event.execution_id),
        "task": event.task,
        "server": event.server,
        "at": _text(event.at),
        "attempt": event.attempt,
        "state": event.state,
        "reason": event.reason,
        "exitCode": event.exit_code,
        "seconds": event.seconds,
    }
    return {key: value for key, value in words.items() if value is not None}


def state_of_task(event: Event) -> LiveState | None:
    """What the event makes of its task's HASH; a skipped slot is no execution, a retry will have its own."""
    if event.state is None or event.kind in (EventKind.SKIPPED, EventKind.RETRYING):
        return None
    fields = {
        "execution": str(event.execution_id),
        "task": event.task,
        "server": event.server,
        "attempt": str(event.attempt),
        "state": event.state.value,
    }
    if event.kind is EventKind.CLAIMED:
        fields["scheduledFor"] = _text(event.at)
        progress = 0
    elif event.kind is EventKind.STARTED:
        fields["startedAt"] = _text(event.at)
        progress = 1
    else:
        fields["finishedAt"] = _text(event.at)
        fields["reason"] = event.reason.value if event.reason else ""
        fields["exitCode"] = "" if event.exit_code is None else str(event.exit_code)
        progress = 2 if event.state is State.FAILED and event.reason in _UNPROVEN else 3
    return LiveState(event.task_id, event.execution_id, progress, fields)


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"
