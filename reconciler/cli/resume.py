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

    clock = SystemClock()
    settings = settings_of(args)
    with database(settings, clock) as db:
        changed = resume(db, clock, wanted)
    wake_others(settings, clock)
    if args.output == "json":
        console.print_json({"items": [{"name": item.name, "resumed": item.before} for item in changed]})
        return 0
    for item in changed:
        console.print(f"{item.name} {'is resumed' if item.before else 'was not suspended by itself'}")
    return 0
