"""The one thread that listens: messages of other processes become News, many of them one."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from reconciler.cache.faults import mapped
from reconciler.cache.health import Health, pause_after
from reconciler.cache.place import Place
from reconciler.cache.signals import Kind, News
from reconciler.clock import Clock
from reconciler.errors import CacheUnavailable

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import PubSub

log = logging.getLogger("reconciler.cache")

REST = 0.01
"""Seconds between two News: whatever floods the channel wakes nobody more often."""
SILENCE_SECONDS = 2.0
"""After so long without a word the server is asked whether it is there; it has as long to answer."""
_SLICE = 0.25
_ENDED = "ended"


class Listener(threading.Thread):
    """``hear`` is called for what others say, and once after each (new) subscription."""

    def __init__(
        self,
        place: Place,
        client: Redis,
        clock: Clock,
        health: Health,
        owner: str,
        hear: Callable[[News], None],
    ) -> None:
        super().__init__(name="redis-listen", daemon=True)
        self._place = place
        self._client = client
        self._clock = clock
        self._health = health
        self._owner = owner
        self._hear = hear
        self._end = threading.Event()

    def close(self, seconds: float) -> None:
        """End; give up waiting after ``seconds``."""
        self._end.set()
        if self.ident is not None:
            self.join(seconds)

    def run(self) -> None:
        """The thread's body."""
        failures = 0
        while not self._end.is_set():
            before = self._clock.monotonic()
            try:
                with mapped(self._place.shown):
                    self._listen()
            except CacheUnavailable as error:
                self._health.failed("subscription", error)
                # one that worked for a while begins anew with short pauses
                failures = 1 if self._clock.monotonic() - before > 30 else failures + 1
                self._clock.wait(self._end, pause_after(failures))

    def _listen(self) -> None:
        with self._client.pubsub() as pubsub:  # type: ignore[no-untyped-call]
            pubsub.subscribe(self._place.channel)
            heard_at, asked = self._clock.monotonic(), True
            while not self._end.is_set():
                raw = pubsub.get_message(timeout=_SLICE)
                now = self._clock.monotonic()
                if raw is not None:
                    heard_at, asked = now, False
                    self._take(pubsub, raw)
                elif now - heard_at >= SILENCE_SECONDS:
                    if asked:
                        raise TimeoutError
                    pubsub.ping()
                    heard_at, asked = now, True

    def _take(self, pubsub: PubSub, raw: Any) -> None:
        """This message and all that have come meanwhile, as one piece of news."""
        news = News()
        kinds: set[str] = set()
        taken = 0
        while raw is not None:
            if raw["type"] == "subscribe":
                news = News(missed=True)
                self._health.succeeded("subscription")
            elif raw["type"] == "message":
                kinds |= self._kinds(raw["data"])
            taken += 1
            raw = pubsub.get_message(timeout=0) if taken < 1000 else None
        news = News(Kind.CHANGED in kinds, Kind.WAITING in kinds, _ENDED in kinds, news.missed)
        if news != News():
            self._hear(news)
            self._clock.wait(self._end, REST)

    def _kinds(self, data: object) -> set[str]:
        """What a message of another process tells; of ours, and of what is no message, nothing."""
        try:
            message = json.loads(data) if isinstance(data, bytes | str) else None
            if not isinstance(message, dict) or message.get("from") == self._owner:
                return set()
            return {str(event["kind"]) for event in message["events"]}
        except (ValueError, TypeError, KeyError, RecursionError):
            return set()
