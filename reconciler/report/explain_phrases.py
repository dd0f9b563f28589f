"""The phrases that answers are made of: slots, runs, suspensions, applies. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from reconciler.model.execution import Reason, Trigger
from reconciler.report.judge import in_force, longest
from reconciler.report.times import moment_text, stamp
from reconciler.store.views import ExecutionView, RevisionView, SuspensionView, TaskView


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was read because of the slot that answers.

    ``suspensions`` are those of the task that had not ended when the slot was due; ``tried`` the newest runs
    made until the slot's row was (newest first, none skipped); ``revision`` the apply that closed the row;
    ``pruned``: an absent row may have been pruned; ``note``: what a skipped row says of itself.
    """

    suspensions: tuple[SuspensionView, ...] = ()
    tried: tuple[ExecutionView, ...] = ()
    revision: RevisionView | None = None
    pruned: bool = False
    note: str | None = None


def slot_words(task: TaskView, slot: datetime) -> str:
    """``the slot of 2026-03-01 02:00 Europe/Berlin (01:00:00 UTC)``"""
    return f"the slot of {moment_text(slot, task.timezone)}"


def run_words(run: ExecutionView) -> str:
    """A run that is in the way: which, of what, since when, and how it ended."""
    if run.trigger == Trigger.MANUAL:
        what = f"asked for by {run.requested_by or 'somebody'}"
    else:
        what = f"of the slot of {stamp(run.scheduled_for)}"
    if run.started_at is None:
        sent = ", though its start may have reached its host" if run.unacknowledged else ""
        return f"execution {run.id}, {what}, which had not started{sent}"
    end = "and has not ended" if run.finished_at is None else f"and ended at {stamp(run.finished_at)}"
    if run.reason == Reason.UNREACHABLE:
        end = "and whose host has not answered since"
    return f"execution {run.id}, {what}, which began at {stamp(run.started_at)} {end}"


def covering(suspensions: Sequence[SuspensionView], moment: datetime) -> SuspensionView | None:
    """The suspension that covers a moment and ends last."""
    return longest([item for item in suspensions if in_force(item, moment)], moment)


def pause_words(pause: SuspensionView) -> str:
    """``suspended by ann@laptop from … until …: its reason``"""
    what = (
        "" if pause.task_id is not None else " with its project" if pause.project_id else " with everything"
    )
    until = "until it is resumed" if pause.until is None else f"until {stamp(pause.until)}"
    return f"suspended{what} by {pause.by} from {stamp(pause.since)} {until}: {pause.reason}"


def resume_hint(task: TaskView, pause: SuspensionView) -> str:
    """The command that ends a suspension."""
    if pause.task_id is not None:
        words = f"{task.project}/{task.address}"
    else:
        words = f"--project {task.project}" if pause.project_id is not None else "--all"
    return f"`reconciler resume {words}` ends the suspension"


def calendar_hint(task: TaskView) -> str:
    """What would let a slot run that a calendar forbids."""
    return (
        "an `allow` window of the calendar, or a task that does not name it "
        f"({task.path}:{task.line}, or the project's `calendars`), would let it run; "
        f"`reconciler run {task.address}` runs it at any time"
    )


def revision_words(revision: RevisionView) -> str:
    """Which apply, whose, of what commit."""
    commit = "" if revision.commit is None else f" of commit {revision.commit[:12]}"
    author = "" if revision.author is None else f" by {revision.author}"
    return f"revision {revision.id}{commit}{author}, applied by {revision.applied_by}"
