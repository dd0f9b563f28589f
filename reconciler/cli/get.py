"""``reconciler get``: lists of servers, tasks, executions, revisions and projects."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from reconciler.cli.common import count_argument, duration_argument, parse_labels, settings_of
from reconciler.cli.console import Console
from reconciler.errors import UsageError
from reconciler.model.execution import State

if TYPE_CHECKING:
    from reconciler.store.views import Connection

MOST = 100_000
"""Items of one page: a page is held in memory."""
KINDS = ("servers", "tasks", "executions", "revisions", "projects")

_FITS = {
    "label": {"servers", "tasks", "executions"},
    "server": {"tasks", "executions"},
    "project": {"servers", "tasks", "executions", "revisions"},
    "state": {"executions"},
    "deleted": {"servers", "tasks"},
}
"""Which option means something for which kind; the others are refused rather than ignored."""
_OPTION = {
    "label": "-l",
    "server": "--server",
    "project": "--project",
    "state": "--state",
    "deleted": "--deleted",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Kind, names and filters."""
    add = parser.add_argument
    add("kind", metavar="KIND", choices=KINDS, help=" | ".join(KINDS))
    add("names", metavar="NAME", nargs="*", help="only these; `get executions` takes tasks")
    add(
        "-l", "--label", metavar="K=V", action="append", default=[], help="only with this label (of the task)"
    )
    add("--server", metavar="S", help="tasks and executions of this server")
    add("--project", metavar="P", help="only of this project")
    add("--state", choices=[state.value for state in State], help="executions in this state")
    add(
        "--since",
        metavar="DURATION",
        type=duration_argument,
        help="not older, or changed, since: 90s, 2h, 1d",
    )
    add("--deleted", action="store_true", help="the deleted ones instead of the live ones")
    add("--limit", metavar="N", type=count_argument, default=50, help="how many at most (default 50)")
    add("--after", metavar="CURSOR", help="go on after the page that ended with this `next`")
    add("-o", "--output", choices=("table", "json"), default="table")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print a page."""
    for name, kinds in _FITS.items():
        if getattr(args, name) and args.kind not in kinds:
            raise UsageError(
                f"{_OPTION[name]} means nothing for {args.kind}",
                hint=f"it filters {', '.join(sorted(kinds))}",
            )
    if args.limit > MOST:
        raise UsageError(f"--limit is at most {MOST}", hint="--after shows the next page")
    from reconciler.bootstrap import database, known_rows
    from reconciler.cli import listings
    from reconciler.clock import SystemClock

    settings = settings_of(args)
    clock = SystemClock()
    now = clock.now()
    request = listings.Request(
        kind=args.kind,
        names=args.names,
        labels=parse_labels(args.label),
        server=args.server,
        project=args.project,
        state=State(args.state) if args.state else None,
        since=None if args.since is None else now - timedelta(seconds=args.since),
        deleted=args.deleted,
        limit=args.limit,
        after=args.after,
        now=now,
        late_after=timedelta(seconds=settings.late_after),
        rows=known_rows(settings, clock) if args.kind == "tasks" else None,
    )
    pages: dict[str, Callable[[Connection, listings.Request], Any]] = {
        "servers": listings.servers,
        "tasks": listings.tasks,
        "executions": listings.executions,
        "revisions": listings.revisions,
        "projects": listings.projects,
    }
    with database(settings) as db, db.read() as conn:
        page = pages[args.kind](conn, request)
    listings.show(page, request, console, args.output)
    return 0
