"""``reconciler suspend``: let nothing of it run by itself for a while."""

from __future__ import annotations

import argparse

from reconciler.cli.common import duration_argument, settings_of
from reconciler.cli.console import Console
from reconciler.cli.suspending import add_wanted, wanted_of
from reconciler.cli.trees import person
from reconciler.errors import UsageError
from reconciler.model.instant import rfc3339

LONGEST_REASON = 1000


def configure(parser: argparse.ArgumentParser) -> None:
    """What, how long and why: a suspension that nobody can explain or that never ends is a trap."""
    add_wanted(parser)
    parser.add_argument(
        "--for",
        dest="seconds",
        metavar="DURATION",
        type=duration_argument,
        required=True,
        help="how long; it ends by itself then",
    )
    parser.add_argument("--reason", metavar="TEXT", required=True, help="why, for whoever is on call")


def run(args: argparse.Namespace, console: Console) -> int:
    """Suspend it; slots due meanwhile are recorded as skipped, runs in progress go on."""
    wanted = wanted_of(args, "suspend")
    reason = " ".join(args.reason.split())
    if not reason or len(reason) > LONGEST_REASON:
        raise UsageError(
            f"--reason takes 1 to {LONGEST_REASON} characters", hint="say why, and who knows more"
        )
    if args.seconds <= 0:
        raise UsageError("--for takes a duration above zero", hint="such as 30m, 2h or 1d")
    from reconciler.bootstrap import database, wake_others
    from reconciler.clock import SystemClock
    from reconciler.dispatch.suspending import suspend
    from reconciler.report.times import stamp

    clock, by = SystemClock(), person()
    settings = settings_of(args)
    with database(settings, clock) as db:
        until, changed = suspend(db, clock, wanted, args.seconds, reason, by)
    wake_others(settings, clock)
    if args.output == "json":
        items = [{"name": item.name, "until": rfc3339(until), "by": by, "reason": reason} for item in changed]
        console.print_json({"items": items})
        return 0
    for item in changed:
        again = " (in place of the suspension before)" if item.before else ""
        console.print(f"{item.name} is suspended until {stamp(until)}{again}")
    return 0
