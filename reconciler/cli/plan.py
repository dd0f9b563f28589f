"""``reconciler plan``: what an apply would do."""

from __future__ import annotations

import argparse
from pathlib import Path

from reconciler.cli.common import DEFAULT_PATH, settings_of
from reconciler.cli.console import Console
from reconciler.cli.trees import load_desired
from reconciler.errors import EXIT_CHANGES


def configure(parser: argparse.ArgumentParser) -> None:
    """The tree and the form of the output."""
    parser.add_argument(
        "path",
        nargs="?",
        metavar="PATH",
        type=Path,
        default=Path(DEFAULT_PATH),
        help=f"folder with manifests (default: {DEFAULT_PATH})",
    )
    parser.add_argument("--exit-code", action="store_true", help="exit with 2 when there are changes")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def run(args: argparse.Namespace, console: Console) -> int:
    """Show the plan; nothing is written anywhere."""
    from reconciler import bootstrap
    from reconciler.apply.apply import look
    from reconciler.plan.json import plan_shape
    from reconciler.plan.text import plan_text

    settings = settings_of(args)
    desired = load_desired(args.path, console)
    with bootstrap.database(settings) as db:
        plan = look(db, desired)
    if args.output == "json":
        console.print_json(plan_shape(plan))
    else:
        console.out.write(plan_text(plan, colour=console.colour, path=str(args.path)))
    return EXIT_CHANGES if args.exit_code and not plan.empty else 0
