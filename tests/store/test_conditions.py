"""Conditions that processes write down: kept until they change, one row for each cause."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from reconciler.model.condition import Condition, ConditionStatus, ConditionType
from reconciler.model.enums import Kind
from reconciler.store.conditions import clear, put
from reconciler.store.engine import Database
from reconciler.store.listing import stored_conditions
from reconciler.store.views import StoredCondition

T0 = datetime(2026, 3, 1, 2, tzinfo=UTC)
LATE = Condition(ConditionType.STALLED, ConditionStatus.TRUE, "Late", "three minutes late", None, None)


def say(db: Database, said: Condition, minutes: int = 0, *, cause: str = "", object_id: int = 7) -> bool:
    with db.write() as connection:
        return put(connection, Kind.PROJECT, object_id, said, T0 + timedelta(minutes=minutes), cause=cause)


def stored(db: Database) -> list[StoredCondition]:
    with db.read() as connection:
        return sorted(stored_conditions(connection), key=lambda row: (row.object_id, row.type, row.cause))


@pytest.fixture
def statements(db: Database) -> Iterator[list[str]]:
    """What was sent to the database, from when the test asks for it."""
    sent: list[str] = []

    def note(_c: Any, _u: Any, statement: str, *_: Any) -> None:
        sent.append(statement.split()[0])

    event.listen(db.engine, "before_cursor_execute", note)
    yield sent
    event.remove(db.engine, "before_cursor_execute", note)


def test_a_condition_keeps_the_time_at_which_it_became_so(db: Database) -> None:
    assert say(db, LATE)
    assert not say(db, Condition(LATE.type, LATE.status, LATE.reason, "four minutes late", None, None), 1)
    assert say(db, Condition(LATE.type, LATE.status, "Away", "away", None, None), 2)
    (row,) = stored(db)
    assert (row.reason, row.message, row.last_transition) == ("Away", "away", T0)
    assert say(db, Condition(LATE.type, ConditionStatus.FALSE, "Away", "away", None, None), 3)
    assert stored(db)[0].last_transition == T0 + timedelta(minutes=3)


def test_what_changes_nothing_writes_nothing(db: Database, statements: list[str]) -> None:
    say(db, LATE)
    statements.clear()
    assert not say(db, LATE, 5)
    with db.write() as connection:
        assert not clear(connection, Kind.SERVER, 7, ConditionType.STALLED)
    assert {"INSERT", "UPDATE", "DELETE"}.isdisjoint(statements)


def test_causes_are_kept_apart(db: Database) -> None:
    say(db, LATE, cause="scheduler")
    say(db, LATE, 1)
    say(db, LATE, 1, object_id=8)
    with db.write() as connection:
        assert clear(connection, Kind.PROJECT, 7, ConditionType.STALLED)
        assert not clear(connection, Kind.PROJECT, 7, ConditionType.STALLED)
    assert [(row.object_id, row.type, row.cause) for row in stored(db)] == [
        (7, "Stalled", "scheduler"),
        (8, "Stalled", ""),
    ]


def test_many_writers_of_one_condition_leave_one_row(db: Database) -> None:
    together = threading.Barrier(4)
    raised: list[BaseException] = []

    def write() -> None:
        together.wait()
        try:
            db.transact(lambda connection: put(connection, Kind.SERVER, 1, LATE, T0))
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raised == []
    assert len(stored(db)) == 1
