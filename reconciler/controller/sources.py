"""What a controller keeps applied: a folder as it is, or a branch of a git repository as it is pushed."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from reconciler.clock import Clock
from reconciler.controller.webhook import Push, normal
from reconciler.manifest.clone import Clone, shown
from reconciler.manifest.signature import Trust
from reconciler.manifest.source import git_root, is_ancestor
from reconciler.manifest.tree import Tree, read_clone, read_tree

_SETTLE_SECONDS = 10.0
_SETTLE_POLL = 0.05


class TreeSource(Protocol):
    """Where a tree comes from; used by one thread."""

    @property
    def label(self) -> str:
        """What to call it in lines for people."""
        ...

    @property
    def watched(self) -> Path | None:
        """A folder whose changes are worth a look; None where there is none on this machine."""
        ...

    @property
    def place(self) -> str | None:
        """What projects of it have in ``projects.source``; None where only reading the tree tells."""
        ...

    @property
    def signer(self) -> str | None:
        """Who signed what `read` gave last; None where nobody asks for signatures."""
        ...

    def read(self, stop: threading.Event) -> Tree:
        """The whole tree as it is now, with its problems.

        Raises SourceUnavailable where it may be there later, SourceUnreadable and SourceUntrusted.
        """
        ...

    def concerns(self, push: Push) -> bool:
        """Whether what was pushed is what this source reads."""
        ...

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether commit ``older`` comes before ``newer``; False where that cannot be shown."""
        ...


@dataclass(slots=True)
class FolderSource:
    """A folder; its commit is told where it is in a git work tree."""

    path: Path
    clock: Clock
    cache: Path | None = None
    """Where it is remembered what unchanged files mean: the next look is at most as dear as the change."""

    @property
    def label(self) -> str:
        return str(self.path)

    @property
    def watched(self) -> Path | None:
        return self.path

    @property
    def place(self) -> str | None:
        return None

    @property
    def signer(self) -> str | None:
        return None

    def read(self, stop: threading.Event) -> Tree:
        """See `TreeSource`. Waits for a git command that is changing the files."""
        root = git_root(self.path)
        if root is not None:
            deadline = self.clock.monotonic() + _SETTLE_SECONDS
            while (root / ".git" / "index.lock").exists() and self.clock.monotonic() < deadline:
                self.clock.wait(stop, _SETTLE_POLL)
                if stop.is_set():
                    break
        return read_tree(self.path, self.cache)

    def concerns(self, push: Push) -> bool:
        """See `TreeSource`. Somebody must pull first, and then the files change."""
        return False

    def is_ancestor(self, older: str, newer: str) -> bool:
        """See `TreeSource`. A commit that this clone lacks cannot be shown to come before."""
        return bool(is_ancestor(self.path, older, newer))


@dataclass(slots=True)
class GitSource:
    """The folder ``inside`` a branch of a repository. A commit is read once, however often it is seen."""

    clone: Clone
    inside: str = ""
    trust: Trust | None = None
    cache: Path | None = None
    signer: str | None = field(default=None, init=False)
    _stop: threading.Event = field(default_factory=threading.Event, init=False)
    _tree: Tree | None = field(default=None, init=False)
    _verified: str | None = field(default=None, init=False)
    _ancestors: dict[tuple[str, str], bool] = field(default_factory=dict, init=False)

    @property
    def label(self) -> str:
        folder = f" {self.inside}" if self.inside else ""
        return f"{shown(self.clone.url)} {self.clone.branch}{folder}"

    @property
    def watched(self) -> Path | None:
        """The branches of a repository on this machine."""
        url = self.clone.url.removeprefix("file://")
        folder = Path(url)
        for heads in (folder / ".git" / "refs" / "heads", folder / "refs" / "heads"):
            if heads.is_dir():
                return heads
        return None

    @property
    def place(self) -> str | None:
        return self._where

    @property
    def _where(self) -> str:
        return f"{shown(self.clone.url)}//{self.inside}"

    def read(self, stop: threading.Event) -> Tree:
        """See `TreeSource`."""
        self._stop = stop
        head = self.clone.fetch(stop)
        if self.trust is not None and self._verified != head:
            self.signer = self.trust.verify(self.clone.folder, head)
            self._verified = head
        if self._tree is None or self._tree.commit is None or self._tree.commit.hash != head:
            self._tree = read_clone(
                self.clone.folder, head, self.inside, self.clone.branch, self._where, self.cache
            )
        return self._tree

    def concerns(self, push: Push) -> bool:
        """See `TreeSource`."""
        return normal(self.clone.url) in push.repositories and push.branch in (None, self.clone.branch)

    def is_ancestor(self, older: str, newer: str) -> bool:
        """See `TreeSource`. May ask the repository, so it is remembered."""
        key = older, newer
        if key not in self._ancestors:
            answer = self.clone.is_ancestor(older, newer, self._stop)
            if answer is None:
                return False
            self._ancestors = {key: answer}
        return self._ancestors[key]
