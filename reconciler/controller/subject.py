"""Whom a line of the log concerns: kept for the thread that works on it, and added to all that it logs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from reconciler.dispatch.taker import Taken

FIELDS = ("execution", "task", "server", "project", "commit")
"""What a line may concern, in the order in which it is shown."""

_PRESENT: ContextVar[Mapping[str, str | None]] = ContextVar("reconciler_subject", default={})  # noqa: B039


def of_run(taken: Taken) -> dict[str, str | None]:
    """The fields of one execution; the ``extra`` of a line about it."""
    job = taken.job
    return {
        "execution": str(job.execution_id),
        "task": job.task,
        "server": job.server.name,
        "project": job.project,
        "commit": taken.commit,
    }


@contextmanager
def concerning(fields: Mapping[str, str | None]) -> Iterator[None]:
    """Within this block, what the calling thread logs concerns these."""
    token = _PRESENT.set(fields)
    try:
        yield
    finally:
        _PRESENT.reset(token)


class AddSubject(logging.Filter):
    """Of a handler: gives each record the fields of its thread that the call did not give itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets everything pass."""
        for name, value in _PRESENT.get().items():
            if name not in record.__dict__:
                record.__dict__[name] = value
        return True
