"""A whole process: trees that are kept applied beside a runtime that schedules and executes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reconciler.clock import Clock
from reconciler.controller.loop import Loop
from reconciler.controller.outage import Outage
from reconciler.controller.reconcile import Reconciler
from reconciler.controller.runtime import DRAIN_SECONDS, Runtime
from reconciler.controller.watch import Watcher
from reconciler.errors import Temporary

_PASS_SECONDS = 5.0
"""How long the end waits for a reconcile that is under way; its transaction is whole or not at all."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A tree and who keeps it applied."""

    path: Path
    reconciler: Reconciler


class Service:
    """``up``, ``controller`` and ``worker`` are this with different parts. Started and stopped once each."""

    def __init__(self, runtime: Runtime, trees: Sequence[Kept], clock: Clock) -> None:
        self.runtime = runtime
        self._end = threading.Event()
        outage = Outage(clock)
        self._loops: list[Loop] = []
        self._watchers: list[Watcher] = []
        self._trees = trees
        for tree in trees:
            loop = Loop(f"reconcile {tree.path}", tree.reconciler.step, clock, outage)
            self._loops.append(loop)
            self._watchers.append(Watcher(tree.path, _changed(tree.reconciler, loop), self._end, clock))

    def start(self) -> None:
        """Raises the database's errors; after that every failure is survived and logged."""
        self.runtime.start()
        for thread in (*self._loops, *self._watchers):
            thread.start()

    def stop(self, seconds: float = DRAIN_SECONDS, *, finish: bool = True) -> bool:
        """See ``Runtime.stop``; nothing is applied any more when the runs are drained."""
        self._end.set()
        for loop in self._loops:
            loop.end()
        for loop in self._loops:
            loop.join(_PASS_SECONDS)
        for tree in self._trees:
            with suppress(Temporary):
                tree.reconciler.resign()
        return self.runtime.stop(seconds, finish=finish)


def _changed(reconciler: Reconciler, loop: Loop) -> Callable[[], None]:
    """Files changed: the next step looks, and happens now."""

    def tell() -> None:
        reconciler.changed()
        loop.wake()

    return tell
