"""Work that may hang, at the end of a process: waited for only so long."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from reconciler.errors import Temporary

log = logging.getLogger("reconciler.controller")


def within(seconds: float, name: str, work: Callable[[], None]) -> bool:
    """Do it in a thread of its own, and wait ``seconds`` for that; whether it is done.

    A server that was frozen answers no call, and no call can be taken back: then the thread stays behind, and
    ends with the process. What may pass (Temporary) is logged, as there is no later.
    """
    done = threading.Event()

    def run() -> None:
        try:
            work()
        except Temporary as error:
            log.warning("%s: %s", name, error.message)
        except Exception as error:  # the rest of the end must come all the same
            log.error("%s failed: %s", name, type(error).__name__)
            log.debug("%s failed", name, exc_info=error)
        done.set()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    thread.join(seconds)
    return done.is_set()
