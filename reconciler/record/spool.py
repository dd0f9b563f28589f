"""Records on this machine's disk while the database takes none: what ended stays known, whoever is killed.

Each process has a folder of its own below that of all (``box.py``), locked as long as it lives. The folders
of dead ones are taken over by those that live or start later. What it holds is written to the database in
order; doing so twice changes nothing.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from reconciler.clock import Clock
from reconciler.errors import ReconcilerError, SpoolFull
from reconciler.model.quantity import counted
from reconciler.record import frames
from reconciler.record.batch import Ended, Record
from reconciler.record.box import Box, make_folder, time_of
from reconciler.record.codec import decode, encode
from reconciler.record.refused import FOLDER, Refused

log = logging.getLogger("reconciler.record")

MAX_BYTES = 256 * 1024 * 1024
NOBODY = "-"
"""The owner of what people ask to be tried again."""


@dataclass(frozen=True, slots=True)
class SpoolState:
    """What is kept here now. ``oldest``: since when its first record waits; ``refused``: files for people."""

    records: int = 0
    bytes: int = 0
    oldest: datetime | None = None
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """What ``oldest`` gives: the records of one file, or those of ``refused`` that are tried again."""

    records: list[Record]
    file: _File | None = None
    again: tuple[Path, ...] = ()


@dataclass(slots=True, eq=False)
class _File:
    """A file of records, with what is known of it from its name and its writing."""

    box: Box
    path: Path
    records: int
    bytes: int


class Spool:
    """The spool of one process, and those it took over. Every method may be called from any thread.

    Nothing is made on the disk before the first record needs it.
    """

    def __init__(self, root: Path, owner: str, clock: Clock, max_bytes: int = MAX_BYTES) -> None:
        """``root``: the folder of all processes; ``owner``: a name that no other process has."""
        self.root = root
        self.refused = Refused(root, clock)
        self._owner = owner
        self._clock = clock
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._own: Box | None = None
        self._current: _File | None = None
        self._others: list[Box] = []
        self._files: deque[_File] = deque()
        self._again: list[tuple[Path, Record]] = []
        self._gone: set[str] = set()
        self._waiting = (0, 0)

    @property
    def state(self) -> SpoolState:
        refused = len(self.refused.files())
        with self._lock:
            return SpoolState(
                records=sum(file.records for file in self._files),
                bytes=sum(file.bytes for file in self._files),
                oldest=min((time_of(file.path) for file in self._files), default=None),
                refused=refused,
            )

    @property
    def records(self) -> int:
        """How many records are kept here until the database takes them."""
        return self.waiting[0]

    @property
    def waiting(self) -> tuple[int, int]:
        """How many records are kept here, and their bytes. Never waits, also while the disk hangs."""
        return self._waiting

    @property
    def waits(self) -> bool:
        """Whether ``oldest`` has something. Never waits."""
        return bool(self._files or self._again)

    @property
    def usable(self) -> bool:
        """Whether records could be kept here, as far as rights tell; nothing is made."""
        place = self.root.absolute()
        while not place.exists():
            place = place.parent
        return place.is_dir() and os.access(place, os.W_OK | os.X_OK)

    def gone(self) -> set[str]:
        """Owners of whom nothing is left, since the last call."""
        with self._lock:
            found, self._gone = self._gone, set()
        return found

    def keep(self, records: Sequence[Record]) -> None:
        """Write them down so that they last; all, or none of them where SpoolFull is raised."""
        payloads = [encode(record) for record in records]
        size = sum(len(payload) for payload in payloads)
        with self._lock:
            held = sum(file.bytes for file in self._files if file.box is self._own)
            if held + size > self._max_bytes:
                raise SpoolFull(
                    f"the spool {self.root} of this process holds {held} bytes, "
                    f"and {size} more are over its bound of {self._max_bytes}",
                    hint="RECONCILER_SPOOL_SIZE raises it; the database should be brought back first",
                )
            try:
                self._append(payloads)
            except OSError as error:
                raise _unwritable(self.root, error) from error

    def adopt(self) -> int:
        """Take over what dead processes left; how many records that are. Looks also for refused ones that
        are to be tried again.
        """
        if not self.root.is_dir():
            return 0
        again = list(self.refused.again())
        with self._lock:
            self._again += again
        found = 0
        for folder in sorted(self.root.iterdir()):
            with self._lock:
                mine = {box.folder for box in self._boxes()}
            if folder.name == FOLDER or folder in mine:
                continue
            try:
                box = Box.take(folder)
                if box is not None:
                    found += self._take_over(box)
            except OSError as error:
                log.error("the spool %s cannot be read: %s", folder, error.strerror)
        return found

    def refuse(self, record: Record, error: ReconcilerError) -> Path:
        """Keep for people what the database refuses for good; where. Raises SpoolFull."""
        try:
            if self.refused.size > self._max_bytes:
                raise SpoolFull(
                    f"{self.refused.folder} holds more than {self._max_bytes} bytes of refused records",
                    hint="look into its files; RECONCILER_SPOOL_SIZE raises the bound",
                )
            return self.refused.keep(record, error)
        except OSError as fault:
            raise _unwritable(self.root, fault) from fault

    def oldest(self) -> Batch | None:
        """The records of the oldest file, which then takes no more; None if nothing waits.

        What cannot be read in it is put aside and told. Raises SpoolFull where that is impossible.
        """
        with self._lock:
            if not self._files:
                again, self._again = self._again, []
                if not again:
                    return None
                return Batch(
                    [_of(NOBODY, record) for _, record in again], again=tuple(path for path, _ in again)
                )
            file = self._files[0]
            if file.box is self._own:
                file.box.rotate()
        try:
            return Batch(self._read(file.path), file)
        except FileNotFoundError:
            log.error("%s was removed by somebody: its records are lost", file.path)
            return Batch([], file)
        except OSError as error:
            with self._lock:
                # the others first
                self._files.remove(file)
                self._files.append(file)
            raise SpoolFull(f"{file.path} cannot be read, or put aside: {error.strerror}") from error

    def written(self, batch: Batch) -> None:
        """The database has all of these, or they are kept for people."""
        for path in batch.again:
            self.refused.tried(path)
        with self._lock:
            file = batch.file
            if file is None or file not in self._files:
                return
            self._files.remove(file)
            self._count()
            file.box.remove(file.path)
            if file.box is not self._own and not file.box.files:
                self._others.remove(file.box)
                self._end_of(file.box)

    def close(self) -> None:
        """Let go of everything: what is left is for the next process that starts here."""
        with self._lock:
            for box in self._boxes():
                box.close()
            self._own, self._others = None, []
            self._files.clear()
            self._count()

    # -- under the lock -------------------------------------------------------------------------

    def _count(self) -> None:
        self._waiting = sum(file.records for file in self._files), sum(file.bytes for file in self._files)

    def _boxes(self) -> list[Box]:
        return self._others if self._own is None else [*self._others, self._own]

    def _append(self, payloads: Sequence[bytes]) -> None:
        if self._own is None:
            folder = self.root / self._owner
            make_folder(folder)
            self._own = Box.take(folder)
            if self._own is None:
                raise OSError(0, "another process took its folder")
        size = self._own.append(payloads, self._clock.now())
        path = self._own.files[-1]
        if self._current is None or self._current.path != path:
            self._current = _File(self._own, path, 0, 0)
            self._files.append(self._current)
        self._current.records += len(payloads)
        self._current.bytes += size
        self._count()

    def _end_of(self, box: Box) -> None:
        self._gone.add(box.folder.name)
        box.close()

    # -- without it -----------------------------------------------------------------------------

    def _take_over(self, box: Box) -> int:
        files = []
        for path in box.files:
            data = path.read_bytes()
            records = sum(1 for item in frames.payloads(data) if isinstance(item, frames.Payload))
            files.append(_File(box, path, records, len(data)))
        found = sum(file.records for file in files)
        with self._lock:
            if not files:
                self._end_of(box)
                return 0
            self._others.append(box)
            # they are older than what this process keeps
            self._files.extendleft(reversed(files))
            self._count()
        log.warning("taken over from an ended process: %s in %s", counted(found, "record"), box.folder)
        return found

    def _read(self, path: Path) -> list[Record]:
        records: list[Record] = []
        for item in frames.payloads(path.read_bytes()):
            if isinstance(item, frames.Damage):
                self._put_aside(path, item)
                continue
            try:
                records.append(_of(path.parent.name, decode(item.data)))
            except ValueError as error:
                kept = self.refused.put_aside(path, item.start, item.data)
                log.error("a record of %s cannot be read (%s); it is kept in %s", path, error, kept)
        return records

    def _put_aside(self, path: Path, damage: frames.Damage) -> None:
        kept = self.refused.put_aside(path, damage.start, damage.data)
        if damage.torn:
            log.warning(
                "%s ends in the middle of a record, which was being written when its process died; "
                "its %d bytes are kept in %s",
                path,
                len(damage.data),
                kept,
            )
        else:
            log.error(
                "%s is damaged: %d bytes from byte %d are no record and are kept in %s; "
                "the others are recorded",
                path,
                len(damage.data),
                damage.start,
                kept,
            )


def _of(owner: str, record: Record) -> Record:
    """The folder's name is that of the owner of its runs."""
    return replace(record, owner=owner) if isinstance(record, Ended) else record


def _unwritable(root: Path, error: OSError) -> SpoolFull:
    return SpoolFull(
        f"records cannot be written to {root}: {error.strerror}",
        hint="make room there, or move it with RECONCILER_STATE_DIR",
    )
