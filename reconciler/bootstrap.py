"""From settings to a wired program: the only file that names every room.

Rooms are imported inside the functions, so that a command pays only for what it uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reconciler.clock import Clock, SystemClock
from reconciler.settings import Settings

if TYPE_CHECKING:
    from reconciler.store.engine import Database


def connect(settings: Settings, clock: Clock | None = None, *, ready: bool = True) -> Database:
    """The database of the settings.

    With ``ready`` its schema is made sure of: SQLite is created and upgraded by itself, a database
    server that is older or newer than the program is refused (DatabaseOutdated, DatabaseTooNew).
    """
    from reconciler.store.engine import Database

    db = Database.open(
        settings.database_url,
        clock or SystemClock(),
        pool_size=settings.database_pool_size,
        recycle=settings.database_pool_recycle,
    )
    if ready:
        from reconciler.store.schema import ensure

        ensure(db)
    return db


@contextmanager
def database(settings: Settings, clock: Clock | None = None) -> Iterator[Database]:
    """The database of the settings, ready, for the block."""
    db = connect(settings, clock)
    try:
        yield db
    finally:
        db.close()
