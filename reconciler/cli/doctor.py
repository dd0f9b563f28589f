"""``reconciler doctor``: examine servers, and say for each fault what to do about it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from reconciler.cli.common import settings_of
from reconciler.cli.console import CYAN, Console, paint
from reconciler.errors import EXIT_FAILED, ReconcilerError
from reconciler.report.reachable import NO_CONTACT

if TYPE_CHECKING:
    from reconciler.clock import Clock
    from reconciler.execute.doctor import Check, Examination, Subject
    from reconciler.report.layout import Cell
    from reconciler.settings import Settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Which servers."""
    parser.description = (
        "Examine servers from here as runs would use them: the jump hosts on the way, reaching it, its "
        "host key, the login, a shell, the tools, the clock, a place for runs, and sudo for every account "
        "that its tasks use. Exit 1 if anything is wrong with any of them."
    )
    parser.add_argument("servers", metavar="SERVER", nargs="*", help="names (default: every server)")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print every check; 1 if one failed."""
    from reconciler.bootstrap import database, doctor
    from reconciler.clock import SystemClock
    from reconciler.dispatch.subjects import subjects

    settings, clock = settings_of(args), SystemClock()
    with database(settings, clock) as db:
        wanted = subjects(db, args.servers)
    with doctor(settings, clock) as one:
        found = sorted(_watched(one.examine_all(wanted), wanted, console), key=lambda item: item.subject.name)
    _write_down(found, settings, clock, console)
    if args.output == "json":
        console.print_json({"items": [_shape(item) for item in found]})
    else:
        _print(found, console, in_full=bool(args.servers))
    return 0 if all(item.well for item in found) else EXIT_FAILED


def _write_down(found: Sequence[Examination], settings: Settings, clock: Clock, console: Console) -> None:
    """What this proved of each server, as its condition Reachable; where that cannot be written, let be."""
    from reconciler.bootstrap import database
    from reconciler.controller.reachability import Word, put_all

    words = {}
    for item in found:
        failed = next((check for check in item.checks if check.ok is False), None)
        if item.fault in NO_CONTACT and failed is not None:
            words[item.subject.name] = Word(item.fault, failed.detail)
        elif any(check.name == "shell" and check.ok is not None for check in item.checks):
            words[item.subject.name] = Word(None, "doctor was let in")
    if not words:
        return
    try:
        with database(settings, clock) as db:
            db.transact(lambda connection: put_all(connection, clock, words))
    except ReconcilerError as error:
        console.note(f"the condition Reachable is not written down: {error.message}")


def _watched(
    items: Iterable[Examination], wanted: Sequence[Subject], console: Console
) -> Iterable[Examination]:
    """The same, with a line on a terminal that counts them."""
    for number, item in enumerate(items, 1):
        if console.err.isatty():
            console.err.write(
                f"\r{number} of {len(wanted)} servers examined" + "\r\x1b[K" * (number == len(wanted))
            )
            console.err.flush()
        yield item


def _shape(item: Examination) -> dict[str, Any]:
    return {
        "server": item.subject.name,
        "checks": [
            {
                "name": check.name,
                "ok": check.ok,
                "detail": check.detail if check.advice is None else f"{check.detail}; {check.advice}",
                "milliseconds": check.milliseconds,
            }
            for check in item.checks
        ],
    }


def _print(found: Sequence[Examination], console: Console, *, in_full: bool) -> None:
    """A table with every check of those named and of those with a fault, one line for each other; then what
    to do, and the sum."""
    from reconciler.cli.tables import painter, print_lines
    from reconciler.model.quantity import counted
    from reconciler.report.layout import Column, printable, table

    if not found:
        console.note("no servers found")
        return
    seen = max(60, console.width - 36)
    columns = [
        Column("SERVER"),
        Column(""),
        Column("CHECK"),
        Column("TIME", right=True),
        Column("SEEN", most=seen),
    ]
    rows: list[list[Cell]] = []
    for item in found:
        rows += _rows(item) if in_full or not item.well else [_row(item)]
    print_lines(console, table(columns, rows, painter(console)))
    ill = [item for item in found if not item.well]
    for item in ill:
        for check in item.checks:
            if check.ok is not False:
                continue
            console.print()
            console.print(f"{item.subject.name}, {check.name}: {printable(check.detail)}")
            if check.advice is not None:
                console.print(paint("  next: ", CYAN, console.colour) + printable(check.advice))
    console.print()
    if ill:
        verb = "needs" if len(ill) == 1 else "need"
        console.print(f"{len(ill)} of {counted(len(found), 'server')} {verb} attention")
    else:
        console.print(f"{counted(len(found), 'server')}, all well")


def _rows(item: Examination) -> list[list[Cell]]:
    from reconciler.report.layout import Style

    run = [check for check in item.checks if check.ok is not None]
    left = [check for check in item.checks if check.ok is None]
    rows: list[list[Cell]] = [["", _mark(check), check.name, _time(check), check.detail] for check in run]
    if left:
        names = ", ".join(check.name for check in left)
        rows.append(["", ("·", Style.DIM), "", "", (f"{left[0].detail}: {names}", Style.DIM)])
    rows[0][0] = item.subject.name
    return rows


def _row(item: Examination) -> list[Cell]:
    from reconciler.report.layout import Style

    total = sum(check.milliseconds or 0 for check in item.checks)
    place = next((check.detail for check in item.checks if check.name == "place"), "")
    free = place.rpartition("writable, ")[2]
    text = f"{len(item.checks)} checks" + (f", {free}" if free else "")
    return [item.subject.name, ("✓", Style.GOOD), "all", f"{total:.0f} ms", text]


def _mark(check: Check) -> Cell:
    from reconciler.report.layout import Style

    return ("✓", Style.GOOD) if check.ok else ("✗", Style.BAD)


def _time(check: Check) -> str:
    return "" if check.milliseconds is None else f"{check.milliseconds:.0f} ms"
