"""Archives and live output: what a page costs, what writing costs, how soon a line is seen.

*Pages*: 200 lines from the middle of a log of 50 MB, by our index, beside ``zcat | sed`` and Python's gzip,
which both read what is before. *Writing*: the same log into an archive, beside a plain gzip of levels 1
and 6 (Python's, which is zlib as ours is) in megabytes a second and bytes left. *Live*: seconds from a run's
output to a follower who polls, through an SQLite file: the whole way but for ssh and the screen. Rounds take
turns; ratios are those within a round, then their median.

    python bench/logs.py [--rounds 5] [--json bench/results/logs.json]
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import platform
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reconciler.clock import SystemClock
from reconciler.controller.live import LiveOutput
from reconciler.controller.outage import Outage
from reconciler.dispatch.following import LIVE_SECONDS, Follower
from reconciler.record.archive import ENDINGS, RunArchive
from reconciler.record.folder import Folder
from reconciler.record.seekable import Seekable
from reconciler.store.engine import Database
from reconciler.store.ids import first_id_at
from reconciler.store.schema import upgrade
from reconciler.store.tables import Execution

BYTES = 50_000_000
PIECE = 65_536
PAGE = 200
LINES_SEEN = 20
GOAL_TIMES = 20
"""How many times sooner than ``zcat | sed`` a page from the middle is to come."""
NAME = "2026/01/01/0000/1"


def a_log() -> bytes:
    """Lines as programs write them: times, words, numbers."""
    chance = random.Random(1)
    words = ("connected", "request served", "cache miss for key", "retrying upstream", "worker idle")
    lines, size = [], 0
    for number in itertools.count():
        second = number // 50
        line = (
            f"2026-11-26T{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}Z INFO "
            f"[{chance.randrange(64)}] {chance.choice(words)} {chance.getrandbits(40):x} "
            f"in {chance.randrange(900)} ms\n"
        ).encode()
        lines.append(line)
        size += len(line)
        if size >= BYTES:
            return b"".join(lines)
    raise AssertionError


def timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def write_archive(folder: Folder, log: bytes) -> None:
    run = RunArchive(folder, NAME)
    for start in range(0, len(log), PIECE):
        run.write("stdout", log[start : start + PIECE])
    run.finish()


def write_gzip(path: Path, log: bytes, level: int) -> None:
    with gzip.open(path, "wb", compresslevel=level) as file:
        for start in range(0, len(log), PIECE):
            file.write(log[start : start + PIECE])


def page_of_archive(folder: Folder, first: int) -> bytes:
    opened = folder.open(NAME + ENDINGS["stdout"])
    try:
        return b"".join(Seekable(opened.read, opened.size).lines_between(first, first + PAGE))
    finally:
        opened.close()


def page_by_zcat(path: Path, first: int) -> bytes:
    command = f"zcat {path} | sed -n '{first + 1},{first + PAGE}p;{first + PAGE}q'"
    return subprocess.run(["sh", "-c", command], capture_output=True, check=True).stdout


def page_by_gzip(path: Path, first: int) -> bytes:
    with gzip.open(path, "rb") as file:
        return b"".join(itertools.islice(file, first, first + PAGE))


def live_seconds(folder: Path) -> list[float]:
    """From the output of a line to its being read by another connection, for lines at odd moments."""
    clock = SystemClock()
    path = folder / "live.db"
    writer, reader = (Database.open(f"sqlite:///{path}", clock) for _ in range(2))
    upgrade(writer)
    now = datetime.now(UTC)
    number = first_id_at(now)
    row = {
        "id": number,
        "task_id": 1,
        "server_id": 1,
        "trigger": "manual",
        "scheduled_for": now,
        "due_at": now,
    }
    with writer.write() as connection:
        connection.execute(Execution.__table__.insert().values(created_at=now, **row))
    owner = LiveOutput(writer, clock, Outage(clock))
    owner.start()
    follower = Follower(reader, clock, "bench")
    follower.follow([number])
    output = owner.begin(number, asked_for=True)
    chance = random.Random(2)
    found = []
    for _ in range(LINES_SEEN):
        clock.sleep(chance.uniform(0.05, 0.4))
        begin = time.perf_counter()
        output("stdout", b"a line\n")
        while not follower.look(number).pieces:
            clock.sleep(LIVE_SECONDS)
        found.append(time.perf_counter() - begin)
    follower.close()
    owner.stop(5)
    writer.close()
    reader.close()
    path.unlink()
    return found


def measure(rounds: int) -> dict[str, Any]:
    log = a_log()
    first = log.count(b"\n") // 2
    want = b"".join(log.splitlines(keepends=True)[first : first + PAGE])
    place = Path(tempfile.mkdtemp(prefix="rec-bench-"))
    try:
        folder, plain, slow = Folder(place), place / "1.gz", place / "6.gz"
        writers: dict[str, Callable[[], object]] = {
            "archive": lambda: write_archive(folder, log),
            "gzip -1": lambda: write_gzip(plain, log, 1),
            "gzip -6": lambda: write_gzip(slow, log, 6),
        }
        pages: dict[str, Callable[[], bytes]] = {
            "archive": lambda: page_of_archive(folder, first),
            "zcat | sed": lambda: page_by_zcat(plain, first),
            "Python gzip": lambda: page_by_gzip(plain, first),
        }
        writing: dict[str, list[float]] = {name: [] for name in writers}
        reading: dict[str, list[float]] = {name: [] for name in pages}
        live: list[float] = []
        for _ in range(rounds):
            for name, write in writers.items():
                writing[name].append(timed(write))
            for name, read in pages.items():
                assert read() == want, name
                reading[name].append(timed(read))
            live += live_seconds(place)
        sizes = {
            "archive": (place / (NAME + ENDINGS["stdout"])).stat().st_size,
            "gzip -1": plain.stat().st_size,
            "gzip -6": slow.stat().st_size,
        }
    finally:
        shutil.rmtree(place)
    live.sort()
    times = ratios(reading, "archive")
    return {
        "name": "logs",
        "rounds": rounds,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "bytes": len(log),
        "pageMilliseconds": {name: 1000 * statistics.median(found) for name, found in reading.items()},
        "pageTimesOurs": times,
        "writeMegabytesPerSecond": {
            name: len(log) / 1e6 / statistics.median(found) for name, found in writing.items()
        },
        "writeTimesOurs": ratios(writing, "archive"),
        "shareOfBytes": {name: size / len(log) for name, size in sizes.items()},
        "liveSeconds": {
            "median": statistics.median(live),
            "p95": live[int(0.95 * len(live))],
            "most": live[-1],
        },
        "goals": {"zcat | sed": {"atLeast": GOAL_TIMES, "met": times["zcat | sed"] >= GOAL_TIMES}},
    }


def ratios(found: dict[str, list[float]], ours: str) -> dict[str, float]:
    """How many times as long as ours the others take, round by round, then the median."""
    return {
        name: statistics.median(theirs / mine for mine, theirs in zip(found[ours], values, strict=True))
        for name, values in found.items()
        if name != ours
    }


def show(result: dict[str, Any]) -> None:
    print(f"a page of {PAGE} lines from the middle of {result['bytes'] / 1e6:.0f} MB")
    for name, value in result["pageMilliseconds"].items():
        times = result["pageTimesOurs"].get(name)
        print(f"  {name:12}{value:10.1f} ms" + (f"  ({times:.0f} times ours)" if times else ""))
    print("writing")
    for name, value in result["writeMegabytesPerSecond"].items():
        share = 100 * result["shareOfBytes"][name]
        times = result["writeTimesOurs"].get(name)
        print(
            f"  {name:12}{value:10.0f} MB/s  {share:.1f} % of the bytes"
            + (f"  ({times:.2f} times our time)" if times else "")
        )
    live = result["liveSeconds"]
    print(f"live: median {live['median']:.2f} s, p95 {live['p95']:.2f} s, most {live['most']:.2f} s")
    for name, goal in result["goals"].items():
        print(f"goal: {goal['atLeast']} × {name}: {'met' if goal['met'] else 'missed'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("bench/results/logs.json"))
    args = parser.parse_args()
    result = measure(args.rounds)
    show(result)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
