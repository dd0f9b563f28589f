"""A whole process: sources that are kept applied beside a runtime that schedules and executes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from reconciler.clock import Clock
from reconciler.controller.health import Health
from reconciler.controller.loop import Loop
from reconciler.controller.notifying import Notifying
from reconciler.controller.publishing import Publisher
from reconciler.controller.reconcile import Reconciler
from reconciler.controller.runtime import DRAIN_SECONDS, Runtime
from reconciler.controller.survey import Survey
from reconciler.controller.watch import Watcher
from reconciler.controller.webhook import Push
from reconciler.controller.within import within
from reconciler.errors import Temporary
from reconciler.notify.delivery import Counts

_PASS_SECONDS = 5.0
"""How long the end waits for a reconcile that is under way; its transaction is whole or not at all."""
_LAST_SECONDS = 2.0
"""How long each kind of last word may take: leases end by themselves, too."""
_LOOK_SECONDS = 900.0
"""How long one look at a source may take: a first clone of a large repository over a slow line, then an
apply."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A source's reconciler and the loop that calls it."""

    reconciler: Reconciler
    loop: Loop

    def changed(self) -> None:
        """Something changed at the source: look now."""
        self.reconciler.changed()
        self.loop.wake()


class Service:
    """``up``, ``controller`` and ``worker`` are this with different parts. Started and stopped once each."""

    def __init__(
        self,
        runtime: Runtime,
        reconcilers: Sequence[Reconciler],
        clock: Clock,
        end: threading.Event,
        publisher: Publisher | None = None,
        survey: Survey | None = None,
        notifying: Notifying | None = None,
    ) -> None:
        """``end`` is set when it is to end, also for reconcilers that look at a slow source."""
        self.runtime = runtime
        self._end = end
        outage = runtime.outage
        self.survey = survey
        self.health = Health(runtime, clock, survey)
        self._kept: list[_Kept] = []
        self.publisher = publisher
        self._publishing = None if publisher is None else Loop("publish", publisher.step, clock, outage)
        self._notifying = notifying
        self._watchers: list[Watcher] = []
        for reconciler in reconcilers:
            source = reconciler.source
            loop = Loop(f"reconcile {source.label}", reconciler.step, clock, outage, patience=_LOOK_SECONDS)
            kept = _Kept(reconciler, loop)
            self._kept.append(kept)
            if source.watched is not None:
                git = source.place is not None
                self._watchers.append(Watcher(source.watched, kept.changed, end, clock, git=git))

    def start(self) -> None:
        """Raises the database's errors; after that every failure is survived and logged."""
        self.runtime.start()
        for kept in self._kept:
            kept.loop.start()
        for watcher in self._watchers:
            watcher.start()
        if self._publishing is not None:
            self._publishing.start()
        if self._notifying is not None:
            self._notifying.start()
        if self.survey is not None:
            self.survey.start()
        self.health.begun()

    @property
    def reconcilers(self) -> list[Reconciler]:
        return [kept.reconciler for kept in self._kept]

    @property
    def notifies(self) -> bool:
        """Whether it tells people what happened."""
        return self._notifying is not None

    @property
    def messages(self) -> Mapping[str, Counts]:
        """What this process told people, by target of the settings; begins anew with changed ones."""
        return {} if self._notifying is None else self._notifying.counts

    def notify_by(self, notifying: Notifying) -> None:
        """From now on people are told this way; what is being sent ends first."""
        if self._notifying is not None:
            self._notifying.stop()
        self._notifying = notifying
        notifying.start()

    def pushed(self, push: Push) -> list[str]:
        """A forge told of a push: look now. The labels of the sources concerned."""
        concerned = [kept for kept in self._kept if kept.reconciler.source.concerns(push)]
        for kept in concerned:
            kept.changed()
        return [kept.reconciler.source.label for kept in concerned]

    def stop(self, seconds: float = DRAIN_SECONDS, *, finish: bool = True) -> bool:
        """See ``Runtime.stop``; nothing is applied any more when the runs are drained."""
        self._end.set()
        self.health.ending()
        if self.survey is not None:
            self.survey.stop(0.0)
        for kept in self._kept:
            kept.loop.end()
        self.runtime.end_within(seconds, finish=finish)
        for kept in self._kept:
            kept.loop.join(min(_PASS_SECONDS, self.runtime.left))
        self._last("resign", self._resign)
        recorded = self.runtime.stop(seconds, finish=finish)
        if self._notifying is not None:
            within(_LAST_SECONDS, "notify", self._notifying.stop)
        self._last("publish", self._publish, _PASS_SECONDS)
        return recorded

    def _last(self, name: str, work: Callable[[], None], seconds: float = _LAST_SECONDS) -> None:
        """Last words to the database, unless it does not answer; a process that ends needs none of them."""
        if not self.runtime.away:
            within(seconds, name, work)

    def _resign(self) -> None:
        """Let another controller lead at once."""
        for kept in self._kept:
            with suppress(Temporary):
                kept.reconciler.resign()

    def _publish(self) -> None:
        """The page says how everything ended."""
        if self.publisher is not None and self._publishing is not None:
            self._publishing.stop(_PASS_SECONDS)
            self.publisher.step()
