"""One part of planning, once, in a process of its own: ``bench/plan.py`` starts it.

    python bench/_plan_part.py bare|bare-without-gc|read|plan TREE [DATABASE_URL]

Prints JSON: ``cpu`` (seconds of this process, user and system, by step), ``wall`` (seconds), ``peak``
(bytes of memory). Imports, and opening the database, are outside: they do not grow.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CPU: dict[str, float] = {}


@contextmanager
def step(name: str) -> Iterator[None]:
    begin = time.process_time()
    yield
    CPU[name] = time.process_time() - begin


def bare(tree: Path) -> int:
    """What any program pays that reads YAML with PyYAML's compiled parser; nothing is checked."""
    import yaml

    with step("load"):
        documents: list[Any] = []
        for path in sorted(tree.rglob("*.yaml")):
            with path.open("rb") as file:
                documents += yaml.load_all(file, yaml.CSafeLoader)
    return len(documents)


def bare_without_gc(tree: Path) -> int:
    """The same where somebody knows that the collector has nothing to find."""
    gc.disable()
    return bare(tree)


def read(tree: Path) -> int:
    """Read, with positions, and validated."""
    from reconciler.manifest.tree import read_tree

    with step("read"):
        loaded = read_tree(tree).loaded
    state = loaded.valid_state()
    return len(state.tasks) + len(state.servers)


def plan(tree: Path, url: str) -> int:
    """Read, then what the database holds, then the plan, which has no change."""
    from reconciler.clock import SystemClock
    from reconciler.manifest.tree import read_tree
    from reconciler.plan.diff import make_plan
    from reconciler.store.engine import Database
    from reconciler.store.observe import observe

    db = Database.open(url, SystemClock())
    with db.read():
        pass
    with step("read"):
        state = read_tree(tree).loaded.valid_state()
    with step("observe"), db.snapshot() as connection:
        observed = observe(connection, state.project, state.formerly)
    with step("plan"):
        made = make_plan(state, observed)
    if not made.empty:
        raise SystemExit(f"the plan should have no change: {made.summary()}")
    return made.unchanged


def peak() -> int:
    """Bytes. Linux knows those of this program; elsewhere those of the starting process may be among them."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    told = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return (told[0] if told else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024


PARTS: dict[str, Callable[..., int]] = {
    "bare": bare,
    "bare-without-gc": bare_without_gc,
    "read": read,
    "plan": plan,
}


def main() -> None:
    part, tree, *rest = sys.argv[1:]
    if part in ("read", "plan"):
        # as the command does, which ends soon
        gc.disable()
        # what is imported on first use belongs to the start
        import reconciler.manifest.tree  # noqa: F401
    begin = time.perf_counter()
    objects = PARTS[part](Path(tree), *rest)
    wall = time.perf_counter() - begin
    json.dump({"objects": objects, "cpu": CPU, "wall": wall, "peak": peak()}, sys.stdout)


if __name__ == "__main__":
    main()
