"""A look at the database every few seconds, for those who ask how this process is: they never wait for it."""

from __future__ import annotations

from reconciler.clock import Clock
from reconciler.controller.loop import Loop
from reconciler.controller.outage import Outage
from reconciler.store import schema
from reconciler.store.depth import Depth, depth
from reconciler.store.engine import Database

SURVEY_SECONDS = 10.0


class Survey:
    """One thread. ``fits``: whether the schema is this program's, also after somebody upgraded the database;
    ``depth``: what waits, None before the first look and while the database is away.
    """

    def __init__(self, db: Database, clock: Clock, outage: Outage) -> None:
        self._db = db
        self._clock = clock
        self._outage = outage
        self._depth: Depth | None = None
        self.fits = True
        self._loop = Loop("survey", self._step, clock, outage)

    def start(self) -> None:
        self._loop.start()

    def stop(self, seconds: float) -> None:
        """Look no more."""
        self._loop.stop(seconds)

    @property
    def depth(self) -> Depth | None:
        return None if self._outage.present else self._depth

    def _step(self) -> float:
        self.fits = schema.check(self._db).fit is schema.Fit.CURRENT
        if self.fits:
            with self._db.read() as connection:
                self._depth = depth(connection, self._clock.now())
        self._outage.succeeded()
        return SURVEY_SECONDS
