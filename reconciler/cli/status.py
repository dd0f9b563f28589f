"""``reconciler status``: the status report, for a terminal, a script or a page."""

from __future__ import annotations

import argparse
from datetime import timedelta

from reconciler.cli.common import settings_of
from reconciler.cli.console import Console
from reconciler.errors import UsageError

_LATER = ("junit", "html")


def configure(parser: argparse.ArgumentParser) -> None:
    """The form of the report."""
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json", "markdown", *_LATER),
        default="text",
        help="text, json or markdown (junit and html are not supported yet)",
    )
    parser.add_argument("--write-to", metavar="FILE", help="not supported yet")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the report; 0 whatever it says: that it could be made is the success."""
    if args.output in _LATER:
        raise UsageError(
            f"status -o {args.output} is not supported yet", hint="text, json and markdown are there"
        )
    if args.write_to is not None:
        raise UsageError(
            "status --write-to is not supported yet",
            hint=f"`reconciler status -o markdown > {args.write_to}` writes it once",
        )
    from reconciler.bootstrap import database, known_rows
    from reconciler.cli.tables import painter, print_items, print_lines
    from reconciler.clock import SystemClock
    from reconciler.report.build import status_report
    from reconciler.report.shapes import status_json
    from reconciler.report.status_markdown import status_markdown
    from reconciler.report.status_text import status_text

    settings = settings_of(args)
    clock = SystemClock()
    rows = known_rows(settings, clock)
    with database(settings, clock) as db:
        report = status_report(db, clock.now(), timedelta(seconds=settings.late_after), rows)
    if args.output == "json":
        shape = status_json(report)
        objects = shape.pop("objects")
        print_items(console, shape, "objects", objects, {})
    elif args.output == "markdown":
        console.out.write(status_markdown(report))
    else:
        print_lines(console, status_text(report, painter(console)))
    return 0
