"""``reconciler logs``: the output of a run, then its error output."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from reconciler.cli.common import count_argument, settings_of
from reconciler.cli.console import DIM, YELLOW, Console, paint
from reconciler.errors import NotFound, UsageError
from reconciler.model.execution import State, Status

if TYPE_CHECKING:
    from reconciler.clock import Clock
    from reconciler.store.engine import Database
    from reconciler.store.views import Connection, ExecutionView, OutputView

DEFAULT_PAGE = 200
POLL_SECONDS = 0.5
"""How often --follow looks at the row: a reader's patience, not a scheduler's."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Which run, and how much of it."""
    add = parser.add_argument
    add("target", metavar="EXECUTION|TASK", help="an execution's id, or a task: its latest run")
    add(
        "--follow",
        action="store_true",
        help="wait for a run that has not ended, then print it (not yet line by line while it runs)",
    )
    add("--stream", choices=("out", "err", "both"), default="both", help="default: out, then err")
    add("--page", metavar="N", type=count_argument, help="only the Nth page, counted from 1")
    add("--page-size", metavar="LINES", type=count_argument, help=f"lines of a page (default {DEFAULT_PAGE})")
    add("--tail", metavar="N", type=count_argument, help="only the last N lines")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the stored output; what is said about the run goes to standard error."""
    if args.tail is not None and (args.page is not None or args.page_size is not None):
        raise UsageError("--tail and --page exclude each other")
    if args.page_size is not None and args.page is None:
        raise UsageError("--page-size needs --page", hint="write --page 1 for the first page")
    from reconciler.bootstrap import database
    from reconciler.clock import SystemClock
    from reconciler.store.executions import read_output

    clock = SystemClock()
    with database(settings_of(args), clock) as db:
        with db.read() as conn:
            view = _find(conn, args.target, waiting=args.follow)
        if args.follow:
            view = _wait(db, view, clock, console)
        with db.read() as conn:
            output = read_output(conn, view.id)
    _introduce(view, output, args.stream, console)
    _print(args, output, console)
    return 0


def _find(conn: Connection, target: str, *, waiting: bool) -> ExecutionView:
    """The execution meant; raises NotFound, Ambiguous."""
    from reconciler.cli.listings import execution_number
    from reconciler.store.addresses import parse_address, resolve_one_task
    from reconciler.store.executions import find_execution, last_executions, latest_run

    number = execution_number(target)
    found = None if number is None else find_execution(conn, number)
    if found is not None:
        return found
    try:
        task = resolve_one_task(conn, parse_address(target), deleted=True)
    except NotFound as error:
        if number is None:
            raise
        raise NotFound(
            f"there is no execution and no task {target}",
            hint="`get executions` lists them; old ones are pruned as the project's history says",
            details={"target": target},
        ) from error
    found = latest_run(conn, task.id, waiting=waiting)
    if found is not None:
        return found
    newest = last_executions(conn, task.id, 1)
    why = f"; its newest entry is {newest[0].state}: {newest[0].reason or 'not started'}" if newest else ""
    raise NotFound(
        f"task {task.name}@{task.server} has no run yet{why}",
        hint=f"`reconciler run {task.address}` runs it now; `get executions` shows what was skipped",
        details={"task": task.address},
    )


def _wait(db: Database, view: ExecutionView, clock: Clock, console: Console) -> ExecutionView:
    """The row once it has ended; raises NotFound if it is pruned meanwhile."""
    from reconciler.store.executions import get_execution

    told = None
    while view.status == Status.OPEN:
        if view.state is not told:
            console.note(paint(f"execution {view.id} is {view.state} …", DIM, console.colour_err))
            told = view.state
        clock.sleep(POLL_SECONDS)
        with db.read() as conn:
            view = get_execution(conn, view.id)
    return view


def _introduce(view: ExecutionView, output: OutputView, stream: str, console: Console) -> None:
    """On standard error: which run this is, and what is missing of its output."""
    from reconciler.report.rows import state_words
    from reconciler.report.times import span, stamp

    when = f" at {stamp(view.finished_at)}" if view.finished_at else ""
    took = "" if view.duration_seconds is None else f" after {span(view.duration_seconds)}"
    head = f"execution {view.id} of {view.task}@{view.server}: {state_words(view)}{took}{when}"
    console.note(paint(head, DIM, console.colour_err))
    if view.state in (State.WAITING, State.RUNNING):
        text = "its output is stored when it ends; --follow waits for that"
        console.note(paint(text, YELLOW, console.colour_err))
    if not view.truncated:
        return
    for name, total, stored in (
        ("out", view.output_bytes, output.output),
        ("err", view.error_bytes, output.error),
    ):
        kept = len((stored or "").encode("utf-8", "replace"))
        if stream in (name, "both") and kept < total:
            whole = f"; the whole is in {view.archive}" if view.archive else ""
            text = f"{name}: {kept:,} of {total:,} bytes were kept, head and tail{whole}"
            console.note(paint(text, YELLOW, console.colour_err))


def _print(args: argparse.Namespace, output: OutputView, console: Console) -> None:
    streams = {"out": (output.output,), "err": (output.error,), "both": (output.output, output.error)}
    texts = [text for text in streams[args.stream] if text]
    if args.page is None and args.tail is None:
        for index, text in enumerate(texts):
            console.out.write(text)
            if not text.endswith("\n") and (index + 1 < len(texts) or console.out.isatty()):
                console.out.write("\n")
        return
    total = sum(_count(text) for text in texts)
    if args.tail is not None:
        first, last = max(0, total - args.tail), total
    else:
        size = args.page_size or DEFAULT_PAGE
        first, last = (args.page - 1) * size, min(args.page * size, total)
        pages = max(1, -(-total // size))
        if args.page > pages:
            raise UsageError(f"there is no page {args.page}: {total:,} lines are {pages:,} pages of {size:,}")
        console.note(paint(f"page {args.page:,} of {pages:,}", DIM, console.colour_err))
    for line in islice(_lines(texts), first, last):
        console.out.write(line + "\n")


def _lines(texts: list[str]) -> Iterator[str]:
    """The lines one by one, ended by newlines only: other characters that break lines are the run's own."""
    for text in texts:
        start = 0
        while start < len(text):
            end = text.find("\n", start)
            end = len(text) if end < 0 else end
            yield text[start:end]
            start = end + 1


def _count(text: str) -> int:
    return text.count("\n") + (0 if text.endswith("\n") else 1)
