"""A slot, or its absence, to a verdict and the sentences that a person would say. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reconciler.model.execution import Reason, State, Status, Trigger
from reconciler.model.quantity import counted
from reconciler.report.explain_phrases import (
    Evidence,
    calendar_hint,
    covering,
    pause_words,
    resume_hint,
    run_words,
    slot_words,
)
from reconciler.report.explain_rules import Found, Question, forbidden_words, running
from reconciler.report.explain_why_not import absent, skipped
from reconciler.report.judge import verdict
from reconciler.report.overdue import Overdue
from reconciler.report.times import span, stamp
from reconciler.store.views import ExecutionView


class Verdict(StrEnum):
    """What ``explain`` answers."""

    RAN = "ran"
    SKIPPED = "skipped"
    RUNNING = "running"
    NOT_DUE = "not-due"
    OVERDUE = "overdue"
    UPCOMING = "upcoming"


@dataclass(frozen=True, slots=True)
class Answer:
    """The verdict, its reason in a word, what happened and why, and what would have made it run, or will."""

    verdict: Verdict
    reason: str
    message: str
    hint: str | None = None


def answer(question: Question, found: Found | None, evidence: Evidence) -> Answer:
    """What is to be said of the slot that answers, or of there being none."""
    if found is None:
        reason, message, hint = absent(question)
        return Answer(Verdict.NOT_DUE, reason, message, hint)
    last = found.last
    if last is None:
        return _unrecorded(question, found, evidence)
    if last.status == Status.SKIPPED:
        message, hint = skipped(question, found, last, evidence)
        return Answer(Verdict.SKIPPED, last.reason or "skipped", message, hint)
    if last.state is State.RUNNING:
        return _running(question, last)
    if last.state is State.WAITING:
        return _waiting(question, found, last, evidence)
    return _ran(question, found, last)


# -- without a row ------------------------------------------------------------------------------


def _unrecorded(question: Question, found: Found, evidence: Evidence) -> Answer:
    slot, pause = slot_words(question.task, found.slot), covering(evidence.suspensions, found.due_at)
    due = "" if found.due_at == found.slot else f" (due at {stamp(found.due_at)} by its jitter)"
    forbidden = None if pause is not None else forbidden_words(question, found.due_at)
    if found.due_at > question.now:
        if pause is not None:
            text = f"{slot}{due} comes while it is {pause_words(pause)}: it will be skipped"
            return Answer(Verdict.UPCOMING, "suspended", text, resume_hint(question.task, pause))
        if forbidden is not None:
            text = f"{slot}{due} will be skipped: {forbidden}"
            return Answer(Verdict.UPCOMING, "suspended", text, calendar_hint(question.task))
        return Answer(Verdict.UPCOMING, "scheduled", f"{slot}{due} is still to come")
    if pause is not None:
        text = f"{slot} is skipped: it is {pause_words(pause)}; the next claim of a scheduler records it"
        return Answer(Verdict.SKIPPED, Reason.SUSPENDED, text, resume_hint(question.task, pause))
    if forbidden is not None:
        text = f"{slot} is skipped: {forbidden}; the next claim of a scheduler records it"
        return Answer(Verdict.SKIPPED, Reason.SUSPENDED, text, calendar_hint(question.task))
    late = question.now - found.due_at
    if late <= question.late_after:
        seconds = late.total_seconds()
        how = f"has been due for {span(seconds)}" if seconds >= 1 else "is due now"
        return Answer(Verdict.UPCOMING, "due", f"{slot} {how}, and is about to be claimed")
    if evidence.pruned:
        text = f"{slot} has passed, and its record is no longer kept: the ledger begins later"
        hint = "`history` (maxAge, maxCount) of the task or the project says how much is kept"
        return Answer(Verdict.NOT_DUE, "no-record", text, hint)
    kind = "NotScheduled" if found.claimed else "NotClaimed"
    overdue = Overdue(kind, found.slot, found.due_at, found.due_at + question.late_after)
    hint = (
        "`reconciler plan` shows what was changed by hand"
        if found.claimed
        else "`reconciler up` or `controller` claims slots; whether this one then still runs, catchUp says"
    )
    word = "not-recorded" if found.claimed else "not-claimed"
    return Answer(Verdict.OVERDUE, word, overdue.message(question.task), hint)


# -- with one -----------------------------------------------------------------------------------


def _running(question: Question, run: ExecutionView) -> Answer:
    begun = run.started_at or run.created_at
    text = f"{_why(question, run)}; it runs as execution {run.id} since {stamp(begun)}"
    if run.cancel_requested_at is not None:
        text += f", and {run.cancel_requested_by or 'somebody'} asked to cancel it"
    return Answer(Verdict.RUNNING, "running", text, f"`reconciler logs {run.id} --follow` shows its output")


def _waiting(question: Question, found: Found, run: ExecutionView, evidence: Evidence) -> Answer:
    why = _why(question, run)
    if run.due_at > question.now:
        after = ""
        if len(found.rows) > 1:
            after = f"attempt {found.rows[1].attempt} failed ({verdict(found.rows[1])}); "
        text = f"{why}; {after}execution {run.id} waits until {stamp(run.due_at)}"
        return Answer(Verdict.UPCOMING, "waiting", text)
    other = running([item for item in evidence.tried if item.id != run.id])
    if other is not None:
        text = f"{why}; execution {run.id} waits for its turn: in its way is {run_words(other)}"
        return Answer(Verdict.UPCOMING, "waiting", text, f"`reconciler cancel {other.id}` would end that one")
    if question.now - run.due_at <= question.late_after:
        text = f"{why}; execution {run.id} is claimed and about to start{_sent(run)}"
        return Answer(Verdict.UPCOMING, "waiting", text)
    overdue = Overdue("NotStarted", found.slot, run.due_at, run.due_at + question.late_after, run.id)
    hint = (
        "a worker (`reconciler up` or `worker`) takes it; maxConcurrentRuns and maxParallel may hold it back"
    )
    return Answer(Verdict.OVERDUE, "not-started", f"{overdue.message(question.task)}{_sent(run)}", hint)


def _sent(run: ExecutionView) -> str:
    """Of a run that waits: why a worker that takes it asks its host about it first."""
    if not run.unacknowledged or run.start_sent_at is None:
        return ""
    sent = stamp(run.start_sent_at)
    return f" (its start was sent at {sent}, and it counts as started until its host says otherwise)"


def _ran(question: Question, found: Found, run: ExecutionView) -> Answer:
    first = found.rows[-1]
    reason = run.reason or str(run.state)
    why = _why(question, first)
    if len(found.rows) > 1:
        why += f"; {counted(run.attempt, 'attempt')}, the last"
    else:
        why += "; it"
    if run.started_at is None:
        text = f"{why} was tried as execution {run.id} but did not start: {verdict(run)}"
    else:
        late = (run.started_at - run.due_at).total_seconds()
        behind = f", {span(late)} after it was due" if late >= 1 else ""
        text = f"{why} ran as execution {run.id} from {stamp(run.started_at)}{behind}: {verdict(run)}"
    hint = None if run.status == Status.SUCCESS else f"`reconciler logs {run.id}` shows what it wrote"
    if run.reason == Reason.UNREACHABLE and run.started_at is not None:
        text += "; it may still run on its host, which has not answered since"
    return Answer(Verdict.RAN, reason, text, hint)


def _why(question: Question, run: ExecutionView) -> str:
    """What made a run: the beginning of the sentence."""
    slot = slot_words(question.task, run.scheduled_for)
    if run.trigger == Trigger.MANUAL:
        return f"{run.requested_by or 'somebody'} asked for it at {stamp(run.scheduled_for)}"
    if run.trigger == Trigger.DEPENDENCY:
        after = question.task.document["spec"].get("after")
        names = ", ".join(map(str, after)) if isinstance(after, list) and after else "what it runs after"
        return f"{names} had succeeded at {stamp(run.scheduled_for)}"
    if run.trigger == Trigger.CATCH_UP:
        late = span((run.created_at - run.due_at).total_seconds())
        return f"{slot} was missed, and caught up {late} late"
    return f"{slot} came due"
