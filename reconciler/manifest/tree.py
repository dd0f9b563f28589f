"""A folder, or a commit's tree → what it declares, with its commit and where it comes from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reconciler.errors import SourceUnreadable
from reconciler.manifest.load import Loaded, load_tree
from reconciler.manifest.memory import Memory
from reconciler.manifest.places import placed
from reconciler.manifest.problem import Problem
from reconciler.manifest.source import GitTree, Source, git_origin, git_root, open_source
from reconciler.model.state import Commit, DesiredState


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree that was read from ``source``. ``loaded`` has its problems; ``path`` is the folder.

    ``commit`` is given where the tree is a commit's own and not the folder's, ``origin`` where the folder is
    only a copy of what it names.
    """

    path: Path
    loaded: Loaded
    source: Source
    commit: Commit | None = None
    origin: str | None = None

    def desired(self) -> DesiredState:
        """The desired state with commit and source; raises ManifestsInvalid, or SourceUnreadable from git."""
        state = self.loaded.valid_state()
        if self.origin is not None and self.commit is not None:
            return replace(state, commit=self.commit, source=self.origin)
        source, head = git_origin(self.path)
        where = self.origin or source or str(self.path.resolve())
        return replace(state, commit=self.commit or head, source=where)

    def placed(self, problems: Iterable[Mapping[str, Any]]) -> tuple[Problem, ...]:
        """A plan's contradictions at the values that cause them; it knows only where documents begin."""
        return placed(self.source, problems)


def read_tree(path: Path, cache: Path | None = None) -> Tree:
    """Read the folder; raises SourceUnreadable where there is none.

    ``cache`` is the folder in which it is remembered what files mean; None: all are parsed.
    """
    source = open_source(path)
    return Tree(source.path, load_tree(source, _memory(cache, path)), source)


def _memory(cache: Path | None, *place: Path | str) -> Memory | None:
    return None if cache is None else Memory(cache, os.path.realpath(os.path.join(*place)))


def read_commit(path: Path, revision: str, cache: Path | None = None) -> Tree:
    """Read what the folder ``path`` was in a commit; raises SourceUnreadable for an unknown one.

    The folder itself need not exist any more, but must lie in a git work tree.
    """
    root = git_root(path)
    if root is None:
        raise SourceUnreadable(
            f"{path} is in no git work tree, so it has no commits",
            hint="run this where the manifests' repository is checked out",
        )
    inside = os.path.relpath(os.path.realpath(path), root)
    source = GitTree(root, revision, "" if inside == "." else inside)
    loaded = load_tree(source, _memory(cache, root, source.path))
    return Tree(path if path.is_dir() else root, loaded, source, source.commit)


def read_clone(
    clone: Path, commit: str, inside: str, branch: str, origin: str, cache: Path | None = None
) -> Tree:
    """Read the folder ``inside`` a commit of a clone that has no work tree; raises SourceUnreadable.

    ``branch`` is the one whose head the commit was, ``origin`` what the clone is a copy of.
    """
    tree = GitTree(clone, commit, inside)
    loaded = load_tree(tree, _memory(cache, clone, branch, inside))
    head = tree.commit
    return Tree(clone, loaded, tree, None if head is None else replace(head, branch=branch), origin)
