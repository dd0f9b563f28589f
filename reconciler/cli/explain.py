"""``reconciler explain``: why a task ran, or did not, at a time."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta

from reconciler.cli.common import settings_of, time_argument
from reconciler.cli.console import Console
from reconciler.errors import UsageError

_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
_LATEST = datetime(9980, 1, 1, tzinfo=UTC)


def configure(parser: argparse.ArgumentParser) -> None:
    """The task and the time."""
    parser.add_argument("task", metavar="TASK", help="name, name@server or project/name@server")
    parser.add_argument(
        "--at",
        metavar="TIME",
        type=time_argument,
        help="RFC 3339, past or future; default: now, and the newest slot",
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the answer."""
    from reconciler.bootstrap import database
    from reconciler.cli.tables import painter, print_lines
    from reconciler.clock import SystemClock
    from reconciler.report.explain import explain, explanation_json
    from reconciler.report.explain_text import explanation_text
    from reconciler.store.addresses import parse_address, resolve_one_task

    if args.at is not None and not _EARLIEST <= args.at <= _LATEST:
        raise UsageError("--at is a time from 1970-01-02 to 9980-01-01")
    address, settings = parse_address(args.task), settings_of(args)
    late_after = timedelta(seconds=settings.late_after)
    with database(settings) as db, db.snapshot() as conn:
        row = resolve_one_task(conn, address, deleted=True)
        now = SystemClock().now()
        found = explain(conn, row.id, args.at, now, late_after)
    if args.output == "json":
        console.print_json(explanation_json(found))
    else:
        # whoever reads it by a program has each sentence on one line
        columns = console.width if console.out.isatty() else None
        print_lines(console, explanation_text(found, painter(console), columns))
    return 0
