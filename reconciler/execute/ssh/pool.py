"""All connections of this process: one per server, dialled when needed, watched, and closed when idle."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from reconciler.clock import Clock
from reconciler.execute.fault import Fault
from reconciler.execute.secrets import SecretResolver
from reconciler.execute.ssh.connection import Connection, Gone
from reconciler.execute.ssh.dial import GLANCE_SECONDS, Done, Patience, await_greeting, connect, dial, quiet
from reconciler.execute.ssh.faults import Passing
from reconciler.execute.ssh.hostkeys import KnownHosts
from reconciler.execute.ssh.line import Line
from reconciler.execute.ssh.transport import Tunnel, silence_library
from reconciler.model.execution import Hop, Reason

START_SECONDS = 30.0
"""A host not reached within this time before the start is unreachable."""
DIALS_PER_HOST = 4
"""At once to one address: well under sshd's MaxStartups of 10:30:100, also where several processes dial."""
KEEPER_SECONDS = 5.0
"""How often connections are looked at."""
TRIAL_SECONDS = 5.0
"""The same for a server that a run has given up before: time enough for a host that is well again."""
FORGET_SECONDS = 600.0
"""How long a failed server is remembered after its last dial."""
LOGINS_PER_BASTION = 8
"""At once through one bastion, beside `DIALS_PER_HOST` to one address behind it. Servers that do not answer
do not count, or they would hold back those that do."""

Heard = Callable[[Hop, Fault | None], None]
"""Told what came of each dial of a server (None: it is reached), and of silence; must return at once."""

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


class _JumpFault(Fault):
    """The way to a server is shut, which says nothing of the server itself."""


def _nobody(hop: Hop, fault: Fault | None) -> None:
    """Nobody wants to hear of it."""


def _and_tries(message: str, failures: int) -> str:
    return message if failures < 2 else f"{message} ({failures} tries)"


