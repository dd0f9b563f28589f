"""Whether an attempt that failed is tried again, and when."""

from __future__ import annotations

from datetime import datetime, timedelta

from reconciler.model.execution import Reason

RETRIED = frozenset(
    {
        Reason.EXIT_CODE,
        Reason.TIMED_OUT,
        Reason.UNREACHABLE,
        Reason.START_FAILED,
        Reason.HOST_REBOOTED,
        Reason.LOST,
        Reason.INTERNAL,
    }
)
"""Failures that another attempt may mend. Not a person's decision (``cancelled``), and not a refused login or
host key: trying again locks accounts, or hands the command to an impostor."""


def backoff_seconds(retry: int, backoff: int, factor: float, max_backoff: int) -> float:
    """Seconds before a retry, 1 being the first: ``backoff * factor ** (retry - 1)``, at most the maximum."""
    try:
        pause = backoff * float(factor) ** (retry - 1)
    except OverflowError:
        return float(max_backoff)
    return min(pause, float(max_backoff))


def retry_at(
    reason: Reason,
    attempt: int,
    finished_at: datetime,
    *,
    limit: int,
    backoff: int,
    factor: float,
    max_backoff: int,
    may_be_alive: bool,
) -> datetime | None:
    """When the next attempt of the slot is due, or None when this verdict is its last.

    ``attempt`` is the one that ended, 1 for the first; ``limit`` retries may follow it. ``may_be_alive``:
    this or an earlier attempt of the slot may still run on its host (``unreachable`` after the start and
    no answer since, ``lost`` with ``durable: false``, an end that could not be verified); two at once
    would be worse than a failure.
    """
    if reason not in RETRIED or may_be_alive or attempt > limit:
        return None
    return finished_at + timedelta(seconds=backoff_seconds(attempt, backoff, factor, max_backoff))
