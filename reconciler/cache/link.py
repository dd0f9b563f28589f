"""Signals over Redis: one thread that writes, one that listens, what both know of its health."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from reconciler.cache.health import Health
from reconciler.cache.listener import Listener
from reconciler.cache.place import Place
from reconciler.cache.signals import Kind, LiveState, Message, News
from reconciler.cache.writer import Writer
from reconciler.clock import Clock


class RedisSignals:
    """Implements ``Signals``. Started and closed once each; before that whatever is told is lost."""

    def __init__(self, place: Place, clock: Clock, owner: str) -> None:
        """``owner`` names this process: it does not hear itself. Raises SettingsInvalid for a wrong URL."""
        self._client = place.client()
        self._place = place
        self._clock = clock
        self._owner = owner
        self._health = Health(clock)
        self._writer: Writer | None = None
        self._listener: Listener | None = None

    def start(self, hear: Callable[[News], None], next_due: Callable[[datetime], None]) -> None:
        """See ``Signals``."""
        client = self._client
        self._writer = Writer(
            self._place, client, self._clock, self._health, self._owner, next_due, watch=True
        )
        self._listener = Listener(self._place, client, self._clock, self._health, self._owner, hear)
        self._writer.start()
        self._listener.start()

    def tell(self, kind: Kind) -> None:
        """See ``Signals``."""
        if self._writer is not None:
            self._writer.tell(kind)

    def happened(self, message: Message, state: LiveState | None) -> None:
        """See ``Signals``."""
        if self._writer is not None:
            self._writer.happened(message, state)

    def still(self, state: LiveState) -> None:
        """See ``Signals``."""
        if self._writer is not None:
            self._writer.still(state)

    def due(self, times: Iterable[tuple[int, datetime | None]]) -> None:
        """See ``Signals``."""
        if self._writer is not None:
            self._writer.due(times)

    def wants_due_times(self) -> bool:
        """See ``Signals``."""
        return self._writer is not None and self._writer.wants_due_times()

    def rebuild(self, times: Iterable[tuple[int, datetime]]) -> None:
        """See ``Signals``."""
        if self._writer is not None:
            self._writer.rebuild(times)

    def close(self, seconds: float) -> None:
        """See ``Signals``."""
        if self._writer is not None:
            self._writer.close(seconds)
        if self._listener is not None:
            self._listener.close(seconds)


def wake_others(place: Place, clock: Clock, owner: str, seconds: float = 1.0) -> None:
    """For a command that ends at once: say that something changed; give up after ``seconds``.

    Raises SettingsInvalid for an unusable URL; that Redis is away is logged, and no more.
    """
    writer = Writer(place, place.client(), clock, Health(clock), owner, lambda at: None, watch=False)
    writer.start()
    writer.tell(Kind.CHANGED)
    writer.close(seconds)
