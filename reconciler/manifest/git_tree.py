"""The tree of a commit as a source of manifests, straight from git's objects, without the work tree."""

from __future__ import annotations

import posixpath
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.errors import SourceUnreadable
from reconciler.manifest.git import describe_commit, git_command, git_environment, git_root, run_git
from reconciler.manifest.refusal import Refusal, link_out, too_large
from reconciler.manifest.selection import IGNORE_FILE, MAX_IGNORE_FILE, Ignore, is_hidden, is_manifest
from reconciler.model.state import Commit

_LINK = "120000"
_MAX_LINKS = 10


@dataclass(slots=True)
class GitTree:
    """The tree of a commit, read from git's objects; the work tree is not looked at.

    ``path`` is the folder inside the repository (``""`` for its root), ``revision`` anything that git
    resolves to a commit. Raises SourceUnreadable when made, if the commit or the folder is not there.
    """

    repository: Path
    revision: str
    path: str = ""
    _commit: Commit = field(init=False)
    _entries: Mapping[str, tuple[str, str, int]] = field(init=False, repr=False)
    """Path → (mode, object, bytes)."""
    _reader: subprocess.Popen[bytes] | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        if git_root(self.repository) is None:
            raise SourceUnreadable(
                f"{str(self.repository)!r} is not in a git work tree", hint="run this inside the repository"
            )
        found = run_git(
            self.repository,
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            f"{self.revision}^{{commit}}",
            accept=(0, 1),
        )
        if not found:
            raise SourceUnreadable(
                f"the repository has no single commit {self.revision!r}",
                hint="give the whole hash; in a shallow clone fetch it first (git fetch --unshallow)",
            )
        self.path = posixpath.normpath(self.path or ".").strip("/")
        self.path = "" if self.path == "." else self.path
        self._commit = describe_commit(self.repository, found.decode().strip(), None, dirty=False)
        self._entries = self._list()

    @property
    def name(self) -> str:
        return f"{self.path or '.'} at {self._commit.hash[:12]}"

    @property
    def commit(self) -> Commit | None:
        return self._commit

    def manifests(self) -> list[tuple[str, Refusal | None]]:
        """Every manifest file in path order; with a Refusal where something cannot be read."""
        ignore = Ignore()
        found: list[tuple[str, Refusal | None]] = []
        for path in sorted(self._entries, key=lambda path: (path.count("/"), path)):
            if posixpath.basename(path) == IGNORE_FILE:
                try:
                    ignore.add(posixpath.dirname(path), self.read(path, MAX_IGNORE_FILE).decode("utf-8"))
                except (Refusal, ValueError) as error:
                    found.append((path, error if isinstance(error, Refusal) else _no_patterns(error)))
        found += [(path, self._check(path)) for path in self._entries if not self._is_left_out(path, ignore)]
        return sorted(found, key=lambda item: item[0])

    def read(self, path: str, limit: int) -> bytes:
        """A file's bytes; raises Refusal (absent, larger than ``limit`` bytes, outside the tree)."""
        _, name, size = self._follow(posixpath.normpath(path))
        if size > limit:
            raise too_large(size, limit)
        return self._blob(name)

    def close(self) -> None:
        """End the reading process."""
        if self._reader is not None:
            self._reader.communicate()
            self._reader = None

    def _list(self) -> dict[str, tuple[str, str, int]]:
        tree = f"{self._commit.hash}:{self.path}"
        if run_git(self.repository, "cat-file", "-t", tree, accept=(0, 128)).strip() != b"tree":
            raise SourceUnreadable(
                f"commit {self._commit.hash[:12]} has no folder {self.path!r}",
                hint="give the folder's path in that commit",
            )
        listing = run_git(self.repository, "ls-tree", "-r", "-z", "--long", tree)
        entries = {}
        for line in listing.decode("utf-8", "surrogateescape").split("\0"):
            if line:
                facts, _, path = line.partition("\t")
                mode, kind, name, size = facts.split()
                if kind == "blob":  # a submodule is a commit: its files are not in this repository
                    entries[path] = mode, name, int(size)
        return entries

    def _is_left_out(self, path: str, ignore: Ignore) -> bool:
        parts = path.split("/")
        if not is_manifest(parts[-1]) or any(is_hidden(part) for part in parts):
            return True
        folders = ("/".join(parts[:length]) for length in range(1, len(parts)))
        return any(ignore.ignores(folder, is_folder=True) for folder in folders) or ignore.ignores(
            path, is_folder=False
        )

    def _check(self, path: str) -> Refusal | None:
        try:
            path.encode("utf-8")
            self._follow(path)
        except UnicodeEncodeError:
            return Refusal("file-name", "the file's name is not UTF-8", "rename it")
        except Refusal as refusal:
            return refusal
        return None

    def _follow(self, path: str) -> tuple[str, str, int]:
        """The entry a path leads to through symbolic links, those of its folders too."""
        for _ in range(_MAX_LINKS):
            if path.startswith(("../", "/")) or path == "..":
                raise link_out()
            entry = self._entries.get(path)
            if entry is not None and entry[0] != _LINK:
                return entry
            link = self._first_link(path)
            if link is None:
                raise Refusal("no-such-file", "there is no such file", "check the name; case matters")
            target = self._blob(self._entries[link][1]).decode("utf-8", "surrogateescape")
            path = posixpath.normpath(posixpath.join(posixpath.dirname(link), target) + path[len(link) :])
        raise Refusal("symlink", "the symbolic link leads through too many others", "name the file itself")

    def _first_link(self, path: str) -> str | None:
        parts = path.split("/")
        for length in range(1, len(parts) + 1):
            start = "/".join(parts[:length])
            if start in self._entries and self._entries[start][0] == _LINK:
                return start
        return None

    def _blob(self, name: str) -> bytes:
        """An object's bytes, through one process for all of them."""
        if self._reader is None:
            self._reader = subprocess.Popen(
                git_command("cat-file", "--batch"),
                cwd=self.repository,
                env=git_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        assert self._reader.stdin is not None
        assert self._reader.stdout is not None
        try:
            self._reader.stdin.write(name.encode() + b"\n")
            self._reader.stdin.flush()
            header = self._reader.stdout.readline().split()
            data = self._reader.stdout.read(int(header[2]) + 1)[:-1] if len(header) == 3 else None
        except (OSError, ValueError) as error:
            raise SourceUnreadable(
                f"git gave no answer for the object {name}", hint="try `git fsck`"
            ) from error
        if data is None:
            raise SourceUnreadable(
                f"git lacks the object {name}", hint="the clone is partial or damaged: fetch it again"
            )
        return data


def _no_patterns(error: ValueError) -> Refusal:
    return Refusal("ignore-file", f"this is no list of patterns: {error}", "write it as a .gitignore")
