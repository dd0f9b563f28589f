"""Why a task ran, or did not, at a time: the ledger's rows around it and the rules, to one answer.

Reads a bounded number of rows however long the ledger is, and writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from reconciler.errors import NotFound
from reconciler.model.execution import Reason, Status
from reconciler.model.instant import rfc3339
from reconciler.model.project import History, kept_history
from reconciler.report.build import overrides_of
from reconciler.report.explain_phrases import Evidence, covering, pause_words
from reconciler.report.explain_rules import (
    Found,
    Question,
    answering,
    forbidden_words,
    next_slot,
    note_at,
    previous_slot,
)
from reconciler.report.explain_words import Answer, answer
from reconciler.report.shapes import Json, execution_json
from reconciler.report.timeline import Fire, fire_json, plan_of
from reconciler.report.timing import timing_of
from reconciler.schedule.base import Note
from reconciler.store.executions import read_output
from reconciler.store.listing import tasks_by_id
from reconciler.store.prune import declared_history
from reconciler.store.slot_rows import (
    count_rows,
    project_history,
    revision_at,
    slots_after,
    slots_until,
    tried_before,
)
from reconciler.store.views import Connection, ExecutionView, TaskView

BEFORE = 250
"""Rows looked at before the moment: more than the 99 that follow a row that counts many slots, twice over."""
AFTER = 120
NEXT = 5
_YEARS = timedelta(days=3_653)
_MOST_COUNTED = 20_000


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer for one task and one moment (UTC).

    ``slot`` and ``due_at`` are of the slot that answers, None where none does; ``runs`` are its rows, newest
    attempt first. ``previous`` and ``next`` are the slots strictly before and after ``at``. ``fires`` come
    after the later of ``at`` and ``now``, suspended and forbidden ones left out. ``next_forbidden`` says what
    keeps the next slot from running.
    """

    task: TaskView
    at: datetime
    now: datetime
    answer: Answer
    slot: datetime | None
    due_at: datetime | None
    runs: tuple[ExecutionView, ...]
    previous: datetime | None
    next: datetime | None
    note: Note | None
    fires: tuple[Fire, ...]
    recorded: frozenset[datetime]
    """The slots around that have a row."""
    next_forbidden: str | None = None

    def in_force(self, slot: datetime) -> bool:
        """Whether a slot beside was one: it has a row, or the present spec was in force."""
        return slot in self.recorded or slot > self.task.runnable_since

    @property
    def execution(self) -> ExecutionView | None:
        return self.runs[0] if self.runs else None


def explain(
    conn: Connection, task_id: int, at: datetime | None, now: datetime, late_after: timedelta
) -> Explanation:
    """Why the task ran, or did not, at ``at``; None: now, and its newest slot. Raises NotFound."""
    found = tasks_by_id(conn, [task_id])
    if not found:
        raise NotFound(f"there is no task with id {task_id}", hint="`get tasks` lists them")
    question = _question(conn, found[0], at, now, late_after)
    slot, following = answering(question), next_slot(question)
    evidence = _evidence(conn, question, slot)
    return Explanation(
        task=question.task,
        at=question.at,
        now=now,
        answer=answer(question, slot, evidence),
        slot=None if slot is None else slot.slot,
        due_at=None if slot is None else slot.due_at,
        runs=() if slot is None else slot.rows,
        previous=previous_slot(question),
        next=following,
        note=note_at(question, slot),
        fires=_fires(conn, question),
        recorded=frozenset(run.scheduled_for for run in (*question.before, *question.after)),
        next_forbidden=_forbidden(conn, question, following),
    )


def explanation_json(found: Explanation) -> Json:
    """The shape of ``explain``, and more: ``message`` and ``hint`` are its sentences."""
    run = found.execution
    return {
        "task": found.task.name,
        "server": found.task.server,
        "at": rfc3339(found.at),
        "verdict": found.answer.verdict,
        "reason": found.answer.reason,
        "execution": None if run is None else str(run.id),
        "previousSlot": rfc3339(found.previous),
        "nextSlot": rfc3339(found.next),
        "note": found.note,
        "project": found.task.project,
        "nextSlotForbidden": found.next_forbidden,
        "message": found.answer.message,
        "hint": found.answer.hint,
        "slot": rfc3339(found.slot),
        "dueAt": rfc3339(found.due_at),
        "runs": [execution_json(item) for item in found.runs],
        "nextRuns": [fire_json(fire) for fire in found.fires],
    }


def _question(
    conn: Connection, task: TaskView, at: datetime | None, now: datetime, late_after: timedelta
) -> Question:
    moment = now if at is None else at
    return Question(
        task=task,
        timing=timing_of(task),
        at=moment,
        asked=at is not None,
        now=now,
        late_after=late_after,
        before=tuple(slots_until(conn, task.id, moment, BEFORE)),
        after=tuple(slots_after(conn, task.id, moment, AFTER)),
    )


def _forbidden(conn: Connection, question: Question, slot: datetime | None) -> str | None:
    """The calendar or the suspension that keeps a slot to come from running."""
    if slot is None or question.timing is None or slot <= question.now:
        return None
    due_at = slot + question.timing.jitter
    words = forbidden_words(question, due_at)
    if words is not None:
        return words
    pause = covering(overrides_of(conn, question.task, due_at), due_at)
    return None if pause is None else pause_words(pause)


def _evidence(conn: Connection, question: Question, found: Found | None) -> Evidence:
    """What the answer needs beyond the rows around the moment."""
    if found is None:
        return Evidence()
    task, last = question.task, found.last
    if last is None:
        return Evidence(
            suspensions=tuple(overrides_of(conn, task, found.due_at)),
            pruned=found.claimed and _pruned(conn, question, found),
        )
    if last.status == Status.OPEN:
        return Evidence(tried=tuple(tried_before(conn, task.id, question.now)))
    if last.reason == Reason.OVERLAP:
        return Evidence(tried=tuple(tried_before(conn, task.id, last.created_at)))
    if last.reason == Reason.SUSPENDED:
        note = read_output(conn, last.id).error
        return Evidence(suspensions=tuple(overrides_of(conn, task, found.due_at)), note=note)
    if last.reason in (Reason.DISABLED, Reason.SUPERSEDED):
        ended = last.finished_at or last.created_at
        return Evidence(revision=revision_at(conn, task.project_id, ended))
    return Evidence()


def _pruned(conn: Connection, question: Question, found: Found) -> bool:
    """Whether a slot without a row may have had one: it is too old to be kept, or the oldest are cut off."""
    age, most = _kept(conn, question.task)
    if found.due_at < question.now - age:
        return True
    if any(run.scheduled_for < found.slot for run in question.before):
        return False
    return most <= _MOST_COUNTED and count_rows(conn, question.task.id, most) >= most


def _kept(conn: Connection, task: TaskView) -> tuple[timedelta, int]:
    """The age and the number of executions that are kept of a task."""
    own = declared_history(task.document)
    try:
        kept = kept_history(own, project_history(conn, task.project_id))
    except ValueError:
        kept = History()
    return timedelta(seconds=kept.max_age), kept.max_count


def _fires(conn: Connection, question: Question) -> tuple[Fire, ...]:
    since = max(question.at, question.now)
    plan = plan_of(question.task, overrides_of(conn, question.task, since))
    return () if plan is None else tuple(islice(plan.fires(since, since + _YEARS), NEXT))
