"""One process of the fleet for bench/cache.py: schedules or executes, beside a Redis or not, until ended.

``python -m bench._cache_part URL ROLE [REDIS]``; commands are none: a run ends as soon as it begins.
"""

from __future__ import annotations

import random
import signal
import sys
import threading

from reconciler.cache.link import RedisSignals
from reconciler.cache.place import Place
from reconciler.clock import SystemClock
from reconciler.controller.runtime import Runtime
from reconciler.settings import Settings
from reconciler.store.engine import Database
from tests.controller.executors import Quick


def main(url: str, role: str, redis: str | None = None) -> None:
    """Run in ``role``: controller or worker."""
    clock = SystemClock()
    randomness = random.Random()
    signals = None
    if redis is not None:
        signals = RedisSignals(Place(redis, "bench"), clock, f"{randomness.getrandbits(64):x}")
    runtime = Runtime(
        Database.open(url, clock),
        Settings(workers=16),
        clock,
        Quick() if role == "worker" else None,
        randomness,
        schedule=role == "controller",
        signals=signals,
    )
    runtime.start()
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    print("ready", flush=True)
    end.wait()
    runtime.stop(5)


if __name__ == "__main__":
    main(*sys.argv[1:])
