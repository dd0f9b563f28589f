"""Signals over real servers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime

import pytest

from reconciler.cache.link import RedisSignals
from reconciler.cache.place import Place
from reconciler.cache.signals import News
from reconciler.clock import SystemClock


class Process:
    """One process's signals, and all that it heard."""

    def __init__(self, place: Place, name: str) -> None:
        self.place = place
        self.heard: list[News] = []
        self.due: list[datetime] = []
        self.signals = RedisSignals(place, SystemClock(), name)
        self.signals.start(self.heard.append, self.due.append)

    def listens(self) -> bool:
        return any(news.missed for news in self.heard)


@pytest.fixture
def process() -> Iterator[Callable[..., Process]]:
    """Starts one at a URL; all are ended after the test."""
    numbers = itertools.count(1)
    with ExitStack() as stack:

        def start(url: str, prefix: str = "reconciler") -> Process:
            found = Process(Place(url, prefix), f"process-{next(numbers)}")
            stack.callback(found.signals.close, 2.0)
            return found

        yield start
