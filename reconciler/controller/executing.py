"""The executing half of a process: take waiting runs, run them in threads, keep their leases, pass on
their ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from reconciler.cache.signals import Kind, Signals
from reconciler.clock import Clock
from reconciler.controller.endings import events_of_end
from reconciler.controller.events import Announcer, Event, EventKind
from reconciler.controller.following import Following
from reconciler.controller.inquest import Inquest
from reconciler.controller.live import LiveOutput
from reconciler.controller.loop import Loop
from reconciler.controller.outage import Outage
from reconciler.controller.pool import Pool, Run, Runs
from reconciler.controller.subject import concerning, of_run
from reconciler.dispatch.candidates import Caution
from reconciler.dispatch.dependents import Dependents
from reconciler.dispatch.durable import survives_owner
from reconciler.dispatch.leases import LEASE_SECONDS, RENEW_SECONDS, Keeper
from reconciler.dispatch.scheduler import REPLACED_BY
from reconciler.dispatch.taker import Taken, Taker
from reconciler.dispatch.unproven import Unproven
from reconciler.errors import Temporary
from reconciler.execute.control import Control, Executor
from reconciler.model.execution import Job, Outcome, Reason, State, Status, Trigger
from reconciler.record.batch import Recorded
from reconciler.record.writer import Writer
from reconciler.report.reachable import NO_CONTACT
from reconciler.store.held import StillHeld

log = logging.getLogger("reconciler.controller")

LEASE_MARGIN = 2.0
"""A run whose lease ends in less than so many seconds is not begun: someone else may soon hold it."""
LOOK_SECONDS = 1.0
"""The longest sleep between two looks for waiting runs."""
BLOCKED_SECONDS = 0.25
"""The same while limits are in the way: other processes' ends are not announced to us."""
CHASE = (0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7)
"""Seconds after a slot's due time at which a process that does not schedule looks for the row: the claim is
another process's, and nobody tells us when it has committed."""


