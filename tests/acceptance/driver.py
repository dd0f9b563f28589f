"""Drive the program as a person does: its command line, as a process of its own."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance.warm import Warm
from tests.services.prepared import cache_folder

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Result:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def ok(self) -> Result:
        """This result, after making sure that it is a good one."""
        assert self.code == 0, f"exit {self.code}\n{self.out}\n{self.err}"
        return self


class Program:
    """The command line in one folder, with one database and its own environment."""

    def __init__(self, folder: Path, database: str | None = None, **environment: str) -> None:
        self.folder = folder
        self.environment = _environment() | {
            "RECONCILER_ALLOW_LOCAL": "1",
            # where local runs live: the same for all programs of a test
            "HOME": str(folder.parent / "home"),
            **environment,
        }
        (folder.parent / "home").mkdir(exist_ok=True)
        if database is not None:
            self.environment["RECONCILER_DATABASE_URL"] = database
        self._started: list[subprocess.Popen[bytes]] = []

    def __call__(self, *words: str, stdin: str | None = None, timeout: float = 120) -> Result:
        """Run a command to its end, in a process of its own (see `warm`)."""
        if _for_interpreter(self.environment) == _for_interpreter(_environment()):
            result = Result(*_warm().run(words, self.folder, self.environment, stdin, timeout))
        else:
            result = self._cold(words, stdin, timeout)
        assert "Traceback (most recent call last)" not in result.err, result.err
        return result

    def _cold(self, words: Sequence[str], stdin: str | None, timeout: float) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", *words],
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def json(self, *words: str) -> Any:
        """The JSON of a command that must succeed."""
        return self(*words, "-o", "json").ok().json

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """A long-running command; its output goes to ``<n>.out`` and ``<n>.err`` in the folder."""
        number = len(self._started)
        out = (self.folder / f"{number}.out").open("wb")
        err = (self.folder / f"{number}.err").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "reconciler", *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
        out.close()
        err.close()
        self._started.append(process)
        return process

    def said(self, process: subprocess.Popen[bytes]) -> str:
        """What a long-running command printed so far, both streams."""
        number = self._started.index(process)
        return "".join((self.folder / f"{number}.{end}").read_text() for end in ("out", "err"))

    def close(self) -> None:
        """End what still runs, first with a word, then without."""
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._started:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def executions(self, *words: str) -> list[dict[str, Any]]:
        """All executions, newest first, over all pages."""
        items: list[dict[str, Any]] = []
        after: list[str] = []
        while True:
            page = self.json("get", "executions", "--limit", "500", *words, *after)
            items += page["items"]
            if page["next"] is None:
                return items
            after = ["--after", page["next"]]


@functools.cache
def _warm() -> Warm:
    """One for all tests of this process."""
    return Warm(_environment())


def _environment() -> dict[str, str]:
    """This process's, with nothing of the caller's own settings.

    Compiled once, also where Python was told not to: or every command would compile the whole package.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("RECONCILER_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(cache_folder() / "compiled")}


def _for_interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    """What Python itself looks at when it starts: with something else there, it must start anew."""
    names = ("PYTHON", "LC_", "LANG", "LD_")
    return {name: value for name, value in environment.items() if name.startswith(names)}


def write_tree(folder: Path, files: Mapping[str, str]) -> Path:
    """A manifest tree with these files (path → text)."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def eventually(check: Any, seconds: float = 60, pause: float = 0.1) -> Any:
    """The first true value of ``check()``; fails when there is none in time."""
    until = time.monotonic() + seconds
    while True:
        begun = time.monotonic()
        value = check()
        if value:
            return value
        now = time.monotonic()
        assert now < until, "it did not happen in time"
        # who looks by running commands leaves most of a processor to what is looked at
        time.sleep(max(pause, 2 * (now - begun)))


def lines(path: Path) -> list[str]:
    """The lines of a file that may not exist yet."""
    return path.read_text().splitlines() if path.exists() else []


def documents(parts: Sequence[str]) -> str:
    """Several YAML documents as one file's text."""
    return "---\n".join(part if part.endswith("\n") else part + "\n" for part in parts)
