"""``reconciler db prune [--dry-run]``: delete what ``history`` lets go, or tell what would go."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from reconciler.cli.common import settings_of
from reconciler.cli.console import Console
from reconciler.errors import EXIT_FAILED, Refused

if TYPE_CHECKING:
    from reconciler.record.retention import Pruned, Tally
    from reconciler.store.engine import Database
    from reconciler.store.prune import Names

LISTED = 50
"""Tasks in the table; JSON has all of them."""
_NAMED = 1_000


def run(args: argparse.Namespace, console: Console) -> int:
    """Count or delete, then tell."""
    from reconciler.bootstrap import database, pruner
    from reconciler.clock import SystemClock

    settings, clock = settings_of(args), SystemClock()
    with database(settings) as db:
        if args.dry_run:
            from reconciler.record.retention import preview

            found = preview(db, clock)
        else:
            found = pruner(db, settings, clock).run()
        names = _names(db, list(found.tasks))
    if args.output == "json":
        console.print_json(_shape(found, names, dry_run=args.dry_run))
    else:
        _print(console, found, names, dry_run=args.dry_run)
    if not found.stuck or args.dry_run:
        return 0
    fault = Refused(
        f"{found.stuck} executions stay, because their archives could not be deleted",
        hint="RECONCILER_ARCHIVE must be what it was when they ran; run it again when the archive answers",
    )
    fault.__cause__ = found.fault
    console.print_error(fault)
    return EXIT_FAILED


def _names(db: Database, ids: list[int]) -> dict[int, Names]:
    from reconciler.store.bulk import chunks
    from reconciler.store.prune import names_of

    names: dict[int, Names] = {}
    with db.read() as connection:
        for some in chunks(ids, _NAMED):
            names |= names_of(connection, some)
    return names


def _by_project(found: Pruned, names: dict[int, Names]) -> dict[str, dict[str, int]]:
    """Counts of each project, by name."""
    projects: dict[str, dict[str, int]] = {}
    for task_id, tally in found.tasks.items():
        total = projects.setdefault(
            names[task_id].project, {"tasks": 0, "executions": 0, "archives": 0, "archivedBytes": 0}
        )
        total["tasks"] += 1
        total["executions"] += tally.rows
        total["archives"] += tally.archives
        total["archivedBytes"] += tally.bytes
    return dict(sorted(projects.items()))


def _shape(found: Pruned, names: dict[int, Names], *, dry_run: bool) -> dict[str, Any]:
    return {
        "dryRun": dry_run,
        "executions": found.rows,
        "messages": found.messages,
        "stuck": found.stuck,
        "projects": [{"project": name, **total} for name, total in _by_project(found, names).items()],
        "items": [_item(names[task_id], tally) for task_id, tally in _sorted(found, names)],
    }


def _item(names: Names, tally: Tally) -> dict[str, Any]:
    from reconciler.model.instant import rfc3339
    from reconciler.store.ids import made_at

    return {
        "project": names.project,
        "task": names.task,
        "server": names.server,
        "executions": tally.rows,
        "oldest": rfc3339(made_at(tally.oldest)),
        "newest": rfc3339(made_at(tally.newest)),
        "archives": tally.archives,
        "archivedBytes": tally.bytes,
    }


def _sorted(found: Pruned, names: dict[int, Names]) -> list[tuple[int, Tally]]:
    def key(item: tuple[int, Tally]) -> tuple[int, str, str, str]:
        name = names[item[0]]
        return -item[1].rows, name.project, name.task, name.server

    return sorted(found.tasks.items(), key=key)


def _print(console: Console, found: Pruned, names: dict[int, Names], *, dry_run: bool) -> None:
    from reconciler.cli.tables import print_table
    from reconciler.model.quantity import counted
    from reconciler.report.layout import Column
    from reconciler.report.times import stamp
    from reconciler.store.ids import made_at

    rows = _sorted(found, names)
    if rows:
        several = len({name.project for name in names.values()}) > 1
        print_table(
            console,
            (
                Column("TASK"),
                Column("EXECUTIONS", right=True),
                Column("OLDEST", right=True),
                Column("NEWEST", right=True),
                Column("ARCHIVES", right=True),
                Column("BYTES", right=True),
            ),
            [
                (
                    f"{names[key].project}/" * several + f"{names[key].task}@{names[key].server}",
                    f"{tally.rows:,}",
                    stamp(made_at(tally.oldest)),
                    stamp(made_at(tally.newest)),
                    f"{tally.archives:,}" if tally.archives else "",
                    f"{tally.bytes:,}" if tally.archives else "",
                )
                for key, tally in rows[:LISTED]
            ],
            "executions",
        )
    if len(rows) > LISTED:
        console.print(f"… and {counted(len(rows) - LISTED, 'task')} more; -o json lists them all")
    for project, total in _by_project(found, names).items():
        words = f"{counted(total['executions'], 'execution')} of {counted(total['tasks'], 'task')}"
        archives = f", {counted(total['archives'], 'archive')}" if total["archives"] else ""
        console.print(f"project {project}: {words}{archives}")
    verb = "would go" if dry_run else "deleted"
    also = f", {counted(found.messages, 'delivered message')}" if found.messages else ""
    console.print(f"{verb}: {counted(found.rows, 'execution')}{also}")
