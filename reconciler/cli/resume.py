"""``reconciler resume``: end suspensions before their time."""

from __future__ import annotations

import argparse

from reconciler.cli.common import settings_of
from reconciler.cli.console import Console
from reconciler.cli.suspending import add_wanted, wanted_of


def configure(parser: argparse.ArgumentParser) -> None:
    """The same words as `suspend` takes."""
    add_wanted(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """End the suspensions of exactly what is named; nothing that was skipped is run after all."""
    wanted = wanted_of(args, "resume")
    from reconciler.bootstrap import database, wake_others
    from reconciler.clock import SystemClock
    from reconciler.dispatch.suspending import resume
    from reconciler.store.listing import suspensions

    clock = SystemClock()
    settings = settings_of(args)
    with database(settings, clock) as db:
        changed = resume(db, clock, wanted)
        with db.read() as connection:
            others = len(suspensions(connection, clock.now()))
    wake_others(settings, clock)
    if args.output == "json":
        console.print_json({"items": [{"name": item.name, "resumed": item.before} for item in changed]})
        return 0
    for item in changed:
        console.print(f"{item.name} {_words(item.before, wanted.everything)}")
    if others:
        many = "1 other suspension is" if others == 1 else f"{others:,} other suspensions are"
        console.note(f"{many} still in force: `reconciler status` shows whom they hold")
    return 0


def _words(before: bool, everything: bool) -> str:
    """What came of one suspension; that of everything ends alone, beside those of projects and tasks."""
    if everything:
        return "is no longer suspended as a whole" if before else "was not suspended as a whole"
    return "is resumed" if before else "was not suspended by itself"
