"""The recorder: batches, order, patience while the database is away, and room for only so much.

What it does with the disk is in test_spooling.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler.clock import SystemClock
from reconciler.errors import DatabaseRejected, DatabaseUnavailable, SpoolFull
from reconciler.model.execution import CapturedStream, Reason
from reconciler.record import pending
from reconciler.record import writer as module
from reconciler.record.batch import Ended, Record, Recorded, Started
from reconciler.record.spool import Spool
from reconciler.record.writer import Writer
from tests.dispatch.fleet import START, at
from tests.record.runs import job, outcome

Start = Callable[..., Writer]


class Full(Spool):
    """A disk that takes nothing: memory is all there is."""

    def keep(self, records: Sequence[Record]) -> None:
        raise SpoolFull("no space")


class FakeLedger:
    """Records in memory; ``trouble`` may raise, ``gate`` may hold everything back."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[int], list[int]]] = []
        self.ended: dict[int, int] = {}
        self.last_runs: dict[int, datetime] = {}
        self.trouble: Callable[[Sequence[Ended]], None] = lambda ends: None
        self.gate = threading.Event()
        self.gate.set()
        self.locked: set[int] = set()
        self.bytes = 4 * 1024 * 1024

    def write(self, starts: Sequence[Started], ends: Sequence[Ended]) -> list[Recorded]:
        self.gate.wait(10)
        self.trouble(ends)
        self.batches.append(([s.job.execution_id for s in starts], [e.job.execution_id for e in ends]))
        written = [end for end in ends if end.job.task_id not in self.locked]
        for end in written:
            self.ended[end.job.execution_id] = self.ended.get(end.job.execution_id, 0) + 1
        return [Recorded(end.job, end.outcome) for end in written]

    def touch_tasks(self, last_runs: dict[int, datetime]) -> set[int]:
        self.last_runs.update(last_runs)
        return set()

    def max_bytes(self) -> int:
        return self.bytes


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger()


@pytest.fixture
def started_writer(ledger: FakeLedger, tmp_path: Path) -> Start:
    def start(spool: type[Spool] = Spool, **options: Any) -> Writer:
        clock = SystemClock()
        writer = Writer(ledger, clock, spool(tmp_path / "spool", "me-1", clock), **options)
        writer.start()
        return writer

    return start


def test_what_comes_while_one_batch_is_written_is_the_next_batch(
    ledger: FakeLedger, started_writer: Start
) -> None:
    ledger.gate.clear()
    writer = started_writer(max_rows=100)
    for number in range(1, 251):
        writer.ended(job(number), outcome(number))
    ledger.gate.set()
    assert writer.close(10)
    assert len(ledger.batches) <= 5
    assert sorted(ledger.ended) == list(range(1, 251))
    assert set(ledger.ended.values()) == {1}


def test_a_batch_is_bounded_by_its_bytes(ledger: FakeLedger, started_writer: Start) -> None:
    ledger.bytes = 10_000
    ledger.gate.clear()
    writer = started_writer()
    big = CapturedStream("x" * 4_000, 4_000, "")
    for number in range(1, 8):
        writer.ended(job(number), outcome(number, stdout=big))
    writer.ended(job(9), outcome(9, stdout=CapturedStream("y" * 50_000, 50_000, "")))
    ledger.gate.set()
    assert writer.close(10)
    assert max(len(ends) for _, ends in ledger.batches) == 2
    assert 9 in ledger.ended


def test_a_short_run_costs_one_write_and_a_long_one_shows_its_start(
    ledger: FakeLedger, started_writer: Start
) -> None:
    writer = started_writer()
    writer.started(job(1), at(1))
    writer.ended(job(1), outcome(1, started_at=at(1)))
    writer.started(job(2, task_id=2), at(2))
    deadline = SystemClock().monotonic() + 5
    while not any(2 in starts for starts, _ in ledger.batches) and SystemClock().monotonic() < deadline:
        SystemClock().sleep(0.01)
    assert not any(1 in starts for starts, _ in ledger.batches)
    assert any(2 in starts for starts, _ in ledger.batches)
    assert writer.close(5)
    assert ledger.last_runs == {1: at(1), 2: at(2)}


