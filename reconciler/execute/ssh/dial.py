"""One new connection to one server: TCP or a tunnel, handshake, host key, login; all within a deadline."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import select
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import paramiko

from reconciler.clock import Clock
from reconciler.execute.fault import Fault
from reconciler.execute.secrets import SecretResolver
from reconciler.execute.ssh.faults import Passing, fault_of
from reconciler.execute.ssh.hostkeys import Key, KnownHosts, Trust, pinned
from reconciler.execute.ssh.login import log_in
from reconciler.execute.ssh.transport import Link
from reconciler.model.execution import Hop, Reason

GLANCE_SECONDS = 0.2
"""How often a wait looks whether it is still wanted."""


SILENCE_SECONDS = 5.0
"""A server that has not answered for so long is called silent, while we go on waiting."""
PAUSES_SECONDS = (0.2, 0.4, 0.8, 1.6)
"""Before each new try at a server that turned us away."""


Done = Callable[[str, str], None]
"""Hears of each step of a dial that came off (reach, host-key, login), and what was seen."""


def quiet(step: str, seen: str) -> None:
    """Nobody wants to hear of the steps."""


class TurnedAway(Passing):
    """The server hung up before it said who it is, as sshd does beyond MaxStartups: soon it may not."""


class TimeIsUp(Passing):
    """All the time that there was is over."""


class Patience:
    """How long a start may still take: ``seconds`` from now, or until ``stop`` or ``closing``.

    ``stage`` says what is being waited for, for the message that it did not come. ``on_silence`` is called
    once, when that has taken `SILENCE_SECONDS`.
    """

    on_silence: Callable[[], None] | None = None

    def __init__(
        self, clock: Clock, seconds: float, stop: threading.Event, closing: threading.Event, server: str
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._begun = clock.monotonic()
        self._deadline = self._begun + seconds
        self._stop = stop
        self._closing = closing
        self._server = server
        self.stage = ""

    def within(self, seconds: float, server: str) -> Patience:
        """The same, but for ``server`` and no longer than ``seconds``."""
        return Patience(self._clock, min(seconds, self.left), self._stop, self._closing, server)

    @property
    def left(self) -> float:
        """Seconds, never below 0."""
        return max(0.0, self._deadline - self._clock.monotonic())

    def pause(self, seconds: float) -> None:
        """Sleep that long, unless it is time to give up: raises as `check` does."""
        self._clock.wait(self._stop, min(seconds, self.left))
        self.check()

    def check_stop(self) -> None:
        """Raises Fault cancelled."""
        if self._stop.is_set():
            raise Fault(Reason.CANCELLED, "cancelled before its start")
        if self._closing.is_set():
            raise Fault(Reason.CANCELLED, "cancelled before its start: reconciler is shutting down")

    def check(self) -> None:
        """Raises Fault: cancelled, or unreachable when the time is over."""
        self.check_stop()
        if self.on_silence is not None and self._clock.monotonic() > self._begun + SILENCE_SECONDS:
            tell, self.on_silence = self.on_silence, None
            tell()
        if not self.left:
            words = f"{self._server} was not reached within {self._seconds:.0f} s"
            raise TimeIsUp(Reason.UNREACHABLE, words + (f": {self.stage}" if self.stage else ""))


def trust_in(hop: Hop, known_hosts: KnownHosts) -> Trust:
    """The keys this server may show. Raises Fault host-key if known_hosts cannot be read."""
    if hop.spec.host_keys:
        return pinned(hop.spec.host_keys)
    try:
        return known_hosts.trust(hop.spec.host, hop.spec.port)
    except OSError as error:
        raise Fault(
            Reason.HOST_KEY, f"the known_hosts file {known_hosts.path} cannot be read: {error.strerror}"
        ) from error


def connect(hop: Hop, patience: Patience) -> socket.socket:
    """A TCP connection whose other end speaks. Raises Fault unreachable."""
    patience.stage = f"the name {hop.spec.host} was not resolved"
    problem: OSError | None = None
    addresses = _resolve(hop, patience)
    patience.stage = f"{hop.spec.host}:{hop.spec.port} did not answer to TCP"
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        # a silent address must leave some of the time to the next one
        share = patience.left / (len(addresses) - number)
        sock = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
        try:
            _connect(sock, address, share, patience)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            break
        except OSError as error:
            sock.close()
            problem = error
        except BaseException:
            sock.close()
            raise
    else:
        assert problem is not None
        raise fault_of(problem, f"{hop.name} ({hop.spec.host}:{hop.spec.port})") from problem
    try:
        await_greeting(partial(_speaks, sock), hop, patience)
    except BaseException:
        sock.close()
        raise
    return sock


def _speaks(sock: socket.socket) -> bool:
    """Whether something came, or never will, within a glance."""
    waiting = select.poll()
    waiting.register(sock, select.POLLIN)
    return bool(waiting.poll(GLANCE_SECONDS * 1000))


def _resolve(hop: Hop, patience: Patience) -> list[Any]:
    """getaddrinfo, which cannot be interrupted, so names are resolved beside us."""
    found: list[Any] = []
    failed: list[OSError] = []
    done = threading.Event()

    def resolve() -> None:
        try:
            found.extend(socket.getaddrinfo(hop.spec.host, hop.spec.port, type=socket.SOCK_STREAM))
        except OSError as error:
            failed.append(error)
        except UnicodeError:
            failed.append(socket.gaierror(socket.EAI_NONAME, "not a host name"))
        done.set()

    try:
        ipaddress.ip_address(hop.spec.host)
        resolve()
    except ValueError:
        threading.Thread(target=resolve, name="resolve", daemon=True).start()
    while not done.wait(GLANCE_SECONDS):
        patience.check()
    if failed:
        raise fault_of(failed[0], f"{hop.name} ({hop.spec.host})") from failed[0]
    return found


def _connect(sock: socket.socket, address: Any, seconds: float, patience: Patience) -> None:
    sock.setblocking(False)
    code = sock.connect_ex(address)
    if code not in (0, errno.EINPROGRESS):
        raise OSError(code, os.strerror(code))
    waiting = select.poll()
    waiting.register(sock, select.POLLOUT)
    latest = patience.left - seconds
    while not waiting.poll(GLANCE_SECONDS * 1000):
        patience.check()
        if patience.left <= latest:
            raise TimeoutError(errno.ETIMEDOUT, "no answer")
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def await_greeting(spoke: Callable[[], bool], hop: Hop, patience: Patience) -> None:
    """Until the server speaks, as ssh daemons do first, or hangs up; ``spoke`` waits for it for a moment.

    Before that a connection would cost a thread, and a login's place at a bastion. Raises Fault.
    """
    patience.stage = f"{hop.spec.host}:{hop.spec.port} is connected, but its ssh daemon does not speak"
    while not spoke():
        patience.check()


def dial(
    hop: Hop,
    way: Callable[[], Any],
    known_hosts: KnownHosts,
    secrets: SecretResolver,
    patience: Patience,
    done: Done = quiet,
) -> Link:
    """A connection on what ``way`` gives, a few times if the server turns us away. Raises Fault."""
    for pause in PAUSES_SECONDS:
        try:
            return establish(hop, way(), known_hosts, secrets, patience, done)
        except TurnedAway:
            patience.pause(pause)
    return establish(hop, way(), known_hosts, secrets, patience, done)


def establish(
    hop: Hop,
    sock: Any,
    known_hosts: KnownHosts,
    secrets: SecretResolver,
    patience: Patience,
    done: Done = quiet,
) -> Link:
    """An ssh connection on ``sock`` (taken over), the host's key verified, logged in. Raises Fault."""
    try:
        trust = trust_in(hop, known_hosts)
        link = Link(sock)
    except BaseException:
        sock.close()
        raise
    try:
        _negotiate(link, hop, trust, patience)
        done("reach", f"{hop.spec.host}:{hop.spec.port}, {link.remote_version}")
        done("host-key", f"{_verify(link, hop, trust)}, as in {trust.source}")
        patience.stage = f"{hop.spec.host}:{hop.spec.port} fell silent during the login"
        link.auth_timeout = patience.left + 5.0
        log_in(link, hop, secrets, patience.check)
        done("login", f"{hop.spec.username} {_way_in(hop)}")
    except BaseException:
        discard(link)
        raise
    link.keep_alive()
    return link


