"""The whole masked output of runs: written while they run, read by pages, deleted with their rows.

A run has at most two files, ``YYYY/MM/DD/HHMM/ID.out.gz`` and ``….err.gz``, by the time inside its id (UTC),
so that a folder holds what was claimed in one minute. A stream without a byte has none. What the row keeps as
the place is all before ``.out.gz``.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from reconciler.clock import Clock
from reconciler.errors import ArchiveUnavailable, NotFound, ReconcilerError
from reconciler.execute.control import Stream
from reconciler.model.execution import Job
from reconciler.record.folder import Folder
from reconciler.record.seekable import NotSeekable, Seekable, SeekableWriter
from reconciler.store.ids import made_at

log = logging.getLogger("reconciler.archive")

ENDINGS: dict[Stream, str] = {"stdout": ".out.gz", "stderr": ".err.gz"}
S3 = "s3://"
TIDY_SECONDS = 3600.0
LONGEST_ROOT = 900
"""Characters: with the rest it has to fit into the row."""
_PLACE = re.compile(r"(?P<root>.*?)/?(?P<name>\d{4,}/\d\d/\d\d/\d{4}/(?P<id>\d+))", re.DOTALL)


class File(Protocol):
    """A file on its way into a store."""

    def write(self, data: bytes) -> None: ...
    def keep(self) -> None: ...
    def discard(self) -> None: ...


class OpenedFile(Protocol):
    """A file of a store."""

    size: int

    def read(self, start: int, length: int) -> bytes: ...
    def close(self) -> None: ...


class Store(Protocol):
    """A folder or a bucket. All raise ArchiveUnavailable; ``open`` also NotFound."""

    def check(self) -> None: ...
    def create(self, name: str) -> File: ...
    def open(self, name: str) -> OpenedFile: ...
    def delete(self, name: str) -> None: ...
    def forget(self, start: str, now: float | None = None) -> None: ...


class Archives:
    """All archives below one place: a folder, or ``s3://bucket/prefix``. Safe for use by many threads.

    Raises SettingsInvalid when it is made for a place that this installation cannot use.
    """

    def __init__(self, place: str, clock: Clock) -> None:
        self._clock = clock
        self._store = _store(place)
        self._tidied = float("-inf")

    def __str__(self) -> str:
        return str(self._store)

    def check(self) -> None:
        """Raise ArchiveUnavailable if nothing could be written now."""
        self._store.check()

    def open(self, job: Job) -> RunArchive:
        """Where a run's output goes; nothing is made before there is any.

        A run that was attached to gives its output again from the first byte: what its earlier owner left
        unfinished is removed.
        """
        self._tidy()
        if job.started_at is not None:
            self._store.forget(f"{job.execution_id}.")
        return RunArchive(self._store, name_of(job.execution_id))

    @contextmanager
    def read(self, place: str, stream: Stream) -> Iterator[Seekable]:
        """A stream by the place that its row has, for the block.

        Looked for there, then under the same name in the place of the settings: archives may have been
        moved. Raises NotFound, also for a stream that had no byte, and ArchiveUnavailable.
        """
        opened = self._opened(place, stream)
        try:
            with _damage_told(place, stream):
                yield Seekable(opened.read, opened.size)
        finally:
            opened.close()

    def delete(self, place: str) -> None:
        """Delete a run's archive; one that is gone is no error. Raises ArchiveUnavailable."""
        store, name = self._split(place)
        for ending in ENDINGS.values():
            store.delete(name + ending)

    def _opened(self, place: str, stream: Stream) -> OpenedFile:
        store, name = self._split(place)
        try:
            return store.open(name + ENDINGS[stream])
        except ReconcilerError as error:
            if str(store) != str(self):
                with contextlib.suppress(ReconcilerError):
                    return self._store.open(name + ENDINGS[stream])
            if isinstance(error, NotFound):
                raise NotFound(
                    f"the archive {place}{ENDINGS[stream]} is gone, or not on this machine"
                ) from error
            raise

    def _split(self, place: str) -> tuple[Store, str]:
        """The store and the name in it; only names of our own making are ever touched."""
        found = _PLACE.fullmatch(place)
        if found is None or found["name"] != name_of(int(found["id"])):
            raise NotFound(f"{place!r} is not the place of an archive")
        root = found["root"] or "/"
        return (self._store if root == str(self._store) else _store(root)), found["name"]

    def _tidy(self) -> None:
        """Now and then: what killed processes left half written."""
        monotonic = self._clock.monotonic()
        if monotonic - self._tidied < TIDY_SECONDS:
            return
        self._tidied = monotonic
        with contextlib.suppress(ArchiveUnavailable):
            self._store.forget("", self._clock.now().timestamp())


class RunArchive:
    """One run's output on its way: implements `execute.control.Archive`. Used by one thread."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._files: dict[Stream, File] = {}
        self._writers: dict[Stream, SeekableWriter] = {}

    def write(self, stream: Stream, data: bytes) -> None:
        """See `Archive.write`; raises ArchiveUnavailable."""
        if stream not in self._writers:
            file = self._store.create(self._name + ENDINGS[stream])
            self._files[stream] = file
            self._writers[stream] = SeekableWriter(file.write)
        self._writers[stream].write(data)

    def finish(self) -> str | None:
        """The place, when all is stored; None if there was no output. Raises ArchiveUnavailable."""
        if not self._files:
            return None
        for writer in self._writers.values():
            writer.finish()
        for stream in tuple(self._files):
            self._files[stream].keep()
            del self._files[stream]
        self._writers = {}
        root = str(self._store)
        return f"{root.rstrip('/')}/{self._name}"

    def abandon(self) -> None:
        """See `Archive.abandon`: a part of the output is worse than none."""
        for file in self._files.values():
            file.discard()
        for stream in self._writers.keys() - self._files.keys():
            # one was stored already when the other one failed
            with contextlib.suppress(ArchiveUnavailable):
                self._store.delete(self._name + ENDINGS[stream])
        self._files, self._writers = {}, {}


def name_of(execution_id: int) -> str:
    """Where a run's files lie in a store, but for their endings."""
    return f"{made_at(execution_id):%Y/%m/%d/%H%M}/{execution_id}"


def _store(place: str) -> Store:
    if place.startswith(S3):
        from reconciler.record.bucket import Bucket

        bucket, _, prefix = place.removeprefix(S3).partition("/")
        return Bucket(bucket, prefix)
    return Folder(Path(place))


@contextmanager
def _damage_told(place: str, stream: Stream) -> Iterator[None]:
    try:
        yield
    except NotSeekable as error:
        raise ArchiveUnavailable(
            f"the archive {place}{ENDINGS[stream]} cannot be read: {error}",
            hint="zcat shows what is left of it",
        ) from error
