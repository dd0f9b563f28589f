"""What a plan costs, beside PyYAML's bare load of the same files and beside ``terraform plan``.

Three steps, each in a fresh process, on trees of 1,000 to 100,000 tasks: *bare* (``yaml.CSafeLoader``,
nothing checked), *read* (with positions, resolved and validated), *plan* (read, observe the database and
compare: no change). Then the whole command from its start to its exit, beside ``terraform plan`` of as many
``terraform_data`` resources, which also finds no change:

- *reconciler plan, warm*: no file changed since it was last run, so none is parsed (docs/adr/0013);
- *one edited*: one file has other bytes than then;
- *cold*: nothing is remembered, all files are parsed and what they mean is kept;
- *off*: ``RECONCILER_CACHE=off``.

Rounds of all take turns. Seconds are CPU time (user and system, children included), because that is what a
busy machine disturbs least; ratios are taken round by round, and the figures are medians. Memory is the peak.

    python bench/plan.py [--rounds 5] [--sizes 1000,10000,100000] [--json bench/results/plan.json]

In parts, where the machine is free for minutes only: with ``--folder DIR`` trees, databases and runs stay in
DIR, and a later call goes on from there. ``--rounds 0`` prepares, and shows what was seen so far.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.metadata
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench._fleet import Written, write_terraform, write_tree
from tests.services.database import MariaDB
from tests.services.process import ServiceBroken, ServiceMissing

ROOT = Path(__file__).resolve().parent.parent
MOST_FOR_TERRAFORM = 10_000
"""These take it 0.9 GB, and ten times as many ten times that."""
MOST_FOR_MARIADB = 10_000
READ_AND_PLAN = 1.5
"""Goal: times the bare load, at most."""
TIMES_TERRAFORM = 15
"""Goal: so many times faster, at least."""
MOST_MEMORY = 250e6
"""Goal: bytes of the whole command with 10,000 tasks."""
GROWTH = 11
"""Goal: ten times the tasks cost at most so many times the seconds and bytes."""


COMMAND = "reconciler plan"
COLD, WARM = f"{COMMAND}, cold", f"{COMMAND}, warm"


@dataclass(frozen=True, slots=True)
class Run:
    """One process: seconds and bytes; ``steps`` are the CPU seconds that it told of itself."""

    cpu: float
    wall: float
    peak: float
    steps: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Case:
    """One tree, what is measured on it, and the runs so far."""

    tasks: int
    layout: str
    written: Written
    parts: dict[str, Callable[[], Run]]
    runs: dict[str, list[Run]]
    kept: Path
    """The runs of whole rounds, for a later call."""

    @property
    def name(self) -> str:
        return f"{self.tasks:,} tasks, {self.layout}"

    def round(self, number: str) -> None:
        """Run everything once, and keep that."""
        seen = {}
        for name, each in self.parts.items():
            say(f"{self.name}: {number}, {name}")
            seen[name] = each()
        with self.kept.open("a") as file:
            file.write(json.dumps({name: dataclasses.asdict(one) for name, one in seen.items()}) + "\n")
        for name, one in seen.items():
            self.runs[name].append(one)


def environment(home: Path) -> dict[str, str]:
    """As where the program is installed: compiled once, no settings, nothing asked of a network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RECONCILER_", "TF_"))}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | {
        "PYTHONPYCACHEPREFIX": str(home / "compiled"),
        "PYTHONPATH": str(ROOT),
        "CHECKPOINT_DISABLE": "1",
        "RECONCILER_STATE_DIR": str(home / "state"),
        "XDG_CACHE_HOME": str(home / "cache"),
    }


def run(home: Path, *words: str, cwd: Path | None = None, cache: str = "on") -> tuple[Run, bytes]:
    """Run to the end; ``wait4`` gives the seconds of the process and of those it waited for."""
    with tempfile.TemporaryFile() as output:
        begin = time.perf_counter()
        # not Popen.wait(): its resource usage would be that of all children together
        process = subprocess.Popen(
            words,
            cwd=cwd or home,
            env=environment(home) | {"RECONCILER_CACHE": cache},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read()
    if process.returncode:
        shown = said.decode(errors="replace")[-2000:]
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}:\n{shown}")
    return Run(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024), said


