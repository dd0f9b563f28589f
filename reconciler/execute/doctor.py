"""Examines servers: everything that a run will need there, step by step, each step within a bounded time."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.clock import Clock
from reconciler.execute.fault import Fault
from reconciler.execute.host import Shell
from reconciler.execute.inspection import Inspection, try_account
from reconciler.execute.local import LocalHost
from reconciler.execute.secrets import SecretResolver
from reconciler.model.enums import Connection
from reconciler.model.execution import Hop, Reason
from reconciler.settings import Settings

if TYPE_CHECKING:
    from reconciler.execute.ssh.pool import Connections

SIDE_BY_SIDE = 32
"""Servers examined at once."""
REACH_SECONDS = 10.0
"""For reaching a server, its key and its login together; runs are more patient."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A server to examine: the way to it, and the accounts (``runAs``) that its tasks need there.

    ``problem`` is set where its row gives no way to it at all.
    """

    server_id: int
    name: str
    hops: tuple[Hop, ...] = ()
    accounts: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. ``ok`` None: not run, because an earlier one failed.

    ``advice`` says what to do about a failed one.
    """

    name: str
    ok: bool | None
    detail: str
    milliseconds: float | None = None
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class Examination:
    """What came of it. ``fault`` is the word of the ledger for a host that was not reached or not entered."""

    subject: Subject
    checks: tuple[Check, ...]
    fault: Reason | None = None

    @property
    def well(self) -> bool:
        return all(check.ok for check in self.checks)


@dataclass(slots=True)
class _Chart:
    """The checks of one server as they come; times each from the end of the one before."""

    clock: Clock
    checks: list[Check] = field(default_factory=list)
    fault: Reason | None = None
    _since: float = 0.0

    def __post_init__(self) -> None:
        self._since = self.clock.monotonic()

    def add(self, name: str, ok: bool, detail: str, advice: str | None = None) -> None:
        now = self.clock.monotonic()
        passed, self._since = (now - self._since) * 1000, now
        self.checks.append(Check(name, ok, detail, round(passed, 1), None if ok else advice))

    def skip(self, names: Sequence[str], why: str) -> None:
        done = {check.name for check in self.checks}
        self.checks += [Check(name, None, f"not run: {why}") for name in names if name not in done]

    @property
    def failed(self) -> str | None:
        return next((check.name for check in self.checks if check.ok is False), None)


