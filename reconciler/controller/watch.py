"""Notice that files changed, soon and once for a whole burst."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from reconciler.clock import Clock

log = logging.getLogger("reconciler.watch")

_QUIET_MS = 50
"""A burst (a checkout, an editor's rename) is over when nothing changed for that long."""
_LONGEST_BURST_MS = 1_600
"""Even an endless burst is told after that long."""
_RETRY_SECONDS = 1.0


class Watcher(threading.Thread):
    """Calls ``on_change`` after each burst of changes below ``path``; survives the path's absence.

    Losing an event is harmless: the reconcile loop looks again at every interval.
    """

    def __init__(
        self,
        path: Path,
        on_change: Callable[[], None],
        stop: threading.Event,
        clock: Clock,
        *,
        git: bool = False,
    ) -> None:
        """``git``: the path lies in git's own folder, which is left out otherwise, as editors' files are."""
        super().__init__(name="watch", daemon=True)
        self._path = path
        self._on_change = on_change
        self._stop_event = stop
        self._clock = clock
        self._git = git

    def run(self) -> None:
        """Watch until ``stop`` is set."""
        complained = False
        while not self._stop_event.is_set():
            try:
                self._watch()
                complained = False
            except Exception as error:  # inotify limits, a vanished folder: the interval still covers us
                if not complained:
                    log.warning("watching %s failed (%s); looking at it at every interval", self._path, error)
                    complained = True
                self._clock.wait(self._stop_event, _RETRY_SECONDS)

    def _watch(self) -> None:
        from watchfiles import DefaultFilter, watch

        changes = watch(
            self._path,
            watch_filter=None if self._git else DefaultFilter(),
            step=_QUIET_MS,
            debounce=_LONGEST_BURST_MS,
            stop_event=self._stop_event,
            raise_interrupt=False,
        )
        for _ in changes:
            self._on_change()
