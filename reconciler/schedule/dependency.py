"""When a task that runs ``after`` others has its turn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime


def successes_count_from(after_applied_at: datetime, latest_run_created_at: datetime | None) -> datetime:
    """Successes that finished after this instant are fresh; earlier ones were used up or are of another spec.

    ``after_applied_at``: when the task's present ``after`` was applied. ``latest_run_created_at``: when
    its latest dependency run on this server was created, None if it had none.
    """
    if latest_run_created_at is None:
        return after_applied_at
    return max(after_applied_at, latest_run_created_at)


def dependency_slot(successes: Mapping[str, Iterable[datetime]], fresh_from: datetime) -> datetime | None:
    """The slot of the dependency run that is now to be inserted, or None while one is missing.

    ``successes`` has for every name in ``after`` the finish times of its successes on this server (any
    order; the earliest fresh one is enough). The slot is the finish that completed the set: the latest of
    the earliest. So whoever evaluates it, and however late, finds the same instant, and the unique slot
    row bars a second run.
    """
    completing = None
    for finishes in successes.values():
        first = min((at for at in finishes if at > fresh_from), default=None)
        if first is None:
            return None
        completing = first if completing is None else max(completing, first)
    return completing
