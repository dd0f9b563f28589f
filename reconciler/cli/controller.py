"""``reconciler controller``: keep trees applied, schedule, and unless told otherwise execute."""

from __future__ import annotations

import argparse
from pathlib import Path

from reconciler.cli.common import DEFAULT_PATH
from reconciler.cli.console import Console
from reconciler.cli.running import add_for, add_interval, serve


def configure(parser: argparse.ArgumentParser) -> None:
    """The trees, how long, and what is left to others."""
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        type=Path,
        default=[Path(DEFAULT_PATH)],
        help=f"folders with manifests, each a project of its own (default: {DEFAULT_PATH})",
    )
    parser.add_argument("--no-execute", action="store_true", help="leave the runs to `reconciler worker`s")
    add_interval(parser)
    add_for(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Reconcile and schedule; any number of controllers share the work."""
    from reconciler.manifest.source import open_source

    for path in args.paths:
        open_source(path)
    return serve(args, console, trees=args.paths, schedule=True, execute=not args.no_execute)
