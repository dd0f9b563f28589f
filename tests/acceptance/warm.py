"""Commands as processes of their own, without the second that Python needs to import the program.

A server imports every module once and forks for each command: arguments, environment, folder, streams,
exit code and death are those of a process; only the start of the interpreter is not repeated. It has one
thread, so nothing is lost in a fork, and it ends with the process that started it.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import json
import os
import pkgutil
import random
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Never

ROOT = Path(__file__).resolve().parents[2]
_SIZE = struct.Struct("!I")


class Warm:
    """The client: starts the server with the first command."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # given by descriptor: no name that another run could take
        self._control, theirs = socket.socketpair()
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.acceptance.warm", str(theirs.fileno())],
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._lock = threading.Lock()

    def run(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        stdin: str | None,
        timeout: float,
    ) -> tuple[int, str, str]:
        """Exit code (negative: the signal) and both streams. Raises subprocess.TimeoutExpired."""
        ours, theirs = socket.socketpair()
        ends = [_Reading(), _Reading()]
        given = _Given(stdin)
        with ours:
            with theirs:
                order = json.dumps({"words": words, "folder": str(folder), "environment": dict(environment)})
                streams = [theirs.fileno(), given.theirs, *(end.theirs for end in ends)]
                with self._lock:
                    socket.send_fds(self._control, [b"o"], streams)
            for stream in streams[1:]:
                os.close(stream)
            ours.sendall(_SIZE.pack(len(order.encode())) + order.encode())
            given.begin()
            for end in ends:
                end.start()
            ours.settimeout(timeout)
            try:
                code = struct.unpack("!i", _exactly(ours, 4))[0]
            except TimeoutError:
                # closing our end kills the command
                raise subprocess.TimeoutExpired(list(words), timeout) from None
        for end in ends:
            end.join(timeout)
            # a child that kept a stream of the command would hold up every pipe of a user, too
            assert not end.is_alive(), f"the streams of {words} stayed open"
        return code, *(end.data.decode() for end in ends)


class _Reading(threading.Thread):
    """Reads a pipe to its end."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ours, self.theirs = os.pipe()
        self.data = b""

    def run(self) -> None:
        with open(self._ours, "rb") as file:
            self.data = file.read()


class _Given:
    """What a command can read: a text, or nothing (the null device)."""

    def __init__(self, text: str | None) -> None:
        self._text = text
        if text is None:
            self.theirs = os.open(os.devnull, os.O_RDONLY)
        else:
            self.theirs, self._ours = os.pipe()

    def begin(self) -> None:
        if self._text is not None:
            threading.Thread(target=self._write, args=(self._text,), daemon=True).start()

    def _write(self, text: str) -> None:
        try:
            with open(self._ours, "w", encoding="utf-8") as file:
                file.write(text)
        except BrokenPipeError:
            pass


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise EOFError("the other side is gone")
        data += more
    return data


# The server ------------------------------------------------------------------------------------


def serve(control: socket.socket) -> Sequence[str] | None:
    """Fork for each order. Returns in the child, with its words; in the server at the end (None)."""
    running: dict[int, tuple[int, socket.socket]] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is control:
                    _, streams, _, _ = socket.recv_fds(control, 1, 4)
                    if not streams:
                        _end_all(running)
                        return None
                    connection = socket.socket(fileno=streams[0])
                    order = json.loads(_exactly(connection, _SIZE.unpack(_exactly(connection, 4))[0]))
                    pid = os.fork()
                    if not pid:
                        selector.close()
                        for _, other in running.values():
                            other.close()
                        connection.close()
                        control.close()
                        return _become(order, streams[1:])
                    for stream in streams[1:]:
                        os.close(stream)
                    watch = os.pidfd_open(pid)
                    running[watch] = (pid, connection)
                    selector.register(watch, selectors.EVENT_READ)
                    selector.register(connection, selectors.EVENT_READ, watch)
                elif key.data is not None:
                    # who asked is gone, or waits no longer; its end is seen by the watch
                    selector.unregister(key.fileobj)
                    os.kill(running[key.data][0], signal.SIGKILL)
                elif key.fd in running:
                    pid, connection = running.pop(key.fd)
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    if connection in selector.get_map():
                        selector.unregister(connection)
                    _, status = os.waitpid(pid, 0)
                    _answer(connection, os.waitstatus_to_exitcode(status))
                    # what else was ready may have been this connection
                    break


def _answer(connection: socket.socket, code: int) -> None:
    try:
        with connection:
            connection.sendall(struct.pack("!i", code))
    except OSError:
        pass


def _end_all(running: Mapping[int, tuple[int, socket.socket]]) -> None:
    for pid, _ in running.values():
        os.kill(pid, signal.SIGKILL)


def _become(order: Mapping[str, object], streams: Sequence[int]) -> Sequence[str]:
    """Take over the streams, folder and environment of an order."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # what Python found out about the server's own streams is not true of these
    sys.stdin, sys.stdout, sys.stderr = (
        io.TextIOWrapper(open(number, mode), encoding="utf-8", line_buffering=number == 2)  # noqa: SIM115
        for number, mode in enumerate(("rb", "wb", "wb"))
    )
    environment, folder, words = order["environment"], order["folder"], order["words"]
    assert isinstance(environment, dict)
    assert isinstance(folder, str)
    assert isinstance(words, list)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    # or all commands of a server would be lucky in the same way
    random.seed()
    os.chdir(folder)
    return words


def _import_all() -> None:
    import reconciler

    for module in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if ".migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def main(descriptor: str) -> Never:
    _import_all()
    from reconciler.cli.main import main as program

    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()
    words = serve(socket.socket(fileno=int(descriptor)))
    if words is None:
        sys.exit(0)
    sys.argv = [str(ROOT / "reconciler" / "__main__.py"), *words]
    code = program()
    # an end in order, but for taking the modules down one by one: that takes longer than most commands
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
