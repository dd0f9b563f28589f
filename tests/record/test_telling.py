"""Verdicts in the outbox: the last attempt's failure, and the first success after it, each once."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import select

from reconciler.model.enums import NotifyOn
from reconciler.model.execution import Reason
from reconciler.model.notification import Target, receivers
from reconciler.model.task import Notify
from reconciler.record.batch import Ended
from reconciler.record.ledger import DatabaseLedger
from reconciler.store import told as marks
from reconciler.store.tables import Outbox
from tests.dispatch.conftest import World
from tests.dispatch.fleet import START, at
from tests.record.runs import ended, job

BOTH = [{"on": ["failure", "recovery"], "to": "ops"}]


class Told:
    """A ledger, and what it tells."""

    def __init__(self, world: World, targets: Mapping[str, Target] | None = None) -> None:
        self.world = world
        self.ledger = DatabaseLedger(world.db, world.clock, world.ids, targets)
        self.task = world.fleet.task()

    def end(
        self, execution: int, reason: Reason = Reason.EXIT_CODE, *, again: bool = False, **spec: Any
    ) -> Ended:
        spec = {"notify": BOTH, **spec}
        values = {key: spec.pop(key) for key in ("slot", "attempt") if key in spec}
        if not again:
            columns = {
                "scheduled_for": values.get("slot", at(execution)),
                "attempt": values.get("attempt", 1),
            }
            self.world.fleet.execution(self.task, execution, **columns)
        return ended(execution, reason, of=job(execution, self.task, **values, **spec))

    @property
    def rows(self) -> list[tuple[str, str, int]]:
        with self.world.db.read() as connection:
            found = connection.execute(select(Outbox).order_by(Outbox.id))
            return [(row.kind, row.target, row.payload["execution"]) for row in found]


@pytest.fixture
def told(world: World) -> Told:
    return Told(world)


def test_each_failed_slot_is_told_and_the_first_success_after_it(told: Told) -> None:
    for number, reason in enumerate(
        [Reason.COMPLETED, Reason.EXIT_CODE, Reason.TIMED_OUT, Reason.COMPLETED, Reason.COMPLETED], 1
    ):
        told.ledger.write([], [told.end(number, reason)])
    assert told.rows == [("failure", "ops", 2), ("failure", "ops", 3), ("recovery", "ops", 4)]


def test_only_the_verdict_of_the_last_attempt_is_told(told: Told) -> None:
    retries = {"limit": 1, "backoff": "30s"}
    told.ledger.write([], [told.end(1, slot=START, retries=retries)])
    assert told.rows == []
    retry = told.world.fleet.ledger(told.task)[1]["id"]
    told.ledger.write([], [told.end(retry, slot=START, attempt=2, again=True, retries=retries)])
    assert told.rows == [("failure", "ops", retry)]


def test_an_end_that_comes_twice_is_told_once(told: Told) -> None:
    end = told.end(1)
    told.ledger.write([], [end, end])
    told.ledger.write([], [end])
    assert told.rows == [("failure", "ops", 1)]


def test_a_proven_success_in_place_of_a_lost_run_is_a_recovery(told: Told) -> None:
    told.ledger.write([], [told.end(1, Reason.LOST)])
    told.ledger.write([], [told.end(1, Reason.COMPLETED, again=True)])
    assert told.rows == [("failure", "ops", 1), ("recovery", "ops", 1)]


def test_a_run_that_somebody_cancelled_is_not_told(told: Told) -> None:
    end = told.end(1, Reason.CANCELLED)
    told.world.fleet.change_execution(1, cancel_requested_at=START, cancel_requested_by="ann")
    told.ledger.write([], [end])
    told.ledger.write([], [told.end(2, Reason.CANCELLED)])
    assert told.rows == [("failure", "ops", 2)]


def test_who_asked_for_recoveries_only_is_told_of_none_without_a_failure(told: Told) -> None:
    only = [{"on": ["recovery"], "to": "ops"}]
    told.ledger.write([], [told.end(1, notify=only)])
    told.ledger.write([], [told.end(2, Reason.COMPLETED, notify=only)])
    assert told.rows == []


def test_targets_of_the_settings_are_told_without_being_named(world: World) -> None:
    all_of_shop = Target(url="x://", events=frozenset({NotifyOn.FAILURE}), projects=frozenset({"shop"}))
    other = Target(url="x://", events=frozenset({NotifyOn.FAILURE}), projects=frozenset({"bank"}))
    told = Told(world, {"boss": all_of_shop, "bank": other, "ops": Target(url="x://")})
    told.ledger.write([], [told.end(1, notify=[]), told.end(2)])
    assert sorted(told.rows) == [("failure", "boss", 1), ("failure", "boss", 2), ("failure", "ops", 2)]


def test_nothing_is_told_of_an_end_that_the_database_did_not_take(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reconciler.record import ledger as module

    class Died(BaseException):
        pass

    def die(*_: object) -> None:
        raise Died

    end = told.end(1)
    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(module, "insert_executions", die)
        told.ledger.write([], [end])
    assert told.rows == []
    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr("reconciler.store.outbox.tell", die)
        told.ledger.write([], [end])
    assert told.world.fleet.row(1)["status"] == 0
    told.ledger.write([], [end])
    assert told.rows == [("failure", "ops", 1)]


def test_receivers_are_each_named_once_in_order() -> None:
    rules = [
        Notify.model_validate({"on": ["failure", "drift"], "to": "b"}),
        Notify.model_validate({"on": ["failure"], "to": "a"}),
        Notify.model_validate({"on": ["failure"], "to": "b"}),
    ]
    assert receivers(NotifyOn.FAILURE, "shop", rules, {}) == ["a", "b"]
    assert receivers(NotifyOn.DRIFT, "shop", rules, {}) == ["b"]
    assert receivers(NotifyOn.GUARD, "shop", rules, {}) == []


def test_a_recovery_belongs_to_one_of_many_who_see_it(world: World) -> None:
    tasks = world.fleet.tasks([f"t{n}" for n in range(20)])
    start = threading.Barrier(4)
    got: list[set[int]] = []

    def mark() -> None:
        start.wait(30)
        world.db.transact(lambda connection: marks.failed(connection, tasks, START))

    def take() -> None:
        start.wait(30)
        got.append(world.db.transact(lambda connection: marks.recovered(connection, tasks)))

    for work in (mark, take):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert sorted(task for part in got for task in part) == sorted(tasks)