def discard(link: Link) -> None:
    """Close it whatever state it is in."""
    # a handshake that did not finish leaves its timer's thread behind
    with contextlib.suppress(Exception):
        link.packetizer.complete_handshake()
    # wakes its thread, which else looks ten times a second whether it is to end
    with contextlib.suppress(Exception):
        link.sock.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(Exception):
        link.close()
    with contextlib.suppress(Exception):
        link.sock.close()
    if link.ident is not None and link is not threading.current_thread():
        link.join(1.0)


def _negotiate(link: Link, hop: Hop, trust: Trust, patience: Patience) -> None:
    if trust.keys:
        options = link.get_security_options()
        usable = [name for name in trust.algorithms if name in options.key_types]
        if not usable:
            raise Fault(
                Reason.HOST_KEY,
                f"no key that is known of {hop.name} from {trust.source} can be used: "
                f"{', '.join(map(str, trust.keys))}; pin its ssh-ed25519, ecdsa or rsa key",
            )
        options.key_types = usable
    patience.stage = f"{hop.spec.host}:{hop.spec.port} fell silent while it agreed on keys"
    # ours is over first, and says it better
    link.banner_timeout = link.handshake_timeout = patience.left + 5.0
    done = threading.Event()
    link.start_client(event=done)
    while not done.wait(0.1) and link.is_active():
        patience.check()
    if link.is_active() and link.initial_kex_done:
        return
    error = link.get_exception() or EOFError()
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer) and "host key" in str(error):
        known = ", ".join(map(str, trust.keys))
        raise Fault(
            Reason.HOST_KEY,
            f"{hop.name} has no host key of a kind that is known from {trust.source} ({known}); if its keys "
            "were changed, find out the new ones on the host itself and pin them in hostKeys of the Server",
        ) from error
    where = f"{hop.name} ({hop.spec.host}:{hop.spec.port})"
    if not link.remote_version:
        if "Error reading" not in str(error):
            raise Fault(Reason.UNREACHABLE, f"{where}: what answers there is no ssh daemon") from error
        words = "its ssh daemon is starting or ending, has too many logins at once (MaxStartups), or bars us"
        raise TurnedAway(Reason.UNREACHABLE, f"{where}: it hung up before a word: {words}") from error
    raise fault_of(error, where) from error


def _way_in(hop: Hop) -> str:
    if hop.spec.auth is None:
        return "by the ssh agent"
    return "by password" if hop.spec.auth.password is not None else "by key"


def _verify(link: Link, hop: Hop, trust: Trust) -> Key:
    """The key that the server showed. Raises Fault host-key if it is not a known one."""
    shown = link.get_remote_server_key()
    key = Key(shown.get_name(), shown.asbytes())
    problem = trust.problem(key, f"{hop.name} ({hop.spec.host}:{hop.spec.port})")
    if problem is not None:
        raise Fault(Reason.HOST_KEY, problem)
    return key
