"""Controllers that follow git while people push and everything breaks; then the world is compared.

    python -m tests.chaos.soak [--seconds 600] [--seed N] [--tasks 20]

Pushed are good commits, broken ones, unsigned ones and rewritten history; processes are killed and stopped,
the database is killed, the repository is moved away. In the end what is applied must be the last good commit,
every slot must be accounted for, every command must have run once on the host, and the process that was never
killed must not have grown. The seed, which is printed, decides what happens when.
"""

from __future__ import annotations

import argparse
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.acceptance.driver import Program, eventually
from tests.services.database import MariaDB
from tests.services.git import GitRepository
from tests.services.process import free_port

SECOND = timedelta(seconds=1)
SETTLE_SECONDS = 180.0
"""What the end may take: a lease and a half, the repository's longest pause, then what waited."""
GROWTH = 1.25
"""By how much memory and open files may exceed what they were before; a leak grows without end."""
SKIPPED = {"overlap", "missed", "superseded", "disabled"}
ENDED = {"completed", "cancelled"}
"""A command here cannot fail; one whose task was deleted while it ran still finishes."""

HEAD = """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: soak}
spec: {guard: {maxDeletions: 1000, maxDeletionPercent: 100}}
---
apiVersion: reconciler/v1
kind: Server
metadata: {name: here}
spec: {host: localhost, connection: local, maxConcurrentRuns: 100}
"""


@dataclass
class Result:
    """What came of it. ``wrong``: sentences, none when all is as it must be."""

    seed: int
    did: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    revisions: int = 0
    memory: str = ""

    def __str__(self) -> str:
        did, reasons = (
            ", ".join(f"{count} {word}" for word, count in counter.most_common())
            for counter in (self.did, self.reasons)
        )
        return f"seed {self.seed}: {did}; {self.revisions} revisions; {reasons}; {self.memory}"


class Team:
    """The people who push: a signed tree of tasks, and every mistake one can make with it."""

    def __init__(self, folder: Path, ledger: Path, randomness: random.Random, tasks: int) -> None:
        self.work = GitRepository(folder / "work")
        self.bare = folder / "fleet.git"
        self.signers = folder / "signers"
        self._random = randomness
        self._ledger = ledger
        self._versions = {f"task-{number}": 0 for number in range(tasks)}
        self._next = tasks
        self._begin(folder / "key")
        self.good = self.push("the beginning")

    def _begin(self, key: Path) -> None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        self.signers.write_text(f"ops@example.org {Path(f'{key}.pub').read_text()}")
        self.work.git("config", "gpg.format", "ssh")
        self.work.git("config", "user.signingkey", str(key))
        subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(self.bare)], check=True)

    def push(self, message: str, *, signed: bool = True, spoil: bool = False, force: bool = False) -> str:
        """Commit the tree as it is meant to be (or spoilt) and push it; the commit."""
        for path in self.work.path.glob("*.yaml"):
            path.unlink()
        self.work.write("head.yaml", HEAD)
        for name, version in self._versions.items():
            self.work.write(f"{name}.yaml", self._task(name, version, "comand" if spoil else "command"))
        self.work.git("config", "commit.gpgsign", str(signed).lower())
        commit = self.work.commit(message)
        if self.bare.is_dir():
            self.work.git("push", "--quiet", *(["--force"] if force else []), str(self.bare), "main")
        return commit

    def _task(self, name: str, version: int, word: str) -> str:
        return (
            f"apiVersion: reconciler/v1\nkind: Task\nmetadata: {{name: {name}}}\nspec:\n"
            f'  server: here\n  schedule: "@every 1s"\n  timeout: 60s\n'
            f"  {word}: ': {version}; echo \"$RECONCILER_EXECUTION_ID\" >> {self._ledger}'\n"
        )

    def change(self) -> str:
        """A good commit: tasks edited, added, removed."""
        for name in self._random.sample(sorted(self._versions), self._random.randint(1, 3)):
            self._versions[name] += 1
        if self._random.random() < 0.3:
            self._versions[f"task-{self._next}"] = 0
            self._next += 1
        if self._random.random() < 0.3 and len(self._versions) > 5:
            del self._versions[self._random.choice(sorted(self._versions))]
        self.good = self.push("a change")
        return "good"

    def spoil(self) -> str:
        """A commit that does not validate."""
        self.push("a slip", spoil=True)
        return "broken"

    def forget_to_sign(self) -> str:
        self._versions[self._random.choice(sorted(self._versions))] += 1
        self.push("in a hurry", signed=False)
        return "unsigned"

    def rewrite(self) -> str:
        """The newest commit is replaced by another: history that nobody saw coming."""
        if len(self.work.git("rev-list", "--max-count=3", "HEAD").split()) == 3:
            self.work.git("reset", "--quiet", "--soft", "HEAD~1")
        self._versions[self._random.choice(sorted(self._versions))] += 1
        self.good = self.push("rewritten", force=True)
        return "rewritten"


