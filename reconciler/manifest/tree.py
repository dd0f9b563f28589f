"""A folder → what it declares, with the commit it stands at and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from reconciler.manifest.load import Loaded, load_tree
from reconciler.manifest.source import git_commit, git_source, open_source
from reconciler.model.state import DesiredState


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree that was read. ``loaded`` has its problems; ``path`` is the folder."""

    path: Path
    loaded: Loaded

    def desired(self) -> DesiredState:
        """The desired state with commit and source; raises ManifestsInvalid, or SourceUnreadable from git."""
        state = self.loaded.valid_state()
        where = git_source(self.path) or str(self.path.resolve())
        return replace(state, commit=git_commit(self.path), source=where)


def read_tree(path: Path) -> Tree:
    """Read the folder; raises SourceUnreadable where there is none."""
    source = open_source(path)
    return Tree(source.path, load_tree(source))
