"""What `suspend` and `resume` share: naming tasks, projects, or everything."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from reconciler.cli.common import parse_labels
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.dispatch.suspending import Wanted


def add_wanted(parser: argparse.ArgumentParser) -> None:
    """``TASK…``, ``-l``, ``--project``, ``--all``."""
    add = parser.add_argument
    add("tasks", metavar="TASK", nargs="*", help="name, name@server or project/name@server")
    add(
        "-l",
        "--label",
        dest="labels",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="the tasks that have these labels now",
    )
    add("--project", metavar="P", action="append", default=[], help="a project, tasks that come later too")
    add("--all", action="store_true", help="everything")
    add("-o", "--output", choices=("text", "json"), default="text")


def wanted_of(args: argparse.Namespace, verb: str) -> Wanted:
    """What was named; raises UsageError where that is nothing, or everything and something."""
    from reconciler.dispatch.suspending import Wanted

    wanted = Wanted(tuple(args.tasks), parse_labels(args.labels), tuple(args.project), args.all)
    some = bool(wanted.tasks or wanted.labels or wanted.projects)
    if not some and not wanted.everything:
        raise UsageError(f"{verb} what?", hint="name tasks, or say -l KEY=VALUE, --project P or --all")
    if some and wanted.everything:
        raise UsageError("--all is everything: name nothing beside it")
    return wanted
