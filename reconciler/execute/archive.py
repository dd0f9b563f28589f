"""An archive that may fail without its run failing: the row keeps head and tail in any case."""

from __future__ import annotations

import logging
from collections.abc import Callable

from reconciler.execute.control import Archive, Stream
from reconciler.model.execution import Job

_log = logging.getLogger(__name__)


class GuardedArchive:
    """Passes on to the archive that ``open_archive`` gives, until that raises for the first time."""

    def __init__(self, open_archive: Callable[[Job], Archive | None], job: Job) -> None:
        self._execution = job.execution_id
        self._broken = False
        self._archive: Archive | None = None
        try:
            self._archive = open_archive(job)
        except Exception:
            self._break()

    def write(self, stream: Stream, data: bytes) -> None:
        """See `Archive.write`."""
        if self._archive is None or self._broken:
            return
        try:
            self._archive.write(stream, data)
        except Exception:
            self._break()

    def finish(self) -> str | None:
        """See `Archive.finish`; None for one that does not have the whole output."""
        if self._archive is None:
            return None
        try:
            place = self._archive.finish()
        except Exception:
            self._break()
        return None if self._broken else place

    def _break(self) -> None:
        self._broken = True
        _log.exception("the output of execution %d is not in the archive", self._execution)
