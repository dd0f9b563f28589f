"""An archive that may fail without its run failing: the row keeps head and tail in any case."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from reconciler.clock import Clock
from reconciler.errors import ReconcilerError
from reconciler.execute.control import Archive, Stream
from reconciler.model.execution import Job

_log = logging.getLogger(__name__)


REPEAT_SECONDS = 60.0
"""A disk that is full fails every run's archive in the same words: those are said so often."""


def words_of(error: Exception) -> str:
    """Only our own errors say nothing that nobody may read."""
    return error.message if isinstance(error, ReconcilerError) else type(error).__name__


class ArchiveFaults:
    """What went wrong with archives of this process, told without a line for each run."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def failed(self, execution_id: int, error: Exception) -> None:
        """The output of that run is not, or not wholly, in the archive."""
        ours = isinstance(error, ReconcilerError)
        why = words_of(error)
        now = self._clock.monotonic()
        with self._lock:
            if now - self._told.get(why, float("-inf")) < REPEAT_SECONDS:
                self._untold[why] = self._untold.get(why, 0) + 1
                return
            self._told = {kind: at for kind, at in self._told.items() if now - at < REPEAT_SECONDS} | {
                why: now
            }
            others = self._untold.pop(why, 0)
        # a thread of the run's own may say it, which knows nothing of whom it works for
        extra = {"execution": str(execution_id)}
        more = f" (nor those of {others} others since this was last said)" if others else ""
        text = "the output of execution %d is not in the archive%s: %s"
        _log.error(text, execution_id, more, why, extra=extra, exc_info=None if ours else error)


class GuardedArchive:
    """Passes on to the archive that ``open_archive`` gives, until that raises for the first time.

    Whoever makes one calls `abandon` at the end, whatever has become of the run. ``fault``: why the archive
    does not have the whole output, in words.
    """

    def __init__(
        self, open_archive: Callable[[Job], Archive | None], job: Job, faults: ArchiveFaults
    ) -> None:
        self._faults = faults
        self._execution = job.execution_id
        self._archive: Archive | None = None
        self.fault: str | None = None
        try:
            self._archive = open_archive(job)
        except Exception as error:
            self._break(error)

    def write(self, stream: Stream, data: bytes) -> None:
        """See `Archive.write`."""
        if self._archive is None:
            return
        try:
            self._archive.write(stream, data)
        except Exception as error:
            self._break(error)

    def finish(self) -> str | None:
        """See `Archive.finish`; None for one that does not have the whole output."""
        if self._archive is None:
            return None
        try:
            place = self._archive.finish()
        except Exception as error:
            self._break(error)
            return None
        self._archive = None
        return place

    def abandon(self) -> None:
        """See `Archive.abandon`; nothing happens to an archive that is finished."""
        archive, self._archive = self._archive, None
        if archive is not None:
            archive.abandon()

    def _break(self, error: Exception) -> None:
        self.fault = words_of(error)
        self._faults.failed(self._execution, error)
        self.abandon()
