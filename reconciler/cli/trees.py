"""From a PATH to what it declares, with the commit it stands at."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.console import Console
from reconciler.errors import ManifestsInvalid

if TYPE_CHECKING:
    from reconciler.model.state import DesiredState


def load_desired(path: Path, console: Console) -> DesiredState:
    """The tree's desired state; raises ManifestsInvalid after its problems were shown on stderr."""
    from reconciler.manifest.load import load_tree
    from reconciler.manifest.render.report import Report
    from reconciler.manifest.render.text import text
    from reconciler.manifest.source import git_commit, git_source, open_source

    source = open_source(path)
    loaded = load_tree(source)
    try:
        desired = loaded.valid_state()
    except ManifestsInvalid:
        report = Report(loaded.problems, loaded.files, loaded.resources)
        console.err.write(text(report, colour=console.colour_err))
        raise
    where = git_source(source.path) or str(source.path.resolve())
    return replace(desired, commit=git_commit(source.path), source=where)


def person() -> str:
    """Who runs this: ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # an account without a name, as in many containers
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
