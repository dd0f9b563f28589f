"""``reconciler cancel``: end executions."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from reconciler.cli.common import settings_of
from reconciler.cli.console import DIM, YELLOW, Console, paint
from reconciler.cli.trees import person
from reconciler.errors import UsageError
from reconciler.model.execution import State

if TYPE_CHECKING:
    from reconciler.dispatch.manual import Cancelled
    from reconciler.store.views import ExecutionView

_SAID = {
    State.WAITING: "cancelled before it began",
    State.RUNNING: "its owner is told to end it",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Which executions."""
    parser.add_argument(
        "executions", metavar="EXECUTION", nargs="+", help="ids, as `get executions` shows them"
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def run(args: argparse.Namespace, console: Console) -> int:
    """Close what waits, ask for the end of what runs; what has ended already stays as it is."""
    ids = [_number(text) for text in args.executions]
    from reconciler.bootstrap import database, wake_others
    from reconciler.clock import SystemClock
    from reconciler.dispatch.manual import cancel_executions
    from reconciler.store.executions import get_execution

    clock = SystemClock()
    settings = settings_of(args)
    with database(settings, clock) as db:
        found = cancel_executions(db, clock, ids, person())
        wake_others(settings, clock)
        with db.read() as connection:
            views = [get_execution(connection, item.execution_id) for item in found]
    if args.output == "json":
        console.print_json({"items": [_shape(view) for view in views]})
        return 0
    for item, view in zip(found, views, strict=True):
        console.print(_line(item, view, console))
    return 0


def _number(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) < 1 << 63:
        return int(text)
    raise UsageError(
        f"{text!r} is not the id of an execution: an id is a number", hint="`get executions` lists them"
    )


def _line(item: Cancelled, view: ExecutionView, console: Console) -> str:
    said = _SAID.get(item.before)
    if said is None:
        text = f"had already ended ({view.state}{'' if view.reason is None else f', {view.reason}'})"
        said = paint(text, DIM, console.colour)
    else:
        said = paint(said, YELLOW, console.colour)
    return f"{view.id}  {view.task}@{view.server}  {said}"


def _shape(view: ExecutionView) -> dict[str, Any]:
    return {
        "id": str(view.id),
        "task": view.task,
        "server": view.server,
        "state": view.state.value,
        "reason": view.reason,
        "exitCode": view.exit_code,
        "cancelRequestedBy": view.cancel_requested_by,
    }
