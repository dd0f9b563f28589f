"""All connections of this process: one per server, dialled when needed, watched, and closed when idle."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from reconciler.clock import Clock
from reconciler.execute.fault import Fault
from reconciler.execute.secrets import SecretResolver
from reconciler.execute.ssh.connection import Connection, Gone
from reconciler.execute.ssh.dial import GLANCE_SECONDS, Patience, connect, dial
from reconciler.execute.ssh.hostkeys import KnownHosts
from reconciler.execute.ssh.transport import silence_library
from reconciler.model.execution import Hop, Reason

START_SECONDS = 30.0
"""A host not reached within this time before the start is unreachable."""
DIALS_PER_HOST = 4
"""At once to one address or through one bastion: well under sshd's MaxStartups of 10:30:100."""
KEEPER_SECONDS = 5.0
"""How often connections are looked at."""
LONGEST_BACKOFF = 30.0
"""Seconds between dials of a server that goes on failing; they double from one second on."""
FORGET_SECONDS = 600.0
"""How long a failed server is remembered after its last dial."""
OPEN_CIRCUIT = 3
"""Failed dials in a row after which runs no longer wait for the next one, but fail at once."""

HopKey = tuple[object, ...]
Key = tuple[HopKey, ...]


def key_of(hops: tuple[Hop, ...]) -> Key:
    """What makes two chains of servers the same connection: all that a dial depends on, and nothing else."""
    return tuple(
        (
            hop.name,
            hop.spec.host,
            hop.spec.port,
            hop.spec.username,
            None if hop.spec.auth is None else hop.spec.auth.model_dump_json(),
            hop.spec.host_keys,
        )
        for hop in hops
    )


@dataclass(slots=True)
class _Line:
    """One server's connection, and what is known of dialling it. ``dialling`` guards all else."""

    dialling: threading.Lock = field(default_factory=threading.Lock)
    connection: Connection | None = None
    failures: int = 0
    failed_at: float = 0.0
    fault: Fault | None = None

    @property
    def backoff(self) -> float:
        """Seconds to leave the server alone after the last failure."""
        return 0.0 if self.failures == 0 else min(LONGEST_BACKOFF, 2.0 ** (self.failures - 1))


