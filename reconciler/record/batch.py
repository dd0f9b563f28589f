"""What is recorded: values, and how large they are."""

from __future__ import annotations

from datetime import datetime

from reconciler.model.execution import Job, Outcome
from reconciler.model.value import value

_ROW_BYTES = 600
"""Of a row without its output: numbers, times, hashes and the statement's own words around them."""


@value
class Started:
    """The host acknowledged a start at ``at``."""

    job: Job
    at: datetime


@value
class Ended:
    """A run ended. ``owner``: of an end that waited in a spool, whose lease the run had then; an end that
    proves nothing counts only while the row is still theirs.
    """

    job: Job
    outcome: Outcome
    owner: str | None = None


Record = Started | Ended
"""What is written down of a run."""


def key_of(record: Record) -> tuple[int, bool]:
    """Which of an execution's two records it is: its id, and whether it is the end."""
    return record.job.execution_id, isinstance(record, Ended)


@value
class Recorded:
    """An end that is in the database. ``retry_at``: when its slot's next attempt is due, if any. ``void``: it
    was left out, because the run is somebody else's by now. ``refused``: it stands for one that the database
    refuses, which is kept in a file.
    """

    job: Job
    outcome: Outcome
    retry_at: datetime | None = None
    void: bool = False
    refused: bool = False


def size_of(outcome: Outcome) -> int:
    """About how many bytes the end takes in a statement: characters are up to 4 bytes, so ASCII is
    measured exactly and anything else by encoding."""
    texts = (outcome.stdout.text, outcome.stderr.text, outcome.message or "")
    return _ROW_BYTES + sum(
        len(text) if text.isascii() else len(text.encode("utf-8", "replace")) for text in texts
    )
