"""A process whose records wait on its disk: it claims nothing more, says so, and goes on by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.clock import SystemClock
from reconciler.controller import holding
from reconciler.controller import runtime as runtime_module
from reconciler.controller.holding import Holding
from reconciler.model.condition import ConditionType
from reconciler.model.enums import Kind
from reconciler.record.spool import Spool
from reconciler.store import conditions
from tests.controller.conftest import Start, eventually
from tests.controller.executors import Quick
from tests.controller.test_runtime import mariadb_only, soon, sqlite_only
from tests.dispatch.fleet import Fleet
from tests.record.runs import ended
from tests.services.database import MariaDB
from tests.services.proxy import TcpProxy

CLOCK = SystemClock()
OWNER = "host-17-0123456789ab"


def stalled(fleet: Fleet, owner: str = OWNER) -> bool:
    with fleet.db.read() as connection:
        return bool(
            conditions.objects_with(
                connection, Kind.PROJECT, ConditionType.STALLED, cause=f"spool-{owner.rpartition('-')[2]}"
            )
        )


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "state" / "spool", OWNER, CLOCK)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "MOST_RECORDS", 10)


def test_projects_are_stalled_while_too_many_records_wait(
    fleet: Fleet, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    hold = Holding(fleet.db, CLOCK, spool, OWNER, 2**30)
    hold.step()
    assert not hold.held()
    for number in range(1, 4):
        spool.keep([ended(n) for n in range(number * 4, number * 4 + 4)])
        batch = spool.oldest()  # each call a file of its own
        assert batch is not None
    assert hold.held()
    assert not stalled(fleet)
    hold.step()
    assert stalled(fleet)
    assert batch is not None
    spool.written(batch)
    hold.step()
    assert hold.held(), "it goes on only when half of it is recorded"
    assert stalled(fleet)
    while (batch := spool.oldest()) is not None:
        spool.written(batch)
    hold.step()
    assert not hold.held()
    assert not stalled(fleet)
    told = [line for line in caplog.messages if "claim" in line]
    assert len(told) == 2


@sqlite_only
def test_many_bytes_hold_as_many_records_do(fleet: Fleet, spool: Spool) -> None:
    spool.keep([ended(1)])
    assert not Holding(fleet.db, CLOCK, spool, OWNER, 2**20).held()
    assert Holding(fleet.db, CLOCK, spool, OWNER, 1000).held()


@sqlite_only
def test_who_takes_over_a_dead_process_also_takes_back_what_it_said(
    fleet: Fleet, spool: Spool, start: Start
) -> None:
    hold = Holding(fleet.db, CLOCK, spool, OWNER, 100)
    spool.keep([ended(1)])
    hold.step()
    assert stalled(fleet)
    spool.close()
    fleet.execution(fleet.task(due=None), 1)
    quick = Quick()
    start(quick, schedule=False)
    eventually(lambda: fleet.states() == {"completed": 1})
    # its folder on the host is left to the sweep: a start of it may still be on its way
    assert quick.recorded_jobs == []
    eventually(lambda: not stalled(fleet))


@mariadb_only
def test_in_an_outage_nobody_says_that_the_database_answers_and_both_ends_are_one_line(
    fleet: Fleet,
    url: str,
    mariadb: MariaDB,
    tcp_proxy: Callable[[int], TcpProxy],
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(runtime_module, "REAP_SECONDS", 0.1)
    proxy = tcp_proxy(mariadb.port)
    fleet.task(due=soon(), schedule="@every 1s", concurrency="allow")
    quick = Quick(0.3)
    start(quick, own_url=url.replace(str(mariadb.port), str(proxy.port)))
    eventually(lambda: fleet.states()["completed"] >= 2)
    proxy.refuse()
    eventually(lambda: any("trying again until it answers" in line for line in caplog.messages))
    CLOCK.sleep(3)
    assert not any("answers again" in line for line in caplog.messages)
    proxy.resume()
    before = len(quick.ran)
    eventually(lambda: len(quick.ran) >= before + 2, 30)
    eventually(lambda: any("answers again" in line for line in caplog.messages))
    assert sum("trying again until it answers" in line for line in caplog.messages) == 1


@mariadb_only
def test_nothing_is_claimed_or_taken_until_enough_is_recorded(
    fleet: Fleet, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = threading.Event()
    monkeypatch.setattr(Holding, "held", lambda self: not free.is_set())
    task = fleet.task(due=soon(), schedule="@every 1s", concurrency="allow")
    waiting = fleet.task("other", due=None)
    fleet.execution(waiting, 1, due_at=CLOCK.now())
    quick = Quick()
    runtime = start(quick)
    eventually(lambda: stalled(fleet, runtime.owner))
    CLOCK.sleep(1.5)
    assert fleet.states() == {"waiting": 1}
    assert not quick.ran
    free.set()
    eventually(lambda: fleet.states(task)["completed"] >= 2 and fleet.states(waiting) == {"completed": 1})
    assert runtime.spool.records == 0
    assert runtime.spool.oldest is None
    # none of the slots meanwhile is missing
    slots = [row["scheduled_for"] for row in fleet.ledger(task)]
    assert (slots[-1].replace(microsecond=0) - slots[1]).total_seconds() == len(slots) - 2
    eventually(lambda: not stalled(fleet, runtime.owner))
