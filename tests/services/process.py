"""What all services share: a private folder and port, start and end, a guard for the case of a crash."""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from tests.services import guard as guard_module

HOST = "127.0.0.1"
# Below Linux's ephemeral range (32768–60999): no outgoing connection takes a port between stop and start.
FIRST_PORT, LAST_PORT = 20_000, 32_000
MARKER = "RECONCILER_TEST_SERVICE"
# Servers live in sbin, which is not on the PATH of ordinary users.
SBIN = ("/usr/sbin", "/usr/local/sbin", "/sbin", "/usr/lib/mysql/sbin")


class ServiceMissing(Exception):
    """A service's binary is not installed; the message names it."""


class ServiceBroken(Exception):
    """A service is installed and did not come up; the message has the end of its log."""


def find_binary(*names: str) -> str:
    """The path of the first of ``names`` that is installed. Raises ServiceMissing."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SBIN])
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    raise ServiceMissing(f"{names[0]} is not installed")


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    chooser = random.SystemRandom()
    for _ in range(200):
        port = chooser.randrange(FIRST_PORT, LAST_PORT)
        if is_free(port):
            return port
    raise ServiceBroken(f"no free port between {FIRST_PORT} and {LAST_PORT} in 200 tries")


def private_folder(name: str, place: Path | None = None) -> Path:
    """A new folder with a short path: Unix sockets inside it must stay under 107 characters."""
    base = str(place or tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix=f"rec-{name}-", dir=base if len(base) < 50 else "/tmp"))
    GUARD.order("folder", folder)
    return folder


class _Guard:
    """This process's side of guard.py: started with the first order, told of all that needs an end."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def order(self, *words: object) -> None:
        """Tell the guard; a guard that was killed is replaced by nothing: it is a safety net, not a duty."""
        with self._lock, contextlib.suppress(OSError):
            if self._owner != os.getpid():
                self._process, self._owner = self._start(), os.getpid()
            assert self._process is not None
            assert self._process.stdin is not None
            self._process.stdin.write("\t".join(str(word) for word in words) + "\n")
            self._process.stdin.flush()

    @staticmethod
    def _start() -> subprocess.Popen[str]:
        # Its own session: Ctrl-C in the terminal must not end it before the services.
        process = subprocess.Popen(
            [sys.executable, "-S", "-E", guard_module.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        atexit.register(_Guard._finish, process)
        return process

    @staticmethod
    def _finish(process: subprocess.Popen[str]) -> None:
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired, ChildProcessError):
            process.wait(10)


GUARD = _Guard()


class Service:
    """One server process with a folder and a port of its own.

    ``start`` returns when it answers (seconds, at most ``start_timeout``); the port stays the same over
    stop, kill and restart. As a context manager it starts on entry and is closed on exit. ``start`` raises
    ServiceMissing or ServiceBroken.
    """

    name: ClassVar[str]
    start_timeout: ClassVar[float] = 30.0

    def __init__(self, place: Path | None = None) -> None:
        self.host = HOST
        self.port = free_port()
        self.folder = private_folder(self.name, place)
        self.log = self.folder / "log"
        self.marker = f"{MARKER}={uuid.uuid4().hex}"
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False
        self._prepared = False

    # What a service fills in -------------------------------------------------------------------

    def prepare(self) -> None:
        """Fill the folder, once."""

    def command(self) -> list[str]:
        """The command line that serves in the foreground."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """What is added to this process's environment."""
        return {}

    def before_start(self) -> None:
        """Remove what a killed predecessor left in the way."""

    def answers(self) -> bool:
        """Whether it is ready for clients."""
        raise NotImplementedError

    def members(self) -> list[int]:
        """The pids that make up the service."""
        return [] if self._process is None else [self._process.pid]

    # What callers use --------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether its process is alive (a paused one is)."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the main process. Raises ServiceBroken when there is none."""
        if self._process is None or self._process.poll() is not None:
            raise ServiceBroken(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> Self:
        """Serve; nothing happens if it already does."""
        if self.running:
            return self
        if not self._prepared:
            self.prepare()
            self._prepared = True
            # Someone may have taken the port since it was looked up; only a first start may move away.
            while not is_free(self.port):
                self.port = free_port()
        return self._start_once()

    def _start_once(self) -> Self:
        self.before_start()
        GUARD.order("marker", self.marker)
        name, _, value = self.marker.partition("=")
        environment = {**os.environ, **self.environment(), name: value}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
            )
        GUARD.order("watch", self._process.pid, guard_module.start_time(self._process.pid))
        self._paused = False
        deadline = time.monotonic() + self.start_timeout
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                code = self._process.poll()
                self.kill()
                how = "did not answer in time" if code is None else f"ended with {code}"
                raise ServiceBroken(f"{self.name} {how}:\n{self.log_text()[-2000:]}")
            time.sleep(0.01)
        return self

    def stop(self, timeout: float = 20.0) -> None:
        """End it in order (SIGTERM), with SIGKILL after ``timeout`` seconds."""
        if self._process is None:
            return
        self.resume()
        members = self.members()
        self._signal(members, signal.SIGTERM)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._signal(members, signal.SIGKILL)
        self._reap()

    def kill(self) -> None:
        """SIGKILL, as a crash or the OOM killer would; returns when it is gone."""
        if self._process is not None:
            self._signal(self.members(), signal.SIGKILL)
            self._reap()

    def restart(self) -> Self:
        """Stop in order and start on the same port with the same data."""
        self.stop()
        return self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers. Returns when every thread stands still."""
        members = self.members()
        self._signal(members, signal.SIGSTOP)
        self._paused = True
        deadline = time.monotonic() + 5
        # a thread on another processor goes on for a moment, long enough for a ping
        while not all(map(_stands_still, members)) and time.monotonic() < deadline:
            time.sleep(0.001)

    def resume(self) -> None:
        """Go on after `pause`."""
        if self._paused:
            self._signal(self.members(), signal.SIGCONT)
            self._paused = False

    def ensure(self) -> Self:
        """Bring it back from whatever an earlier test did to it."""
        self.resume()
        return self.start()

    def close(self) -> None:
        """End it for good, with every process that it ever started, and remove its folder."""
        if self._process is not None:
            # Nobody needs its data any more: no orderly end.
            self.kill()
        guard_module.kill(guard_module.marked([self.marker]))
        GUARD.order("unmark", self.marker)
        shutil.rmtree(self.folder, ignore_errors=True)
        GUARD.order("unfolder", self.folder)

    def log_text(self) -> str:
        """What it said so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def _signal(self, pids: list[int], number: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _reap(self) -> None:
        if self._process is not None:
            pid = self._process.pid
            self._process.wait(20)
            self._process = None
            GUARD.order("forget", pid)
        self._paused = False


def accepts(port: int, banner: bytes = b"", host: str = HOST) -> bool:
    """Whether something listens there and, with ``banner``, says so first."""
    try:
        with socket.create_connection((host, port), 1.0) as connection:
            connection.settimeout(2.0)
            return not banner or connection.recv(len(banner)) == banner
    except OSError:
        return False


def _stands_still(pid: int) -> bool:
    """Whether all threads of the process are stopped; also of one that is gone."""
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            if thread.read_text().rpartition(") ")[2][:1] not in "TtZX":
                return False
    return True