class Executing:
    """Two loops and a pool of threads. ``recorded`` is told of ends that are in the database."""

    def __init__(
        self,
        taker: Taker,
        keeper: Keeper,
        executor: Executor,
        clock: Clock,
        outage: Outage,
        announcer: Announcer,
        dependents: Dependents,
        signals: Signals,
        live: LiveOutput,
        unproven: Unproven,
        *,
        workers: int,
        chase: bool,
        barred: Callable[[], bool] = lambda: False,
    ) -> None:
        """``barred``: whether nothing may be taken now."""
        self._taker = taker
        self._keeper = keeper
        self._executor = executor
        self._clock = clock
        self._outage = outage
        self._announcer = announcer
        self._signals = signals
        self._live = live
        self._chase = chase
        self._barred = barred
        self._writer: Writer | None = None
        self.runs = Runs()
        self._following = Following(dependents, executor, clock, outage, self._inserted)
        self._inquest = Inquest(unproven, executor, clock, outage, self._found)
        self._pool = Pool(workers, self._execute, self.wake, clock)
        self._answering: set[int] = set()
        self._take_loop = Loop("take", self._take, clock, outage)
        self._keep_loop = Loop("keep", self._keep, clock, outage)
        self._horizon: datetime | None = None
        self._next_waiting: datetime | None = None
        self._next_slot: datetime | None = None
        self._blocked = False
        self._asked_round = 0
        self._empty_round = 0

    def start(self, writer: Writer) -> None:
        """Begin to take; ends go to ``writer``."""
        self._writer = writer
        self._keep_loop.start()
        self._following.start()
        self._inquest.start()
        self._live.start()
        self._take_loop.start()

    def resize(self, workers: int) -> None:
        """Execute so many runs at once."""
        self._taker.resize(workers)
        self._pool.resize(workers)

    def wake(self) -> None:
        """Something may be waiting, or a thread is free."""
        self._take_loop.wake()

    def claimed(self) -> None:
        """This process has claimed something that waits."""
        self._taker.expect()
        self._take_loop.wake()

    def freed(self) -> None:
        """Another process's runs ended: if limits were in the way, look again."""
        if self._blocked:
            self._take_loop.wake()

    def _inserted(self) -> None:
        self.wake()
        self._signals.tell(Kind.WAITING)

    def seen(self, next_waiting: datetime | None, next_slot: datetime | None) -> None:
        """What the last glance showed: the next retry, the next slot of any task. Looks for waiting
        runs, too.
        """
        self._next_waiting, self._next_slot = next_waiting, next_slot
        self._take_loop.wake()

    def changed(self) -> None:
        """The change counter moved: something was applied, or someone wants a run to end."""
        self._following.changed()
        self._live.changed()
        ids = self.runs.ids()
        if ids:
            self._obey(self._keeper.cancels(ids))

    def recorded(self, recorded: list[Recorded]) -> None:
        """These ends are in the database: their leases are gone and their places free."""
        for item in recorded:
            run = self.runs.remove(item.job.execution_id)
            self._following.recorded(item, run)
            if self._announcer.heard:
                for event in events_of_end(item, None if run is None else run.taken.commit):
                    self._announcer.tell(event)
        self.wake()

    # -- ending ---------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether no thread is busy and every end is recorded."""
        return not self.runs.all() and (self._writer is None or not self._writer.pending)

    def limit(self, horizon: datetime) -> None:
        """From now on leave alone what was due after ``horizon``."""
        self._horizon = horizon

    def ask(self) -> int:
        """Look once more for waiting runs; ``found_nothing`` tells about this look."""
        self._asked_round += 1
        self.wake()
        return self._asked_round

    def found_nothing(self, asked: int) -> bool:
        """Whether a look that began after ``ask`` found nothing that could be taken."""
        return self._empty_round >= asked

    def stop_taking(self, seconds: float) -> None:
        """Take no more; a take under way is finished."""
        self._take_loop.end()
        if self._take_loop.ident is not None:
            self._take_loop.join(seconds)

    def end_runs(self, why: str, grace: float) -> int:
        """Let go of what goes on without us, cancel what else still runs; how many those were."""
        executing = self.runs.executing()
        plain = [run for run in executing if not survives_owner(run.job.server.spec)]
        for run in executing:
            if run in plain:
                run.control.cancel(why, grace)
            else:
                run.control.let_go()
        return len(plain)

    def held(self) -> tuple[list[int], list[int]]:
        """What this process still holds: runs that never began, as far as it knows; runs that may live on."""
        runs = self.runs.all()
        living = [run.job.execution_id for run in runs if survives_owner(run.job.server.spec)]
        return [run.job.execution_id for run in runs if run.job.execution_id not in living], living

    def stop(self, seconds: float) -> None:
        """Let the threads go; leases are renewed no more."""
        self._inquest.stop(seconds)
        self._following.stop(seconds)
        self._live.stop(seconds)
        self._keep_loop.end()
        if self._keep_loop.ident is not None:
            self._keep_loop.join(seconds)
        self._pool.close()

    # -- taking ---------------------------------------------------------------------------------

    def _take(self) -> float | None:
        """Take as much as there are free threads; seconds until there may be more."""
        asked = self._asked_round
        free = self._pool.free
        if free <= 0:
            return self._pool.next_free()
        if self._barred():
            return BLOCKED_SECONDS
        held_up = self._pool.held_up()
        take = self._taker.take(
            free,
            self.runs.per_server(),
            self._horizon,
            Caution(
                lambda server: server not in self._answering or server in held_up,
                self.runs.per_server(started=False),
            ),
        )
        self._outage.succeeded()
        self._blocked = take.blocked
        for taken in take.taken:
            self._begin(taken)
        if not take.taken:
            self._empty_round = max(self._empty_round, asked)
        if take.closed or len(take.taken) == free:
            # a full hand: there is probably more, and runs that wait for their hosts have lent their places
            return 0.0
        pause = self._pause()
        return min(pause, BLOCKED_SECONDS) if take.blocked else pause

    def _begin(self, taken: Taken) -> None:
        run = Run(taken, taken.lease_until, started=taken.job.started_at is not None)
        run.control = Control(
            on_started=lambda at: self._started(run, at),
            on_output=self._live.begin(run.job.execution_id, asked_for=taken.trigger is Trigger.MANUAL),
            waiting=lambda stop, long: self._pool.waiting(stop, long=long, in_line=not run.started),
        )
        self.runs.add(run)
        try:
            self._pool.submit(run)
        except RuntimeError:
            self._let_go(run, "this machine gives the process no more threads")

    def _pause(self) -> float:
        now = self._clock.now()
        times = [] if self._next_waiting is None else [self._next_waiting]
        if self._chase and self._next_slot is not None:
            times += [self._next_slot + timedelta(seconds=delay) for delay in CHASE]
        waits = [(at - now).total_seconds() for at in times if at > now]
        return min([LOOK_SECONDS, *waits])

    # -- running, in a thread of the pool -------------------------------------------------------

    def _execute(self, run: Run) -> None:
        with concerning(of_run(run.taken)):
            self._to_its_end(run)

    def _to_its_end(self, run: Run) -> None:
        job = run.job
        if self._clock.monotonic() > run.lease_until - LEASE_MARGIN:
            self._let_go(run, "its lease is about to end")
            return
        outcome = self._run(run)
        if outcome.reason in NO_CONTACT:
            self._answering.discard(run.taken.server_id)
        if outcome.status == Status.OPEN:
            # a durable run that was let go of: it lives on, and its row is handed back with all others
            run.executing = False
            return
        assert self._writer is not None
        self._writer.ended(job, outcome)
        run.executing = False

    def _run(self, run: Run) -> Outcome:
        try:
            return self._executor.run(run.job, run.control)
        except Exception as error:  # executors promise not to; a run without an end would be renewed for ever
            log.exception("execution %d ended by a fault of the program", run.job.execution_id)
            return Outcome(
                run.job.execution_id,
                Status.FAILED,
                Reason.INTERNAL,
                self._clock.now(),
                message=f"a fault of reconciler itself: {type(error).__name__}; the log has the details",
            )
        finally:
            self._live.end(run.job.execution_id)

    def _found(self, job: Job, outcome: Outcome) -> None:
        assert self._writer is not None
        self._writer.ended(job, outcome)

    def _let_go(self, run: Run, why: str) -> None:
        execution_id = run.job.execution_id
        extra = of_run(run.taken)
        log.warning("execution %d is handed back before it began: %s", execution_id, why, extra=extra)
        self.runs.remove(execution_id)
        self._live.end(execution_id)
        # what an earlier owner did about it stays known
        try:
            self._keeper.hand_back([execution_id], living=run.job.begun)
        except Temporary as error:
            # the reaper will find it; if it is not durable it may have to call it lost
            self._outage.failed(error)

    def _started(self, run: Run, at: datetime) -> None:
        job = run.job
        fresh = not (job.start_sent or run.started)
        run.started = True
        if run.taken.server_id not in self._answering:
            # its other runs were left until one has shown that the host is there
            self._answering.add(run.taken.server_id)
            self.wake()
            self._inquest.answered(run.taken.server_id)
        assert self._writer is not None
        self._writer.started(job, at)
        self._announcer.tell(
            Event(
                EventKind.STARTED,
                job.execution_id,
                job.task_id,
                job.task,
                job.server.name,
                at,
                attempt=job.attempt,
                state=State.RUNNING,
                late=(at - job.due_at).total_seconds() if fresh else None,
                project=job.project,
                commit=run.taken.commit,
            )
        )

    # -- keeping --------------------------------------------------------------------------------

    def _keep(self) -> float:
        """Renew everything; also how a cancel is noticed that fell between a take and its registration."""
        before = self._clock.monotonic()
        ids = self.runs.ids()
        still = self._keeper.renew(ids)
        self._outage.succeeded()
        self.runs.renewed(still.ids, before + LEASE_SECONDS)
        for execution_id in ids:
            if execution_id not in still.ids:
                self._lost(execution_id)
        self._obey(still)
        return RENEW_SECONDS

    def _lost(self, execution_id: int) -> None:
        run = self.runs.get(execution_id)
        if run is not None and run.executing and not run.lease_lost:
            run.lease_lost = True
            self.runs.losses += 1
            log.warning(
                "the lease of execution %d was lost; the run goes on, and how it ends is recorded",
                execution_id,
                extra=of_run(run.taken),
            )

    def _obey(self, still: StillHeld) -> None:
        for execution_id, by in still.cancels.items():
            run = self.runs.get(execution_id)
            if run is not None and run.executing:
                run.control.cancel("a newer run replaces it" if by == REPLACED_BY else f"{by} asked for it")
