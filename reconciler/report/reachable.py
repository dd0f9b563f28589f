"""The condition ``Reachable``: what processes wrote down of their ways to a server, and its newest run.

Whichever is the newer proof decides; between two that say no, the older: it knows since when.
"""

from __future__ import annotations

from dataclasses import replace

from reconciler.model.condition import Condition, ConditionStatus, ConditionType
from reconciler.model.execution import Reason
from reconciler.report.times import stamp

TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
NO_CONTACT = frozenset({Reason.UNREACHABLE, Reason.AUTH_FAILED, Reason.HOST_KEY})
"""Ends of runs that mean: the host was not reached, or not entered."""


def reason_word(reason: str) -> str:
    """A ledger's reason as a condition's: ``timed-out`` → ``TimedOut``."""
    return "".join(part.capitalize() for part in reason.split("-"))


def reachable_as(reason: Reason | None, message: str, generation: int | None) -> Condition:
    """What is written down of a way to a server: ``reason`` (of `NO_CONTACT`) None if it was entered."""
    word = "Answered" if reason is None else reason_word(reason)
    return Condition(
        ConditionType.REACHABLE, TRUE if reason is None else FALSE, word, message, None, generation
    )


def newer(by_run: Condition, stored: Condition | None) -> Condition:
    """What the newest run and the stored condition say together."""
    if stored is None or stored.last_transition is None:
        return by_run
    since = stored.last_transition
    if stored.status == FALSE:
        stored = replace(stored, message=f"{stored.message}; since {stamp(since)}")
    if by_run.status == UNKNOWN or by_run.last_transition is None:
        return stored
    later = by_run.last_transition > since
    if by_run.status != stored.status:
        return by_run if later else stored
    # it has been so since then; of two proofs the later one is worth telling
    return replace(stored, message=by_run.message) if later and stored.status == TRUE else stored
