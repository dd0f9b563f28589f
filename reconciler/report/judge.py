"""Rows to conditions: what is true of a task, a server, a project. Pure: the moment is an argument.

Messages hold absolute times only, so that the same situation always reads the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from reconciler.model.condition import Condition, ConditionStatus, ConditionType, Health, Sync
from reconciler.model.enums import Kind
from reconciler.model.execution import Reason, State, Status
from reconciler.model.value import value
from reconciler.report.overdue import Overdue
from reconciler.report.reachable import NO_CONTACT, newer, reason_word
from reconciler.report.status import ObjectStatus
from reconciler.report.timeline import Held, held
from reconciler.report.times import moment_text, span, stamp
from reconciler.store.views import (
    ProjectView,
    RevisionView,
    RunView,
    ServerView,
    StoredCondition,
    SuspensionView,
    TaskView,
)

# here once: to look a member up in its class takes longer than most of what is asked of a task
TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
SYNCED, SCHEDULED, LAST_RUN_SUCCEEDED = (
    ConditionType.SYNCED, ConditionType.SCHEDULED, ConditionType.LAST_RUN_SUCCEEDED,
)  # fmt: skip
TASK, DRIFTED, IN_SYNC, RUNNING = Kind.TASK, Sync.DRIFTED, Sync.SYNCED, State.RUNNING
SUCCESS, SKIPPED = int(Status.SUCCESS), int(Status.SKIPPED)
COMPLETED, EXIT_CODE, CANCELLED = Reason.COMPLETED.value, Reason.EXIT_CODE.value, Reason.CANCELLED.value
UNREACHABLE, MISSED = Reason.UNREACHABLE.value, Reason.MISSED.value

_WORDS: dict[str, str] = {
    Reason.TIMED_OUT: "timed out and was ended",
    Reason.CANCELLED: "cancelled",
    Reason.UNREACHABLE: "the host could not be reached",
    Reason.AUTH_FAILED: "the host refused the login",
    Reason.HOST_KEY: "the host's key is not the pinned or known one",
    Reason.START_FAILED: "the command could not be started",
    Reason.HOST_REBOOTED: "the host rebooted while it ran",
    Reason.LOST: "the host knows nothing of it any more",
    Reason.INTERNAL: "an internal fault",
    Reason.OVERLAP: "skipped: an earlier run had not ended",
    Reason.MISSED: "missed: nobody claimed it in time",
    Reason.SUSPENDED: "skipped: suspended",
    Reason.DISABLED: "skipped: disabled or deleted",
    Reason.SUPERSEDED: "skipped: superseded by a change or a later run",
}

_ORDER = list(ConditionType)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@value
class TaskFacts:
    """All that is known of a task's runs: ``newest`` by slot whatever became of it, ``finished`` the newest
    that succeeded or failed, ``open`` those that have not ended, the suspension and the overdue slot."""

    newest: RunView | None = None
    finished: RunView | None = None
    open: tuple[RunView, ...] = ()
    suspension: SuspensionView | None = None
    overdue: Overdue | None = None


def judge_task(task: TaskView, facts: TaskFacts) -> ObjectStatus:
    """The status of one task on one server."""
    last, forbidden = last_run_succeeded(task, facts), held(task)
    conditions = [synced(task, task.revision_id), scheduled(task, forbidden), last]
    if facts.overdue is not None:
        conditions.append(_overdue(task, facts.overdue))
    if facts.suspension is not None:
        conditions.append(_suspended(task, facts.suspension))
    conditions += _drifted(task)
    return ObjectStatus(
        kind=TASK,
        name=task.name,
        server=task.server,
        project=task.project,
        sync=DRIFTED if task.drifted else IN_SYNC,
        health=_health(facts, last),
        conditions=tuple(conditions),
        path=task.path,
        line=task.line,
        task_id=task.id,
        zone=task.timezone,
        next_run=task.next_run if forbidden is None else forbidden.next_run,
        last=_decisive(facts),
        open=facts.open,
    )


def judge_server(
    server: ServerView, contact: RunView | None, stored: Sequence[StoredCondition] = ()
) -> ObjectStatus:
    """The status of a server; ``contact`` is the newest run there that succeeded or failed, ``stored`` what
    processes wrote down of it."""
    others = {condition.type: condition for condition in written(stored)}
    reachable = newer(_reachable(server, contact), others.get(ConditionType.REACHABLE))
    health = {TRUE: Health.HEALTHY, FALSE: Health.DEGRADED, UNKNOWN: Health.UNKNOWN}[reachable.status]
    return ObjectStatus(
        kind=Kind.SERVER,
        name=server.name,
        server=None,
        project=server.project,
        sync=DRIFTED if server.drifted else IN_SYNC,
        health=health,
        conditions=(synced(server, server.revision_id), reachable, *_drifted(server)),
        path=server.path,
        line=server.line,
    )


def judge_project(project: ProjectView, stored: Sequence[StoredCondition]) -> ObjectStatus:
    """The status of a project: what was applied last, and what its controller wrote down."""
    others = written(stored)
    stalled = any(row.type is ConditionType.STALLED and row.status is TRUE for row in others)
    waits = any(row.type == ConditionType.STALLED and row.status == TRUE and not row.cause for row in stored)
    revision = project.revision
    if revision is None:
        own = Condition(SYNCED, UNKNOWN, "NeverApplied", "nothing was applied yet", None, None)
    else:
        text = f"revision {revision.id}{_of_commit(revision)} was applied by {revision.applied_by}"
        own = Condition(SYNCED, TRUE, "Applied", text, revision.applied_at, None)
    if waits:
        # older or newer, wrong, or out of reach: Stalled says which
        text = f"what its source says now is not applied; {own.message}"
        own = replace(own, status=FALSE, reason="Pending", message=text)
    return ObjectStatus(
        kind=Kind.PROJECT,
        name=project.name,
        server=None,
        project=project.name,
        sync=Sync.PENDING if waits or revision is None else IN_SYNC,
        health=Health.DEGRADED if stalled else Health.HEALTHY,
        conditions=(own, *others),
    )


def synced(row: TaskView | ServerView, revision_id: int | None) -> Condition:
    """Whether the row is as it was applied."""
    if row.drifted:
        text = "the row was changed by hand after it was applied; `reconciler plan` shows the fields"
        return Condition(SYNCED, FALSE, "Drifted", text, None, row.generation)
    by = "" if revision_id is None else f" by revision {revision_id}"
    text = f"as applied{by}, from {row.path}:{row.line}"
    return Condition(SYNCED, TRUE, "Applied", text, row.updated_at, row.generation)


def scheduled(task: TaskView, forbidden: Held | None = None) -> Condition:
    """Whether slots arise, and which is next; ``forbidden`` is what keeps that one from running."""

    def say(status: ConditionStatus, reason: str, message: str) -> Condition:
        return Condition(SCHEDULED, status, reason, message, task.runnable_since, task.generation)

    if task.deleted_at is not None:
        return say(FALSE, "Deleted", "it is no longer declared")
    if not task.enabled:
        return say(FALSE, "Disabled", f"enabled is false at {task.path}:{task.line}")
    if not task.server_enabled:
        return say(FALSE, "ServerDisabled", f"server {task.server} is disabled or deleted")
    if task.schedule is None:
        after = task.document["spec"].get("after")
        if isinstance(after, list) and after:
            return say(FALSE, "AfterOthers", f"it runs after {', '.join(map(str, after))}")
        return say(FALSE, "NoSchedule", "it has no schedule and runs only when asked")
    if task.next_run is None:
        return say(FALSE, "NoNextRun", f"the row has no next run although its schedule is {task.schedule!r}")
    if forbidden is not None:
        slot = (
            f"{forbidden.words}, so the slot due at {moment_text(task.next_run, task.timezone)} does not run"
        )
        if forbidden.next_run is None:
            return say(FALSE, "Forbidden", slot)
        following = moment_text(forbidden.next_run, task.timezone)
        return say(TRUE, "Scheduled", f"{slot}; the next run is due at {following}")
    return say(TRUE, "Scheduled", f"the next run is due at {moment_text(task.next_run, task.timezone)}")


def last_run_succeeded(task: TaskView, facts: TaskFacts) -> Condition:
    """The verdict on the newest slot that ran, or that should have run and was missed."""
    run, newest = facts.finished, facts.newest

    def say(status: ConditionStatus, reason: str, message: str, run: RunView | None) -> Condition:
        at = task.created_at if run is None else run.finished_at or run.created_at
        generation = task.generation if run is None else run.generation
        return Condition(LAST_RUN_SUCCEEDED, status, reason, message, at, generation)

    if newest is not None and is_missed(facts):
        before = "it has never run" if run is None else f"the run before it: {verdict(run)}"
        slot = moment_text(newest.scheduled_for, task.timezone)
        return say(FALSE, "Missed", f"the slot of {slot} was missed and not caught up; {before}", newest)
    if run is None:
        if any(item.state is RUNNING for item in facts.open):
            return say(UNKNOWN, "FirstRun", "its first run is in progress", None)
        return say(UNKNOWN, "NeverRan", "it has not run yet", None)
    if run.status == SUCCESS:
        return say(TRUE, "Completed", verdict(run), run)
    word = reason_word(run.reason or "failed")
    if run.reason == UNREACHABLE and run.started_at is not None:
        text = f"its host has not answered since the start of execution {run.id}; the run may go on there"
        return say(UNKNOWN, word, text, run)
    return say(FALSE, word, verdict(run), run)


def is_missed(facts: TaskFacts) -> bool:
    """Whether the newest slot of all was missed."""
    newest = facts.newest
    return newest is not None and newest.status == SKIPPED and newest.reason == MISSED


def verdict(run: RunView) -> str:
    """How a run ended, in one phrase: ``exit code 2 after 1.3s at 2026-…``."""
    reason = run.reason
    if reason in (COMPLETED, EXIT_CODE):
        text = f"exit code {run.exit_code}"
    elif reason == CANCELLED and run.cancel_requested_by:
        text = f"cancelled by {run.cancel_requested_by}"
    else:
        text = _WORDS.get(reason or "") or run.state.value
    seconds = run.duration_seconds
    if seconds is not None:
        text += f" after {span(seconds)}"
    if run.finished_at is not None and run.status != SKIPPED:
        text += f" at {stamp(run.finished_at)}"
    return text + (f", attempt {run.attempt}" if run.attempt > 1 else "")


def _health(facts: TaskFacts, last: Condition) -> Health:
    if facts.overdue is not None:
        return Health.OVERDUE
    if facts.suspension is not None:
        return Health.SUSPENDED
    return _HEALTH[last.status]


_HEALTH = {TRUE: Health.HEALTHY, FALSE: Health.DEGRADED, UNKNOWN: Health.UNKNOWN}


def _decisive(facts: TaskFacts) -> RunView | None:
    return facts.newest if is_missed(facts) else facts.finished


def _overdue(task: TaskView, overdue: Overdue) -> Condition:
    return Condition(
        ConditionType.OVERDUE, TRUE, overdue.reason, overdue.message(task), overdue.since, task.generation
    )


def _suspended(task: TaskView, suspension: SuspensionView) -> Condition:
    until = "until it is resumed" if suspension.until is None else f"until {stamp(suspension.until)}"
    text = f"by {suspension.by} {until}: {suspension.reason}"
    return Condition(ConditionType.SUSPENDED, TRUE, "Suspended", text, suspension.since, task.generation)


def _drifted(row: TaskView | ServerView) -> list[Condition]:
    if not row.drifted:
        return []
    text = "the row is not what was applied; the next apply puts it back"
    return [Condition(ConditionType.DRIFTED, TRUE, "ChangedByHand", text, None, row.generation)]


def _reachable(server: ServerView, contact: RunView | None) -> Condition:
    kind, generation = ConditionType.REACHABLE, server.generation
    if contact is None or contact.finished_at is None:
        text = "no run has ended there yet; `reconciler doctor` asks it"
        return Condition(kind, UNKNOWN, "NeverTried", text, None, generation)
    where = f"execution {contact.id} of {contact.task}"
    if contact.reason in NO_CONTACT:
        return Condition(
            kind,
            FALSE,
            reason_word(contact.reason or ""),
            f"{verdict(contact)} ({where})",
            contact.finished_at,
            generation,
        )
    if contact.reason == Reason.LOST or (contact.started_at is None and contact.status != SUCCESS):
        ended = "was lost there" if contact.reason == Reason.LOST else "ended before the host was asked"
        text = f"{where} {ended}"
        return Condition(
            kind, UNKNOWN, reason_word(contact.reason or "unknown"), text, contact.finished_at, generation
        )
    text = f"{where} ended there at {stamp(contact.finished_at)}"
    return Condition(kind, TRUE, "Answered", text, contact.finished_at, generation)


def written(stored: Sequence[StoredCondition]) -> tuple[Condition, ...]:
    """What long-running processes wrote down of one object, one condition a type.

    Where several causes say the same type, the oldest true one gives the reason and all give their message.
    """
    # what a later version of the program wrote is its own business
    known = set(ConditionType) - {SYNCED}
    by_type: dict[ConditionType, list[Condition]] = {}
    for row in stored:
        if row.type in known:
            condition = _from_row(row)
            by_type.setdefault(condition.type, []).append(condition)
    return tuple(_together(by_type[type]) for type in _ORDER if type in by_type)


def _together(conditions: list[Condition]) -> Condition:
    first, *others = sorted(
        conditions, key=lambda one: (one.status != TRUE, one.last_transition or _LONG_AGO)
    )
    messages = [first.message, *(one.message for one in others if one.status == first.status)]
    return replace(first, message="; ".join(messages))


def _from_row(row: StoredCondition) -> Condition:
    return Condition(
        ConditionType(row.type),
        ConditionStatus(row.status),
        row.reason,
        row.message,
        row.last_transition,
        row.observed_generation,
    )


def _of_commit(revision: RevisionView) -> str:
    if revision.commit is None:
        return ""
    return f" of commit {revision.commit[:12]}{' (with local changes)' if revision.dirty else ''}"


def in_force(suspension: SuspensionView, moment: datetime) -> bool:
    """Whether a suspension covers a moment."""
    return suspension.since <= moment and (suspension.until is None or moment < suspension.until)


def longest(suspensions: Sequence[SuspensionView], now: datetime) -> SuspensionView | None:
    """Of those in force, the one that ends last."""
    if not suspensions:
        return None
    forever = now + timedelta(days=36_500)
    return max(
        (item for item in suspensions if in_force(item, now)),
        key=lambda item: item.until or forever,
        default=None,
    )
