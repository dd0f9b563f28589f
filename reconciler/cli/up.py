"""``reconciler up``: everything in one process."""

from __future__ import annotations

import argparse
from pathlib import Path

from reconciler.cli.common import DEFAULT_PATH
from reconciler.cli.console import Console
from reconciler.cli.running import add_for, add_interval, serve


def configure(parser: argparse.ArgumentParser) -> None:
    """The tree, and how long."""
    parser.add_argument(
        "path",
        nargs="?",
        metavar="PATH",
        type=Path,
        default=Path(DEFAULT_PATH),
        help=f"folder with manifests (default: {DEFAULT_PATH})",
    )
    add_interval(parser)
    add_for(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Watch the files, reconcile on change, schedule, execute. A PATH that is not there is an error."""
    from reconciler.manifest.source import open_source

    open_source(args.path)
    return serve(args, console, trees=[args.path], schedule=True, execute=True)
