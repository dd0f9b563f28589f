"""What the facts of a run mean. Pure: the same facts always give the same verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from reconciler.execute.ending import Ending
from reconciler.model.execution import Reason, Status
from reconciler.model.quantity import format_duration
from reconciler.model.task import TaskSpec

LATE_SECONDS = 5
"""An end that was found out so much later is told with that: the duration in the ledger is too long by it."""
SHOWN = 8
"""Processes named in a message; the rest are counted."""


HELD_OPEN = (
    "the command has ended; a process it left in the background still held its output, whose rest is not kept"
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen of a plain run whose start was sent."""

    started: bool = False
    """The host acknowledged the start."""
    refused: bool = False
    """Our script said that it could not start the command."""
    said: str = ""
    """What the host printed instead of an acknowledgement; its last line says most."""
    exit_code: int | None = None
    lost: str | None = None
    """Why the connection is gone."""
    because: Literal["timed-out", "cancelled"] | None = None
    """Why it was to end, if it was."""
    why: str = ""
    """Who or what cancelled it."""
    ending: Ending | None = None
    """What came of ending it."""
    held_open: bool = False
    """A background process kept the output open after the command's end."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The words of the ledger."""

    status: Status
    reason: Reason
    exit_code: int | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What the folder of a durable run says of its end."""

    exit_code: int | None
    """None: its processes are gone and left none."""
    rebooted: bool = False
    full: bool = False
    """The folder's disk had no room when the command ended."""
    ago: int = 0
    """Seconds since its end, when somebody asked again."""
    why: str = ""
    """Why somebody was ending it: ``timed-out``, or ``cancelled`` and by whom."""
    killed: tuple[str, ...] = ()
    """What TERM did not end, as ``name (pid)``."""


FULL = "the disk of the run's folder on the host is full, so its output may not be whole"


def judge_found(found: Found, spec: TaskSpec, ending: Ending | None = None) -> Verdict:
    """The verdict on a durable run; ``ending`` is what we did ourselves, if anything."""
    if found.rebooted:
        return Verdict(
            Status.FAILED, Reason.HOST_REBOOTED, message="the host was rebooted while the command ran"
        )
    if found.why:
        return noted(found.why, spec, ending or Ending(count=1, killed=found.killed))
    if found.exit_code is None:
        message = (
            "the run's processes are gone and left no exit code: something on the host has killed them all "
            "(as the end of a login session, a container or a lack of memory does)"
        )
        return Verdict(Status.FAILED, Reason.LOST, message=message)
    told = [FULL] if found.full else []
    if found.ago >= LATE_SECONDS:
        # when it ended is recorded by our clock: whoever waits for it goes by that
        told.append(f"it had ended on its host {format_duration(found.ago)} before that was found out")
    remark = "; ".join(told) or None
    if found.exit_code in spec.success_exit_codes:
        return Verdict(Status.SUCCESS, Reason.COMPLETED, found.exit_code, remark)
    return Verdict(Status.FAILED, Reason.EXIT_CODE, found.exit_code, remark)


def noted(why: str, spec: TaskSpec, ending: Ending) -> Verdict:
    """The verdict on a run that somebody ended because of ``why``, as `Found` has it."""
    word, _, by = why.partition(" ")
    if word == "timed-out":
        reason, words = Reason.TIMED_OUT, f"timed out after {format_duration(spec.timeout)}"
    else:
        reason, words = Reason.CANCELLED, f"cancelled: {by}"
    return Verdict(Status.FAILED, reason, message=f"{words}; {_deeds(ending)}")


def start_failed(said: str) -> Verdict:
    """The verdict on a run that its host refused to start; ``said`` is why, if the host told."""
    message = "the host did not start the command" + (f": {said}" if said else "")
    return Verdict(Status.FAILED, Reason.START_FAILED, message=message)


def silent(known: bool, why: str) -> Verdict:
    """The host said nothing until the run's timeout; ``known``: it had acknowledged the start."""
    what = "it ran" if known else "its start was sent"
    message = f"{what}, and then the host did not answer until its timeout: {why}"
    return Verdict(Status.FAILED, Reason.UNREACHABLE, message=message)


def judge(facts: Facts, spec: TaskSpec) -> Verdict:
    """The verdict on a plain run. A run that finished before anything was done to it keeps its exit code."""
    ended_by_us = facts.because is not None and not _finished_by_itself(facts)
    if ended_by_us:
        return _ended(facts, spec)
    if not facts.started:
        return _not_started(facts)
    if facts.exit_code is None:
        lost = facts.lost or "the host closed the run's channel without an exit code"
        return Verdict(Status.FAILED, Reason.LOST, message=f"{lost}; how the command ended is not known")
    message = HELD_OPEN if facts.held_open else None
    if facts.exit_code in spec.success_exit_codes:
        return Verdict(Status.SUCCESS, Reason.COMPLETED, facts.exit_code, message)
    return Verdict(Status.FAILED, Reason.EXIT_CODE, facts.exit_code, message)


def _finished_by_itself(facts: Facts) -> bool:
    if facts.exit_code is None or not facts.started:
        return False
    return facts.ending is None or (facts.ending.fault is None and not facts.ending.alive)


def _ended(facts: Facts, spec: TaskSpec) -> Verdict:
    if facts.because == "timed-out":
        reason, words = Reason.TIMED_OUT, f"timed out after {format_duration(spec.timeout)}"
    else:
        reason, words = Reason.CANCELLED, f"cancelled: {facts.why}"
    ending = facts.ending
    if ending is not None and ending.fault is None:
        return noted(f"{facts.because} {facts.why}", spec, ending)
    fault = "" if ending is None else f" ({ending.fault})"
    if facts.exit_code is None:
        # neither the shell's end nor a look at the host: it may still live
        message = (
            f"{words}; whether it has ended is not known: {facts.lost or 'the host does not answer'}{fault}"
        )
        return Verdict(Status.FAILED, Reason.LOST, message=message)
    message = f"{words}; the command has ended, but nobody could look what it left behind{fault}"
    return Verdict(Status.FAILED, reason, message=message)


def _deeds(ending: Ending) -> str:
    if ending.left:
        return f"could not be ended even by KILL: {_listed(ending.left)}"
    if ending.killed:
        return f"did not end on TERM and had to be killed: {_listed(ending.killed)}"
    if ending.count:
        return "ended on TERM, nothing of it is left"
    return "nothing of it was left"


def _listed(names: tuple[str, ...]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _not_started(facts: Facts) -> Verdict:
    if facts.lost is not None and not facts.refused:
        message = (
            f"the start was sent and never acknowledged: {facts.lost}; whether the command ran is not known"
        )
        return Verdict(Status.FAILED, Reason.LOST, message=message)
    verdict = start_failed(facts.said)
    if facts.exit_code is None or facts.refused:
        return verdict
    return replace(verdict, message=f"{verdict.message} (its shell ended with exit code {facts.exit_code})")