def part(home: Path, *words: str) -> Run:
    """One step in a process of its own: what it tells of itself, without imports."""
    said = json.loads(run(home, sys.executable, str(ROOT / "bench/_plan_part.py"), *words)[1])
    return Run(sum(said["cpu"].values()), said["wall"], said["peak"], said["cpu"])


def command(home: Path, name: str, tree: Path, url: str, *more: str, cache: str = "on") -> Run:
    """The whole program, from its start to its exit."""
    words = (sys.executable, "-m", "reconciler", name, str(tree), "--database", url, *more)
    return run(home, *words, cache=cache)[0]


def plans(home: Path, tree: Path, url: str) -> dict[str, Callable[[], Run]]:
    """``reconciler plan`` by what is remembered; in this order, as each finds what the one before left."""

    def plan(cache: str = "on") -> Run:
        return command(home, "plan", tree, url, "--exit-code", cache=cache)

    def cold() -> Run:
        shutil.rmtree(home / "cache" / "reconciler", ignore_errors=True)
        return plan()

    def edited() -> Run:
        with next(iter(sorted(tree.rglob("*.yaml")))).open("a") as file:
            file.write("# looked at again\n")
        return plan()

    return {f"{COMMAND}, off": lambda: plan("off"), COLD: cold, f"{COMMAND}, one edited": edited, WARM: plan}


def terraform(home: Path, folder: Path) -> Run:
    """Exit code 0 of ``-detailed-exitcode``: it found no change, as we did not."""
    plan = ("terraform", "plan", "-detailed-exitcode", "-no-color", "-input=false")
    return run(home, *plan, cwd=folder)[0]


def say(progress: str) -> None:
    """On a terminal, in one line that overwrites itself."""
    if sys.stderr.isatty():
        print(f"\r{progress:78}", end="\n" if not progress else "", file=sys.stderr, flush=True)


def prepare(home: Path, tasks: int, files: int, mariadb: MariaDB | None, with_terraform: bool) -> Case:
    layout = "each in a file" if files == tasks else f"{files:,} files"
    place = home / f"{tasks}-{files}"
    tree = place / "tree"
    ready = place / "ready.json"
    local = f"sqlite:///{place}/state.db"
    if not ready.exists():
        shutil.rmtree(place, ignore_errors=True)
        written = write_tree(tree, tasks, files)
        command(home, "apply", tree, local, "--yes")
        ready.write_text(json.dumps(dataclasses.asdict(written)))
    written = Written(**json.loads(ready.read_text()))
    parts = {
        "bare": lambda: part(home, "bare", str(tree)),
        "bare, gc off": lambda: part(home, "bare-without-gc", str(tree)),
        "read": lambda: part(home, "read", str(tree)),
        "plan": lambda: part(home, "plan", str(tree), local),
    }
    if mariadb is not None and tasks <= MOST_FOR_MARIADB:
        server = mariadb.url(mariadb.create_database())
        run(home, sys.executable, "-m", "reconciler", "db", "upgrade", "--database", server)
        command(home, "apply", tree, server, "--yes")
        parts["plan, MariaDB"] = lambda: part(home, "plan", str(tree), server)
    parts |= plans(home, tree, local)
    if with_terraform and tasks <= MOST_FOR_TERRAFORM and files != tasks:
        folder = place / "terraform"
        if not (folder / "ready").exists():
            write_terraform(folder, tasks)
            run(home, "terraform", "init", "-input=false", cwd=folder)
            (folder / "ready").touch()
        parts["terraform plan"] = lambda: terraform(home, folder)
    kept = place / "runs.jsonl"
    rounds = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    names = dict.fromkeys([*parts, *itertools.chain(*rounds)])
    runs = {name: [Run(**each[name]) for each in rounds if name in each] for name in names}
    return Case(tasks, layout, written, parts, runs, kept)


@contextlib.contextmanager
def services(absent: list[str]) -> Iterator[MariaDB | None]:
    """A private MariaDB; None, and its name among the absent, where there is none."""
    with contextlib.ExitStack() as stack:
        server = None
        try:
            server = stack.enter_context(MariaDB())
        except (ServiceMissing, ServiceBroken) as error:
            absent.append(f"MariaDB ({error})")
        yield server


