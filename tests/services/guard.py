"""The process that outlives a killed test run just long enough to end what that run had started.

It reads one order a line from stdin. When stdin ends, because whoever started it ended or was killed
with SIGKILL, it ends every process and removes every folder still on its list. It imports only the
standard library and no module of this package, so that it starts quickly and works from anywhere.

Orders (tab separated): ``watch PID START`` · ``forget PID`` · ``marker TEXT`` · ``unmark TEXT`` ·
``folder PATH`` · ``unfolder PATH``. A marker is an environment entry (``NAME=value``) that every process of a
service carries, also those that set themselves free with setsid.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterable
from pathlib import Path


def start_time(pid: int) -> str:
    """When a process started, in the kernel's ticks; empty if it is gone. Tells a reused pid apart."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def descendants(pid: int) -> list[int]:
    """The pids below ``pid``, children before grandchildren."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir() if Path("/proc").is_dir() else []:
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = parents.get(waiting.pop(0), [])
        found += children
        waiting += children
    return found


def marked(markers: Iterable[str]) -> list[int]:
    """The pids of processes that have one of ``markers`` in their environment."""
    wanted = {marker.encode() for marker in markers}
    found: list[int] = []
    if not wanted or not Path("/proc").is_dir():
        return found
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if wanted.intersection((entry / "environ").read_bytes().split(b"\0")):
                    found.append(int(entry.name))
    return found


def kill(pids: Iterable[int]) -> None:
    """SIGKILL to each; those already gone are fine."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def main() -> None:
    """Collect orders until stdin ends, then clean up."""
    watched: dict[int, str] = {}
    markers: set[str] = set()
    folders: set[str] = set()
    for line in sys.stdin:
        order, _, rest = line.rstrip("\n").partition("\t")
        if order == "watch":
            pid, _, started = rest.partition("\t")
            watched[int(pid)] = started
        elif order == "forget":
            watched.pop(int(rest), None)
        elif order == "marker":
            markers.add(rest)
        elif order == "unmark":
            markers.discard(rest)
        elif order == "folder":
            folders.add(rest)
        elif order == "unfolder":
            folders.discard(rest)
    alive = [pid for pid, started in watched.items() if start_time(pid) == started]
    below = [child for pid in alive for child in descendants(pid)]
    kill([*alive, *below])
    kill(marked(markers))
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
