"""``reconciler apply``: make the database what the manifests say, in one transaction."""

from __future__ import annotations

import argparse
import random
import shlex
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.cli.common import settings_of
from reconciler.cli.console import GREEN, Console, paint
from reconciler.cli.trees import add_path, contradictions_placed, load_desired, person
from reconciler.clock import SystemClock
from reconciler.errors import Refused, UsageError
from reconciler.model.instant import rfc3339

if TYPE_CHECKING:
    from reconciler.apply.request import Applied, ApplyRequest
    from reconciler.manifest.tree import Tree
    from reconciler.model.state import DesiredState
    from reconciler.plan.changes import Plan
    from reconciler.plan.planfile import SavedPlan
    from reconciler.settings import Settings
    from reconciler.store.engine import Database


def configure(parser: argparse.ArgumentParser) -> None:
    """The tree or saved plan, the consent, the form of the output."""
    add_path(parser, "folder with manifests, or a file that `plan --out` wrote")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--allow-deletions", metavar="DIGEST", help="release the deletion guard for the plan of this digest"
    )
    parser.add_argument(
        "--commit", metavar="SHA", help="apply what PATH was in this commit, also an older one (a rollback)"
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def run(args: argparse.Namespace, console: Console) -> int:
    """Plan, show, ask, apply."""
    from reconciler import bootstrap
    from reconciler.apply.apply import apply
    from reconciler.apply.checks import check

    settings = settings_of(args)
    tree, request = _request(args, settings, console)
    shown = args.output != "json"
    with bootstrap.database(settings) as db, contradictions_placed(tree, console, shown=shown):
        plan = _plan(db, request)
        if args.output == "text":
            _show(plan, console, request)
        check(request, plan)
        if not plan.empty:
            _ask(args, console)
            request = _approved(request, plan, asked=not args.yes)
        applied = apply(db, request, SystemClock(), random.Random())
        if applied.revision is not None:
            bootstrap.wake_others(settings, SystemClock())
        if args.output == "text" and applied.plan.digest != plan.digest:
            # with --yes whatever results under the lock is applied: then that is what must be read
            _show(applied.plan, console, request)
        _print(applied, args.output, console)
    return 0


def _plan(db: Database, request: ApplyRequest) -> Plan:
    """What the request comes to now, with its effects where a tree tells them."""
    from reconciler.apply.look import survey
    from reconciler.apply.preview import preview
    from reconciler.model.state import DesiredState

    if isinstance(request.desired, DesiredState):
        return survey(db, request.desired, SystemClock().now()).plan
    return preview(db, request)


def _request(
    args: argparse.Namespace, settings: Settings, console: Console
) -> tuple[Tree | None, ApplyRequest]:
    """What is asked for; the tree too, unless it is a saved plan."""
    from reconciler.apply.request import ApplyRequest
    from reconciler.manifest.source import is_ancestor

    tree, desired = _desired(args, settings, console)
    return tree, ApplyRequest(
        desired=desired,
        applied_by=person(),
        owner=f"{person()} (apply)",
        allow_deletions=args.allow_deletions,
        is_ancestor=partial(_is_ancestor, is_ancestor, args.path),
        allow_older=args.commit is not None,
        command=_command(args),
    )


def _command(args: argparse.Namespace) -> str:
    """The same apply once more, ready for a shell."""
    commit = "" if args.commit is None else f" --commit {shlex.quote(args.commit)}"
    return f"reconciler apply {shlex.quote(str(args.path))}{commit}"


def _desired(
    args: argparse.Namespace, settings: Settings, console: Console
) -> tuple[Tree, DesiredState] | tuple[None, SavedPlan]:
    from reconciler.cli.planfiles import read_plan_file
    from reconciler.plan.planfile import load_plan

    if not args.path.is_file():
        return load_desired(args.path, console, settings, args.commit)
    if args.commit is not None:
        raise UsageError("--commit goes with a folder, not with a saved plan")
    return None, load_plan(read_plan_file(args.path))


def _is_ancestor(ask: Any, path: Path, older: str, newer: str) -> bool:
    """A commit that this clone does not have (a shallow one) cannot be shown to be older."""
    folder = path if path.is_dir() else Path()
    return bool(ask(folder, older, newer))


def _show(plan: Plan, console: Console, request: ApplyRequest) -> None:
    from reconciler.plan.text import plan_text

    console.out.write(
        plan_text(plan, colour=console.colour, applying=request.command, release=request.allow_deletions)
    )
    console.out.flush()


def _ask(args: argparse.Namespace, console: Console) -> None:
    """Consent of a person; without one nothing is changed. Raises Refused."""
    if args.yes:
        return
    if not console.interactive:
        raise Refused(
            "there are changes, and nobody to ask: stdin is no terminal",
            hint="look at the plan, then apply with --yes",
        )
    console.err.write("Apply this? Only 'yes' is taken: ")
    console.err.flush()
    if sys.stdin.readline().strip() != "yes":
        raise Refused("not applied: nobody said yes")


def _approved(request: ApplyRequest, plan: Plan, *, asked: bool) -> ApplyRequest:
    """Whoever looked at a plan gets that plan or none; ``--yes`` takes what results under the lock."""
    return replace(request, approved=plan.digest) if asked else request


def _print(applied: Applied, form: str, console: Console) -> None:
    if form == "json":
        console.print_json(
            {
                "revision": _revision(applied),
                "summary": dict(applied.summary),
                "digest": applied.plan.digest,
            }
        )
    elif applied.revision is not None:
        console.print(paint(f"Applied as revision {applied.revision.id}.", GREEN, console.colour))


def _revision(applied: Applied) -> dict[str, Any] | None:
    revision = applied.revision
    if revision is None:
        return None
    return {
        "id": revision.id,
        "commit": revision.commit.hash if revision.commit else None,
        "author": revision.commit.author if revision.commit else None,
        "appliedBy": revision.applied_by,
        "appliedAt": rfc3339(revision.applied_at),
    }
