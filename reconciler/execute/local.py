"""This machine as a host: for servers with ``connection: local``."""

from __future__ import annotations

import contextlib
import os
import pwd
import selectors
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import IO

from reconciler.execute.control import Stream
from reconciler.execute.fault import Fault
from reconciler.model.execution import Reason

INHERITED = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
)
"""All that a local run sees of our own environment: no secrets, no settings."""
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CHUNK = 262_144


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What a login would give: the names of `INHERITED`, with defaults for those a command relies on."""
    found = {name: environment[name] for name in INHERITED if name in environment}
    found.setdefault("PATH", DEFAULT_PATH)
    if "HOME" not in found or "USER" not in found:
        with contextlib.suppress(KeyError):
            account = pwd.getpwuid(os.geteuid())
            found.setdefault("HOME", account.pw_dir)
            found.setdefault("USER", account.pw_name)
    found.setdefault("HOME", "/")
    return found


class LocalHost:
    """Starts shells as children of this process, each in a session of its own."""

    def __init__(self, environment: Mapping[str, str], shell: Sequence[str] = ("/bin/sh",)) -> None:
        self._environment = clean_environment(environment)
        self._shell = tuple(shell)

    def open(
        self, run_as: str | None, execution_id: int | None, stop: threading.Event, *, beside: bool = False
    ) -> LocalShell:
        """See `Host.open`; raises Fault start-failed where no process can be started."""
        if stop.is_set():
            raise Fault(Reason.CANCELLED, "cancelled before its start")
        through = () if run_as is None else ("sudo", "-n", "-H", "-u", run_as, "--")
        command = (*through, *self._shell)
        own = {} if execution_id is None else {"RECONCILER_EXECUTION_ID": str(execution_id)}
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={**self._environment, **own},
                start_new_session=True,
            )
        except OSError as error:
            raise Fault(Reason.START_FAILED, f"{command[0]} does not run here: {error.strerror}") from error
        return LocalShell(process)


class LocalShell:
    """A child process. See `Shell`."""

    lost: str | None = None

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._selector = selectors.DefaultSelector()
        self._bell, self._ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._open: dict[int, tuple[Stream, IO[bytes]]] = {}
        assert process.stdout is not None
        assert process.stderr is not None
        self._watch(process.stdout, "stdout")
        self._watch(process.stderr, "stderr")
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._closed = False
        self._lock = threading.Lock()
        self._end: int | None = None
        try:
            self._end = os.pidfd_open(process.pid)
            self._selector.register(self._end, selectors.EVENT_READ)
        except (AttributeError, OSError):
            # a kernel before 5.3, or not Linux
            threading.Thread(target=self._await_end, name="child", daemon=True).start()

    def _watch(self, pipe: IO[bytes], stream: Stream) -> None:
        os.set_blocking(pipe.fileno(), False)
        self._open[pipe.fileno()] = (stream, pipe)
        self._selector.register(pipe.fileno(), selectors.EVENT_READ)

    def send(self, data: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        view = memoryview(data)
        # sh reads its whole script before it writes anything, so this cannot block for ever
        with contextlib.suppress(BrokenPipeError):
            while view:
                view = view[stdin.write(view) or 0 :]

    def close_input(self) -> None:
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()

    def receive(self, seconds: float | None) -> Sequence[tuple[Stream, bytes]]:
        found: list[tuple[Stream, bytes]] = []
        for key, _ in self._selector.select(seconds):
            if key.fd == self._bell:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._bell, 4096)
            elif key.fd == self._end:
                self._process.wait()
                self._forget_end()
            else:
                stream, pipe = self._open[key.fd]
                data = os.read(key.fd, CHUNK)
                if data:
                    found.append((stream, data))
                else:
                    self._selector.unregister(key.fd)
                    del self._open[key.fd]
                    pipe.close()
        return found

    def _await_end(self) -> None:
        self._process.wait()
        self.wake()

    def _forget_end(self) -> None:
        if self._end is not None:
            self._selector.unregister(self._end)
            os.close(self._end)
            self._end = None

    def wake(self) -> None:
        with self._lock, contextlib.suppress(BlockingIOError):
            if not self._closed:
                os.write(self._ring, b".")

    @property
    def exit_code(self) -> int | None:
        code = self._process.returncode
        return code if code is None or code >= 0 else 128 - code

    @property
    def drained(self) -> bool:
        return not self._open and self._process.returncode is not None

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.close_input()
        for _, pipe in self._open.values():
            self._selector.unregister(pipe.fileno())
            pipe.close()
        self._open.clear()
        if self._process.returncode is None:
            # Its stdin is at its end, so the watcher ends its tree; someone must still hear of that.
            threading.Thread(target=self._process.wait, name="reaper", daemon=True).start()
        self._forget_end()
        self._selector.close()
        for end in (self._bell, self._ring):
            os.close(end)
