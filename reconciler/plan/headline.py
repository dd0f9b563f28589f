"""What a plan is about, in one line each: from what, to what, how much."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.plan.changes import Guard, Plan
from reconciler.plan.words import count, printable, some

DRIFT_TITLE = "Changed by hand since the last apply; an apply puts it back"
BUSIEST_TITLE = "Busiest minute of the next 24 hours, after this"

_WORDS = {
    "create": "to create",
    "update": "to update",
    "rename": "to rename",
    "restore": "to restore",
    "delete": "to delete",
}
_MOST_MESSAGE = 60


def project_words(plan: Plan) -> str:
    """The project's name, or both where it changes."""
    name = printable(plan.project)
    return f"{printable(plan.former_project)} → {name}" if plan.former_project else name


def applied_words(plan: Plan) -> str:
    """``revision 17 (1a2b3c4d5e6f)``; ``nothing applied yet``."""
    if plan.base_revision is None:
        return "nothing applied yet"
    return f"revision {plan.base_revision}{f' ({plan.base_commit[:12]})' if plan.base_commit else ''}"


def desired_words(plan: Plan) -> str:
    """``commit 5d6e7f8a9b0c on main, “Move backups”``, and whether files were not committed."""
    git = plan.git
    if git is None:
        return "these files"
    words = f"commit {git.hash[:12]}"
    if git.branch:
        words += f" on {printable(git.branch)}"
    subject = printable(git.message.strip().split("\n")[0])
    if subject:
        cut = subject if len(subject) <= _MOST_MESSAGE else subject[: _MOST_MESSAGE - 1] + "…"
        words += f", “{cut}”"
    return words + (", with uncommitted changes" if git.dirty else "")


def other_project_words(plan: Plan) -> str | None:
    """A folder without git that was another project before: no guard can know that it is the same tree."""
    if plan.applied_as is None or plan.git is not None:
        return None
    other = printable(plan.applied_as)
    return (
        f"This folder was last applied as project {other!r}, whose objects stay as they are;"
        f" if it was renamed, write `formerly: {other}` in the metadata of its Project."
    )


def empty_words(plan: Plan) -> str:
    """The best of all plans, with all that stays as it is."""
    if plan.left_out:
        return f"No changes for {', '.join(plan.targets)}; {_left_out(plan)}."
    if not plan.unchanged:
        return "No changes: nothing is declared, and nothing was applied."
    objects = "the one object is" if plan.unchanged == 1 else f"all {plan.unchanged:,} objects are"
    return f"No changes: {objects} as declared."


def summary_words(plan: Plan) -> str:
    """``2 to create, 1 to put back, 45 unchanged.``"""
    counts = plan.summary()
    parts = [f"{counts[name]:,} {text}" for name, text in _WORDS.items() if counts[name]]
    drifted = len(plan.all_drift())
    if drifted:
        parts.append(f"{drifted:,} to put back")
    parts.append(f"{counts['unchanged']:,} unchanged")
    if plan.left_out:
        parts.append(_left_out(plan))
    return ", ".join(parts) + "."


def _left_out(plan: Plan) -> str:
    return f"{count(plan.left_out, 'more change')} outside of the targets"


def guard_words(guard: Guard, command: str) -> Iterator[tuple[str, str]]:
    """What stops an apply, each with the way out; ``command`` is what would apply it."""
    if guard.protected:
        names = some([printable(name) for name in guard.protected], 10)
        yield (
            f"Protected, so this cannot be applied: {names}",
            "declare them again, or first apply a commit of its own that sets `protected: false`",
        )
    if guard.reasons:
        release = f"if it is meant: {command} --allow-deletions {guard.release[:12]}" if guard.release else ""
        yield (
            f"The guard stops this: {'; '.join(map(printable, guard.reasons))}",
            release or "it can be released when nothing protected is among the deletions",
        )
