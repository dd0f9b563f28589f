"""Why a slot was skipped, or why there was none: what happened, and what would have made it run. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from math import ceil

from reconciler.model.enums import CatchUp, Concurrency, Dst
from reconciler.model.execution import Reason, Trigger
from reconciler.model.quantity import format_duration, parse_duration
from reconciler.model.task import TaskSpec
from reconciler.report.explain_phrases import (
    Evidence,
    calendar_hint,
    covering,
    pause_words,
    resume_hint,
    revision_words,
    run_words,
    slot_words,
)
from reconciler.report.explain_rules import TICK, Found, Question, gap_beside, note_at
from reconciler.report.times import moment_text, span, stamp
from reconciler.schedule.base import GAP, REPEAT
from reconciler.store.views import ExecutionView, TaskView

Words = tuple[str, str | None]
"""What happened and why; what would have made it run."""


def skipped(question: Question, found: Found, row: ExecutionView, evidence: Evidence) -> Words:
    """Of a slot whose row says that it was skipped."""
    explain = _SKIPS.get(row.reason or "")
    if explain is None:
        return f"{_head(question, found, row)} was skipped: {row.reason or 'no reason is recorded'}", None
    return explain(question, found, row, evidence)


def _overlap(question: Question, found: Found, row: ExecutionView, evidence: Evidence) -> Words:
    other = in_the_way(evidence.tried, row)
    way = "an earlier run, which is no longer in the ledger" if other is None else run_words(other)
    head = f"{_head(question, found, row)} was skipped, because of an overlap: in its way was {way}"
    rule = question.task.document["spec"].get("concurrency", Concurrency.FORBID)
    if rule == Concurrency.QUEUE:
        return head, "one run was waiting already; `concurrency: allow` would have started it beside them"
    if rule == Concurrency.FORBID:
        return head, (
            "`concurrency: queue` would have let it wait, `replace` would have ended the other, "
            "`allow` would have started it beside"
        )
    return head, _other_spec(question, row, f"the present `concurrency: {rule}` skips nothing")


def _missed(question: Question, found: Found, row: ExecutionView, evidence: Evidence) -> Words:
    late = row.created_at - found.due_at
    text = (
        f"{_head(question, found, row)} was missed: no scheduler claimed it until {stamp(row.created_at)}, "
        f"{span(late.total_seconds())} after it was due (up to {span(question.late_after.total_seconds())} "
        "is on time)"
    )
    return text, _catch_up_hint(question, found, row, late)


def _catch_up_hint(question: Question, found: Found, row: ExecutionView, late: timedelta) -> str | None:
    """Which ``catchUp``, with which window, would have caught a missed slot."""
    rule, window = _catch_up(question.task)
    # the window is judged by the claim's clock, so the same lateness to the microsecond is inside
    enough = format_duration(ceil(late.total_seconds()))
    newest = not found.folded and row.count == 1 and not _newer_in_the_same_claim(question, row)
    wide = window >= late
    wanted = "latest" if newest else "all"
    have = f"catchUp is {rule} with a catchUpWindow of {format_duration(round(window.total_seconds()))}"
    if rule == CatchUp.NONE or (rule == CatchUp.LATEST and not newest):
        only = "" if newest else "; `latest` runs only the newest of those missed"
        also = "" if rule != CatchUp.NONE and wide else f" with a `catchUpWindow` of at least {enough}"
        return f"`catchUp: {wanted}`{also} would have run it{only} ({have})"
    if not wide:
        return f"a `catchUpWindow` of at least {enough} would have run it ({have})"
    return _other_spec(question, row, f"now it would be caught up: {have}")


def _newer_in_the_same_claim(question: Question, row: ExecutionView) -> bool:
    late = (Reason.MISSED, Trigger.CATCH_UP)
    return any(
        run.created_at == row.created_at
        and run.scheduled_for > row.scheduled_for
        and (run.reason in late or run.trigger in late)
        for run in (*question.after, *question.before)
    )


def _suspended(question: Question, found: Found, row: ExecutionView, evidence: Evidence) -> Words:
    skipped = f"{_head(question, found, row)} was skipped: "
    note = evidence.note
    if note is not None and note.startswith("calendar "):
        return skipped + note, f"{calendar_hint(question.task)}; forbidden slots are never caught up"
    head = skipped + "it was "
    pause = covering(evidence.suspensions, found.due_at)
    if pause is None:
        recorded = note or "suspended then; the suspension itself is no longer recorded"
        return head + recorded, None
    ended = pause.until is not None and pause.until <= question.now
    hint = "a resume before it was due would have let it run; suspended slots are never caught up"
    return head + pause_words(pause), hint if ended else resume_hint(question.task, pause)


def _disabled(question: Question, found: Found, row: ExecutionView, evidence: Evidence) -> Words:
    at = stamp(row.finished_at or row.created_at)
    by = "" if evidence.revision is None else f", by {revision_words(evidence.revision)}"
    text = (
        f"{_head(question, found, row)} was skipped: it was waiting when the task or its server was disabled "
        f"or deleted at {at}{by}"
    )
    return text, _open_again(question.task)


def _superseded(question: Question, found: Found, row: ExecutionView, evidence: Evidence) -> Words:
    head, at = _head(question, found, row), row.finished_at or row.created_at
    newer = next(
        (
            run
            for run in (*question.after, *question.before)
            if run.scheduled_for > row.scheduled_for
            and run.created_at == at
            and run.reason != Reason.SUPERSEDED
        ),
        None,
    )
    if evidence.revision is None and newer is not None:
        text = f"{head} was skipped: at {stamp(at)} it still waited, and execution {newer.id} replaced it"
        return text, "`concurrency: queue` or `allow` would have kept it"
    by = "a change of the task" if evidence.revision is None else revision_words(evidence.revision)
    text = f"{head} had passed unclaimed when {by} changed its times at {stamp(at)}; nothing is replayed"
    return text, "a scheduler running at its time would have run it before the change"


_SKIPS: dict[str, Callable[[Question, Found, ExecutionView, Evidence], Words]] = {
    Reason.OVERLAP: _overlap,
    Reason.MISSED: _missed,
    Reason.SUSPENDED: _suspended,
    Reason.DISABLED: _disabled,
    Reason.SUPERSEDED: _superseded,
}


def in_the_way(tried: tuple[ExecutionView, ...], row: ExecutionView) -> ExecutionView | None:
    """Of the runs made until then, the one that had not ended when the row was recorded as an overlap.

    A started one rather than one that waited; else one whose host has not answered since its start.
    """
    others = [run for run in tried if run.id != row.id and run.created_at <= row.created_at]
    unfinished = [run for run in others if run.finished_at is None or run.finished_at > row.created_at]
    silent = [run for run in others if run.reason == Reason.UNREACHABLE and run.started_at is not None]
    begun = [run for run in unfinished if run.started_at is not None or run.unacknowledged]
    return next(iter([*begun, *unfinished, *silent]), None)


# -- no slot ------------------------------------------------------------------------------------


def absent(question: Question) -> tuple[str, str, str | None]:
    """Why nothing was or will be due at the moment: a word, a sentence, and what would change it."""
    task, at = question.task, question.at
    moment = moment_text(at, task.timezone)
    if at < task.created_at:
        by = f"the task was created only at {stamp(task.created_at)}, by {task.created_by}"
        return "not-created", f"nothing was due at {moment}: {by}{_would_have(question)}", None
    if task.deleted_at is not None and at >= task.deleted_at:
        text = f"nothing is due at {moment}: the task was deleted at {stamp(task.deleted_at)}"
        return "deleted", text, "declaring it again restores it with its history"
    if at <= task.runnable_since and (task.schedule is not None or not task.runnable):
        text = (
            f"the ledger has nothing of {moment}, and the present state of the task and its server began only"
        )
        return "before-spec", f"{text} at {stamp(task.runnable_since)}{_would_have(question)}", None
    if not task.enabled:
        text = f"nothing is due at {moment}: enabled is false at {task.path}:{task.line}"
        return "disabled", f"{text}, since {stamp(task.updated_at)}", _open_again(task)
    if not task.server_enabled:
        text = f"nothing is due at {moment}: server {task.server} is disabled or deleted"
        return "server-disabled", f"{text}, since {stamp(task.runnable_since)}", _open_again(task)
    if task.schedule is None:
        return _without_schedule(task, moment)
    if question.timing is None:
        text = f"the row's schedule {task.schedule!r} in {task.timezone!r} cannot be read"
        return "unreadable", text, "it was changed by hand; the next apply puts it back"
    return _between(question, moment)


def _without_schedule(task: TaskView, moment: str) -> tuple[str, str, str | None]:
    after = task.document["spec"].get("after")
    if isinstance(after, list) and after:
        text = f"nothing is due at {moment}: it has no schedule, and runs after {', '.join(map(str, after))}"
        return "after-others", text, "it runs once each of them has succeeded again"
    text = f"nothing is due at {moment}: it has no schedule and runs only when asked"
    return "no-schedule", text, f"`reconciler run {task.address}` runs it now"


def _between(question: Question, moment: str) -> tuple[str, str, str | None]:
    """Between two slots of the present schedule; where the clock changed, that is why."""
    task = question.task
    note, timing = note_at(question, None), question.timing
    verb = "is" if question.coming else "was"
    if timing is None or note is None:
        return (
            "no-slot",
            f"nothing {verb} due at {moment}: the schedule {task.schedule!r} has no slot then",
            None,
        )
    if note == REPEAT:
        text = f"nothing {verb} due at {moment}: the clock shows this local time twice on that day"
        return REPEAT, f"{text}, and `dst: {timing.dst}` runs it only once", _dst_hint(timing.dst, Dst.BOTH)
    end = gap_beside(question) or question.at
    text = f"nothing {verb} due at {moment}: the clock went forward over a time of {task.schedule!r}"
    if timing.previous_before(end + TICK) == end:
        return GAP, f"{text}, and its slot of that day is at {moment_text(end, task.timezone)} instead", None
    return (
        GAP,
        f"{text}, and `dst: {timing.dst}` does not run it on that day",
        _dst_hint(timing.dst, Dst.ONCE),
    )


def _dst_hint(present: Dst, other: Dst) -> str | None:
    return None if present == other else f"`dst: {other}` would run it"


def _would_have(question: Question) -> str:
    """What the present schedule says of a moment before it was in force."""
    if question.timing is None or not question.task.runnable:
        return ""
    slot = question.timing.previous_before(question.at + TICK)
    if slot is None or question.at > slot + question.timing.jitter + question.late_after:
        return ""
    return f" (it would have had {slot_words(question.task, slot)})"


# -- parts --------------------------------------------------------------------------------------


def _head(question: Question, found: Found, row: ExecutionView) -> str:
    if row.trigger == Trigger.MANUAL:
        return f"the run that {row.requested_by or 'somebody'} asked for at {stamp(row.scheduled_for)}"
    if row.trigger == Trigger.DEPENDENCY:
        return f"the run after other tasks' success at {stamp(row.scheduled_for)}"
    words = slot_words(question.task, found.slot)
    if row.count == 1:
        return words
    if found.folded and not question.rules_apply:
        # of an earlier spec: which of them the moment belongs to nobody knows any more
        return (
            f"each of the {row.count:,} slots from {moment_text(row.scheduled_for, question.task.timezone)}"
        )
    return f"{words}, one of {row.count:,} recorded together from {stamp(row.scheduled_for)},"


def _catch_up(task: TaskView) -> tuple[CatchUp, timedelta]:
    """The present rule and its window; the defaults where a hand has spoilt them."""
    spec, fields = task.document["spec"], TaskSpec.model_fields
    try:
        rule = CatchUp(spec.get("catchUp", fields["catch_up"].default))
        window = spec.get("catchUpWindow")
        seconds = fields["catch_up_window"].default if window is None else parse_duration(window)
    except ValueError:
        return CatchUp.LATEST, timedelta(hours=1)
    return rule, timedelta(seconds=seconds)


def _open_again(task: TaskView) -> str:
    """What enables a task, or its server."""
    if task.deleted_at is not None:
        return "declaring it again restores it with its history"
    if not task.enabled:
        return f"`enabled: true` at {task.path}:{task.line}, applied, lets slots arise again"
    if not task.server_enabled:
        return f"an enabled server {task.server}, applied, lets slots arise again"
    return "it is enabled again now"


def _other_spec(question: Question, row: ExecutionView, text: str) -> str | None:
    """What holds of the present spec, where that is not the one the row was decided by."""
    return text if row.generation != question.task.generation else None
