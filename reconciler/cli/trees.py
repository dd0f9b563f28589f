"""From a PATH to what it declares; its problems shown as `validate` shows them."""

from __future__ import annotations

import argparse
import getpass
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.common import DEFAULT_PATH, folder_argument
from reconciler.cli.console import Console
from reconciler.errors import GuardTripped, ManifestsInvalid, PlanRefused

if TYPE_CHECKING:
    from reconciler.manifest.problem import Problem
    from reconciler.manifest.tree import Tree
    from reconciler.model.state import DesiredState
    from reconciler.settings import Settings


def add_path(parser: argparse.ArgumentParser, what: str = "folder with manifests") -> None:
    """PATH, by default the folder of that name."""
    parser.add_argument(
        "path",
        nargs="?",
        metavar="PATH",
        type=folder_argument,
        default=Path(DEFAULT_PATH),
        help=f"{what} (default: {DEFAULT_PATH})",
    )


def cache_of(settings: Settings) -> Path | None:
    """The folder in which it is remembered what unchanged manifests mean; None where that is not wanted."""
    from reconciler.manifest.memory import own_folder

    return own_folder(os.environ) if settings.cache else None


def load_desired(
    path: Path, console: Console, settings: Settings, commit: str | None = None
) -> tuple[Tree, DesiredState]:
    """The folder's tree, or what it was in ``commit``, and its desired state.

    Raises ManifestsInvalid after its problems were shown on stderr.
    """
    from reconciler.manifest.tree import read_commit, read_tree

    cache = cache_of(settings)
    tree = read_tree(path, cache) if commit is None else read_commit(path, commit, cache)
    try:
        return tree, tree.desired()
    except ManifestsInvalid:
        show_problems(tree, console)
        raise


@contextmanager
def contradictions_placed(tree: Tree | None, console: Console, *, shown: bool) -> Iterator[None]:
    """A plan knows the lines of objects; here the contradictions in its error get those of the values.

    ``shown``: on stderr too, as `validate` shows problems; then the error only counts them.
    """
    try:
        yield
    except (PlanRefused, GuardTripped) as error:
        found = error.details.get("problems")
        if tree is None or not found:
            raise
        from reconciler.manifest.problem import problem_json

        problems = tree.placed(found)
        error.details["problems"] = [problem_json(problem) for problem in problems]
        if shown:
            _show(problems, tree, console)
            if isinstance(error, PlanRefused):
                many = "a contradiction" if len(problems) == 1 else f"{len(problems)} contradictions"
                error.message = f"{many} between the manifests and the database; nothing was done"
                error.hint = None
        raise


def show_problems(tree: Tree, console: Console) -> None:
    """Every problem with its source line, on stderr."""
    _show(tree.loaded.problems, tree, console)


def _show(problems: Sequence[Problem], tree: Tree, console: Console) -> None:
    from reconciler.manifest.render.report import Report
    from reconciler.manifest.render.text import text

    report = Report(tuple(problems), tree.loaded.files, tree.loaded.resources)
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
