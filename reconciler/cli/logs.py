"""``reconciler logs``: the output of a run, then its error output."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from reconciler.cli.common import count_argument, settings_of
from reconciler.cli.console import DIM, YELLOW, Console, paint
from reconciler.cli.logtext import Output, Text, Whole, print_all, print_lines
from reconciler.errors import ArchiveUnavailable, NotFound, SettingsInvalid, UsageError
from reconciler.model.execution import State, Status

if TYPE_CHECKING:
    from reconciler.clock import Clock
    from reconciler.execute.control import Stream
    from reconciler.record.archive import Archives
    from reconciler.report.output import StoredStream
    from reconciler.settings import Settings
    from reconciler.store.engine import Database
    from reconciler.store.views import Connection, ExecutionView

DEFAULT_PAGE = 200
STREAMS: dict[str, Stream] = {"out": "stdout", "err": "stderr"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Which run, and how much of it."""
    add = parser.add_argument
    add("target", metavar="EXECUTION|TASK", help="an execution's id, or a task: its latest run")
    add(
        "--follow",
        action="store_true",
        help="show the output of a run while it comes, until the run has ended",
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
    from reconciler.bootstrap import archives, database
    from reconciler.clock import SystemClock
    from reconciler.store.executions import get_execution

    clock = SystemClock()
    settings = settings_of(args)
    with database(settings, clock) as db:
        with db.read() as conn:
            view = _find(conn, args.target, waiting=args.follow)
        if args.follow and view.status == Status.OPEN:
            if _follow(db, view, args, console, settings, clock):
                return 0
            with db.read() as conn:
                view = get_execution(conn, view.id)
        _introduce(view, console)
        show(view, db, lambda: archives(settings, clock), args, console)
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


def _follow(
    db: Database,
    view: ExecutionView,
    args: argparse.Namespace,
    console: Console,
    settings: Settings,
    clock: Clock,
) -> bool:
    """Show a run while it goes on; whether anything was to be seen before it ended."""
    from reconciler.bootstrap import archives, wake_others
    from reconciler.cli.follow import LiveRun, follow_to_end, follower
    from reconciler.store.executions import get_execution

    chosen = [stream for name, stream in STREAMS.items() if args.stream in (name, "both")]
    if args.page is not None:
        # a page is one of the whole
        chosen = []
    with follower(db, clock, console) as one:
        one.follow([view.id])
        wake_others(settings, clock)
        run = LiveRun(view.id, one, Output(console), console, clock, chosen, args.tail)
        try:
            follow_to_end(run, console, clock)
        except KeyboardInterrupt:
            console.note(f"the run goes on (`reconciler cancel {view.id}` ends it)")
            raise
        if not run.touched:
            return False
        with db.read() as conn:
            ended = get_execution(conn, view.id)
            both = _stored(conn, ended)
        run.finish(ended, dict(zip(STREAMS.values(), both, strict=True)), lambda: archives(settings, clock))
        _introduce(ended, console)
    return True


def _stored(conn: Connection, view: ExecutionView) -> tuple[StoredStream, StoredStream]:
    from reconciler.report.output import stored_streams
    from reconciler.store.executions import read_hashes, read_output

    return stored_streams(view, read_output(conn, view.id), read_hashes(conn, view.id))


def _introduce(view: ExecutionView, console: Console) -> None:
    """On standard error: which run this is."""
    from reconciler.report.rows import state_words
    from reconciler.report.times import span, stamp

    when = f" at {stamp(view.finished_at)}" if view.finished_at else ""
    took = "" if view.duration_seconds is None else f" after {span(view.duration_seconds)}"
    head = f"execution {view.id} of {view.task}@{view.server}: {state_words(view)}{took}{when}"
    console.note(paint(head, DIM, console.colour_err))
    if view.state in (State.WAITING, State.RUNNING):
        text = "its output is stored when it ends; --follow shows it while it runs"
        console.note(paint(text, YELLOW, console.colour_err))


def show(
    view: ExecutionView,
    db: Database,
    archives: Callable[[], Archives],
    args: argparse.Namespace,
    console: Console,
) -> None:
    """Print what is kept of a run that has ended: from the archive where the row has not all of it."""
    with db.read() as conn:
        both = _stored(conn, view)
    chosen = [item for item in zip(STREAMS, both, strict=True) if args.stream in (item[0], "both")]
    if view.archive and not all(stream.whole for _, stream in chosen):
        try:
            with ExitStack() as stack:
                texts: list[Text] = []
                for name, stream in chosen:
                    texts.append(Whole(stream.message if not stream.whole else stream.text))
                    if not stream.whole:
                        texts.append(_from_archive(view.archive, name, stream, archives(), stack))
                print_chosen(args, texts, console)
            return
        except (ArchiveUnavailable, NotFound, SettingsInvalid) as error:
            console.out.flush()
            text = f"{error.message}; this is what the row keeps:"
            console.note(paint(text, YELLOW, console.colour_err))
    for name, stream in chosen:
        kept = stream.total - stream.left_out if stream.left_out else len(stream.data)
        if view.truncated and not stream.whole and kept < stream.total:
            text = f"{name}: {kept:,} of {stream.total:,} bytes were kept, head and tail"
            console.note(paint(text, YELLOW, console.colour_err))
    print_chosen(args, [Whole(stream.text) for _, stream in chosen], console)


def _from_archive(place: str, name: str, stream: StoredStream, archives: Archives, stack: ExitStack) -> Text:
    found = stack.enter_context(archives.read(place, STREAMS[name]))
    if found.total != stream.total:
        raise ArchiveUnavailable(
            f"the archive {place} is another run's: {found.total:,} bytes of {stream.total:,}"
        )
    return found


def print_chosen(args: argparse.Namespace, texts: Sequence[Text], console: Console) -> None:
    """All, a page or the tail; raises UsageError for a page that there is not."""
    output = Output(console)
    texts = [text for text in texts if text.lines]
    if args.page is None and args.tail is None:
        print_all(texts, output, terminal=console.out.isatty())
        return
    total = sum(text.lines for text in texts)
    if args.tail is not None:
        first, last = max(0, total - args.tail), total
    else:
        size = args.page_size or DEFAULT_PAGE
        first, last = (args.page - 1) * size, min(args.page * size, total)
        pages = max(1, -(-total // size))
        if args.page > pages:
            raise UsageError(f"there is no page {args.page}: {total:,} lines are {pages:,} pages of {size:,}")
        console.note(paint(f"page {args.page:,} of {pages:,}", DIM, console.colour_err))
    print_lines(texts, first, last, output)
