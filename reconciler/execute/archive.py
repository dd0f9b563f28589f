"""An archive that may fail without its run failing: the row keeps head and tail in any case."""

from __future__ import annotations

import logging
from collections.abc import Callable

from reconciler.errors import ReconcilerError
from reconciler.execute.control import Archive, Stream
from reconciler.model.execution import Job

_log = logging.getLogger(__name__)


class GuardedArchive:
    """Passes on to the archive that ``open_archive`` gives, until that raises for the first time.

    Whoever makes one calls `abandon` at the end, whatever has become of the run.
    """

    def __init__(self, open_archive: Callable[[Job], Archive | None], job: Job) -> None:
        self._execution = job.execution_id
        self._archive: Archive | None = None
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
        # a thread of the run's own may say it, which knows nothing of whom it works for
        extra = {"execution": str(self._execution)}
        if isinstance(error, ReconcilerError):
            why = error.message
            _log.error(
                "the output of execution %d is not in the archive: %s", self._execution, why, extra=extra
            )
        else:
            _log.exception("the output of execution %d is not in the archive", self._execution, extra=extra)
        self.abandon()