class Doctor:
    """Examines servers as `Executors` reaches them. ``environment`` as there; ``close`` ends it."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        environment: Mapping[str, str] | None = None,
        randomness: random.Random | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        environment = dict(os.environ if environment is None else environment)
        self._secrets = SecretResolver(environment, settings.secrets_dir, settings.providers)
        self._local = LocalHost(environment)
        self._randomness = randomness or random.Random()
        self._lock = threading.Lock()
        self._pool: Connections | None = None
        self._stop = threading.Event()

    def examine_all(self, subjects: Sequence[Subject]) -> Iterator[Examination]:
        """Each server's examination as it is ready, many servers at once."""
        threads = ThreadPoolExecutor(SIDE_BY_SIDE, "doctor")
        try:
            for done in as_completed([threads.submit(self.examine, subject) for subject in subjects]):
                yield done.result()
        finally:
            # nobody listens any more: what is under way gives up at its next glance
            self._stop.set()
            threads.shutdown(wait=False, cancel_futures=True)

    def examine(self, subject: Subject) -> Examination:
        """Examine one server. Never raises for anything that the host or the way to it does."""
        chart = _Chart(self._clock)
        if subject.problem is not None:
            chart.add("declaration", False, subject.problem, "apply the manifests anew: `reconciler apply`")
        elif subject.hops[-1].spec.connection is Connection.LOCAL:
            self._examine_local(subject, chart)
        else:
            self._examine_remote(subject, chart)
        return Examination(subject, tuple(chart.checks), chart.fault)

    def close(self) -> None:
        """End all connections."""
        self._stop.set()
        if self._pool is not None:
            self._pool.close()

    def _examine_local(self, subject: Subject, chart: _Chart) -> None:
        allowed = self._settings.allow_local
        chart.add(
            "reach",
            allowed,
            "this machine" if allowed else "`connection: local` is not allowed here",
            "set RECONCILER_ALLOW_LOCAL=1 for the processes that may run commands here",
        )
        if allowed:
            self._examine_inside(subject, chart, lambda account: self._local.open(account, None, self._stop))
        chart.skip(_after_login(subject), "the server is not reached")

    def _examine_remote(self, subject: Subject, chart: _Chart) -> None:
        from reconciler.execute.ssh.probe import Visit

        visit = Visit(self._connections(), subject.hops, self._stop, REACH_SECONDS)
        *jumps, _ = subject.hops
        names = [f"jump {jump.name}" for jump in jumps] + ["reach", "host-key", "login"]
        with visit:
            for number, jump in enumerate(jumps, 1):
                fault = visit.enter_jump(number)
                advice = None if fault is None else _advice(fault, subject.hops[:number])
                chart.add(f"jump {jump.name}", fault is None, _said(fault, "entered"), advice)
                if fault is not None:
                    chart.fault = fault.reason
                    break
            else:
                failed = visit.enter(lambda name, said: chart.add(name, True, said))
                if failed is not None:
                    step, fault = failed
                    chart.add(step, False, fault.message, _advice(fault, subject.hops))
                    chart.fault = fault.reason
            if chart.failed is None:
                self._examine_inside(subject, chart, visit.open)
        chart.skip([*names, *_after_login(subject)], f"{chart.failed} failed")

    def _examine_inside(
        self, subject: Subject, chart: _Chart, open_shell: Callable[[str | None], Shell]
    ) -> None:
        spec = subject.hops[-1].spec
        inspection = Inspection(self._clock, spec.durable)
        for finding in inspection.findings(open_shell):
            chart.add(finding.name, finding.ok, finding.detail, finding.advice)
        if chart.failed == "shell":
            chart.skip(_after_login(subject), "there is no shell")
            return
        for account in subject.accounts:
            finding = try_account(account, spec.username or "", open_shell, self._clock)
            chart.add(finding.name, finding.ok, finding.detail, finding.advice)

    def _connections(self) -> Connections:
        # paramiko takes a while to import, and a local server does not need it
        from reconciler.execute.ssh.pool import Connections

        with self._lock:
            if self._pool is None:
                self._pool = Connections(
                    self._secrets, self._settings.known_hosts, self._clock, self._randomness
                )
            return self._pool


def _after_login(subject: Subject) -> list[str]:
    return ["shell", "tools", "clock", "place", *(f"sudo {account}" for account in subject.accounts)]


def _said(fault: Fault | None, otherwise: str) -> str:
    return otherwise if fault is None else fault.message


def _advice(fault: Fault, hops: Sequence[Hop]) -> str | None:
    """What to do where the last of ``hops`` was not reached or not entered.

    Of host keys and of secrets the fault itself says it best.
    """
    *jumps, hop = hops
    spec = hop.spec
    # as ssh takes them: the nearest first
    through = ",".join(_ssh_address(jump) for jump in jumps)
    way = f"-J {through} " if jumps else ""
    look = f"`ssh -v {way}-p {spec.port} {spec.username}@{spec.host}` from this machine shows more"
    near = f"the jump host {jumps[-1].name}" if jumps else "here"
    return {
        Reason.UNREACHABLE: f"is the host up, and is its port {spec.port} open from {near}? {look}",
        Reason.AUTH_FAILED: f"check username and auth of the Server {hop.name}, and the account's "
        f"authorized_keys there; {look}",
    }.get(fault.reason)


def _ssh_address(hop: Hop) -> str:
    host = f"[{hop.spec.host}]" if ":" in hop.spec.host else hop.spec.host
    return f"{hop.spec.username}@{host}:{hop.spec.port}"
