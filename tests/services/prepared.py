"""Folders that are costly to make, such as an initialised database: made once per machine, then copied."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.services.process import ServiceBroken

# Seconds for which a failed preparation is not tried again.
FAILURE_LASTS = 60.0


def cache_folder() -> Path:
    """Where they live: RECONCILER_TEST_CACHE, else the user's cache, else ``.tests`` in the checkout."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    places = [
        os.environ.get("RECONCILER_TEST_CACHE", ""),
        os.path.join(home, "reconciler-tests"),
        str(Path(__file__).resolve().parents[2] / ".tests"),
    ]
    for place in filter(None, places):
        folder = Path(place).absolute()
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    raise OSError(f"none of {', '.join(filter(None, places))} can be written")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold ``path`` as a lock among all processes of this machine; a killed holder lets go by itself."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def prepared(name: str, make: Callable[[Path], None]) -> Path:
    """The folder ``name`` of the cache, filled by ``make`` if it is not there. Raises what it raises."""
    folder = cache_folder() / name
    if folder.is_dir():
        return folder
    with locked(folder.with_name(f"{name}.lock")):
        if not folder.is_dir():
            _make(folder, make)
    return folder


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    failure = folder.with_name(f"{folder.name}.failed")
    with contextlib.suppress(FileNotFoundError):
        # The other workers of a run waited for this attempt; each trying again would take minutes.
        if time.time() - failure.stat().st_mtime < FAILURE_LASTS:
            raise ServiceBroken(failure.read_text())
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        make(partial)
    except ServiceBroken as broken:
        failure.write_text(str(broken))
        raise
    partial.rename(folder)
    failure.unlink(missing_ok=True)


def copy_folder(source: Path, target: Path) -> None:
    """A private copy, sharing blocks where the file system can and keeping holes."""
    subprocess.run(
        ["cp", "-a", "--reflink=auto", "--sparse=auto", f"{source}/.", str(target)],
        check=True,
        capture_output=True,
    )
