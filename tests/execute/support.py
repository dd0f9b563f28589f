"""Jobs, hosts and watching eyes for the tests of this room."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from reconciler.clock import SystemClock
from reconciler.execute.control import Control, Stream
from reconciler.execute.executors import Executors
from reconciler.execute.ssh.connection import Connection
from reconciler.model.execution import Hop, Job, Outcome
from reconciler.model.server import ServerSpec
from reconciler.model.task import TaskSpec
from reconciler.settings import Settings
from tests.services.guard import marked
from tests.services.process import private_folder
from tests.services.sshd import Sshd

CLOCK = SystemClock()
SCHEDULED = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
_ids = itertools.count(time.time_ns() // 1_000_000 * 2**21 + os.getpid() % 512 * 2**12)


def local_hop(**spec: Any) -> Hop:
    return Hop("here", ServerSpec.model_validate({"host": "localhost", "connection": "local", **spec}))


def plain_hop() -> Hop:
    """Whose runs end with what holds them."""
    return local_hop(durable=False)


def ssh_hop(sshd: Sshd, name: str = "db-1", **spec: Any) -> Hop:
    """A server that is this sshd, its key pinned, our key in the secrets folder (see `executors`)."""
    declared = {
        "host": sshd.host,
        "port": sshd.port,
        "username": sshd.user,
        "auth": {"privateKey": {"file": "client"}},
        "hostKeys": [sshd.host_key],
        **spec,
    }
    declared = {key: value for key, value in declared.items() if value is not None}
    return Hop(name, ServerSpec.model_validate(declared))


def make_job(hop: Hop, command: str, *, jumps: tuple[Hop, ...] = (), **spec: Any) -> Job:
    return Job(
        execution_id=next(_ids),
        task_id=1,
        project="default",
        task="备份",
        server=hop,
        spec=TaskSpec.model_validate({"command": command, **spec}),
        attempt=1,
        scheduled_for=SCHEDULED,
        due_at=SCHEDULED,
        jumps=jumps,
    )


@cache
def own_home() -> Path:
    """Where local runs of this process live instead of the account's home; removed with the process."""
    return private_folder("home")


class Listener:
    """A Control that remembers what it heard."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.started_at: datetime | None = None
        self.heard: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
        self.changed = threading.Condition()
        self.control = Control(self._start, self._hear)

    def _start(self, at: datetime) -> None:
        self.started_at = at
        self.started.set()

    def _hear(self, stream: Stream, data: bytes) -> None:
        with self.changed:
            # enough to see, little enough to be quick over large outputs
            if len(self.heard[stream]) < 100_000:
                self.heard[stream] += data
            self.changed.notify_all()

    def until(self, text: bytes, stream: Stream = "stdout", timeout: float = 20) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: text in self.heard[stream], timeout), self.heard


class Background:
    """A run in a thread."""

    def __init__(self, executors: Executors, job: Job) -> None:
        self.job = job
        self.listener = Listener()
        self._outcome: list[Outcome] = []
        self._thread = threading.Thread(target=self._run, args=(executors,), daemon=True)
        self._thread.start()

    def _run(self, executors: Executors) -> None:
        self._outcome.append(executors.run(self.job, self.listener.control))

    def outcome(self, timeout: float = 40) -> Outcome:
        self._thread.join(timeout)
        assert self._outcome, "the run has not ended"
        return self._outcome[0]


def executors(
    secrets_dir: Path | None = None, environment: dict[str, str] | None = None, **settings: Any
) -> Executors:
    inherited = {name: os.environ[name] for name in ("PATH", "USER", "LANG") if name in os.environ}
    inherited["HOME"] = str(own_home())
    return Executors(
        Settings(allow_local=True, secrets_dir=secrets_dir, **settings),
        CLOCK,
        environment={**inherited, **(environment or {})},
    )


@contextmanager
def running(*words: Any, **options: Any) -> Iterator[Executors]:
    one = executors(*words, **options)
    try:
        yield one
    finally:
        one.close()


def connections(some: Executors) -> set[Connection]:
    """Those of its pool."""
    assert some._connections is not None
    return some._connections._all


def processes(job: Job) -> list[int]:
    """The pids on this machine that carry the job's id."""
    return marked([f"RECONCILER_EXECUTION_ID={job.execution_id}"])


def eventually(condition: Callable[[], bool], timeout: float = 10) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


class QuietSshd(Sshd):
    """An sshd whose login shells read their rc files, from a home where there is none."""

    def __init__(self, *options: str) -> None:
        super().__init__()
        self.options = (*options, f"SetEnv {self.marker} HOME={self.home}")
