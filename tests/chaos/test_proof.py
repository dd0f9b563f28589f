"""The proof itself: it is silent on a good ledger, and finds every fault that is put into it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.fleet import RETRIES, ChaosFleet
from tests.chaos.proof import HostRun, prove
from tests.dispatch.fleet import START, at

PLAIN, RETRIED, LOOSE, DEPENDENT, HERE, THERE = range(1, 7)


def fleet() -> ChaosFleet:
    return ChaosFleet(
        START,
        specs={
            PLAIN: {"concurrency": "forbid"},
            RETRIED: {"concurrency": "queue", "retries": RETRIES},
            LOOSE: {"concurrency": "allow"},
            DEPENDENT: {"after": ["plain"]},
            HERE: {"maxParallel": 3},
            THERE: {"maxParallel": 3},
        },
        names={
            PLAIN: "plain",
            RETRIED: "retried",
            LOOSE: "loose",
            DEPENDENT: "dependent",
            HERE: "w",
            THERE: "w",
        },
        servers=dict.fromkeys((PLAIN, RETRIED, LOOSE, DEPENDENT, HERE), "web") | {THERE: "db"},
        limits={"web": 2, "db": 50},
    )


class Ledger:
    """A small ledger that is right, and the host's log beside it."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self.host: list[HostRun] = []
        self.until = dict.fromkeys((PLAIN, RETRIED, LOOSE, HERE, THERE), at(3))
        self.run(1, PLAIN, 0, 0, 0.5)
        self.skip(2, PLAIN, 1, count=2)
        self.run(3, RETRIED, 0, 1, 1.5, reason="exit-code")
        self.run(4, RETRIED, 0, 2.6, 2.9, attempt=2, due=2.5)
        self.skip(5, RETRIED, 1)
        self.skip(6, RETRIED, 2)
        self.run(7, LOOSE, 0, 3, 3.5)
        self.run(8, LOOSE, 1, 3.2, 3.4)
        self.skip(9, LOOSE, 2)
        self.run(10, DEPENDENT, 0.5, 4, 4.5, created=0.6)
        self.skip(11, HERE, 0, count=3)
        self.skip(12, THERE, 0, count=3)

    def run(
        self,
        number: int,
        task: int,
        slot: float,
        begun: float,
        ended: float,
        *,
        reason: str = "completed",
        attempt: int = 1,
        due: float | None = None,
        created: float = 0,
    ) -> None:
        self.rows[number] = {
            **self._row(number, task, slot),
            "status": 1 if reason == "completed" else 2,
            "reason": reason,
            "attempt": attempt,
            "due_at": at(slot if due is None else due),
            "started_at": at(begun),
            "finished_at": at(ended),
            "created_at": at(created),
        }
        self.host.append(HostRun(number, task, begun, ended, whole=True))

    def skip(self, number: int, task: int, slot: float, count: int = 1) -> None:
        self.rows[number] = {
            **self._row(number, task, slot),
            "status": 3,
            "reason": "overlap",
            "count": count,
        }

    def _row(self, number: int, task: int, slot: float) -> dict[str, Any]:
        return {
            "id": number,
            "task_id": task,
            "scheduled_for": at(slot),
            "attempt": 1,
            "count": 1,
            "started_at": None,
            "finished_at": at(slot),
            "created_at": at(slot),
            "cancel_requested_at": None,
        }

    def prove(self, after: str = "plain") -> list[str]:
        made = fleet()
        made.specs[DEPENDENT] = {"after": [after]}
        return prove(made, list(self.rows.values()), self.until, self.host)

    def change(self, number: int, **columns: Any) -> None:
        self.rows[number].update(columns)

    def on_host(self, number: int, task: int, begun: float, ended: float, *, whole: bool = True) -> None:
        self.host.append(HostRun(number, task, begun, ended, whole))


