"""One process at work: which loops it has, and how they begin and end together."""

from __future__ import annotations

import contextlib
import logging
import random
from datetime import datetime

from reconciler.cache.signals import Kind, News, Signals, Silent
from reconciler.clock import Clock
from reconciler.controller.ending import ENDING_SECONDS, Ending
from reconciler.controller.events import Announcer, Listener
from reconciler.controller.executing import Executing
from reconciler.controller.holding import Holding
from reconciler.controller.live import LiveOutput
from reconciler.controller.loop import Loop
from reconciler.controller.outage import Outage
from reconciler.controller.pool import Runs
from reconciler.controller.pruning import Pruning
from reconciler.controller.reachability import Reachability
from reconciler.controller.scheduling import Scheduling
from reconciler.controller.signalling import DueTimes, Feed
from reconciler.controller.tally import Tally
from reconciler.controller.within import within
from reconciler.dispatch.dependents import Dependents
from reconciler.dispatch.lag import Lag, Lagging
from reconciler.dispatch.leases import LEASE_SECONDS, Keeper, Worker, owner_name
from reconciler.dispatch.machine import machine_name
from reconciler.dispatch.reaper import Reaper
from reconciler.dispatch.scheduler import Scheduler
from reconciler.dispatch.taker import Taker
from reconciler.dispatch.unproven import Unproven
from reconciler.execute.control import Executor
from reconciler.model.quantity import counted
from reconciler.record.ledger import DatabaseLedger
from reconciler.record.retention import DeleteArchive
from reconciler.record.spool import Spool, SpoolState
from reconciler.record.writer import Writer
from reconciler.settings import Settings, make_state_folder
from reconciler.store import takes
from reconciler.store.engine import Database
from reconciler.store.ids import NODES
from reconciler.store.node import NodeIds

log = logging.getLogger("reconciler.controller")

GLANCE_SECONDS = 1.0
"""How often the change counter is looked at."""
REAP_SECONDS = 2.5
TIDY_SECONDS = 600.0
DRAIN_SECONDS = 20.0
"""After SIGINT, or when the time of ``--for`` is over."""
HURRY_SECONDS = 5.0
"""After SIGTERM."""
_LAST_SECONDS = 1.0
_LEAVE_SECONDS = 3.0
"""At the least, for handing back leases where the database seems to answer; they end by themselves, too."""
SILENT_SECONDS = 5.0
"""The loop that looks at the database every second is given so long before it counts as unanswered."""
_GRACE_SECONDS = 1.0
_SIGNAL_SECONDS = 0.5
"""For the last words to the cache."""


