"""200 tasks of every second under all policies, and some that run after them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from itertools import cycle
from typing import Any

from tests.dispatch.fleet import Fleet

SERVERS = 10
NARROW = 4
"""maxConcurrentRuns of every third server."""
PARALLEL = 3
"""maxParallel of the tasks that stand on all servers."""
SPREAD = 4
"""Of those there are so many."""
RETRIES = {"limit": 2, "backoff": "1s", "factor": 2, "maxBackoff": "3s"}
CONCURRENCY = ("forbid", "allow", "queue", "replace")
CATCH_UP = ("none", "latest", "all")
WINDOW = "20s"


@dataclass
class ChaosFleet:
    """Ids of the tasks, and what was declared of each (the manifest's words)."""

    first_slot: datetime
    specs: dict[int, dict[str, Any]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    servers: dict[int, str] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    """maxConcurrentRuns by server."""

    @property
    def scheduled(self) -> list[int]:
        return [task for task, spec in self.specs.items() if "after" not in spec]

    @property
    def dependents(self) -> list[int]:
        return [task for task, spec in self.specs.items() if "after" in spec]

    def concurrency(self, task: int) -> str:
        return str(self.specs[task].get("concurrency", "forbid"))

    def retries(self, task: int) -> int:
        return int(self.specs[task].get("retries", {}).get("limit", 0))


def make(fleet: Fleet, tasks: int, first_slot: datetime) -> ChaosFleet:
    """Write the rows. Runs are not durable: what a killed process ran is over, and its ledger says so."""
    made = ChaosFleet(first_slot)
    for number in range(SERVERS):
        limit = NARROW if number % 3 == 0 else 50
        made.limits[f"web-{number}"] = limit
        fleet.server(f"web-{number}", maxConcurrentRuns=limit, durable=False)
    policies = zip(cycle(CONCURRENCY), cycle(CATCH_UP), cycle(range(5)), cycle(range(7)), strict=False)
    single = tasks - SPREAD * SERVERS
    for number, (concurrency, catch_up, jitter, retries) in zip(range(single), policies, strict=False):
        spec: dict[str, Any] = {"concurrency": concurrency, "catchUp": catch_up, "catchUpWindow": WINDOW}
        if jitter == 0:
            spec["jitter"] = "3s"
        if retries < 3:
            spec["retries"] = RETRIES
        _add(fleet, made, f"t-{number}", f"web-{number % SERVERS}", spec)
    for number in range(SPREAD):
        for server in made.limits:
            _add(fleet, made, f"everywhere-{number}", server, {"maxParallel": PARALLEL})
    for number in range(SERVERS):
        # two that are on this server: the first has number, the second number + 10
        after = [f"t-{number}", f"t-{number + SERVERS}"]
        spec = {"after": after, "concurrency": CONCURRENCY[number % 4]}
        _add(fleet, made, f"after-{number}", f"web-{number}", spec)
    return made


def _add(fleet: Fleet, made: ChaosFleet, name: str, server: str, spec: dict[str, Any]) -> None:
    task = fleet.task(
        name, server, schedule=None if "after" in spec else "@every 1s", due=made.first_slot, **spec
    )
    made.specs[task], made.names[task], made.servers[task] = spec, name, server