FAULTS: dict[str, tuple[Callable[[Ledger], Any], str]] = {
    "a slot is missing": (lambda it: it.rows.pop(9), "loose: the slot of 12:00:02 is 0 times in the ledger"),
    "a folded row counts too few": (
        lambda it: it.change(2, count=1),
        "plain: the slot of 12:00:02 is 0 times",
    ),
    "a folded row counts too many": (lambda it: it.change(2, count=3), "is no slot that had come"),
    "a slot is there twice": (lambda it: it.change(6, scheduled_for=at(1)), "has 2 rows"),
    "a slot before its time": (lambda it: it.skip(99, PLAIN, 5), "is no slot that had come"),
    "one never ended": (lambda it: it.change(1, status=0, reason=None), "execution 1 of task 1 never ended"),
    "an unknown reason": (lambda it: it.change(5, reason="bored"), "is skipped as 'bored'"),
    "skipped and started": (lambda it: it.change(5, started_at=at(1)), "is skipped and started"),
    "a failure that nobody tried again": (lambda it: it.rows.pop(4), "failed and was not tried again"),
    "a retry too early": (lambda it: it.change(4, due_at=at(2)), "attempt 2 of .* is not due in time"),
    "a retry of a success": (lambda it: it.change(3, status=1, reason="completed"), "was tried again"),
    "more attempts than may be": (
        lambda it: [it.run(90 + n, RETRIED, 0, 10 + n, 10.5 + n, attempt=3 + n, due=11.5) for n in range(2)],
        "4 attempts of",
    ),
    "an overlap in the ledger": (
        lambda it: it.change(4, started_at=at(1.2)),
        "retried: 4 began before 3 had ended",
    ),
    "an overlap on the host": (
        lambda it: it.host.__setitem__(2, HostRun(4, RETRIED, 1.2, 1.4, whole=True)),
        "retried: 4 ran beside 3 on the host",
    ),
    "a command that ran twice": (lambda it: it.on_host(1, PLAIN, 7, 8), "execution 1 ran 2 times"),
    "a skipped one that ran": (
        lambda it: it.on_host(2, PLAIN, 7, 8),
        "execution 2 ran and is called overlap",
    ),
    "one that the ledger does not know": (lambda it: it.on_host(77, LOOSE, 7, 8), "77 ran and is not in the"),
    "a success that did not run": (
        lambda it: it.host.pop(0),
        "is called completed and did not run to its end",
    ),
    "a success cut off": (
        lambda it: it.host.__setitem__(0, HostRun(1, PLAIN, 0, 0.2, whole=False)),
        "execution 1 is called completed and did not run",
    ),
    "too many on a server": (
        lambda it: it.on_host(9, LOOSE, 3.2, 3.3),
        "web: 3 ran side by side, 2 may",
    ),
    "too many of a task": (
        lambda it: [it.on_host(12, THERE, 9, 10) for _ in range(4)],
        "w: 4 ran side by side, 3 may",
    ),
    "a dependency run of another time": (
        lambda it: it.change(10, scheduled_for=at(0.4)),
        "not when its turn came",
    ),
    "a dependency run too many": (
        lambda it: it.run(98, DEPENDENT, 0.5, 6, 6.5, created=5),
        "dependent: the run of .* is not when its turn came|has 2 rows",
    ),
    "a dependency run too few": (lambda it: it.rows.pop(10), "dependent: its turn came after"),
}


def test_a_good_ledger_is_proven() -> None:
    assert Ledger().prove() == []


@pytest.mark.parametrize("turn", [3.4, 3.5])
def test_of_runs_beside_each_other_the_end_that_was_recorded_first_counts(turn: float) -> None:
    ledger = Ledger()
    ledger.change(10, scheduled_for=at(turn), created_at=at(3.6))
    assert ledger.prove(after="loose") == []


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_found(fault: str) -> None:
    ledger = Ledger()
    put, sentence = FAULTS[fault]
    put(ledger)
    found = "\n".join(ledger.prove())
    assert re.search(sentence, found), found