class Runtime:
    """Schedules, executes, or both; ``start`` and ``stop`` are called once each, by the same thread.

    ``on_event`` is called from many threads and should return at once.
    """

    def __init__(
        self,
        db: Database,
        settings: Settings,
        clock: Clock,
        executor: Executor | None,
        randomness: random.Random,
        *,
        schedule: bool = True,
        on_event: Listener | None = None,
        signals: Signals | None = None,
        delete_archive: DeleteArchive | None = None,
    ) -> None:
        """``executor`` None: this process executes nothing. Nothing is connected before ``start``.

        Who schedules prunes, too; without ``delete_archive`` executions with an archive stay.
        """
        self._db = db
        self._settings = settings
        self._clock = clock
        self._executor = executor
        self._randomness = randomness
        self._schedule = schedule
        self._signals = Silent() if signals is None else signals
        self._feed = None if signals is None else Feed(signals)
        self.tally = Tally()
        self._announcer = Announcer(
            self.tally.event, on_event, None if self._feed is None else self._feed.event
        )
        self._delete_archive = delete_archive
        self.outage = Outage(clock)
        self.reachability = Reachability(db, clock, self.outage)
        self.owner = owner_name(f"{randomness.getrandbits(48):012x}")
        self.lag = Lag()
        with contextlib.suppress(OSError):
            # where this fails, whatever needs the folder says so
            make_state_folder(settings.state_dir)
        self._spool = Spool(settings.state_dir / "spool", self.owner, clock, settings.spool_size)
        self._holding = Holding(db, clock, self._spool, self.owner, settings.spool_size)
        self._ending = Ending(clock)
        self._counter: int | None = None
        self._tidied = float("-inf")
        self._writer: Writer | None = None
        self._ledger: DatabaseLedger | None = None
        self._scheduling: Scheduling | None = None
        self._executing: Executing | None = None

    def start(self) -> None:
        """Lease a node number, show up as a worker, start the loops. Raises the database's errors."""
        db, clock = self._db, self._clock
        self._ids = NodeIds(db, clock, self.owner, self._randomness.randrange(NODES))
        worker = None if self._executor is None else Worker(self.owner, self._settings.allow_local)
        self.keeper = Keeper(db, clock, self.owner, self._ids, worker)
        self.keeper.renew([])
        self._reaper = Reaper(db, clock)
        self._executing = self._make_executing()
        self._scheduling = self._make_scheduling()
        self._due_times = None
        if self._schedule and self._feed is not None:
            # without Redis nobody wants to know them, and reading them all costs seconds
            self._due_times = DueTimes(db, self._signals, clock, self.outage)
        self._pruning = self._make_pruning()
        self._glance_loop = Loop("glance", self._glance, clock, self.outage)
        self._reap_loop = Loop("reap", self._reap, clock, self.outage)
        if self._executing is not None:
            self._ledger = DatabaseLedger(db, clock, self._ids, self._settings.notify)
            self._writer = Writer(
                self._ledger,
                clock,
                self._spool,
                after=self._executing.recorded,
                on_failure=self.outage.failed,
                on_success=self.outage.succeeded,
            )
            self._writer.start()
            self.reachability.start()
            self._executing.start(self._writer)
        if self._scheduling is not None:
            self._scheduling.start()
        if self._pruning is not None:
            self._pruning.start()
        self._glance_loop.start()
        self._reap_loop.start()
        if self._due_times is not None:
            self._due_times.start()
        self._signals.start(self._hear, self._hint)

    @property
    def spool(self) -> SpoolState:
        """What waits on this machine's disk for the database: for metrics."""
        return self._spool.state

    @property
    def spool_waiting(self) -> tuple[int, int]:
        """Records and bytes of that; never waits for the disk."""
        return self._spool.waiting

    @property
    def spool_full(self) -> bool:
        """Whether that disk takes nothing."""
        return self._writer is not None and self._writer.spool_full

    @property
    def held(self) -> bool:
        """Whether nothing is claimed and taken because so much waits there."""
        return self._holding.held()

    @property
    def recording(self) -> bool:
        """Whether ends would be recorded now; True where nothing is executed."""
        return self._writer is None or self._writer.well

    @property
    def runs(self) -> Runs | None:
        """What this process holds; None where it executes nothing."""
        return None if self._executing is None else self._executing.runs

    @property
    def pending(self) -> int:
        """Ends that are nowhere but in memory."""
        return 0 if self._writer is None else self._writer.pending

    def use(self, settings: Settings) -> None:
        """Go on with these ``workers``, ``late_after`` and ``notify``; the others need a new process."""
        self._settings = settings
        if self._scheduling is not None:
            self._scheduling.count_as_missed(settings.late_after)
        if self._executing is not None:
            self._executing.resize(settings.workers)
        if self._ledger is not None:
            self._ledger.listen(settings.notify)

    def changed(self) -> None:
        """Something was applied in this process: look at once instead of at the next glance."""
        self._glance_loop.wake()
        self._signals.tell(Kind.CHANGED)

    def stop(self, seconds: float = DRAIN_SECONDS, *, finish: bool = True) -> bool:
        """End in order, within about ``seconds``; whether everything that was begun is recorded, or kept
        in the spool for the next process where the database is away.

        No new slots are claimed. With ``finish`` (SIGINT, ``--for``) what is claimed and due still
        runs; a process that only executes goes on until nothing due waits. Without it (SIGTERM) nothing
        more is taken. What runs at the end of the time goes on where it is durable, its lease handed back;
        else it is ended and recorded ``cancelled``. Waiting rows stay for others.
        """
        self.end_within(seconds, finish=finish)
        if self._scheduling is not None:
            self._scheduling.stop(self.left)
        if self._pruning is not None:
            self._pruning.stop(self.left)
        recorded = True
        if self._executing is not None:
            recorded = self._stop_executing(self._executing)
        self._glance_loop.end()
        self._reap_loop.end()
        if self._due_times is not None:
            self._due_times.end()
        within(_LAST_SECONDS if self.away else _LEAVE_SECONDS, "let go", self._let_go)
        if self.away or not within(max(_LEAVE_SECONDS, self._ending.left), "leave", self._leave):
            log.warning("leaving the database's leases to end by themselves: it does not answer")
        self._signals.close(_SIGNAL_SECONDS)
        return recorded

    def end_within(self, seconds: float, *, finish: bool) -> None:
        """The time of ``stop`` begins now, though others have to end before."""
        self._ending.within(seconds, finish=finish)

    @property
    def left(self) -> float:
        """Seconds that whatever ends before the runs may still take; none while the database is away."""
        return 0.0 if self.away else self._ending.spare

    @property
    def away(self) -> bool:
        """Whether the database does not answer: the last call failed, or one goes on that should be short."""
        return self.outage.present or self.silent > SILENT_SECONDS

    @property
    def silent(self) -> float:
        """For how many seconds the present look at the database has gone on."""
        return self._glance_loop.busy(self._clock.monotonic())

    def hurry(self, seconds: float = HURRY_SECONDS) -> None:
        """Shorten a stop that is under way, and take nothing more; may be called in a signal handler."""
        self._ending.within(seconds, finish=False)

    # -- wiring ---------------------------------------------------------------------------------

    def _make_executing(self) -> Executing | None:
        if self._executor is None:
            return None
        taker = Taker(
            self._db,
            self._clock,
            self.owner,
            LEASE_SECONDS,
            self._settings.workers,
            machine_name() if self._settings.allow_local else None,
        )
        return Executing(
            taker,
            self.keeper,
            self._executor,
            self._clock,
            self.outage,
            self._announcer,
            Dependents(self._db, self._clock, self._ids),
            self._signals,
            LiveOutput(self._db, self._clock, self.outage),
            Unproven(self._db, self._clock, self.owner),
            workers=self._settings.workers,
            chase=not self._schedule,
            barred=self._holding.held,
        )

    def _make_scheduling(self) -> Scheduling | None:
        if not self._schedule:
            return None
        scheduler = Scheduler(self._db, self._clock, self._ids, self._settings.late_after)
        wake = self._executing.claimed if self._executing is not None else _nobody
        lagging = Lagging(self._db, self._clock, self.lag)
        return Scheduling(
            scheduler,
            lagging,
            self._clock,
            self.outage,
            self._announcer,
            wake,
            self._signals,
            barred=self._holding.held,
        )

    def _make_pruning(self) -> Pruning | None:
        if not self._schedule:
            return None
        return Pruning(self._db, self._clock, self.outage, self.owner, self._delete_archive)

    # -- hearing others -------------------------------------------------------------------------

    def _hear(self, news: News) -> None:
        """Look at the database now instead of within a second."""
        if news.changed or news.missed:
            self._glance_loop.wake()
        if self._executing is not None:
            if news.waiting or news.missed:
                self._executing.wake()
            if news.ended:
                self._executing.freed()

    def _hint(self, at: datetime) -> None:
        if self._scheduling is not None:
            self._scheduling.hint(at)

    # -- loops ----------------------------------------------------------------------------------

    def _glance(self) -> float:
        """Look at the change counter, and at what is due next."""
        with self._db.read() as connection:
            seen = takes.glance(connection, self._clock.now())
        self.outage.succeeded()
        self._holding.step()
        if self._executing is not None:
            self._executing.seen(seen.next_waiting, seen.next_slot_due)
        if seen.counter != self._counter:
            self._counter = seen.counter
            if self._scheduling is not None:
                self._scheduling.changed()
            if self._executing is not None:
                self._executing.changed()
            if self._due_times is not None:
                self._due_times.changed()
        return GLANCE_SECONDS

    def _reap(self) -> float:
        if self._executing is None:
            # an executing process does this while it renews its runs
            self.keeper.renew([])
            self.outage.succeeded()
        if self._reaper.may_reap(self.outage.steady_since):
            reaped = self._reaper.reap()
            if reaped.given_back:
                self._signals.tell(Kind.WAITING)
                if self._executing is not None:
                    self._executing.wake()
            monotonic = self._clock.monotonic()
            if monotonic - self._tidied >= TIDY_SECONDS:
                self._tidied = monotonic
                self._reaper.tidy()
            # not below: who may not reap yet asks nothing, and knows nothing of the database
            self.outage.succeeded()
        if self._feed is not None and self._executing is not None:
            self._feed.still(self._executing.runs.ids())
        return REAP_SECONDS

    # -- ending ---------------------------------------------------------------------------------

    def _stop_executing(self, executing: Executing) -> bool:
        if self._ending.finish:
            if self._schedule:
                executing.limit(self._clock.now())
            self._ending.drain(executing)
        executing.stop_taking(max(0.5, self.left))
        while executing.runs.executing() and self._ending.spare:
            self._ending.pause()
        ended = executing.end_runs("the process that runs it ends", _GRACE_SECONDS)
        if ended:
            log.warning("ended because this process ends: %s", counted(ended, "run"))
        stop = self._clock.monotonic() + ENDING_SECONDS
        while executing.runs.executing() and self._clock.monotonic() < stop:
            self._ending.pause()
        assert self._writer is not None
        recorded = self._writer.close(max(_LAST_SECONDS, 0.0 if self.away else self._ending.left))
        return recorded and not executing.runs.executing()

    def _let_go(self) -> None:
        """Let the other threads end."""
        if self._executing is not None:
            self._executing.stop(_LAST_SECONDS)
        self.reachability.stop(_LAST_SECONDS)

    def _leave(self) -> None:
        """Hand back what never began, and be gone for the others at once."""
        executing = self._executing
        self.keeper.leave(*(([], []) if executing is None else executing.held()))


def _nobody() -> None:
    """Nobody executes in this process."""
