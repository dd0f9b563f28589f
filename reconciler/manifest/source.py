"""Where a tree of manifests comes from: a folder, or a commit's tree straight from git's object store.

A source lists its manifests in sorted path order and reads any file of the tree, within limits, never through
a symbolic link that leads out. What it must refuse it says as a ``Refusal``: a problem at that file.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from reconciler.errors import SourceUnreadable
from reconciler.manifest.git import git_commit, git_origin, git_root, git_source, is_ancestor
from reconciler.manifest.git_tree import GitTree
from reconciler.manifest.refusal import Refusal, link_out, too_large
from reconciler.manifest.selection import IGNORE_FILE, MAX_IGNORE_FILE, Ignore, is_hidden, is_manifest
from reconciler.model.state import Commit

__all__ = [
    "MAX_FILE",
    "MAX_SCRIPT",
    "Directory",
    "GitTree",
    "Refusal",
    "Source",
    "git_commit",
    "git_origin",
    "git_root",
    "git_source",
    "is_ancestor",
    "open_source",
]

MAX_FILE = 8 * 1024 * 1024
"""Bytes of one manifest file: some 25,000 tasks. A larger one is not read at all."""
MAX_SCRIPT = 1024 * 1024
"""Bytes of a script: it is stored with each of its task's rows and sent for each run."""


class Source(Protocol):
    """A tree of files. Paths are relative to its root, with ``/``."""

    @property
    def name(self) -> str:
        """What to call the tree in messages."""
        ...

    @property
    def commit(self) -> Commit | None:
        """The commit whose tree this is; None for a folder (ask ``git_commit``)."""
        ...

    def manifests(self) -> list[tuple[str, Refusal | None]]:
        """Every manifest file in path order; with a Refusal where something cannot be listed or read."""
        ...

    def read(self, path: str, limit: int) -> bytes:
        """A file's bytes; raises Refusal (absent, larger than ``limit`` bytes, outside the tree, …)."""
        ...

    def close(self) -> None:
        """Let go of whatever the source holds; it can be used again."""
        ...


def open_source(path: Path) -> Directory:
    """The folder at ``path``; raises SourceUnreadable if it is absent, a file, or may not be read."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise SourceUnreadable(
            f"there is no folder {str(path)!r}", hint="give the folder that holds the manifests"
        ) from None
    except OSError as error:
        raise SourceUnreadable(
            f"{str(path)!r} cannot be read: {error.strerror}", hint="check the path and its rights"
        ) from error
    if not stat.S_ISDIR(mode):
        raise SourceUnreadable(
            f"{str(path)!r} is a file, not a folder",
            hint="give the folder it is in: names, references and defaults concern the whole tree",
        )
    if not os.access(path, os.R_OK | os.X_OK):
        raise SourceUnreadable(
            f"the folder {str(path)!r} may not be read", hint="check its rights and who runs this"
        )
    return Directory(path)


@dataclass(slots=True)
class Directory:
    """A folder of the file system."""

    path: Path
    _plain: set[str] = field(default_factory=set, repr=False)
    """Files that were listed without any link on the way: their real path need not be asked for again."""

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def commit(self) -> Commit | None:
        return None

    def manifests(self) -> list[tuple[str, Refusal | None]]:
        """Every manifest file in path order; with a Refusal where something cannot be listed or read."""
        return sorted(self._walk(), key=lambda found: found[0])

    def read(self, path: str, limit: int) -> bytes:
        """A file's bytes; raises Refusal (absent, larger than ``limit`` bytes, outside the tree, …)."""
        if path in self._plain:
            return _read(os.path.join(self.path, path), limit)
        root = os.path.realpath(self.path)
        try:
            real = os.path.realpath(os.path.join(root, path), strict=True)
        except OSError as error:
            raise _refusal(error) from error
        if os.path.commonpath([root, real]) != root:
            raise link_out()
        return _read(real, limit)

    def close(self) -> None:
        """Nothing is held."""

    def _walk(self) -> Iterator[tuple[str, Refusal | None]]:
        ignore = Ignore()
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(os.path.join(self.path, folder)) as listing:
                    entries = [
                        entry for entry in listing if not is_hidden(entry.name) or entry.name == IGNORE_FILE
                    ]
            except OSError as error:
                yield folder, _refusal(error)
                continue
            if any(entry.name == IGNORE_FILE for entry in entries):
                refusal = self._add_ignore(folder, ignore)
                if refusal is not None:
                    yield posixpath.join(folder, IGNORE_FILE), refusal
            for entry in entries:
                path = posixpath.join(folder, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    if not ignore.ignores(path, is_folder=True):
                        folders.append(path)
                elif (is_manifest(entry.name) or entry.is_symlink()) and not ignore.ignores(
                    path, is_folder=False
                ):
                    yield from self._file(path, entry)

    def _file(self, path: str, entry: os.DirEntry[str]) -> Iterator[tuple[str, Refusal | None]]:
        """A manifest, or a link that may be one or a folder of them."""
        if entry.is_symlink() and _leads_to_folder(entry):
            if entry.name != IGNORE_FILE:
                hint = f"move the folder here, or name it in {IGNORE_FILE}"
                yield path, Refusal("symlink", "a symbolic link to a folder is not followed", hint)
        elif is_manifest(entry.name):
            if not _is_text(path):
                yield path, Refusal("file-name", "the file's name is not UTF-8", "rename it")
                return
            if not entry.is_symlink():
                self._plain.add(path)
            yield path, None

    def _add_ignore(self, folder: str, ignore: Ignore) -> Refusal | None:
        try:
            data = self.read(posixpath.join(folder, IGNORE_FILE), MAX_IGNORE_FILE)
            ignore.add(folder, data.decode("utf-8"))
        except Refusal as refusal:
            return refusal
        except ValueError as error:  # not UTF-8, or a pattern that is none
            return Refusal("ignore-file", f"this is no list of patterns: {error}", "write it as a .gitignore")
        return None


def _read(path: str, limit: int) -> bytes:
    """A regular file's bytes. Opened without blocking: a pipe named ``x.yaml`` must not hang us."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return _read_all(descriptor, limit)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _refusal(error) from error


def _read_all(descriptor: int, limit: int) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise Refusal("not-a-file", "this is not a regular file", "replace it by one")
    if status.st_size > limit:
        raise too_large(status.st_size, limit)
    # one call for the whole and one that finds the end; a file that grows meanwhile takes more
    data = os.read(descriptor, status.st_size + 1)
    while more := os.read(descriptor, limit + 1 - len(data)):
        data += more
        if len(data) > limit:
            raise too_large(len(data), limit)
    return data


def _leads_to_folder(link: os.DirEntry[str]) -> bool:
    try:
        return link.is_dir()
    except OSError:  # it leads round in a circle
        return False


def _is_text(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _refusal(error: OSError) -> Refusal:
    if isinstance(error, FileNotFoundError):
        return Refusal("no-such-file", "there is no such file", "check the name; case matters")
    if isinstance(error, IsADirectoryError):
        return Refusal("not-a-file", "this is a folder, not a file", "name a file")
    return Refusal(
        "unreadable", f"this cannot be read: {error.strerror}", "check its rights and who runs this"
    )
