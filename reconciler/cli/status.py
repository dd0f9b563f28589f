"""``reconciler status``: the status report, for a terminal, a script or a page."""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path

from reconciler.cli.common import settings_of
from reconciler.cli.console import Console


def configure(parser: argparse.ArgumentParser) -> None:
    """The form of the report."""
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json", "markdown", "junit", "html"),
        help="the form (default: text, or what the name of FILE ends in: .html .json .md .xml .txt)",
    )
    parser.add_argument(
        "--write-to",
        metavar="FILE",
        type=Path,
        help="write it to this file, replaced at once, instead of printing it",
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Print or write the report; 0 whatever it says: that it could be made is the success."""
    from reconciler.bootstrap import database, known_rows
    from reconciler.cli.tables import painter, print_lines
    from reconciler.clock import SystemClock
    from reconciler.collector import without_collector
    from reconciler.report.build import status_report
    from reconciler.report.pages import form_of, status_page, write_page
    from reconciler.report.status_text import status_text

    settings = settings_of(args)
    clock = SystemClock()
    rows = known_rows(settings, clock)
    late_after = timedelta(seconds=settings.late_after)
    form = args.output or ("text" if args.write_to is None else form_of(args.write_to))
    with database(settings, clock) as db, without_collector():
        if args.write_to is None and form == "text":
            report = status_report(db, clock.now(), late_after, rows)
            print_lines(console, status_text(report, painter(console)))
            return 0
        page = status_page(db, form, clock.now(), late_after, rows)
    if args.write_to is None:
        console.out.write(page)
    else:
        write_page(args.write_to, page)
    return 0
