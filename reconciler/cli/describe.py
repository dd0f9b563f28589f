"""``reconciler describe``: everything about one server, task, execution or revision."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.cli.common import settings_of
from reconciler.cli.console import Console
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from reconciler.report.layout import Paint
    from reconciler.report.shapes import Json
    from reconciler.store.views import Connection

KINDS = ("server", "task", "execution", "revision")


def configure(parser: argparse.ArgumentParser) -> None:
    """Kind and name."""
    parser.add_argument("kind", metavar="KIND", choices=KINDS, help=" | ".join(KINDS))
    parser.add_argument(
        "name",
        metavar="NAME",
        help="a server's name, a task's address, an execution's id, a revision's number",
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print all there is to know."""
    from reconciler.bootstrap import database
    from reconciler.cli.tables import painter, print_lines
    from reconciler.clock import SystemClock

    settings = settings_of(args)
    now = SystemClock().now()
    late_after = timedelta(seconds=settings.late_after)
    with database(settings) as db, db.read() as conn:
        shape, lines = _describe(conn, args.kind, args.name, now, late_after, painter(console))
    if args.output == "json":
        console.print_json(shape)
    else:
        print_lines(console, lines)
    return 0


def _describe(
    conn: Connection, kind: str, name: str, now: datetime, late_after: timedelta, paint: Paint
) -> tuple[Json, Iterator[str]]:
    """Both forms of what was asked for."""
    from reconciler.cli.listings import execution_number, revision_number
    from reconciler.report import describe as found
    from reconciler.report import describe_text as text
    from reconciler.store.addresses import parse_address, resolve_one_task, server_ids

    if kind == "task":
        row = resolve_one_task(conn, parse_address(name), deleted=True)
        task = found.describe_task(conn, row.id, now, late_after)
        return found.task_description_json(task), text.task_text(task, now, paint)
    if kind == "server":
        server = found.describe_server(conn, server_ids(conn, [name])[name])
        return found.server_description_json(server), text.server_text(server, now, paint)
    if kind == "revision":
        revision = found.describe_revision(conn, revision_number(name))
        return found.revision_description_json(revision), text.revision_text(revision, now, paint)
    number = execution_number(name)
    if number is None:
        raise UsageError(
            f"{name!r} is not the id of an execution", hint=f"`get executions {name}` lists those of a task"
        )
    execution = found.describe_execution(conn, number)
    return found.execution_description_json(execution), text.execution_text(execution, now, paint)
