"""One process's folder of spooled records: its own by a lock that ends with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from reconciler.record import frames

FILE_BYTES = 4 * 1024 * 1024
"""A file that has so many bytes is followed by another: so much at most is replayed twice after a crash."""
SUFFIX = ".records"
_NAME = re.compile(r"\d{8}-\d{13}\.records")


class Box:
    """Files of records in a folder that nobody else may touch; not for several threads at once.

    Raises OSError of the disk. What ``append`` returned from survives the process and the machine.
    """

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self._lock = lock
        self.files = sorted(file for file in folder.iterdir() if _NAME.fullmatch(file.name))
        """The oldest first; their names are a number that grows, and the time in milliseconds."""
        self._number = int(self.files[-1].name.partition("-")[0]) if self.files else 0
        self._open: int | None = None
        self._size = 0

    @classmethod
    def take(cls, folder: Path) -> Box | None:
        """Own this folder; None if a living process does, or it is gone by now."""
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # its owner may have removed it, and another made it anew, since we opened it
            if os.fstat(descriptor).st_ino == folder.stat().st_ino:
                return cls(folder, descriptor)
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def append(self, payloads: Sequence[bytes], now: datetime) -> int:
        """Write records so that they last, all or none of them; how many bytes they take.

        ``now`` is when they came.
        """
        data = b"".join([frames.frame(payload) for payload in payloads])
        if self._open is None:
            self._begin(now)
        assert self._open is not None
        try:
            _write(self._open, data)
            os.fsync(self._open)
        except OSError:
            # what a failed sync left on the disk is anyone's guess: this file takes no more
            with suppress(OSError):
                os.ftruncate(self._open, self._size)
                os.fsync(self._open)
            self.rotate()
            if self._size == len(frames.HEAD):
                with suppress(OSError):
                    self.remove(self.files[-1])
            raise
        self._size += len(data)
        if self._size >= FILE_BYTES:
            self.rotate()
        return len(data)

    def rotate(self) -> None:
        """The next record begins a new file; those that there are change no more."""
        if self._open is not None:
            os.close(self._open)
            self._open = None

    def remove(self, file: Path) -> None:
        """Its records need not be kept any more."""
        file.unlink(missing_ok=True)
        self.files.remove(file)

    def close(self) -> None:
        """Let go; the folder goes too if nothing is in it."""
        self.rotate()
        if not self.files:
            with suppress(OSError):
                self.folder.rmdir()
        os.close(self._lock)

    def _begin(self, now: datetime) -> None:
        number = self._number + 1
        file = self.folder / f"{number:08d}-{int(now.timestamp() * 1000):013d}{SUFFIX}"
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            _write(descriptor, frames.HEAD)
            _sync_folder(self.folder)
        except OSError:
            os.close(descriptor)
            file.unlink(missing_ok=True)
            raise
        self._number, self._open, self._size = number, descriptor, len(frames.HEAD)
        self.files.append(file)


def time_of(file: Path) -> datetime:
    """When the first record of a file came, as its name says."""
    milliseconds = int(file.name.removesuffix(SUFFIX).partition("-")[2])
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def make_folder(folder: Path) -> None:
    """Its owner's alone: output of runs is nobody else's business."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(folder.parent)


def write_whole(file: Path, data: bytes) -> None:
    """Make or replace a file, whole or not at all, and so that it lasts."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        beside.replace(file)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise
    _sync_folder(file.parent)


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _sync_folder(folder: Path) -> None:
    """Make the names in it last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
