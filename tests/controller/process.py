"""A process of the fleet for tests that kill one: schedules, executes, or both, until it is told to end.

``python -m tests.controller.process URL LOG ROLE``: appends a line to LOG for every command that it
runs; ends in order on SIGTERM.
"""

from __future__ import annotations

import logging
import random
import signal
import sys
import threading
from pathlib import Path

from reconciler.clock import SystemClock
from reconciler.controller.runtime import Runtime
from reconciler.settings import Settings
from reconciler.store.engine import Database
from tests.controller.executors import Quick


def main(url: str, log: str, role: str) -> None:
    """Run in ``role``: up, controller or worker."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(process)d %(name)s %(message)s")
    clock = SystemClock()
    db = Database.open(url, clock)
    executor = None if role == "controller" else Quick(0.1, log=Path(log))
    settings = Settings(workers=8, state_dir=Path(log).parent / "state")
    runtime = Runtime(db, settings, clock, executor, random.Random(), schedule=role != "worker")
    runtime.start()
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    print("ready", flush=True)
    end.wait()
    sys.exit(0 if runtime.stop(10) else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