class Connections:
    """The pool. Safe for use by many threads."""

    def __init__(self, secrets: SecretResolver, known_hosts: Path | None, clock: Clock) -> None:
        silence_library()
        self._secrets = secrets
        self._known_hosts = KnownHosts(known_hosts)
        self._clock = clock
        self._lock = threading.Lock()
        self._lines: dict[Key, _Line] = {}
        self._all: set[Connection] = set()
        self._slots: dict[object, threading.BoundedSemaphore] = {}
        self._closing = threading.Event()
        self._keeper: threading.Thread | None = None

    def patience(self, hops: tuple[Hop, ...], stop: threading.Event) -> Patience:
        """The time that a start on the last of ``hops`` has."""
        deadline = self._clock.monotonic() + START_SECONDS
        return Patience(self._clock, deadline, stop, self._closing, hops[-1].name)

    def borrow(self, hops: tuple[Hop, ...], patience: Patience) -> Connection:
        """A usable connection to the last of ``hops`` through the others, held for the caller to release.

        Raises Fault: unreachable, auth-failed, host-key, start-failed (a secret), cancelled.
        """
        arrived = self._clock.monotonic()
        line = self._line(hops)
        while not line.dialling.acquire(timeout=GLANCE_SECONDS):
            patience.check()
        try:
            connection = line.connection
            if connection is not None and connection.usable:
                connection.hold()
                return connection
            if line.fault is not None and line.failed_at >= arrived:
                # someone dialled while we waited: the answer is as fresh as ours would be
                raise Fault(line.fault.reason, line.fault.message)
            self._back_off(line, patience)
            connection = line.connection = self._dial(line, hops, patience)
            connection.hold()
            return connection
        finally:
            line.dialling.release()

    def extra(self, hops: tuple[Hop, ...], patience: Patience) -> Connection:
        """A new connection for one user, closed when that one releases it. Raises as `borrow` does."""
        connection = self._reach(hops, patience)
        connection.hold()
        connection.retire()
        self._watch(connection)
        return connection

    def close(self) -> None:
        """End all connections and the keeper."""
        self._closing.set()
        with self._lock:
            connections = tuple(self._all)
            keeper = self._keeper
        for connection in connections:
            connection.close("reconciler is shutting down")
        if keeper is not None:
            keeper.join(KEEPER_SECONDS)

    def _line(self, hops: tuple[Hop, ...]) -> _Line:
        with self._lock:
            return self._lines.setdefault(key_of(hops), _Line())

    def _back_off(self, line: _Line, patience: Patience) -> None:
        """Leave a server that just failed alone; one that goes on failing costs its runs no time."""
        until = line.failed_at + line.backoff
        while line.fault is not None and (rest := until - self._clock.monotonic()) > 0:
            known = line.fault.reason is not Reason.UNREACHABLE
            if known or line.failures >= OPEN_CIRCUIT or rest > patience.left:
                raise Fault(
                    line.fault.reason,
                    f"{line.fault.message}; failed {line.failures} times, it is tried again in {rest:.0f} s",
                )
            self._clock.wait(self._closing, min(rest, GLANCE_SECONDS))
            patience.check()

    def _dial(self, line: _Line, hops: tuple[Hop, ...], patience: Patience) -> Connection:
        try:
            connection = self._reach(hops, patience)
        except Fault as fault:
            if fault.reason is not Reason.CANCELLED:
                line.failures += 1
                line.failed_at = self._clock.monotonic()
                line.fault = fault
            raise
        line.failures, line.fault = 0, None
        self._watch(connection)
        return connection

    def _watch(self, connection: Connection) -> None:
        """Let the keeper look after it."""
        with self._lock:
            self._all.add(connection)
            if self._keeper is None and not self._closing.is_set():
                self._keeper = threading.Thread(target=self._keep, name="ssh-keeper", daemon=True)
                self._keeper.start()
        if self._closing.is_set():
            connection.close("reconciler is shutting down")

    def _reach(self, hops: tuple[Hop, ...], patience: Patience) -> Connection:
        hop = hops[-1]
        if len(hops) == 1:
            with self._slot((hop.spec.host, hop.spec.port), patience):
                link = dial(hop, partial(connect, hop, patience), self._known_hosts, self._secrets, patience)
            return Connection(hop, link, None, self._clock)
        while True:
            try:
                jump = self.borrow(hops[:-1], patience)
            except Fault as fault:
                words = f"{hop.name} is reached through {hops[-2].name}, and {fault.message}"
                raise Fault(fault.reason, words) from fault
            try:
                with self._slot(key_of(hops[:-1]), patience):
                    way = partial(jump.open_tunnel, hop, patience)
                    link = dial(hop, way, self._known_hosts, self._secrets, patience)
                return Connection(hop, link, jump, self._clock)
            except Gone:
                jump.release()
                patience.check()
            except BaseException:
                jump.release()
                raise

    def _slot(self, place: object, patience: Patience) -> _Slot:
        with self._lock:
            semaphore = self._slots.setdefault(place, threading.BoundedSemaphore(DIALS_PER_HOST))
        return _Slot(semaphore, patience)

    def _keep(self) -> None:
        while not self._clock.wait(self._closing, KEEPER_SECONDS):
            with self._lock:
                connections = tuple(self._all)
            gone = {connection for connection in connections if connection.look()}
            with self._lock:
                self._all -= gone
                self._forget(gone)
                if not self._all:
                    self._keeper = None
                    return

    def _forget(self, gone: set[Connection]) -> None:
        """Drop what is kept of servers that nobody asks for any more, as after a changed spec."""
        old = self._clock.monotonic() - FORGET_SECONDS
        for key, line in tuple(self._lines.items()):
            if line.dialling.locked():
                continue
            if line.connection in gone or (line.connection is None and line.failed_at < old):
                del self._lines[key]


class _Slot:
    """The right to dial, given back at the block's end."""

    def __init__(self, semaphore: threading.BoundedSemaphore, patience: Patience) -> None:
        self._semaphore = semaphore
        self._patience = patience

    def __enter__(self) -> None:
        while not self._semaphore.acquire(timeout=GLANCE_SECONDS):
            self._patience.check()

    def __exit__(self, *_: object) -> None:
        self._semaphore.release()
