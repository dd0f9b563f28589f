"""``reconciler controller``: keep trees applied, schedule, and unless told otherwise execute."""

from __future__ import annotations

import argparse
from pathlib import Path

from reconciler.cli.common import DEFAULT_PATH, folder_argument
from reconciler.cli.console import Console
from reconciler.cli.running import add_for, add_interval, add_listen, add_write_to, serve
from reconciler.cli.sources import add_git


def configure(parser: argparse.ArgumentParser) -> None:
    """The trees, how long, and what is left to others."""
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        type=folder_argument,
        default=[],
        help=f"folders with manifests, each a project of its own (default: {DEFAULT_PATH})",
    )
    add_git(parser)
    parser.add_argument("--no-execute", action="store_true", help="leave the runs to `reconciler worker`s")
    add_interval(parser)
    add_for(parser)
    add_listen(parser)
    add_write_to(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Reconcile and schedule; any number of controllers share the work."""
    paths = args.paths or ([] if args.git else [Path(DEFAULT_PATH)])
    return serve(args, console, paths=paths, schedule=True, execute=not args.no_execute)