class Connections:
    """The pool. Safe for use by many threads."""

    def __init__(
        self,
        secrets: SecretResolver,
        known_hosts: Path | None,
        clock: Clock,
        randomness: random.Random,
        heard: Heard = _nobody,
    ) -> None:
        silence_library()
        self._secrets = secrets
        self._known_hosts = KnownHosts(known_hosts)
        self._clock = clock
        self._randomness = randomness
        self._heard = heard
        self._lock = threading.Lock()
        self._lines: dict[Key, Line] = {}
        self._all: set[Connection] = set()
        self._slots: WeakValueDictionary[object, threading.BoundedSemaphore] = WeakValueDictionary()
        self._closing = threading.Event()
        self._keeper: threading.Thread | None = None

    def patience(
        self, hops: tuple[Hop, ...], stop: threading.Event, seconds: float | None = None
    ) -> Patience:
        """The time that a start on the last of ``hops`` has, or ``seconds``."""
        return Patience(self._clock, seconds or START_SECONDS, stop, self._closing, hops[-1].name)

    def borrow(self, hops: tuple[Hop, ...], patience: Patience) -> Connection:
        """A usable connection to the last of ``hops`` through the others, held for the caller to release.

        Raises Fault: unreachable, auth-failed, host-key, start-failed (a secret), cancelled.
        """
        arrived = self._clock.monotonic()
        line = self._line(hops)
        while not line.dialling.acquire(timeout=0.0 if line.hopeless else GLANCE_SECONDS):
            patience.check()
            self._tell_known(line)
        try:
            connection = line.connection
            if connection is not None and connection.usable:
                connection.hold()
                return connection
            if line.failed_at >= arrived:
                # someone dialled while we waited: the answer is as fresh as ours would be
                self._tell_known(line)
            connection = line.connection = self._persist(line, hops, patience)
            connection.hold()
            return connection
        finally:
            line.dialling.release()

    def connected(self, hops: tuple[Hop, ...]) -> bool:
        """Whether the server's connection is there, as far as is known: `borrow` would give it at once."""
        with self._lock:
            line = self._lines.get(key_of(hops))
        connection = None if line is None else line.connection
        return connection is not None and connection.usable

    def states(self) -> dict[str, int]:
        """How many servers' connections are ``open``, ``dialling`` or ``broken`` (the last dial failed).

        Never waits for a dial.
        """
        with self._lock:
            lines = tuple(self._lines.values())
        found = {"open": 0, "dialling": 0, "broken": 0}
        for line in lines:
            connection = line.connection
            if connection is not None and connection.usable:
                found["open"] += 1
            elif line.dialling.locked():
                found["dialling"] += 1
            elif line.fault is not None:
                found["broken"] += 1
        return found

    def extra(self, hops: tuple[Hop, ...], patience: Patience, done: Done = quiet) -> Connection:
        """A new connection for one user, closed when that one releases it. Raises as `borrow` does.

        ``done`` hears of each step: reach, host-key, login.
        """
        connection = self._reach(hops, patience, done)
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

    def _line(self, hops: tuple[Hop, ...]) -> Line:
        with self._lock:
            return self._lines.setdefault(key_of(hops), Line())

    def _tell_known(self, line: Line) -> None:
        if (known := line.known(self._clock.monotonic())) is not None:
            raise known

    def _persist(self, line: Line, hops: tuple[Hop, ...], patience: Patience) -> Connection:
        """Dial, with growing pauses, until it comes through or there is no more time.

        A server that was given up before has one short trial, between trials none.
        """
        while True:
            self._rest(line, patience)
            trial = line.given_up
            within = patience.within(TRIAL_SECONDS, hops[-1].name) if trial else patience
            try:
                return self._dial(line, hops, within)
            except Passing as fault:
                if trial:
                    raise Fault(fault.reason, _and_tries(fault.message, line.failures)) from fault
                if not patience.left:
                    line.given_up = True
                    raise Fault(fault.reason, _and_tries(fault.message, line.failures)) from fault

    def _rest(self, line: Line, patience: Patience) -> None:
        """Leave a server that just failed alone; one that was given up costs its runs no time."""
        while line.fault is not None and (rest := line.rest_until - self._clock.monotonic()) > 0:
            self._tell_known(line)
            if rest > patience.left:
                line.given_up = True
                raise Fault(line.fault.reason, _and_tries(line.fault.message, line.failures))
            patience.pause(min(rest, GLANCE_SECONDS))

    def _dial(self, line: Line, hops: tuple[Hop, ...], patience: Patience) -> Connection:
        begun = self._clock.monotonic()
        patience.on_silence = partial(self._say_silent, hops[-1], patience)
        try:
            connection = self._reach(hops, patience)
        except _JumpFault as fault:
            # of the jump host, whose own line remembers it
            self._heard(hops[-1], fault)
            raise
        except Fault as fault:
            if fault.reason is not Reason.CANCELLED:
                line.failed(fault, begun, self._clock.monotonic(), self._randomness)
                self._heard(hops[-1], fault)
            raise
        line.succeeded()
        self._watch(connection)
        self._heard(hops[-1], None)
        return connection

    def _say_silent(self, hop: Hop, patience: Patience) -> None:
        self._heard(hop, Fault(Reason.UNREACHABLE, f"{hop.name} does not answer: {patience.stage}"))

    def _watch(self, connection: Connection) -> None:
        """Let the keeper look after it."""
        with self._lock:
            self._all.add(connection)
            if self._keeper is None and not self._closing.is_set():
                self._keeper = threading.Thread(target=self._keep, name="ssh-keeper", daemon=True)
                self._keeper.start()
        if self._closing.is_set():
            connection.close("reconciler is shutting down")

    def _reach(self, hops: tuple[Hop, ...], patience: Patience, done: Done = quiet) -> Connection:
        hop = hops[-1]
        address = (key_of(hops[:-1]), hop.spec.host, hop.spec.port)
        if len(hops) == 1:
            way: Callable[[], Any] = partial(connect, hop, patience)
            with self._slot(address, DIALS_PER_HOST, patience):
                link = dial(hop, way, self._known_hosts, self._secrets, patience, done)
            return Connection(hop, link, None, self._clock)
        while True:
            try:
                jump = self.borrow(hops[:-1], patience.within(patience.left, hops[-2].name))
            except Fault as fault:
                if fault.reason is Reason.CANCELLED:
                    raise
                words = f"{hop.name} is reached through {hops[-2].name}, and {fault.message}"
                raise _JumpFault(fault.reason, words) from fault
            try:
                with self._slot(address, DIALS_PER_HOST, patience), contextlib.ExitStack() as login:
                    way = partial(self._way, jump, hops, login, patience)
                    link = dial(hop, way, self._known_hosts, self._secrets, patience, done)
                return Connection(hop, link, jump, self._clock)
            except Gone:
                jump.release()
                patience.check()
            except BaseException:
                jump.release()
                raise

    def _way(
        self, jump: Connection, hops: tuple[Hop, ...], login: contextlib.ExitStack, patience: Patience
    ) -> Tunnel:
        """A tunnel through ``jump`` whose other end speaks; ``login`` then holds the right to log in."""
        login.close()
        tunnel = jump.open_tunnel(hops[-1], patience)
        try:
            await_greeting(tunnel.speaks, hops[-1], patience)
            login.enter_context(self._slot(key_of(hops[:-1]), LOGINS_PER_BASTION, patience))
        except BaseException:
            tunnel.close()
            raise
        return tunnel

    def _slot(self, place: object, most: int, patience: Patience) -> _Slot:
        with self._lock:
            semaphore = self._slots.get(place)
            if semaphore is None:
                semaphore = self._slots[place] = threading.BoundedSemaphore(most)
        return _Slot(semaphore, patience)

    def _keep(self) -> None:
        while not self._clock.wait(self._closing, KEEPER_SECONDS):
            with self._lock:
                connections = tuple(self._all)
            gone = {connection for connection in connections if connection.look()}
            for connection in gone:
                if connection.fell_silent:
                    self._heard(connection.hop, Fault(Reason.UNREACHABLE, connection.why_gone()))
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
            if line.connection in gone:
                line.connection = None
            if line.connection is None and (line.fault is None or line.failed_at < old):
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
