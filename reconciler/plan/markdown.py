"""The plan as a comment of a pull request: what matters on top, the rest folded, never too long to post."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from reconciler.plan.changes import Change, Drift, Plan
from reconciler.plan.effects import busiest
from reconciler.plan.entries import DELETIONS, Pen, entry_lines, sections
from reconciler.plan.groups import grouped
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
from reconciler.plan.text import apply_command, apply_commands
from reconciler.plan.words import count

LIMIT = 65_000
"""Characters: GitHub refuses a comment of more than 65,536, and callers add a line or two."""

_LONGEST_ENTRY = 6_000
_LONGEST_LINE = 1_000
_OPEN_UP_TO = 12
"""Sections of so many lines are unfolded at once."""

_LONGEST_COMMAND = 2_000
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#!|~$])")
_SIGN = re.compile(r"^( +)([+!-]) ")


def plan_markdown(plan: Plan, *, path: str = "manifests", limit: int = LIMIT) -> str:
    """The whole plan in at most ``limit`` characters (at least 4,000); what does not fit is counted.

    Everything that comes from manifests stands in code, so it neither formats nor mentions anybody.
    """
    head = [f"### Plan for {code(project_words(plan))}", "", _from_to(plan), ""]
    other = other_project_words(plan)
    if other is not None:
        head += [f"> {escape(other)}", ""]
    if plan.empty:
        head += _guard(plan, path) if plan.guard.stops else []
        return "\n".join([*head, f"✅ {escape(empty_words(plan)[:2000])}"]) + "\n"
    head += [f"**{escape(summary_words(plan))}**", "", *_guard(plan, path)]
    foot = [*_busiest(plan), *_apply(plan, path)]
    room = limit - len("\n".join([*head, *foot])) - 2
    return "\n".join([*head, *_sections(plan, room), *foot]) + "\n"


def code(text: str) -> str:
    """A code span that the text cannot end."""
    text = text.replace("\n", " ")
    ticks = "`" * (_longest_run(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}" if text else ""


def escape(text: str) -> str:
    """Plain text: no formatting, no HTML, no mention of a person or an issue."""
    safe = html.escape(text, quote=False).replace("@", "&#64;")
    return _SPECIAL.sub(r"\\\1", safe.replace("&#64;", "\0")).replace("\0", "&#64;")


def _from_to(plan: Plan) -> str:
    return f"{code(applied_words(plan))} → {code(desired_words(plan))}"


def _guard(plan: Plan, path: str) -> Iterator[str]:
    for words, help_ in guard_words(plan.guard, apply_command(plan, path)):
        yield "> [!CAUTION]"
        yield f"> {escape(words[:2000])}"
        yield f"> {escape(help_)}"
        yield ""


def _busiest(plan: Plan) -> Iterator[str]:
    lines = busiest(plan)
    if lines:
        yield from _folded(BUSIEST_TITLE, lines, unfold=False)


def _apply(plan: Plan, path: str) -> Iterator[str]:
    yield f"Digest {code(plan.digest[:12])}."
    commands = apply_commands(plan, path)
    if not plan.guard.protected and sum(map(len, commands)) <= _LONGEST_COMMAND:
        fence = _fence(commands)
        yield from ("", f"{fence}sh", *commands, fence)


def _sections(plan: Plan, room: int) -> Iterator[str]:
    """Deletions first: they are what a reviewer must not miss, nor a limit cut off."""
    parts: dict[str, Sequence[Change | Drift]] = dict(sections(plan))
    drift = plan.all_drift()
    if drift:
        parts[DRIFT_TITLE] = drift
    first = {DELETIONS: parts.pop(DELETIONS)} if DELETIONS in parts else {}
    parts = first | parts
    # every section gets its share; what one leaves is the next one's
    for number, (title, changes) in enumerate(parts.items()):
        share = room // (len(parts) - number)
        lines = list(_section(title, changes, share))
        room -= sum(len(line) + 1 for line in lines)
        yield from lines


def _section(title: str, changes: Sequence[Change | Drift], room: int) -> Iterator[str]:
    lines: list[str] = []
    left = room - 300 - len(title)
    shown = 0
    ticks = 2
    for group in grouped(changes):
        entry = _entry(list(entry_lines([group], Pen(False))))
        size = sum(len(line) + 1 for line in entry)
        ticks = max(ticks, *(_longest_run(line) for line in entry))
        if size + 2 * ticks > left:
            break
        lines += entry
        left -= size
        shown += len(group.members)
    if shown < len(changes):
        rest = len(changes) - shown
        lines.append(f"… {count(rest, 'more row' if shown else 'row')}; `reconciler plan` shows all of it")
    yield from _folded(f"{title} ({len(changes):,})", lines, unfold=len(lines) <= _OPEN_UP_TO)


def _folded(title: str, lines: Sequence[str], *, unfold: bool) -> Iterator[str]:
    fence = _fence(lines)
    yield f"<details{' open' if unfold else ''}><summary>{html.escape(title)}</summary>"
    yield from ("", f"{fence}diff", *lines, fence, "", "</details>", "")


def _entry(lines: list[str]) -> list[str]:
    """Signs at the left edge, where ``diff`` colours them; a very long entry without its end."""
    kept: list[str] = []
    size = 0
    for number, line in enumerate(lines):
        line = _SIGN.sub(r"\2\1", line)
        if len(line) > _LONGEST_LINE:
            line = f"{line[:_LONGEST_LINE]}… {len(line) - _LONGEST_LINE:,} more characters"
        size += len(line) + 1
        if size > _LONGEST_ENTRY:
            return [*kept, f"      … {count(len(lines) - number, 'more line')} of this change"]
        kept.append(line)
    return kept


def _fence(lines: Sequence[str]) -> str:
    """A fence that none of the lines can close."""
    return "`" * max(3, *(_longest_run(line) + 1 for line in lines), 3)


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
