"""Archives in a folder: whole files or none, whatever ends the process, and no way out of the folder.

A file is written in ``.unfinished`` under a name of its own, locked as long as its writer lives, and moved
to its place when it is complete and on the disk. Every step below the root refuses symbolic links.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.errors import ArchiveUnavailable, NotFound

UNFINISHED = ".unfinished"
FORGOTTEN_SECONDS = 86_400
"""An unfinished file that nobody has written to for so long, and whose writer is gone, is removed."""
_RACES = 20
"""How often somebody else may remove the folder that we are about to put a file into."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folder:
    """Files by name (``a/b/c.gz``; names are the program's own). Safe for use by many threads and processes.

    Raises ArchiveUnavailable, and NotFound for what is not there.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))

    def __str__(self) -> str:
        return str(self.root)

    def check(self) -> None:
        """Raise ArchiveUnavailable if no file could be made now."""
        file = self.create("check")
        file.discard()

    def create(self, name: str) -> FolderFile:
        """A new file, to be written, then kept or discarded."""
        with self._mapped("written"):
            self.root.mkdir(parents=True, mode=0o700, exist_ok=True)
            return FolderFile(self, name)

    def open(self, name: str) -> OpenFile:
        """A file that is there."""
        with self._mapped("read"), self.parent_of(name) as parent:
            return OpenFile(
                self, os.open(_last(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            )

    def delete(self, name: str) -> None:
        """Remove a file, and folders that are empty then; one that is not there is no error."""
        folders = name.split("/")[:-1]
        with contextlib.suppress(NotFound), self._mapped("deleted"):
            with contextlib.suppress(FileNotFoundError), self.parent_of(name) as parent:
                os.unlink(_last(name), dir_fd=parent)
            while folders:
                with self.parent_of("/".join(folders)) as parent:
                    try:
                        os.rmdir(folders.pop(), dir_fd=parent)
                    except OSError as error:
                        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                            raise
                        return

    def forget(self, start: str, now: float | None = None) -> None:
        """Remove unfinished files whose names begin with ``start`` and whose writers are gone.

        ``now`` (seconds since the epoch): only those that are older than ``FORGOTTEN_SECONDS``.
        """
        with (
            contextlib.suppress(NotFound),
            self._mapped("tidied"),
            self.parent_of(f"{UNFINISHED}/x") as parent,
        ):
            for entry in os.listdir(parent):
                if not entry.startswith(start):
                    continue
                with contextlib.suppress(OSError):
                    if now is None or os.stat(entry, dir_fd=parent).st_mtime < now - FORGOTTEN_SECONDS:
                        _remove_ownerless(entry, parent)

    @contextmanager
    def parent_of(self, name: str, *, make: bool = False) -> Iterator[int]:
        """The open folder that ``name`` lies in; raises OSError."""
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in name.split("/")[:-1]:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o700, dir_fd=descriptor)
                        os.fsync(descriptor)
                deeper = os.open(part, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = deeper
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _mapped(self, done: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"there is no such file in the archive {self}") from error
        except OSError as error:
            raise self.failed(done, error) from error

    def failed(self, done: str, error: OSError) -> ArchiveUnavailable:
        """The error to raise for one of the operating system's."""
        return ArchiveUnavailable(
            f"the archive {self} cannot be {done}: {error.strerror or type(error).__name__}",
            hint="check its rights and free space",
        )


class FolderFile:
    """A file on its way into the folder."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self._name = name
        self._unfinished = f"{_last(name)}.{os.urandom(6).hex()}"
        with folder.parent_of(f"{UNFINISHED}/x", make=True) as parent:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self._unfinished, flags, 0o600, dir_fd=parent)
        with contextlib.suppress(OSError):  # some network file systems know no locks
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, data: bytes) -> None:
        """More of it."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise self._folder.failed("written", error) from error

    def keep(self) -> None:
        """It is complete: on the disk, and in its place, when this returns."""
        try:
            os.fsync(self._descriptor)
            for attempt in range(_RACES):
                try:
                    self._move()
                    break
                except FileNotFoundError:
                    # a deletion found the folder empty just before
                    if attempt == _RACES - 1:
                        raise
        except OSError as error:
            raise self._folder.failed("written", error) from error
        self._close()

    def discard(self) -> None:
        """It is not wanted; to be called once, also after `keep` has failed. Raises nothing."""
        with contextlib.suppress(OSError), self._folder.parent_of(f"{UNFINISHED}/x") as parent:
            os.unlink(self._unfinished, dir_fd=parent)
        self._close()

    def _move(self) -> None:
        folder = self._folder
        with (
            folder.parent_of(f"{UNFINISHED}/x") as here,
            folder.parent_of(self._name, make=True) as there,
        ):
            os.rename(self._unfinished, _last(self._name), src_dir_fd=here, dst_dir_fd=there)
            os.fsync(there)

    def _close(self) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1


class OpenFile:
    """A file of the folder, open."""

    def __init__(self, folder: Folder, descriptor: int) -> None:
        self._folder = folder
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def read(self, start: int, length: int) -> bytes:
        """At most ``length`` bytes from ``start`` on."""
        try:
            return os.pread(self._descriptor, length, start)
        except OSError as error:
            raise self._folder.failed("read", error) from error

    def close(self) -> None:
        """Give it back."""
        os.close(self._descriptor)


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _remove_ownerless(entry: str, parent: int) -> None:
    descriptor = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(entry, dir_fd=parent)
    finally:
        os.close(descriptor)
