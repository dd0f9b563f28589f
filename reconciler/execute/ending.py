"""Ends a run: a second shell on the host finds its processes, ends them and looks again."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from reconciler.clock import Clock
from reconciler.execute.fault import Fault
from reconciler.execute.host import Host, Shell
from reconciler.execute.script import Root, end_script, mark
from reconciler.model.execution import Job

MARGIN_SECONDS = 30.0
"""What searching and looking again may take beyond the grace."""
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of it. ``killed`` and ``left`` are processes as ``name (pid)``."""

    alive: bool = False
    """Whether the run's shell was still there when we came."""
    count: int = 0
    """Processes found when we came."""
    killed: tuple[str, ...] = ()
    """Those that TERM did not end."""
    left: tuple[str, ...] = ()
    """Those that KILL did not end either."""
    fault: str | None = None
    """Why the host could not be asked; then the rest means nothing."""

    @property
    def verified(self) -> bool:
        """The host has looked and nothing of the run is left."""
        return self.fault is None and not self.left


def end_run(
    job: Job, host: Host, root: Root | None, grace: float, clock: Clock, stop: threading.Event
) -> Ending:
    """End all processes of a plain run and say what was there.

    Blocks up to the grace and `MARGIN_SECONDS`.
    """
    return run_ending(job, host, end_script(job, root, grace), mark(job), grace, clock, stop)


def run_ending(
    job: Job, host: Host, script: bytes, marker: bytes, grace: float, clock: Clock, stop: threading.Event
) -> Ending:
    """The same with any script that answers as ``sh/end.sh`` does, its lines beginning with ``marker``."""
    try:
        shell = host.open(job.spec.run_as, None, stop, beside=True)
    except Fault as fault:
        return Ending(fault=fault.message)
    try:
        shell.send(script)
        return _read(shell, marker, clock, clock.monotonic() + grace + MARGIN_SECONDS)
    finally:
        shell.close()


def _read(shell: Shell, marker: bytes, clock: Clock, deadline: float) -> Ending:
    text = b""
    while not (done := re.search(re.escape(marker) + rb"done (\d) (\d+)\n", text)):
        if shell.lost is not None:
            return Ending(fault=shell.lost)
        if shell.drained:
            return Ending(fault="the host's shell ended without an answer")
        left = deadline - clock.monotonic()
        if left <= 0:
            return Ending(fault="the host did not answer in time")
        for stream, data in shell.receive(left):
            if stream == "stdout":
                text = (text + data)[-262_144:]
    processes: dict[bytes, list[str]] = {b"killed": [], b"left": []}
    for word, pid, name in re.findall(re.escape(marker) + rb"(killed|left) (\d+) ([^\n]*)\n", text):
        shown = _UNPRINTABLE.sub("?", name.decode("ascii", "replace"))[:32]
        processes[word].append(f"{shown} ({pid.decode()})")
    return Ending(
        alive=done[1] == b"1",
        count=int(done[2]),
        killed=tuple(processes[b"killed"]),
        left=tuple(processes[b"left"]),
    )


@dataclass(slots=True)
class EndingThread:
    """`end_run` beside the thread that reads the run's output; ``wake`` is called when it is done."""

    work: Callable[[], Ending]
    wake: Callable[[], None]
    result: Ending | None = None
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="ending", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        result = Ending(fault="it failed inside reconciler")
        try:
            result = self.work()
        finally:
            self.result = result
            self.wake()

    def join(self) -> None:
        """Wait for it."""
        self._thread.join()
