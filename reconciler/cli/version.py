"""``reconciler version``."""

from __future__ import annotations

import argparse

from reconciler import __version__
from reconciler.cli.console import Console


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments of its own."""
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the version."""
    if args.output == "json":
        console.print_json({"version": __version__})
    else:
        console.print(f"reconciler {__version__}")
    return 0
