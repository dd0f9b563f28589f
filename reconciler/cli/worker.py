"""``reconciler worker``: execute waiting runs that controllers claimed."""

from __future__ import annotations

import argparse

from reconciler.cli.console import Console
from reconciler.cli.running import add_for, add_listen, serve


def configure(parser: argparse.ArgumentParser) -> None:
    """How long."""
    add_for(parser)
    add_listen(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Take runs from the database, and nothing else; any number of workers share the work."""
    return serve(args, console, paths=[], schedule=False, execute=True)
