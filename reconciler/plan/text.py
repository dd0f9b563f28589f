"""The plan as a reviewer reads it on a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from reconciler.plan.changes import Plan
from reconciler.plan.effects import busiest
from reconciler.plan.entries import BOLD, DIM, GREEN, RED, YELLOW, Pen, entry_lines, sections
from reconciler.plan.groups import grouped
from reconciler.plan.guard import released
from reconciler.plan.headline import (
    BUSIEST_TITLE,
    DRIFT_TITLE,
    applied_words,
    desired_words,
    empty_words,
    guard_words,
    other_project_words,
    project_words,
    summary_words,
)
from reconciler.plan.words import printable


def plan_text(
    plan: Plan,
    *,
    colour: bool = False,
    path: str = "manifests",
    applying: str | None = None,
    release: str | None = None,
) -> str:
    """The whole plan: head line, changes with their lines, drift, guard, summary, what to do next.

    ``path`` is the tree, for the commands it names; ``applying`` the command that is just applying the plan,
    with ``release`` as its ``--allow-deletions``.
    """
    command = applying or apply_command(plan, path)
    pen = Pen(colour)
    lines = [_head(plan, pen)]
    other = other_project_words(plan)
    if other is not None:
        lines += ["", pen(other, YELLOW)]
    if plan.empty:
        guard = ["", *_guard(plan, pen, command, release)[:-1]] if plan.guard.stops else []
        return "\n".join([*lines, *guard, "", f"{pen('✓', GREEN)} {empty_words(plan)}"]) + "\n"
    for title, changes in sections(plan):
        lines += ["", pen(title, BOLD), *entry_lines(grouped(changes), pen)]
    drift = plan.all_drift()
    if drift:
        lines += ["", pen(DRIFT_TITLE, BOLD), *entry_lines(grouped(drift), pen)]
    crowded = busiest(plan)
    if crowded:
        lines += ["", pen(BUSIEST_TITLE, BOLD), *(f"    {line}" for line in crowded)]
    lines += ["", *_guard(plan, pen, command, release), pen(summary_words(plan), BOLD)]
    lines += _next_step(plan, None if applying else path, pen)
    return "\n".join(lines) + "\n"


def _head(plan: Plan, pen: Pen) -> str:
    return f"Project {pen(project_words(plan), BOLD)}: {applied_words(plan)} → {desired_words(plan)}"


def _guard(plan: Plan, pen: Pen, command: str, release: str | None) -> list[str]:
    guard = plan.guard
    if guard.reasons and released(guard, plan.digest, release):
        reasons = "; ".join(map(printable, guard.reasons))
        return [pen(f"The guard is released by --allow-deletions: {reasons}", YELLOW), ""]
    lines: list[str] = []
    for words, help_ in guard_words(guard, command):
        lines += [pen(words, RED), f"  {help_}"]
    return [*lines, ""] if lines else []


def _next_step(plan: Plan, path: str | None, pen: Pen) -> Iterator[str]:
    digest = f"Digest {plan.digest[:12]}."
    if path is None or plan.guard.protected:
        yield pen(digest, DIM)
        return
    commands = apply_commands(plan, path)
    if len(commands) == 1:
        yield pen(f"{digest} To make it so: {commands[0]}", DIM)
        return
    yield pen(f"{digest} To make it so, save it and apply the file:", DIM)
    for command in commands:
        yield pen(f"  {command}", DIM)


def apply_commands(plan: Plan, path: str) -> list[str]:
    """What makes the plan so, ready for a shell; a part of a plan is applied from a file."""
    release = f" --allow-deletions {plan.guard.release[:12]}" if plan.guard.release else ""
    last = f"{apply_command(plan, path)}{release}"
    if not plan.targets:
        return [last]
    wanted = " ".join(f"--target {shlex.quote(target)}" for target in plan.targets)
    return [f"reconciler plan {shlex.quote(path)} {wanted} --out plan.json", last]


def apply_command(plan: Plan, path: str) -> str:
    """The command that applies it, without the release of its guard."""
    return f"reconciler apply {'plan.json' if plan.targets else shlex.quote(path)}"
