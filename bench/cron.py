"""How fast the next slot is found, beside croniter, cronsim and APScheduler's CronTrigger.

Three situations, each in slots per second: *warm*, walking on from slot to slot with an object at hand;
*from text*, which is what a scheduler does that keeps the expression in a database (ours parses each text
once and remembers it, the peers parse each time); and *clock changes*, warm, over the nights of the year's
changes only. Rounds of all engines take turns; figures are medians of the rounds. Beside each speed stands
what it is worth: slots of 2026 that the engine loses or adds, compared with Debian cron's rules.

    python bench/cron.py [--rounds 7] [--json bench/results/cron.json]
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from reconciler.model.enums import CatchUp, Dst
from reconciler.schedule.expression import parse
from reconciler.schedule.policy import due_slots

# What crontabs of real fleets are made of, daily jobs first.
EXPRESSIONS = (
    "0 2 * * *",
    "30 2 * * *",
    "17 3 * * *",
    "*/5 * * * *",
    "*/15 8-18 * * mon-fri",
    "0 * * * *",
    "30 4 1 * *",
    "0 6 * * mon",
    "15,45 9-17 * * *",
    "0 0 1 1 *",
)
ZONES = tuple(ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"))
JOBS = tuple((expression, zone) for expression in EXPRESSIONS for zone in ZONES)
START = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
NIGHTS = tuple(
    datetime.fromisoformat(day).replace(tzinfo=UTC)
    for day in ("2026-03-08", "2026-03-28", "2026-04-04", "2026-10-03", "2026-10-24", "2026-11-01")
)
STEPS = 40

Walk = Callable[[str, ZoneInfo, datetime], Iterator[datetime]]


def ours(expression: str, zone: ZoneInfo, start: datetime) -> Iterator[datetime]:
    schedule, at = parse(expression, "task@server"), start
    while following := schedule.next_after(at, zone, Dst.CRON):
        at = following
        yield at


def with_croniter(expression: str, zone: ZoneInfo, start: datetime) -> Iterator[datetime]:
    from croniter import croniter

    schedule = croniter(expression, start.astimezone(zone))
    while True:
        yield schedule.get_next(datetime)


def with_cronsim(expression: str, zone: ZoneInfo, start: datetime) -> Iterator[datetime]:
    from cronsim import CronSim

    return CronSim(expression, start.astimezone(zone))


def with_apscheduler(expression: str, zone: ZoneInfo, start: datetime) -> Iterator[datetime]:
    from apscheduler.triggers.cron import CronTrigger

    trigger = CronTrigger.from_crontab(expression, timezone=zone)
    at = start
    previous = None
    while (following := trigger.get_next_fire_time(previous, at)) is not None:
        yield following
        previous = at = following


ENGINES: dict[str, tuple[str | None, Walk]] = {
    "reconciler": (None, ours),
    "croniter": ("croniter", with_croniter),
    "cronsim": ("cronsim", with_cronsim),
    "APScheduler": ("apscheduler", with_apscheduler),
}


def warm(walk: Walk) -> float:
    """Slots per second, ``STEPS`` of every job, the objects made beforehand."""
    walks = [walk(expression, zone, START) for expression, zone in JOBS]
    for each in walks:
        next(each)
    begin = time.perf_counter()
    for each in walks:
        for _ in islice(each, STEPS):
            pass
    return len(JOBS) * STEPS / (time.perf_counter() - begin)


def from_text(walk: Walk) -> float:
    """Slots per second when all there is is the text."""
    instants = [START + timedelta(hours=31 * number) for number in range(5)]
    begin = time.perf_counter()
    for instant in instants:
        for expression, zone in JOBS:
            next(walk(expression, zone, instant))
    return len(JOBS) * len(instants) / (time.perf_counter() - begin)


def clock_changes(walk: Walk) -> float:
    """Slots per second in the two days around clock changes, warm."""
    walks = [
        (walk("*/30 * * * *" if number % 2 else "30 0-23 * * *", zone, night), night + timedelta(days=2))
        for number, night in enumerate(NIGHTS)
        for zone in ZONES
    ]
    for each, _ in walks:
        next(each)
    slots = 0
    begin = time.perf_counter()
    for each, end in walks:
        for slot in each:
            slots += 1
            if slot >= end:
                break
    return slots / (time.perf_counter() - begin)


def differences(walk: Walk) -> tuple[int, int]:
    """Slots of a year that an engine loses and adds, over expressions that clock changes touch."""
    lost = added = 0
    for expression in ("30 2 * * *", "0 */2 * * *", "30 * * * *", "30 0-23 * * *", "15 1,2 * * *"):
        for zone in ZONES:
            want = set(parse(expression, "t@s").between(START, START + YEAR, zone, Dst.CRON))
            found = []
            for slot in walk(expression, zone, START - timedelta(seconds=1)):
                if slot >= START + YEAR:
                    break
                found.append(slot.astimezone(UTC))
            lost += len(want - set(found))
            added += len([slot for slot in found if slot not in want]) + len(found) - len(set(found))
    return lost, added


def decisions() -> dict[str, float]:
    """Microseconds for the decisions of a claim: one slot on time, and a year of missed ``@every 1s``."""
    zone, second = ZONES[0], timedelta(seconds=1)
    daily, fast = parse("30 2 * * *", "t@s"), parse("@every 1s", "t@s")
    slot = daily.next_after(START, zone, Dst.CRON)
    assert slot is not None

    def plain() -> object:
        return due_slots(
            daily, zone, Dst.CRON, second, slot, slot + 2 * second, 60 * second, CatchUp.LATEST, 3600 * second
        )

    def year() -> object:
        return due_slots(
            fast, zone, Dst.CRON, second, START, START + YEAR, 60 * second, CatchUp.LATEST, 3600 * second
        )

    return {"one slot on time": micros(plain, 2000), "a year of missed seconds": micros(year, 20)}


def micros(call: Callable[[], object], times: int) -> float:
    begin = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - begin) / times * 1e6


SITUATIONS = {"warm": warm, "from text": from_text, "clock changes": clock_changes}
GOALS = {"croniter": 15, "cronsim": 3}


def present() -> tuple[dict[str, str], list[str]]:
    """The engines that are installed, with their versions, and the names of those that are not."""
    versions, absent = {}, []
    for name, (package, _) in ENGINES.items():
        try:
            versions[name] = importlib.metadata.version(package or "reconciler") if package else "this tree"
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
    return versions, absent


def measure(rounds: int) -> dict[str, Any]:
    versions, absent = present()
    speeds: dict[str, dict[str, list[float]]] = {
        situation: {name: [] for name in versions} for situation in SITUATIONS
    }
    worth = {name: differences(ENGINES[name][1]) for name in versions}  # warms every cache, too
    claim: dict[str, list[float]] = {}
    gc.disable()
    for _ in range(rounds):
        for situation, run in SITUATIONS.items():
            for name in versions:
                speeds[situation][name].append(run(ENGINES[name][1]))
        for name, value in decisions().items():
            claim.setdefault(name, []).append(value)
        gc.collect()
    gc.enable()
    medians = {
        situation: {name: statistics.median(values) for name, values in by_name.items()}
        for situation, by_name in speeds.items()
    }
    # each round's ratio, then the median: a slow moment of the machine slows both sides of its round
    ratios = {
        situation: {
            name: statistics.median(
                mine / theirs for mine, theirs in zip(by_name["reconciler"], by_name[name], strict=True)
            )
            for name in versions
            if name != "reconciler"
        }
        for situation, by_name in speeds.items()
    }
    return {
        "name": "cron",
        "rounds": rounds,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "versions": versions,
        "absent": absent,
        "slotsPerSecond": medians,
        "timesPeer": ratios,
        "lostAndAddedSlots": {name: {"lost": lost, "added": added} for name, (lost, added) in worth.items()},
        "decisionMicroseconds": {name: statistics.median(values) for name, values in claim.items()},
        "goals": {
            name: {"atLeast": goal, "met": all(ratios[situation][name] >= goal for situation in SITUATIONS)}
            for name, goal in GOALS.items()
            if name in versions
        },
    }


def show(result: dict[str, Any]) -> None:
    speeds, ratios, worth = result["slotsPerSecond"], result["timesPeer"], result["lostAndAddedSlots"]
    print(f"{'slots per second':24}" + "".join(f"{name:>22}" for name in speeds) + f"{'lost, added':>16}")
    for name, version in result["versions"].items():
        line = f"{name} {version}".ljust(24)
        for situation, by_name in speeds.items():
            ratio = ratios[situation].get(name)
            line += (f"{by_name[name]:,.0f}" + (f"  (1/{ratio:.0f})" if ratio else "")).rjust(22)
        print(line + f"{worth[name]['lost']}, {worth[name]['added']}".rjust(16))
    for name in result["absent"]:
        print(f"{name:24}not installed: skipped (pip install '.[bench]')")
    decided = result["decisionMicroseconds"]
    print("claim: " + ", ".join(f"{name} {value:.1f} µs" for name, value in decided.items()))
    for name, goal in result["goals"].items():
        met = "met" if goal["met"] else "NOT met"
        print(f"goal: at least {goal['atLeast']} × {name} in every situation: {met}")


def main() -> None:
    arguments = argparse.ArgumentParser(description="the next slot, beside peers")
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--json", type=Path, default=Path("bench/results/cron.json"))
    given = arguments.parse_args()
    result = measure(max(5, given.rounds))
    show(result)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