def test_while_the_database_is_away_ends_wait_and_nothing_is_lost_or_twice(
    ledger: FakeLedger, started_writer: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)
    failures: list[object] = []
    recovered = threading.Event()
    away = threading.Event()
    away.set()

    def trouble(ends: Sequence[Ended]) -> None:
        if away.is_set():
            raise DatabaseUnavailable("gone")

    ledger.trouble = trouble
    writer = started_writer(Full, on_failure=failures.append, on_success=recovered.set)
    for number in range(1, 20):
        writer.ended(job(number), outcome(number))
    while len(failures) < 3:
        SystemClock().sleep(0.005)
    assert writer.pending == 19
    away.clear()
    assert writer.close(10)
    assert recovered.is_set()
    assert ledger.ended == dict.fromkeys(range(1, 20), 1)


def test_one_end_that_is_refused_does_not_take_its_neighbours_along(
    ledger: FakeLedger, started_writer: Start, tmp_path: Path
) -> None:
    def trouble(ends: Sequence[Ended]) -> None:
        if any(end.job.execution_id == 3 for end in ends):
            raise DatabaseRejected("no")

    ledger.trouble = trouble
    ledger.gate.clear()
    writer = started_writer()
    for number in range(1, 6):
        writer.ended(job(number), outcome(number))
    ledger.gate.set()
    assert writer.close(10)
    assert sorted(ledger.ended) == [1, 2, 4, 5]
    assert [file.name for file in (tmp_path / "spool" / "refused").iterdir()] == ["3-ended.json"]


def test_a_refused_end_is_told_as_such_and_its_run_is_let_go(
    ledger: FakeLedger, started_writer: Start
) -> None:
    def trouble(ends: Sequence[Ended]) -> None:
        if any(end.outcome.proven for end in ends):
            raise DatabaseRejected("no")

    heard: list[Recorded] = []
    ledger.trouble = trouble
    writer = started_writer(after=heard.extend)
    writer.ended(job(1), outcome(1))
    assert writer.close(10)
    assert [(item.job.execution_id, item.refused, item.outcome.reason) for item in heard] == [
        (1, True, Reason.LOST)
    ]


def test_a_fault_of_the_program_ends_the_recording_of_one_end_only(
    ledger: FakeLedger, started_writer: Start, tmp_path: Path
) -> None:
    def trouble(ends: Sequence[Ended]) -> None:
        if any(end.job.execution_id == 3 for end in ends):
            raise ZeroDivisionError

    ledger.trouble = trouble
    writer = started_writer()
    for number in range(1, 6):
        writer.ended(job(number), outcome(number))
    assert writer.close(10)
    assert sorted(ledger.ended) == [1, 2, 4, 5]
    assert "ZeroDivisionError" in (tmp_path / "spool" / "refused" / "3-ended.json").read_text()


def test_an_end_that_must_wait_lets_the_others_pass(ledger: FakeLedger, started_writer: Start) -> None:
    ledger.locked = {7}
    writer = started_writer()
    writer.ended(job(1, task_id=7), outcome(1))
    writer.ended(job(2), outcome(2))
    while 2 not in ledger.ended:
        SystemClock().sleep(0.005)
    assert writer.pending == 1
    ledger.locked = set()
    assert writer.close(10)
    assert ledger.ended == {1: 1, 2: 1}


def test_whoever_brings_more_than_fits_waits(
    ledger: FakeLedger, started_writer: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "MAX_ROWS", 5)
    ledger.gate.clear()
    writer = started_writer()
    brought: list[int] = []

    def bring() -> None:
        for number in range(1, 9):
            writer.ended(job(number), outcome(number))
            brought.append(number)

    thread = threading.Thread(target=bring)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    assert len(brought) == 5
    ledger.gate.set()
    thread.join(10)
    assert writer.close(10)
    assert sorted(ledger.ended) == list(range(1, 9))


def test_what_could_neither_be_recorded_nor_kept_is_told(
    ledger: FakeLedger, started_writer: Start, caplog: pytest.LogCaptureFixture
) -> None:
    def trouble(ends: Sequence[Ended]) -> None:
        raise DatabaseUnavailable("gone")

    ledger.trouble = trouble
    writer = started_writer(Full)
    writer.ended(job(17), outcome(17))
    assert not writer.close(0.3)
    assert any("17" in line and "neither be recorded nor kept" in line for line in caplog.messages)


def test_listeners_hear_of_an_end_only_when_it_is_stored(ledger: FakeLedger, started_writer: Start) -> None:
    heard: list[int] = []
    ledger.gate.clear()
    writer = started_writer(after=lambda recorded: heard.extend(r.job.execution_id for r in recorded))
    writer.ended(job(1), outcome(1, finished_at=START))
    SystemClock().sleep(0.05)
    assert heard == []
    ledger.gate.set()
    assert writer.close(5)
    assert heard == [1]
