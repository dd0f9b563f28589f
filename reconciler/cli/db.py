"""``reconciler db upgrade|check|prune``: the database, from outside."""

from __future__ import annotations

import argparse

from reconciler.bootstrap import connect
from reconciler.cli.common import settings_of
from reconciler.cli.console import Console
from reconciler.errors import EXIT_FAILED, DatabaseRejected, ReconcilerError


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions, and the options that may also stand behind them."""
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    for name, summary in (
        ("upgrade", "bring the schema to this program's revision; safe to repeat"),
        ("check", "does the schema fit this program, and are the tables what they should be?"),
        (
            "prune",
            "delete the executions that `history` does not keep, as controllers do by themselves",
        ),
    ):
        action = actions.add_parser(
            name, help=summary, description=summary[0].upper() + summary[1:], allow_abbrev=False
        )
        action.add_argument("--database", metavar="URL", default=argparse.SUPPRESS, help="database URL")
        action.add_argument("-o", "--output", choices=("text", "json"), default="text")
        if name == "prune":
            action.add_argument("--dry-run", action="store_true", help="only tell what would go")


def run(args: argparse.Namespace, console: Console) -> int:
    """Do one action."""
    action = {"upgrade": _upgrade, "check": _check, "prune": _prune}[args.action]
    return action(args, console)


def _upgrade(args: argparse.Namespace, console: Console) -> int:
    from reconciler.store import schema

    db = connect(settings_of(args), ready=False)
    try:
        before = schema.check(db).revision
        revision = schema.upgrade(db)
    finally:
        db.close()
    if args.output == "json":
        changed = revision is not None
        after = revision or schema.REVISIONS[-1]
        console.print_json({"database": db.place, "before": before, "revision": after, "changed": changed})
    elif revision is None:
        console.print(f"{db.place} is at revision {schema.REVISIONS[-1]} already")
    else:
        console.print(f"{db.place} is at revision {revision} now (before: {before or 'empty'})")
    return 0


def _check(args: argparse.Namespace, console: Console) -> int:
    from reconciler.store import schema

    db = connect(settings_of(args), ready=False)
    try:
        state = schema.check(db)
        current = state.fit is schema.Fit.CURRENT
        differences = schema.differences(db) if current else []
    finally:
        db.close()
    if args.output == "json":
        console.print_json(
            {
                "database": db.place,
                "state": state.fit.value,
                "revision": state.revision,
                "program": state.program,
                "expectedRevision": state.expected,
                "ownVersion": state.own_version,
                "differences": differences,
            }
        )
    fault = _fault(db.place, differences) if current else schema.misfit(db.place, state)
    if fault is not None:
        console.print_error(fault)
        return EXIT_FAILED
    if args.output == "text":
        console.print(
            f"{db.place} is at revision {state.revision} of reconciler {state.program}, as expected, "
            "and its tables are as they should be"
        )
    return 0


def _fault(place: str, differences: list[str]) -> ReconcilerError | None:
    if not differences:
        return None
    listed = "".join(f"\n  - {difference}" for difference in differences)
    return DatabaseRejected(
        f"the tables of {place} are not as they should be:{listed}",
        hint="somebody changed them by hand; docs/adr/0003-tables.md says what they should be",
    )


def _prune(args: argparse.Namespace, console: Console) -> int:
    from reconciler.cli import prune

    return prune.run(args, console)
