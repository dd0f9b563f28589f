"""``reconciler run``: run tasks now."""

from __future__ import annotations

import argparse
import random
from typing import TYPE_CHECKING, Any

from reconciler.cli.common import settings_of
from reconciler.cli.console import DIM, GREEN, RED, YELLOW, Console, paint
from reconciler.cli.trees import person
from reconciler.errors import EXIT_FAILED
from reconciler.model.execution import State

if TYPE_CHECKING:
    from reconciler.clock import Clock
    from reconciler.dispatch.manual import Asked
    from reconciler.store.engine import Database
    from reconciler.store.node import NodeIds

_STYLES = {State.SUCCESS: GREEN, State.FAILED: RED, State.SKIPPED: YELLOW}


def configure(parser: argparse.ArgumentParser) -> None:
    """Which tasks, and whether to wait for them."""
    add = parser.add_argument
    add("tasks", metavar="TASK", nargs="+", help="name, name@server or project/name@server")
    add("--wait", action="store_true", help="wait for the verdict; exit 1 unless every run succeeded")
    add("--follow", action="store_true", help="--wait, and print each run's output when it ends")
    add("-o", "--output", choices=("text", "json"), default="text")


def run(args: argparse.Namespace, console: Console) -> int:
    """Ask for the runs; 0 when they are accepted, and with --wait only when all of them succeeded."""
    from reconciler.bootstrap import database, wake_others
    from reconciler.clock import SystemClock
    from reconciler.dispatch.manual import request_runs

    clock = SystemClock()
    by = person()
    wait = args.wait or args.follow
    settings = settings_of(args)
    with database(settings, clock) as db:
        with _ids(db, clock) as ids:
            asked = request_runs(db, clock, ids, args.tasks, by)
        wake_others(settings, clock)
        if wait:
            for item in asked:
                console.note(_line(item, console, colour=console.colour_err))
            asked = _wait(db, clock, asked, console, follow=args.follow and args.output == "text")
    if args.output == "json":
        console.print_json({"items": [_shape(item) for item in asked]})
    elif not args.follow:
        for item in asked:
            console.print(_line(item, console))
    failed = wait and any(item.state is not State.SUCCESS for item in asked)
    return EXIT_FAILED if failed else 0


def _ids(db: Database, clock: Clock) -> NodeIds:
    from reconciler.dispatch.leases import owner_name
    from reconciler.store.ids import NODES
    from reconciler.store.node import NodeIds

    randomness = random.Random()
    owner = owner_name(f"{randomness.getrandbits(48):012x}")
    return NodeIds(db, clock, owner, randomness.randrange(NODES))


def _wait(db: Database, clock: Clock, asked: list[Asked], console: Console, *, follow: bool) -> list[Asked]:
    from reconciler.dispatch.manual import watch

    def changed(item: Asked) -> None:
        console.note(_line(item, console, colour=console.colour_err))
        if follow and item.ended:
            _print_output(db, item, console)

    try:
        return watch(db, clock, asked, changed)
    except KeyboardInterrupt:
        open_ones = " ".join(str(item.execution_id) for item in asked if not item.ended)
        console.note(f"no longer waiting; the runs go on (`reconciler cancel {open_ones}` ends them)")
        raise


def _print_output(db: Database, item: Asked, console: Console) -> None:
    from reconciler.store.executions import read_output

    with db.read() as connection:
        stored = read_output(connection, item.execution_id)
    for text in (stored.output, stored.error):
        if text:
            console.out.write(text if text.endswith("\n") else text + "\n")


def _line(item: Asked, console: Console, *, colour: bool | None = None) -> str:
    state = paint(item.state, _STYLES.get(item.state, DIM), console.colour if colour is None else colour)
    words = [f"{item.execution_id}  {item.task}@{item.server}  {state}"]
    if item.reason is not None and item.state is not State.SUCCESS:
        words.append(item.reason)
    if item.exit_code:
        words.append(f"exit code {item.exit_code}")
    return "  ".join(words)


def _shape(item: Asked) -> dict[str, Any]:
    return {
        "id": str(item.execution_id),
        "task": item.task,
        "server": item.server,
        "state": item.state.value,
        "reason": item.reason,
        "exitCode": item.exit_code,
    }