class Soak:
    """Three controllers: the first is never killed, so that its memory can be watched."""

    def __init__(self, folder: Path, team: Team, server: MariaDB, randomness: random.Random) -> None:
        self._team = team
        self._server = server
        self._random = randomness
        self._folder = folder
        url = server.url(server.create_database())
        self.programs = [self._program(number, url) for number in range(3)]
        self.programs[0]("db", "upgrade").ok()
        self.processes = [self._start(number) for number in range(3)]
        self.samples: list[tuple[int, int]] = []
        self.done = False

    def _program(self, number: int, url: str) -> Program:
        place = self._folder / f"program-{number}"
        place.mkdir()
        # durable runs live in the home of the account, which all three share
        return Program(place, url, HOME=str(self._folder), GIT_CONFIG_GLOBAL="/dev/null")

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        """One that is ready: whoever finds no database at its start says so and ends."""
        port = free_port()
        process = self.programs[number].start(
            *("controller", "--git", f"file://{self._team.bare}", "--interval", "2s"),
            *("--require-signed", str(self._team.signers), "--write-to", "status.html"),
            *("--listen", f"127.0.0.1:{port}"),
        )
        eventually(lambda: _ready(port), 60)
        return process

    def sample(self) -> None:
        """Memory (KiB) and open files of the first process."""
        place = Path(f"/proc/{self.processes[0].pid}")
        status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
        self.samples.append((int(status["VmRSS"].split()[0]), len(list((place / "fd").iterdir()))))

    def act(self) -> str:
        """One thing happens; what it was."""
        action = self._random.choices(
            [
                *(self._team.change, self._team.spoil, self._team.forget_to_sign, self._team.rewrite),
                *(self.kill, self.freeze, self.kill_database, self.move_away),
            ],
            weights=[8, 2, 2, 1, 3, 2, 0.7, 1],
        )[0]
        return action()

    def kill(self) -> str:
        number = self._random.choice([1, 2])
        self.processes[number].kill()
        self.processes[number].wait()
        time.sleep(self._random.uniform(0, 2))
        self.processes[number] = self._start(number)
        return "killed"

    def freeze(self) -> str:
        process = self._random.choice(self.processes)
        process.send_signal(signal.SIGSTOP)
        time.sleep(self._random.uniform(0.5, 4))
        process.send_signal(signal.SIGCONT)
        return "frozen"

    def kill_database(self) -> str:
        self._server.kill()
        time.sleep(self._random.uniform(0.5, 4))
        self._server.start()
        return "database killed"

    def move_away(self) -> str:
        away = self._team.bare.with_name("away.git")
        self._team.bare.rename(away)
        time.sleep(self._random.uniform(1, 5))
        away.rename(self._team.bare)
        return "repository away"

    def close(self) -> None:
        for program in self.programs:
            program.close()


def run(server: MariaDB, folder: Path, seconds: float, seed: int, tasks: int = 20) -> Result:
    """Everything at once for so long, then quiet, then the comparison."""
    randomness, result = random.Random(seed), Result(seed)
    ledger = folder / "ledger"
    ledger.touch()
    with ExitStack() as stack:
        team = Team(folder, ledger, randomness, tasks)
        soak = stack.enter_context(closing(Soak(folder, team, server, randomness)))
        stop = time.monotonic() + seconds
        while time.monotonic() < stop:
            time.sleep(randomness.uniform(0.5, 4))
            soak.sample()
            result.did[soak.act()] += 1
        team.change()
        result.wrong += _applied(soak.programs[0], team)
        result.wrong += [f"a controller ended with {code}" for code in _end(soak) if code]
        rows = soak.programs[0].executions()
        result.wrong += _drained(soak.programs[0])
        result.wrong += _accounted(rows, ledger)
        result.wrong += _flat(soak.samples, result)
        result.reasons = Counter(str(row["reason"]) for row in rows)
        result.revisions = len(soak.programs[0].json("get", "revisions", "--limit", "500")["items"])
    return result


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return True
    except OSError:
        return False


