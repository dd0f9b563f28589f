"""The condition Reachable: written while a host is silent, and taken back by proof."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest

from reconciler.clock import SystemClock
from reconciler.controller.outage import Outage
from reconciler.controller.reachability import Reachability, Word, put_all
from reconciler.execute.executors import Executors
from reconciler.execute.ssh import dial as dial_module
from reconciler.model.condition import Condition, ConditionStatus, ConditionType
from reconciler.model.enums import Kind
from reconciler.model.execution import Reason
from reconciler.report.build import status_report
from reconciler.report.reachable import newer, reachable_as
from reconciler.settings import Settings
from reconciler.store.engine import Database
from reconciler.store.listing import stored_conditions
from reconciler.store.views import StoredCondition
from tests.controller.conftest import Start, eventually
from tests.dispatch.fleet import Fleet, at
from tests.services.clock import FakeClock
from tests.services.proxy import TcpProxy
from tests.services.sshd import Sshd

CLOCK = SystemClock()
TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
sqlite_only = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


def rows(db: Database) -> list[StoredCondition]:
    with db.read() as connection:
        return [row for row in stored_conditions(connection) if row.kind == Kind.SERVER]


def reachable(db: Database, name: str) -> Condition:
    report = status_report(db, CLOCK.now(), timedelta(seconds=60))
    (server,) = [item for item in report.of(Kind.SERVER) if item.name == name]
    found = server.condition(ConditionType.REACHABLE)
    assert found is not None
    return found


def test_words_are_written_once_until_they_change(db: Database, fleet: Fleet) -> None:
    fleet.server("web-1")
    fleet.server("web-2")
    clock = FakeClock()

    def say(**words: Word) -> None:
        named = {name.replace("_", "-"): word for name, word in words.items()}
        db.transact(lambda connection: put_all(connection, clock, named))

    say(web_1=Word(Reason.UNREACHABLE, "no answer"), gone=Word(None, "in"))
    (row,) = rows(db)
    assert (row.object_id, row.type, row.status, row.reason, row.message) == (
        1, "Reachable", "False", "Unreachable", "no answer",
    )  # fmt: skip
    since = row.last_transition
    clock.advance(60)
    say(web_1=Word(Reason.AUTH_FAILED, "refused"), web_2=Word(None, "in"))
    first, second = sorted(rows(db), key=lambda row: row.object_id)
    assert (first.reason, first.last_transition) == ("AuthFailed", since)
    assert (second.object_id, second.status, second.reason) == (2, "True", "Answered")
    clock.advance(60)
    say(web_1=Word(None, "in"))
    (first, _) = sorted(rows(db), key=lambda row: row.object_id)
    assert first.status == "True"
    assert first.last_transition == since + timedelta(seconds=120)


@sqlite_only
def test_what_no_way_to_a_host_says_is_not_written(db: Database, fleet: Fleet) -> None:
    fleet.server("web-1")
    reach = Reachability(db, CLOCK, Outage(CLOCK))
    reach.start()
    reach.heard("web-1", Reason.START_FAILED, "a secret is not there")
    reach.heard("web-1", Reason.HOST_KEY, "another key")
    eventually(lambda: [row.reason for row in rows(db)] == ["HostKey"])
    reach.stop(5)


@pytest.mark.ssh
def test_a_silent_host_is_told_while_a_run_waits_for_it_and_taken_back_when_it_answers(
    fleet: Fleet,
    start: Start,
    sshd: Sshd,
    tcp_proxy: Callable[[int], TcpProxy],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dial_module, "SILENCE_SECONDS", 0.3)
    proxy = tcp_proxy(sshd.port)
    proxy.stall()
    fleet.server("web-1", auth={"privateKey": {"file": "client"}}, hostKeys=[sshd.host_key])
    fleet.change_server("web-1", host=sshd.host, port=proxy.port, username=sshd.user)
    task = fleet.task("backup", "web-1", due=CLOCK.now(), schedule="@every 1h")
    executor = Executors(Settings(secrets_dir=sshd.folder), CLOCK, environment={})
    with closing(executor):
        runtime = start(executor)
        executor.listen(runtime.reachability.heard)
        eventually(lambda: reachable(fleet.db, "web-1").status == FALSE)
        silent = reachable(fleet.db, "web-1")
        # the run has not given up
        assert fleet.states(task) == {"taken": 1}
        assert (silent.reason, silent.last_transition is not None) == ("Unreachable", True)
        assert "does not answer" in silent.message
        proxy.resume()
        eventually(lambda: reachable(fleet.db, "web-1").status == TRUE, 30)
        eventually(lambda: fleet.states(task) == {"completed": 1}, 30)
        runtime.stop(5.0)


# ---- the newest proof decides


def by_run(status: ConditionStatus, seconds: float | None) -> Condition:
    moment = None if seconds is None else at(seconds)
    return Condition(ConditionType.REACHABLE, status, "FromRun", "by a run", moment, 1)


def stored(reason: Reason | None, seconds: float) -> Condition:
    said = reachable_as(reason, "stored", 1)
    return Condition(said.type, said.status, said.reason, said.message, at(seconds), 1)


@pytest.mark.parametrize(
    ("run", "row", "status", "since", "message"),
    [
        (by_run(UNKNOWN, None), None, UNKNOWN, None, "by a run"),
        (by_run(TRUE, 5), None, TRUE, at(5), "by a run"),
        (by_run(UNKNOWN, None), stored(None, 3), TRUE, at(3), "stored"),
        (by_run(UNKNOWN, 9), stored(Reason.UNREACHABLE, 3), FALSE, at(3), "stored"),
        # a run that ended there after the host had been called silent
        (by_run(TRUE, 9), stored(Reason.UNREACHABLE, 3), TRUE, at(9), "by a run"),
        (by_run(TRUE, 2), stored(Reason.UNREACHABLE, 3), FALSE, at(3), "stored"),
        # it answered since
        (by_run(FALSE, 2), stored(None, 3), TRUE, at(3), "stored"),
        (by_run(FALSE, 9), stored(None, 3), FALSE, at(9), "by a run"),
        # the same: since when, and the later proof
        (by_run(FALSE, 9), stored(Reason.UNREACHABLE, 3), FALSE, at(3), "stored"),
        (by_run(TRUE, 9), stored(None, 3), TRUE, at(3), "by a run"),
        (by_run(TRUE, 2), stored(None, 3), TRUE, at(3), "stored"),
    ],
)
def test_the_newest_proof_decides(
    run: Condition, row: Condition | None, status: ConditionStatus, since: datetime | None, message: Any
) -> None:
    found = newer(run, row)
    assert (found.status, found.last_transition) == (status, since)
    words = found.message.partition("; since ")
    assert words[0] == message
    assert bool(words[2]) == (status == FALSE and message == "stored")
