"""The project's lock: a lease, so that a killed apply blocks nobody for long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from reconciler.errors import LockHeld, Temporary
from reconciler.store import leases
from reconciler.store.engine import Database
from reconciler.store.leases import Held

LOCK_SECONDS = 120
"""Longer than any apply takes; a shorter one is released at once when it ends."""


@contextmanager
def project_lock(db: Database, project: str, owner: str) -> Iterator[Held]:
    """Hold the project's lock for the block; raises LockHeld saying who has it and until when."""
    name = f"apply/{project}"
    held = db.transact(lambda connection: leases.acquire(db, connection, name, owner, LOCK_SECONDS))
    if held is None:
        raise _held_by_other(db, project, name)
    try:
        yield held
    finally:
        # a database that is away ends the lease by its own clock
        with suppress(Temporary):
            db.transact(lambda connection: leases.release(connection, held))


def _held_by_other(db: Database, project: str, name: str) -> LockHeld:
    with db.read() as connection:
        other = leases.holder(db, connection, name)
    if other is None or other.until is None:
        return LockHeld(f"project {project!r} was locked a moment ago", hint="try again")
    until = other.until.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return LockHeld(
        f"project {project!r} is being applied by {other.owner} (lock until {until} at the latest)",
        hint="try again when it is done",
        details={"project": project, "owner": other.owner, "until": until},
    )
