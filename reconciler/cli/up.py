"""``reconciler up``: everything in one process."""

from __future__ import annotations

import argparse
from pathlib import Path

from reconciler.cli.common import DEFAULT_PATH, folder_argument
from reconciler.cli.console import Console
from reconciler.cli.running import add_for, add_interval, add_listen, add_write_to, serve
from reconciler.cli.sources import add_git
from reconciler.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """The tree, and how long."""
    parser.add_argument(
        "path",
        nargs="?",
        metavar="PATH",
        type=folder_argument,
        help=f"folder with manifests (default: {DEFAULT_PATH})",
    )
    add_git(parser)
    add_interval(parser)
    add_for(parser)
    add_listen(parser)
    add_write_to(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Watch the files, reconcile on change, schedule, execute. A PATH that is not there is an error."""
    if args.git and (args.path is not None or len(args.git) > 1):
        raise UsageError(
            "`up` keeps one tree applied: a PATH or one --git", hint="`reconciler controller` takes several"
        )
    paths = [] if args.git else [args.path or Path(DEFAULT_PATH)]
    return serve(args, console, paths=paths, schedule=True, execute=True)