def _applied(program: Program, team: Team) -> list[str]:
    """The last good commit is applied, and nothing is left to do."""

    def there() -> bool:
        done = program("plan", str(team.work.path), "--exit-code", "-o", "json")
        return done.code == 0 and done.json["drift"] == []

    try:
        eventually(there, SETTLE_SECONDS, 1.0)
    except AssertionError:
        status = program("status").out
        return [f"{team.good[:12]} is not applied after {SETTLE_SECONDS:.0f} s of quiet:\n{status}"]
    (project,) = [item for item in program.json("status")["objects"] if item["kind"] == "Project"]
    stalled = [
        item
        for item in project["conditions"]
        if item["type"] == "Stalled" and not item["reason"].startswith("Scheduler")
    ]
    return [f"all is applied, and the project is still called stalled: {stalled}"] if stalled else []


def _end(soak: Soak) -> list[int]:
    for process in soak.processes:
        process.send_signal(signal.SIGINT)
    return [process.wait(90) for process in soak.processes]


def _drained(program: Program) -> list[str]:
    """What was claimed by whoever was killed last is finished by a worker."""
    worker = program.start("worker", "--for", "1s")
    if worker.wait(120) != 0:
        return ["the last worker did not end well"]
    left = [item for item in program.executions() if item["state"] in ("waiting", "running")]
    return [f"{len(left)} executions never ended, such as {left[0]}"] if left else []


def _accounted(rows: list[dict[str, Any]], ledger: Path) -> Iterator[str]:
    """No slot twice, none missing between the first and the last of a task, each command once on the host."""
    slots = Counter((row["task"], row["scheduledFor"], row["attempt"]) for row in rows)
    yield from (f"slot {slot} has {count} rows" for slot, count in slots.items() if count > 1)
    for row in rows:
        allowed = SKIPPED if row["status"] == 3 else ENDED
        if row["status"] != 0 and row["reason"] not in allowed:
            yield f"execution {row['id']} of {row['task']} is called {row['reason']}"
    by_task: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_task.setdefault(row["task"], []).append(row)
    for task, own in by_task.items():
        yield from _gaps(task, own)
    ran = Counter(ledger.read_text().split())
    yield from (f"execution {key} ran {count} times" for key, count in ran.items() if count > 1)
    started = {row["id"] for row in rows if row["startedAt"] is not None}
    yield from (f"execution {key} is called started and did not run" for key in started - ran.keys())
    known = {row["id"] for row in rows if row["status"] in (0, 1, 2)}
    yield from (f"execution {key} ran and is not in the ledger" for key in ran.keys() - known)


def _gaps(task: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    """A task that is there has a row for each second; one that left and came back began anew then."""
    covered: set[datetime] = set()
    for row in rows:
        first = datetime.fromisoformat(row["scheduledFor"])
        covered |= {first + step * SECOND for step in range(row["count"])}
    for one, other in pairwise(sorted(covered)):
        if other - one != SECOND:
            yield f"{task}: between {one:%H:%M:%S} and {other:%H:%M:%S} nothing is in the ledger"


def _flat(samples: list[tuple[int, int]], result: Result) -> Iterator[str]:
    """Memory and open files of the process that lived through all of it."""
    third = len(samples) // 3
    if third < 3:
        return
    words = []
    for place, (name, unit) in enumerate((("memory", "KiB"), ("open files", ""))):
        early = statistics.median(sample[place] for sample in samples[third : 2 * third])
        late = statistics.median(sample[place] for sample in samples[2 * third :])
        words.append(f"{name} {early:.0f} → {late:.0f} {unit}".strip())
        if late > early * GROWTH:
            yield f"{name} of the first controller grew from {early:.0f} to {late:.0f} {unit}"
    result.memory = ", ".join(words)


def main() -> None:
    """The command line."""
    words = argparse.ArgumentParser(
        description="controllers on git while everything happens, then the comparison"
    )
    words.add_argument("--seconds", type=float, default=600)
    words.add_argument("--seed", type=int, default=None)
    words.add_argument("--tasks", type=int, default=20)
    given = words.parse_args()
    seed = random.SystemRandom().getrandbits(32) if given.seed is None else given.seed
    print(f"seed {seed}: {given.seconds:.0f} s, {given.tasks} tasks", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        with MariaDB() as server:
            result = run(server, Path(folder), given.seconds, seed, given.tasks)
        print(result)
        for sentence in result.wrong[:50]:
            print(f"WRONG: {sentence}")
        if result.wrong:
            for said in sorted(Path(folder).glob("program-*/*.err")):
                print(f"-- {said.parent.name}/{said.name}\n{said.read_text()[-3000:]}")
            sys.exit(f"{len(result.wrong)} things are wrong; again with --seed {seed}")
    print(
        "well: the last good commit is applied, every slot accounted for, each command run once, nothing grew"
    )


if __name__ == "__main__":
    main()
