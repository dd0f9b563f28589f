"""Which files of a tree are manifests: names, hidden ones, and what ``.reconcilerignore`` leaves out."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE = ".reconcilerignore"
MAX_IGNORE_FILE = 64 * 1024


def is_manifest(name: str) -> bool:
    """Whether a file's own name says that it holds manifests."""
    return name.endswith((".yaml", ".yml")) and not is_hidden(name)


def is_hidden(name: str) -> bool:
    """Hidden files and folders are never read."""
    return name.startswith(".")


class Ignore:
    """The ``.reconcilerignore`` files of a tree, each for its own folder and all below.

    As git does with ``.gitignore``: a deeper file wins over those above it, and nothing inside an
    ignored folder can be taken back in.
    """

    def __init__(self) -> None:
        self._specs: dict[str, GitIgnoreSpec] = {}

    def add(self, folder: str, text: str) -> None:
        """The patterns of the file in ``folder`` (``""``: the root); raises ValueError for a bad one."""
        from pathspec import GitIgnoreSpec

        self._specs[folder] = GitIgnoreSpec.from_lines(text.splitlines())

    def ignores(self, path: str, *, is_folder: bool) -> bool:
        """Whether a path, relative to the root, is left out; its folders have been asked about before."""
        if not self._specs:
            return False
        folder = posixpath.dirname(path)
        while True:
            spec = self._specs.get(folder)
            if spec is not None:
                inside = path[len(folder) + 1 :] if folder else path
                verdict = spec.check_file(inside + "/" if is_folder else inside).include
                if verdict is not None:
                    return verdict
            if not folder:
                return False
            folder = posixpath.dirname(folder)
