"""``reconciler run``: run tasks now."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reconciler.cli.common import settings_of
from reconciler.cli.console import DIM, GREEN, RED, YELLOW, Console, paint
from reconciler.cli.follow import LiveRun, follower
from reconciler.cli.logtext import Labelled, Output
from reconciler.cli.trees import person
from reconciler.errors import EXIT_FAILED
from reconciler.model.execution import State

if TYPE_CHECKING:
    from reconciler.clock import Clock
    from reconciler.dispatch.following import Follower
    from reconciler.dispatch.manual import Asked
    from reconciler.settings import Settings
    from reconciler.store.engine import Database
    from reconciler.store.node import NodeIds

_STYLES = {State.SUCCESS: GREEN, State.FAILED: RED, State.SKIPPED: YELLOW}


def configure(parser: argparse.ArgumentParser) -> None:
    """Which tasks, and whether to wait for them."""
    add = parser.add_argument
    add("tasks", metavar="TASK", nargs="+", help="name, name@server or project/name@server")
    add("--wait", action="store_true", help="wait for the verdict; exit 1 unless every run succeeded")
    add("--follow", action="store_true", help="--wait, and show the output while it comes")
    add("-o", "--output", choices=("text", "json"), default="text")


def run(args: argparse.Namespace, console: Console) -> int:
    """Ask for the runs; 0 when they are accepted, and with --wait only when all of them succeeded."""
    from reconciler.bootstrap import database, wake_others
    from reconciler.clock import SystemClock
    from reconciler.dispatch.manual import request_runs

    clock = SystemClock()
    wait = args.wait or args.follow
    settings = settings_of(args)
    with database(settings, clock) as db:
        if args.follow and args.output == "text":
            asked = _ask_and_show(db, settings, clock, args.tasks, console)
        else:
            with _ids(db, clock) as ids:
                asked = request_runs(db, clock, ids, args.tasks, person())
            wake_others(settings, clock)
            if wait:
                asked = _wait(db, clock, asked, console, lambda item: _tell(item, console))
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


def _ask_and_show(
    db: Database, settings: Settings, clock: Clock, tasks: list[str], console: Console
) -> list[Asked]:
    """Ask for the runs as one who follows them, and show their output until all have their verdict."""
    from reconciler.bootstrap import wake_others
    from reconciler.dispatch.manual import request_runs

    with follower(db, clock, console) as one:
        with _ids(db, clock) as ids:
            asked = request_runs(db, clock, ids, tasks, person(), one)
        wake_others(settings, clock)
        live = _Live(db, settings, clock, one, console)
        live.begin(asked)
        return _wait(db, clock, asked, console, live.changed, live.step)


def _wait(
    db: Database,
    clock: Clock,
    asked: list[Asked],
    console: Console,
    changed: Callable[[Asked], None],
    between: Callable[[], None] | None = None,
) -> list[Asked]:
    from reconciler.dispatch.manual import watch

    for item in asked:
        _tell(item, console)
    try:
        return watch(db, clock, asked, changed, between)
    except KeyboardInterrupt:
        open_ones = " ".join(str(item.execution_id) for item in asked if not item.ended)
        console.note(f"no longer waiting; the runs go on (`reconciler cancel {open_ones}` ends them)")
        raise


class _Live:
    """The output of the runs on standard output, while it comes; several are told apart by their names."""

    def __init__(
        self, db: Database, settings: Settings, clock: Clock, follower: Follower, console: Console
    ) -> None:
        self._db = db
        self._settings = settings
        self._clock = clock
        self._follower = follower
        self._console = console
        self._output = Output(console)
        self._several = False
        self._runs: dict[int, LiveRun] = {}
        self._attempts: dict[tuple[int, datetime], int] = {}

    def begin(self, asked: list[Asked]) -> None:
        """Show these; they are followed since they were asked for."""
        self._several = len(asked) > 1
        for item in asked:
            if not item.ended:
                self._show(item)

    def step(self) -> None:
        """Show what came."""
        for run in list(self._runs.values()):
            run.step()

    def changed(self, item: Asked) -> None:
        """A run went on: an attempt that has ended is shown to its end, the next one from its beginning."""
        before = self._attempts.get(_slot(item))
        if before is not None and before != item.execution_id:
            self._end(before)
            self._follower.follow([item.execution_id])
            self._show(item)
        if item.ended:
            self._end(item.execution_id)
        _tell(item, self._console)

    def _show(self, item: Asked) -> None:
        label = f"{item.task}@{item.server} | "
        output = Labelled(self._output, label) if self._several else self._output
        self._attempts[_slot(item)] = item.execution_id
        self._runs[item.execution_id] = LiveRun(
            item.execution_id, self._follower, output, self._console, self._clock
        )

    def _end(self, execution_id: int) -> None:
        from reconciler.bootstrap import archives
        from reconciler.report.output import stored_streams
        from reconciler.store.executions import get_execution, read_hashes, read_output

        run = self._runs.pop(execution_id, None)
        if run is None:
            return
        run.step()
        with self._db.read() as connection:
            view = get_execution(connection, execution_id)
            out, err = stored_streams(
                view, read_output(connection, execution_id), read_hashes(connection, execution_id)
            )
        run.finish(view, {"stdout": out, "stderr": err}, lambda: archives(self._settings, self._clock))
        self._follower.leave(execution_id)


def _slot(item: Asked) -> tuple[int, datetime]:
    return item.task_id, item.scheduled_for


def _tell(item: Asked, console: Console) -> None:
    console.note(_line(item, console, colour=console.colour_err))


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
