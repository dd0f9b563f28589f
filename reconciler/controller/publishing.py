"""Keeps a status page current beside the work: soon after something happened, never all the time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from reconciler.clock import Clock
from reconciler.errors import Refused
from reconciler.report.pages import write_page

log = logging.getLogger("reconciler.controller")

LOOK_SECONDS = 5.0
"""Between two pages at the least; a report's ages move on although nothing happens."""
SHARE = 20
"""A page that takes a second to make is made every twenty: at most a twentieth of a core goes into it."""


class Publisher:
    """``step`` is called by a loop. A file that cannot be written is told once, until it can."""

    def __init__(self, path: Path, page: Callable[[], str], clock: Clock) -> None:
        self._path = path
        self._page = page
        self._clock = clock
        self._told: str | None = None
        self.written = 0
        """Pages so far."""
        self.refused = False
        """Whether the file could not be written the last time."""

    def step(self) -> float:
        """Make the page and write it; seconds to sleep. Raises the database's Temporary errors."""
        begun = self._clock.monotonic()
        text = self._page()
        took = self._clock.monotonic() - begun
        try:
            write_page(self._path, text)
            self._told = None
            self.written += 1
            self.refused = False
        except Refused as error:
            self.refused = True
            if error.message != self._told:
                self._told = error.message
                log.warning("%s; trying again (%s)", error.message, error.hint)
        return max(LOOK_SECONDS, took * SHARE)
