"""The reader's side of live output: say what one looks at, see what comes of it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from reconciler.clock import Clock
from reconciler.errors import DatabaseForbidden, NotFound, Temporary
from reconciler.store import live
from reconciler.store.engine import Connection, Database
from reconciler.store.leases import raise_counter
from reconciler.store.live import LiveState

LIVE_SECONDS = 0.1
"""How often a follower looks: with the owner's pace, a line is shown a quarter of a second after it came."""
FOLLOW_SECONDS = 15.0
RENEW_SECONDS = 5.0


class Follower:
    """Follows executions until `close`, or until its process dies: then for `FOLLOW_SECONDS` more.

    ``name`` is one of its own. ``allowed`` turns False where the database's user may only read: then only
    what others follow is seen before a run ends.
    """

    def __init__(self, db: Database, clock: Clock, name: str) -> None:
        self._db = db
        self._clock = clock
        self._name = name
        self._seen: dict[int, int] = {}
        self._renewed = float("-inf")
        self.allowed = True

    def follow(self, ids: Iterable[int], connection: Connection | None = None) -> None:
        """Follow these too, from now on or from the commit of ``connection`` on.

        Raises the database's Temporary errors.
        """
        new = list(ids)
        if connection is not None:
            live.follow(self._db, connection, new, self._name, FOLLOW_SECONDS)
        elif self.allowed:
            self._write(new, tell=True)
        for execution_id in new:
            self._seen.setdefault(execution_id, 0)
        self._renewed = self._clock.monotonic()

    def look(self, execution_id: int) -> LiveState:
        """The state of one of them, and what came since the last look (not always all of it).

        Raises NotFound when it was pruned, and the database's Temporary errors.
        """
        self._renew()
        with self._db.read() as connection:
            found = live.look(connection, execution_id, self._seen[execution_id])
        if found is None:
            raise NotFound(f"execution {execution_id} is gone", hint="it was pruned while it was followed")
        if found.pieces:
            self._seen[execution_id] = found.pieces[-1].id
        return found

    def leave(self, execution_id: int) -> None:
        """Follow this one no more. Raises nothing: it ends by itself, too."""
        if self._seen.pop(execution_id, None) is not None and self.allowed:
            with suppress(Temporary, DatabaseForbidden):
                self._db.transact(lambda connection: live.unfollow(connection, [execution_id], self._name))

    def close(self) -> None:
        """Follow nothing any more."""
        for execution_id in tuple(self._seen):
            self.leave(execution_id)

    def _renew(self) -> None:
        if self.allowed and self._clock.monotonic() - self._renewed >= RENEW_SECONDS:
            self._write(list(self._seen), tell=False)
            self._renewed = self._clock.monotonic()

    def _write(self, ids: list[int], *, tell: bool) -> None:
        def write(connection: Connection) -> None:
            live.follow(self._db, connection, ids, self._name, FOLLOW_SECONDS)
            if tell:
                raise_counter(connection)

        try:
            self._db.transact(write)
        except DatabaseForbidden:
            self.allowed = False
