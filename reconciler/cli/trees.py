"""From a PATH to what it declares; its problems shown as `validate` shows them."""

from __future__ import annotations

import argparse
import getpass
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.common import DEFAULT_PATH
from reconciler.cli.console import Console
from reconciler.errors import ManifestsInvalid

if TYPE_CHECKING:
    from reconciler.manifest.tree import Tree
    from reconciler.model.state import DesiredState


def add_path(parser: argparse.ArgumentParser, what: str = "folder with manifests") -> None:
    """PATH, by default the folder of that name."""
    parser.add_argument(
        "path",
        nargs="?",
        metavar="PATH",
        type=Path,
        default=Path(DEFAULT_PATH),
        help=f"{what} (default: {DEFAULT_PATH})",
    )


def load_desired(path: Path, console: Console, commit: str | None = None) -> DesiredState:
    """The desired state of the folder, or of what it was in ``commit``.

    Raises ManifestsInvalid after its problems were shown on stderr.
    """
    from reconciler.manifest.tree import read_commit, read_tree

    tree = read_tree(path) if commit is None else read_commit(path, commit)
    try:
        return tree.desired()
    except ManifestsInvalid:
        show_problems(tree, console)
        raise


def show_problems(tree: Tree, console: Console) -> None:
    """Every problem with its source line, on stderr."""
    from reconciler.manifest.render.report import Report
    from reconciler.manifest.render.text import text

    loaded = tree.loaded
    report = Report(loaded.problems, loaded.files, loaded.resources)
    console.err.write(text(report, colour=console.colour_err))
    console.err.flush()


def person() -> str:
    """Who runs this: ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # an account without a name, as in many containers
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