@contextlib.contextmanager
def place(kept: Path | None) -> Iterator[Path]:
    """Where everything lies: ``kept``, or a folder that is gone afterwards."""
    if kept is None:
        with tempfile.TemporaryDirectory(prefix="bench-plan-") as folder:
            yield Path(folder)
    else:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()


def measure(rounds: int, sizes: list[int], folder: Path | None) -> dict[str, Any] | None:
    """All figures; None where everything is prepared and nothing was measured yet."""
    absent = [] if shutil.which("terraform") else ["terraform (it is not on the PATH)"]
    cases = []
    with place(folder) as home, services(absent) if rounds else contextlib.nullcontext() as mariadb:
        versions = _versions(home, mariadb)
        for size in sizes:
            for files in [size // 100, *([size] if size == 10_000 else [])]:
                case = prepare(home, size, files, mariadb, "terraform" in versions)
                # the largest trees differ least from round to round, and cost the most
                wanted = rounds if size < 100_000 or not rounds else max(3, rounds // 2)
                for number in range(wanted):
                    case.round(f"round {number + 1} of {wanted}")
                cases.append(case)
                if folder is None:
                    shutil.rmtree(home / f"{size}-{files}")
        say("")
    if not all(case.kept.exists() for case in cases):
        return None
    return {
        "name": "plan",
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} CPUs",
        "versions": versions,
        "absent": absent,
        "cases": [_told(case) for case in cases],
        "growth": _growth(cases),
        "goals": _goals(cases),
    }


def _versions(home: Path, mariadb: MariaDB | None) -> dict[str, str]:
    versions = {"reconciler": "this tree", "PyYAML": importlib.metadata.version("PyYAML")}
    if shutil.which("terraform"):
        said = json.loads(run(home, "terraform", "version", "-json")[1])
        versions["terraform"] = said["terraform_version"]
    if mariadb is not None:
        versions["MariaDB"] = str(mariadb.execute("SELECT version()")[0][0])
    return versions


def _median(runs: list[Run], value: Callable[[Run], float]) -> float:
    return statistics.median(value(each) for each in runs)


def _ratio(mine: list[Run], theirs: list[Run], value: Callable[[Run], float]) -> float:
    """Each round's ratio, then the median: a slow moment of the machine slows both sides of its round."""
    return statistics.median(value(one) / value(other) for one, other in zip(mine, theirs, strict=True))


def _cpu(one: Run) -> float:
    return one.cpu


def _wall(one: Run) -> float:
    return one.wall


def _peak(one: Run) -> float:
    return one.peak


def _without_observing(one: Run) -> float:
    return one.cpu - one.steps["observe"]


def _told(case: Case) -> dict[str, Any]:
    runs = case.runs
    told: dict[str, Any] = {
        "tasks": case.tasks,
        "layout": case.layout,
        "files": case.written.files,
        "bytes": case.written.bytes,
        "rounds": len(runs["bare"]),
        "parts": {
            name: {
                "cpuSeconds": _median(each, _cpu),
                "wallSeconds": _median(each, _wall),
                "peakBytes": _median(each, _peak),
                "steps": {step: statistics.median(one.steps[step] for one in each) for step in each[0].steps},
            }
            for name, each in runs.items()
        },
        "timesBare": {
            name: _ratio(each, runs["bare"], _cpu)
            for name, each in runs.items()
            if name in ("read", "plan", "plan, MariaDB")
        },
    }
    told["timesBare"]["read and plan"] = statistics.median(
        _without_observing(one) / other.cpu for one, other in zip(runs["plan"], runs["bare"], strict=True)
    )
    if "terraform plan" in runs:
        theirs = runs["terraform plan"]
        told["timesTerraform"] = {
            name.removeprefix(f"{COMMAND}, "): {
                "cpu": _ratio(theirs, ours, _cpu),
                "wall": _ratio(theirs, ours, _wall),
                "memory": _ratio(theirs, ours, _peak),
            }
            for name, ours in runs.items()
            if name.startswith(COMMAND)
        }
    return told


def _growth(cases: list[Case]) -> list[dict[str, Any]]:
    """From each size to the next, same layout; steps of ten."""
    sizes = {case.tasks: case for case in cases if case.layout != "each in a file"}
    return [
        {
            "from": small,
            "to": large,
            **{
                f"{name} {what}": _median(sizes[large].runs[name], value)
                / _median(sizes[small].runs[name], value)
                for name in ("bare", "plan", COLD, WARM)
                for what, value in (("seconds", _cpu), ("bytes", _peak))
            },
        }
        for small, large in zip(sorted(sizes), sorted(sizes)[1:], strict=False)
        if large == 10 * small
    ]


def _goals(cases: list[Case]) -> dict[str, dict[str, Any]]:
    goals: dict[str, dict[str, Any]] = {}

    def goal(name: str, value: float, limit: float, *, least: bool = False) -> None:
        met = value >= limit if least else value <= limit
        goals[name] = {"value": value, "atLeast" if least else "atMost": limit, "met": met}

    for case in cases:
        told = _told(case)
        if case.tasks != 10_000:
            continue
        goal(f"read and plan, times bare ({case.layout})", told["timesBare"]["read and plan"], READ_AND_PLAN)
        goal(
            f"bytes of `reconciler plan` ({case.layout})",
            max(told["parts"][name]["peakBytes"] for name in (COLD, WARM)),
            MOST_MEMORY,
        )
        for what in ("cpu", "wall") if "timesTerraform" in told else ():
            for how, times in told["timesTerraform"].items():
                goal(
                    f"terraform's {what} seconds, times ours {how}", times[what], TIMES_TERRAFORM, least=True
                )
    for growth in _growth(cases):
        step = f"{growth['from']:,} → {growth['to']:,}"
        for name in ("plan", COLD, WARM):
            for what in ("seconds", "bytes"):
                goal(f"{step}: {name}, {what}", growth[f"{name} {what}"], GROWTH)
    return goals


def show(result: dict[str, Any]) -> None:
    print(", ".join(f"{name} {version}" for name, version in result["versions"].items()), end="")
    print(f"; Python {result['python']}; {result['machine']}")
    for case in result["cases"]:
        size = f"{case['files']:,} files, {case['bytes'] / 1e6:.1f} MB, median of {case['rounds']}"
        print(f"\n{case['tasks']:,} tasks, {case['layout']}: {size}")
        print(f"  {'':28}{'CPU s':>9}{'wall s':>9}{'peak MB':>9}{'× bare':>9}")
        for name, told in case["parts"].items():
            times = case["timesBare"].get(name)
            steps = ", ".join(f"{step} {seconds:.3f}" for step, seconds in told["steps"].items())
            line = f"  {name:28}{told['cpuSeconds']:9.3f}{told['wallSeconds']:9.3f}"
            line += f"{told['peakBytes'] / 1e6:9.0f}" + (f"{times:9.2f}" if times else f"{'':9}")
            print(f"{line}   {steps}" if len(told["steps"]) > 1 else line.rstrip())
        if peer := case.get("timesTerraform"):
            for how, times in peer.items():
                ratios = ", ".join(f"{what} {ratio:.1f}" for what, ratio in times.items())
                print(f"  terraform, times ours {how}: {ratios}")
    print()
    for name in result["absent"]:
        print(f"skipped: {name}")
    for name, goal in result["goals"].items():
        bound, limit = ("at least", goal["atLeast"]) if "atLeast" in goal else ("at most", goal["atMost"])
        unit = 1e6 if limit >= 1e6 else 1
        value = f"{goal['value'] / unit:.2f}" + (" MB" if unit > 1 else "")
        print(f"{'met' if goal['met'] else 'NOT met':8}{name}: {value} ({bound} {limit / unit:g})")


def main() -> None:
    arguments = argparse.ArgumentParser(description="a plan, beside a bare load and terraform")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--sizes", default="1000,10000,100000")
    arguments.add_argument("--folder", type=Path, help="keep all there, and go on with what is there")
    arguments.add_argument("--json", type=Path, default=Path("bench/results/plan.json"))
    given = arguments.parse_args()
    sizes = sorted(int(size) for size in given.sizes.split(","))
    if sizes[0] < 100:
        arguments.error("--sizes: at least 100 tasks")
    result = measure(given.rounds, sizes, given.folder)
    if result is None:
        print("prepared")
        return
    show(result)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
