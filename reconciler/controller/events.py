"""What happens to executions, told to whoever watches this process: the live lines of the command line."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

from reconciler.model.execution import Reason, State
from reconciler.model.value import value

log = logging.getLogger("reconciler.controller")


class EventKind(StrEnum):
    """``skipped`` are slots that only have a row; ``retrying`` follows an ``ended`` that is tried again."""

    CLAIMED = "claimed"
    SKIPPED = "skipped"
    STARTED = "started"
    ENDED = "ended"
    RETRYING = "retrying"


@value
class Event:
    """One thing that happened. ``at``: when; of ``retrying``: when the next attempt is due.

    ``seconds``: from the start on the host to the end. ``late``: seconds from due to ``claimed`` or
    ``started``, None where a run was attached to. ``message``: one sentence, where there is one.
    ``project`` and ``commit`` are not told of claims. ``slots``: of how many skipped slots of its task a
    line for people is to speak, those up to ``until`` that were skipped at once for one reason; 0: an
    earlier event speaks of it.
    """

    kind: EventKind
    execution_id: int
    task_id: int
    task: str
    server: str
    at: datetime
    attempt: int = 1
    state: State | None = None
    reason: Reason | None = None
    exit_code: int | None = None
    seconds: float | None = None
    message: str | None = None
    late: float | None = None
    project: str | None = None
    commit: str | None = None
    slots: int = 1
    until: datetime | None = None


Listener = Callable[[Event], None]


class Announcer:
    """Hands events to listeners, whose failures are their own."""

    def __init__(self, *listeners: Listener | None) -> None:
        self._listeners = [listener for listener in listeners if listener is not None]

    @property
    def heard(self) -> bool:
        """Whether anyone listens: else events need not be made."""
        return bool(self._listeners)

    def tell(self, event: Event) -> None:
        """From any thread; never raises."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                log.exception("a listener for events failed; it hears no more")
                self._listeners = [other for other in self._listeners if other is not listener]
