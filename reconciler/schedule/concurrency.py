"""What a new run does while others of its task are unfinished, and when a waiting one may start."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from reconciler.model.enums import CatchUp, Concurrency
from reconciler.model.execution import Reason, Trigger
from reconciler.model.value import value
from reconciler.schedule.policy import Slot


class OpenState(StrEnum):
    """Why a slot is unfinished."""

    WAITING = "waiting"
    """Not started on a host: a first attempt or a retry whose time has not come."""
    RUNNING = "running"
    """Started, and not ended."""
    UNKNOWN = "unknown"
    """Ended ``unreachable`` after its start, and the host has not answered since: it may still run."""


@value
class OpenSlot:
    """An unfinished slot of the task: its newest attempt's row."""

    execution_id: int
    scheduled_for: datetime
    state: OpenState
    trigger: Trigger
    """Of the slot's first attempt: a retry of a catch-up run is part of the catching up."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What becomes of a new run.

    ``skip`` None: insert it waiting (``may_start`` says when it is its turn); else insert it as skipped
    for that reason. ``supersede``: ids of waiting rows to close as skipped ``superseded``. ``cancel``:
    ids of started ones to cancel; the new run waits until they are verified gone.
    """

    skip: Reason | None = None
    supersede: tuple[int, ...] = ()
    cancel: tuple[int, ...] = ()


_FREE = Admission()
_OVERLAP = Admission(skip=Reason.OVERLAP)


def admit(
    concurrency: Concurrency, catch_up: CatchUp, trigger: Trigger, unfinished: Sequence[OpenSlot]
) -> Admission:
    """Decide one new run of a task, given all of its unfinished slots (those just admitted, too).

    ``allow`` never objects. ``forbid`` skips it as ``overlap``. ``queue`` lets one wait behind the
    unfinished one and skips the next. ``replace`` closes what waits, cancels what runs, and starts
    afterwards. Runs that ``catchUp: all`` brings back are no overlap for each other; they wait in line.
    """
    if trigger == Trigger.CATCH_UP and catch_up == CatchUp.ALL:
        unfinished = [slot for slot in unfinished if slot.trigger != Trigger.CATCH_UP]
    if not unfinished or concurrency == Concurrency.ALLOW:
        return _FREE
    if concurrency == Concurrency.FORBID:
        return _OVERLAP
    if concurrency == Concurrency.QUEUE:
        return _FREE if len(unfinished) == 1 else _OVERLAP
    return Admission(
        supersede=tuple(slot.execution_id for slot in unfinished if slot.state is OpenState.WAITING),
        cancel=tuple(slot.execution_id for slot in unfinished if slot.state is not OpenState.WAITING),
    )


@value
class Admissions:
    """What becomes of the runs of one claim: ``skips`` stands beside them, the ids are of older rows."""

    skips: tuple[Reason | None, ...]
    supersede: tuple[int, ...] = ()
    cancel: tuple[int, ...] = ()


def admit_all(
    concurrency: Concurrency, catch_up: CatchUp, runs: Sequence[Slot], unfinished: Sequence[OpenSlot]
) -> Admissions:
    """Decide the runs of one claim, oldest first: each is unfinished for those behind it."""
    if len(runs) == 1 and not unfinished:
        return Admissions((None,))
    skips: list[Reason | None] = []
    opened = list(unfinished)
    supersede: list[int] = []
    cancel: list[int] = []
    for index, run in enumerate(runs):
        verdict = admit(concurrency, catch_up, run.trigger, opened)
        skips.append(verdict.skip)
        for row in verdict.supersede:
            if row < 0:
                skips[-1 - row] = Reason.SUPERSEDED  # it comes into the ledger already replaced
            else:
                supersede.append(row)
        cancel += [row for row in verdict.cancel if row not in cancel]
        opened = [slot for slot in opened if slot.execution_id not in verdict.supersede]
        if verdict.skip is None:
            # a row without an id yet: execution ids are positive
            opened.append(OpenSlot(-1 - index, run.scheduled_for, OpenState.WAITING, run.trigger))
    return Admissions(tuple(skips), tuple(supersede), tuple(cancel))


def may_start(concurrency: Concurrency, run: OpenSlot, unfinished: Iterable[OpenSlot]) -> bool:
    """Whether a waiting run may be taken now, given the unfinished slots of its task.

    Runs of a task start one after another, oldest slot first, and not before every earlier one is proven
    to have ended. Under ``allow`` only catch-up runs wait, and only for each other.
    """
    return not any(_in_the_way(concurrency, run, other) for other in unfinished)


def goes_first(concurrency: Concurrency, run: OpenSlot, unfinished: Iterable[OpenSlot]) -> OpenSlot | None:
    """The waiting run whose turn it is before this one's.

    It may have come due later: a retry has its slot's place in the line. None where nothing is in the way, or
    one that is under way.
    """
    ahead = [other for other in unfinished if _in_the_way(concurrency, run, other)]
    if any(other.state is not OpenState.WAITING for other in ahead):
        return None
    return min(ahead, key=_order, default=None)


def _in_the_way(concurrency: Concurrency, run: OpenSlot, other: OpenSlot) -> bool:
    if other.execution_id == run.execution_id:
        return False
    if concurrency == Concurrency.ALLOW and not (
        run.trigger == Trigger.CATCH_UP and other.trigger == Trigger.CATCH_UP
    ):
        return False
    return other.state is not OpenState.WAITING or _order(other) < _order(run)


def has_room(running: int, limit: int) -> bool:
    """Whether one more may run: ``maxConcurrentRuns``, or ``maxParallel`` (0 is no limit)."""
    return limit == 0 or running < limit


def _order(slot: OpenSlot) -> tuple[datetime, int]:
    return slot.scheduled_for, slot.execution_id
