"""The scheduler loop: sleeps until the next due time, claims, wakes whoever executes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime

from reconciler.cache.signals import Kind, Signals
from reconciler.clock import Clock
from reconciler.controller.events import Announcer, Event, EventKind
from reconciler.controller.loop import Loop
from reconciler.controller.outage import Outage
from reconciler.dispatch.lag import Lagging
from reconciler.dispatch.scheduler import Claimed, Scheduler
from reconciler.model.execution import Reason, State
from reconciler.store.claims import NewExecution

log = logging.getLogger("reconciler.controller")

LOOK_SECONDS = 1.0
"""The longest sleep: the wall clock may jump, and only looking at it tells."""
RECHECK_SECONDS = 10.0
"""The next due time is asked for anew after so long, whatever we believe."""
BARRED_SECONDS = 0.25
"""How often to look whether claiming may go on."""
_HELD_SECONDS = (0.03, 0.5)
"""A due task that another scheduler or an apply holds locked will be free in a moment; a long apply is asked
less and less often."""
HINT_SECONDS = 0.25
"""A hint is followed at most so often: it comes from where nobody vouches for it."""


class Scheduling:
    """One thread that claims due slots."""

    def __init__(
        self,
        scheduler: Scheduler,
        lagging: Lagging,
        clock: Clock,
        outage: Outage,
        announcer: Announcer,
        on_claimed: Callable[[], None],
        signals: Signals,
        barred: Callable[[], bool] = lambda: False,
    ) -> None:
        """``barred``: whether nothing may be claimed now."""
        self._scheduler = scheduler
        self._lagging = lagging
        self._clock = clock
        self._outage = outage
        self._announcer = announcer
        self._on_claimed = on_claimed
        self._signals = signals
        self._hint: datetime | None = None
        self._barred = barred
        self._next: datetime | None = None
        self._asked_at = float("-inf")
        self._held = _HELD_SECONDS[0]
        self._loop = Loop("schedule", self._step, clock, outage)

    def start(self) -> None:
        """Begin to claim."""
        self._loop.start()

    def count_as_missed(self, late_after: float) -> None:
        """See `Scheduler.count_as_missed`."""
        self._scheduler.count_as_missed(late_after)

    def changed(self) -> None:
        """Something was applied or asked for: due times may be anywhere."""
        self._scheduler.look_everywhere()
        self._asked_at = float("-inf")
        self._loop.wake()

    def hint(self, at: datetime) -> None:
        """Something may be due then (a cache says so): look at the database then at the latest."""
        if self._next is None or at < self._next:
            self._hint = at
            self._loop.wake()

    def stop(self, seconds: float) -> None:
        """Claim no more; a claim under way is finished."""
        self._loop.end()
        if self._loop.ident is not None:
            self._loop.join(seconds)

    def _step(self) -> float | None:
        """Claim what is due; seconds until something may be due again."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        stale = monotonic - self._asked_at >= RECHECK_SECONDS
        if self._hint is not None and self._hint <= now:
            self._hint = None
            stale = stale or monotonic - self._asked_at >= HINT_SECONDS
        if not stale and (self._next is None or self._next > now):
            return self._pause(now)
        if self._barred():
            return BARRED_SECONDS
        claimed = self._scheduler.claim()
        if claimed.waiting:
            self._on_claimed()
        self._signal(claimed)
        self._announce(claimed)
        if not claimed.complete:
            self._lagging.claimed(claimed, None)
            return 0.0
        self._next = self._scheduler.next_due()
        self._asked_at = monotonic
        self._outage.succeeded()
        self._lagging.claimed(claimed, self._next)
        now = self._clock.now()
        if not claimed.tasks and self._next is not None and self._next <= now:
            pause, self._held = self._held, min(2 * self._held, _HELD_SECONDS[1])
            return pause
        self._held = _HELD_SECONDS[0]
        return self._pause(now)

    def _pause(self, now: datetime) -> float:
        times = [at for at in (self._next, self._hint) if at is not None]
        return min([LOOK_SECONDS, *(max(0.0, (at - now).total_seconds()) for at in times)])

    def _signal(self, claimed: Claimed) -> None:
        """After the commit: whoever hears it finds the rows."""
        if claimed.waiting:
            self._signals.tell(Kind.WAITING)
        if claimed.replacing:
            self._signals.tell(Kind.CHANGED)
        self._signals.due(claimed.times)

    def _announce(self, claimed: Claimed) -> None:
        if not self._announcer.heard:
            return
        now = self._clock.now()
        for row in claimed.waiting:
            task, server = claimed.names[row.task_id]
            late = (now - row.due_at).total_seconds()
            self._announcer.tell(
                Event(
                    EventKind.CLAIMED,
                    row.id,
                    row.task_id,
                    task,
                    server,
                    row.scheduled_for,
                    state=State.WAITING,
                    late=late,
                )
            )
        if claimed.skipped:
            for event in skips(claimed):
                self._announcer.tell(event)


def skips(claimed: Claimed) -> Iterator[Event]:
    """An event for each row that was skipped; after an outage they are up to a hundred of each task, of which
    the first speaks for all that have its reason.
    """
    groups: dict[tuple[int, Reason | None], list[NewExecution]] = {}
    for row in claimed.skipped:
        groups.setdefault((row.task_id, row.reason), []).append(row)
    for (task_id, reason), rows in groups.items():
        task, server = claimed.names[task_id]
        for row in rows:
            yield Event(
                EventKind.SKIPPED,
                row.id,
                task_id,
                task,
                server,
                row.scheduled_for,
                state=State.SKIPPED,
                reason=reason,
                slots=sum(item.count for item in rows) if row is rows[0] else 0,
                until=rows[-1].scheduled_for,
            )
