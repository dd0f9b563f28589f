"""The way in: one object that runs any job, by the connection its server declares."""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.clock import Clock
from reconciler.errors import SecretUnavailable
from reconciler.execute.archive import ArchiveFaults, GuardedArchive
from reconciler.execute.control import Archive, Control
from reconciler.execute.durable import DurableRun
from reconciler.execute.fault import Fault
from reconciler.execute.host import Host
from reconciler.execute.local import LocalHost
from reconciler.execute.mask import MIN_BYTES, maskable
from reconciler.execute.plain import PlainRun
from reconciler.execute.secrets import SecretResolver
from reconciler.execute.trash import Trash
from reconciler.model.enums import Connection
from reconciler.model.execution import Hop, Job, Outcome, Reason, Status
from reconciler.settings import Settings

if TYPE_CHECKING:
    from reconciler.execute.ssh.pool import Connections

_log = logging.getLogger(__name__)

SECRETS_SECONDS = 30.0
"""How long a run that may be going on waits for its secrets: as long as for its host."""
SECRETS_PAUSE = 2.0

HostHeard = Callable[[str, Reason | None, str], None]
"""A server's name, why it was not entered (None: it was), and that in words."""


class Executors:
    """Implements `Executor` for all servers. Safe for use by many threads; `close` ends it.

    ``environment`` (by default the process's own) is where secrets are looked up and what local runs inherit
    a few names of. ``archive`` opens the place for a job's whole output, or gives None. ``randomness``
    spreads what many would do at once, such as dialling a host anew.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        environment: Mapping[str, str] | None = None,
        archive: Callable[[Job], Archive | None] | None = None,
        randomness: random.Random | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._environment = dict(os.environ if environment is None else environment)
        self._archive = archive
        self._archive_faults = ArchiveFaults(clock)
        self._randomness = randomness or random.Random()
        self._secrets = SecretResolver(self._environment, settings.secrets_dir, settings.providers)
        self._local = LocalHost(self._environment)
        self._lock = threading.Lock()
        self._connections: Connections | None = None
        self._running: dict[int, Control] = {}
        self._trash = Trash(lambda job: self._host(job, Control()), clock)
        self._kept: set[int] = set()
        self._stopping: tuple[str, float | None] | None = None
        self._closed = False
        self._heard: HostHeard | None = None

    def run(self, job: Job, control: Control) -> Outcome:
        """See `Executor.run`."""
        with self._lock:
            self._running[job.execution_id] = control
            stopping = self._stopping
        if stopping is not None:
            control.cancel(*stopping)
        try:
            return self._run(job, control)
        except Fault as fault:
            self._keep(job)
            return self._failed(job, fault.reason, fault.message)
        except Exception as error:
            _log.exception("execution %d ended by a bug in reconciler", job.execution_id)
            # its text may hold anything, so only its kind goes into the record
            message = f"a bug in reconciler ({type(error).__name__}); the log of its process has the details"
            return self._failed(job, Reason.INTERNAL, message)
        finally:
            with self._lock:
                self._running.pop(job.execution_id, None)

    def recorded(self, job: Job) -> None:
        """See `Executor.recorded`: plain runs keep nothing on their host, nor those that never began there.

        Where a start may still be under way somewhere, the folder stays until it is swept: it is what makes
        that start attach instead of starting anew.
        """
        with self._lock:
            kept = job.execution_id in self._kept
            self._kept.discard(job.execution_id)
        if job.server.spec.durable and not kept:
            self._trash.put(job)

    def listen(self, heard: HostHeard) -> None:
        """From now on tell ``heard`` what came of going to each server; it must return at once."""
        self._heard = heard

    def use(self, settings: Settings) -> None:
        """From now on these ``providers``, ``secrets_dir``, ``output_limit``; others need a new process.

        Runs that have started keep the limit of their start.
        """
        self._secrets.use(settings.secrets_dir, settings.providers)
        self._settings = replace(self._settings, output_limit=settings.output_limit)

    def connections(self) -> dict[str, int]:
        """How many ssh connections are in each state, see `Connections.states`; empty before the first."""
        with self._lock:
            connections = self._connections
        return {} if connections is None else connections.states()

    def stop(self, why: str, grace: float | None = None) -> None:
        """Cancel every run, present and future; their outcomes come from `run` as ever."""
        with self._lock:
            self._stopping = (why, grace)
            running = tuple(self._running.values())
        for control in running:
            control.cancel(why, grace)

    def close(self) -> None:
        """End all connections. Plain runs end with theirs, so call `stop` and wait for them first."""
        self._trash.close()
        with self._lock:
            self._closed = True
            connections = self._connections
        if connections is not None:
            connections.close()

    def _run(self, job: Job, control: Control) -> Outcome:
        host = self._host(job, control)
        secrets, withheld = self._resolved(job, control)
        for name, value in secrets.items():
            if not maskable(value):
                _log.warning(
                    "task %s: the secret %s is shorter than %d bytes and cannot be masked in its output",
                    job.task,
                    name,
                    MIN_BYTES,
                )
        archive = None
        if job.spec.output.archive and self._archive is not None:
            archive = GuardedArchive(self._archive, job, self._archive_faults)
        try:
            if job.server.spec.durable:
                outcome = self._run_durable(job, control, host, secrets, withheld, archive)
            else:
                limit = self._settings.output_limit
                outcome = PlainRun(job, control, host, secrets, self._clock, archive, limit).outcome()
        finally:
            if archive is not None:
                archive.abandon()
        if archive is None or archive.fault is None:
            return outcome
        lacking = f"its whole output is not in the archive: {archive.fault}"
        return replace(outcome, message=f"{outcome.message}; {lacking}" if outcome.message else lacking)

    def _resolved(self, job: Job, control: Control) -> tuple[dict[str, bytes], str | None]:
        """The values of its secrets, and why there are none.

        A run that does not start without them fails. One that may be going on already is no less so because
        this process does not know a secret: it is given time to come back, then followed without its output,
        which could not be masked.
        """
        deadline = self._clock.monotonic() + SECRETS_SECONDS
        while True:
            try:
                return {
                    name: self._secrets.resolve(source) for name, source in job.spec.secrets.items()
                }, None
            except SecretUnavailable as error:
                why = f"{error.message} ({error.hint})" if error.hint else error.message
            if not (job.server.spec.durable and job.begun):
                raise Fault(Reason.START_FAILED, why)
            left = deadline - self._clock.monotonic()
            if left <= 0 or control.cancelled.is_set() or control.released.is_set():
                return {}, why
            with control.waiting(control.released, True):
                self._clock.wait(control.released, min(left, SECRETS_PAUSE))

    def _run_durable(
        self,
        job: Job,
        control: Control,
        host: Host,
        secrets: Mapping[str, bytes],
        withheld: str | None,
        archive: Archive | None,
    ) -> Outcome:
        trash = self._trash.take(job)
        limit = self._settings.output_limit
        run = DurableRun(job, control, host, secrets, self._clock, archive, trash, limit, withheld)
        try:
            outcome = run.outcome()
        finally:
            if trash and not run.answered:
                self._trash.put_back(job, trash)
        if run.starts != 1 or not outcome.proven or withheld is not None:
            self._keep(job)
        return outcome

    def _keep(self, job: Job) -> None:
        """There is no folder of it on its host, or it has to stay."""
        with self._lock:
            self._kept.add(job.execution_id)

    def _host(self, job: Job, control: Control) -> Host:
        if job.server.spec.connection is Connection.LOCAL:
            if not (self._settings.allow_local or job.begun):
                raise Fault(
                    Reason.START_FAILED,
                    f"server {job.server.name} has `connection: local`, which is not allowed here; "
                    "to allow it, set RECONCILER_ALLOW_LOCAL=1 (or allow_local = true in reconciler.toml) "
                    "for the process that executes",
                )
            return self._local
        # paramiko takes a while to import, and many processes never need it
        from reconciler.execute.ssh.host import SshHost
        from reconciler.execute.ssh.pool import Connections

        with self._lock:
            if self._closed:
                raise Fault(Reason.CANCELLED, "cancelled before its start: reconciler is shutting down")
            if self._connections is None:
                self._connections = Connections(
                    self._secrets, self._settings.known_hosts, self._clock, self._randomness, self._tell
                )
            return SshHost(self._connections, (*job.jumps, job.server), control.waiting)

    def _tell(self, hop: Hop, fault: Fault | None) -> None:
        if self._heard is not None:
            words = "its ssh daemon let us in" if fault is None else fault.message
            self._heard(hop.name, None if fault is None else fault.reason, words)

    def _failed(self, job: Job, reason: Reason, message: str) -> Outcome:
        return Outcome(
            execution_id=job.execution_id,
            status=Status.FAILED,
            reason=reason,
            finished_at=self._clock.now(),
            started_at=job.started_at,
            message=message,
        )
