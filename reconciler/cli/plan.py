"""``reconciler plan``: what an apply would do."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.common import settings_of
from reconciler.cli.console import Console
from reconciler.cli.trees import add_path, contradictions_placed, load_desired
from reconciler.clock import SystemClock
from reconciler.errors import EXIT_CHANGES

if TYPE_CHECKING:
    from reconciler.plan.changes import Plan


def configure(parser: argparse.ArgumentParser) -> None:
    """The tree, the part of it, and the form of the output."""
    add_path(parser)
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="save the plan; `apply FILE` does exactly it"
    )
    parser.add_argument("--exit-code", action="store_true", help="exit with 2 when there are changes")
    parser.add_argument(
        "--target",
        metavar="KIND/NAME",
        action="append",
        default=[],
        help="only this object and what it needs (Server/NAME, Task/NAME, Task/NAME@SERVER); may be repeated",
    )
    parser.add_argument("-o", "--output", choices=("text", "json", "markdown"), default="text")


def run(args: argparse.Namespace, console: Console) -> int:
    """Show the plan; the database is only read."""
    from reconciler import bootstrap
    from reconciler.apply.look import survey
    from reconciler.plan.target import Target

    settings = settings_of(args)
    targets = tuple(Target.parse(text) for text in args.target)
    tree, desired = load_desired(args.path, console, settings)
    now = SystemClock().now()
    shown = args.output != "json"
    with bootstrap.database(settings) as db, contradictions_placed(tree, console, shown=shown):
        surveyed = survey(db, desired, now, targets)
    if args.out is not None:
        from reconciler.cli.planfiles import write_plan_file
        from reconciler.plan.planfile import save_plan

        write_plan_file(args.out, save_plan(surveyed.plan, surveyed.observed, now))
    _print(surveyed.plan, args, console)
    return EXIT_CHANGES if args.exit_code and not surveyed.plan.empty else 0


def _print(plan: Plan, args: argparse.Namespace, console: Console) -> None:
    path = str(args.out or args.path)
    match args.output:
        case "json":
            from reconciler.plan.json import plan_shape

            console.print_json(plan_shape(plan))
        case "markdown":
            from reconciler.plan.markdown import plan_markdown

            console.out.write(plan_markdown(plan, path=path))
        case _:
            from reconciler.plan.text import plan_text

            console.out.write(plan_text(plan, colour=console.colour, path=path))
