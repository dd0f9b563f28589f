"""Rows of a report that others read before: what is asked of them, and what is never believed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from reconciler.cache.place import Place
from reconciler.cache.rows import KnownRows
from reconciler.cli.listings import Request, tasks
from reconciler.clock import SystemClock
from reconciler.report.build import status_report
from reconciler.store import overview
from tests.controller.conftest import db, fleet, migrated, migrated_mariadb, migrated_mysql, url
from tests.dispatch.fleet import START, Fleet
from tests.services.redis import RedisServer

__all__ = ["db", "fleet", "migrated", "migrated_mariadb", "migrated_mysql", "url"]

CLOCK = SystemClock()
LATE = timedelta(minutes=1)
NOW = START + timedelta(hours=1)
StartRedis = Callable[..., RedisServer]


class Counting:
    """Rows in a dict: what was known and what was missed."""

    def __init__(self) -> None:
        self.rows: dict[int, str] = {}
        self.kept: list[int] = []

    def read(self, task_ids: Sequence[int]) -> dict[int, str]:
        return {key: self.rows[key] for key in task_ids if key in self.rows}

    def keep(self, rows: Mapping[int, str]) -> None:
        self.rows |= rows
        self.kept += list(rows)


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "MANY", 2)


ENDS: list[dict[str, Any]] = [
    {"status": 1, "reason": "completed", "exit_code": 0, "started_at": START, "finished_at": START},
    {"status": 2, "reason": "exit-code", "exit_code": 3, "started_at": START, "finished_at": START},
    {"status": 2, "reason": "lost", "started_at": START, "finished_at": START},
    {"status": 2, "reason": "unreachable", "finished_at": START},
    {"status": 3, "reason": "missed", "finished_at": START, "count": 4},
    {"status": 0, "started_at": START, "lease_owner": "x", "lease_until": START},
    {"status": 0},
]
FINAL = {1, 2, 5}


def fill(fleet: Fleet) -> list[int]:
    """A task of each kind of end, and one that never ran."""
    tasks = fleet.tasks([f"t-{n}" for n in range(len(ENDS) + 1)], due=7200, schedule="@every 2h")
    for task, end in zip(tasks, ENDS, strict=False):
        fleet.execution(task, 100 + task, requested_by="ann | bob", **end)
    return tasks


def test_the_report_is_the_same_with_and_without_and_the_second_time(fleet: Fleet) -> None:
    fill(fleet)
    rows = Counting()
    plain = status_report(fleet.db, NOW, LATE)
    assert status_report(fleet.db, NOW, LATE, rows) == plain
    # only what can never change again is kept
    assert set(rows.kept) == FINAL
    assert status_report(fleet.db, NOW, LATE, rows) == plain
    assert len(rows.kept) == len(FINAL)


def test_a_newer_run_is_seen_at_once_whatever_is_known(fleet: Fleet) -> None:
    tasks = fill(fleet)
    rows = Counting()
    status_report(fleet.db, NOW, LATE, rows)
    fleet.execution(tasks[0], 900, scheduled_for=START + timedelta(minutes=30), **ENDS[1])
    fleet.execution(tasks[1], 901, scheduled_for=START + timedelta(minutes=30), **ENDS[5])
    assert status_report(fleet.db, NOW, LATE, rows) == status_report(fleet.db, NOW, LATE)


def test_a_corrected_verdict_is_seen_at_once(fleet: Fleet) -> None:
    fill(fleet)
    rows = Counting()
    status_report(fleet.db, NOW, LATE, rows)
    fleet.change_execution(103, status=1, reason="completed", exit_code=0)
    assert status_report(fleet.db, NOW, LATE, rows) == status_report(fleet.db, NOW, LATE)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: "nonsense",
        lambda text: text[:-9],
        lambda text: text.replace("\x1f", " "),
        lambda text: text + "\x1f" * 3,
        lambda text: "\x1f" * 24,
        lambda text: text.replace("2026", "20x6"),
        lambda text: text.replace("101", "102", 1),
        lambda text: text.replace("\x1f1\x1f", "\x1f2\x1f", 1),
        lambda text: text.replace("completed", "lost"),
    ],
)
def test_a_spoilt_row_is_a_miss(fleet: Fleet, spoil: Callable[[str], str]) -> None:
    fill(fleet)
    rows = Counting()
    plain = status_report(fleet.db, NOW, LATE, rows)
    rows.rows = {key: spoil(text) for key, text in rows.rows.items()}
    before = dict(rows.rows)
    assert status_report(fleet.db, NOW, LATE, rows) == plain
    assert rows.rows[1] != before[1]


# -- over a real server ---------------------------------------------------------------------------

sqlite_only = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


@pytest.mark.redis
@sqlite_only
def test_what_one_report_read_another_finds_in_redis(fleet: Fleet, redis_server: RedisServer) -> None:
    fill(fleet)
    place = Place(redis_server.url, "rows")
    plain = status_report(fleet.db, NOW, LATE, KnownRows(place, CLOCK))
    client = place.client()
    assert {task for task in range(1, 9) if client.hexists(place.state_key(task), "row")} == FINAL
    assert client.ttl(place.state_key(1)) > 0
    assert KnownRows(place, CLOCK).read([1, 2, 3]).keys() == {1, 2}
    assert status_report(fleet.db, NOW, LATE, KnownRows(place, CLOCK)) == plain
    # what is no HASH, or no text, is a miss
    client.delete(place.state_key(1))
    client.set(place.state_key(1), "x")
    client.hset(place.state_key(2), "row", b"\xff\xfe")
    assert status_report(fleet.db, NOW, LATE, KnownRows(place, CLOCK)) == plain


@pytest.mark.redis
@sqlite_only
@pytest.mark.parametrize("fault", ["killed", "paused", "full", "locked"])
def test_a_report_is_made_without_redis_too(
    fleet: Fleet, start_redis: StartRedis, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    fill(fleet)
    plain = status_report(fleet.db, NOW, LATE)
    server = start_redis(*(("--requirepass", "x") if fault == "locked" else ()))
    rows = KnownRows(Place(server.url, "p"), CLOCK)
    if fault == "killed":
        server.kill()
    elif fault == "paused":
        rows.read([1])
        server.pause()
    elif fault == "full":
        Place(server.url, "p").client().config_set("maxmemory", "1")
    before = time.monotonic()
    assert status_report(fleet.db, NOW, LATE, rows) == plain
    # a report that hangs would take minutes
    assert time.monotonic() - before < 60
    assert len([record for record in caplog.records if record.name == "reconciler.cache"]) <= 1
    if fault == "paused":
        server.resume()


# -- lists ------------------------------------------------------------------------------------------


def listed(fleet: Fleet, rows: Any = None) -> tuple[Any, Any]:
    """Both forms of `get tasks`."""
    request = Request(
        kind="tasks", names=[], labels={}, server=None, project=None, state=None, since=None, deleted=False,
        limit=100, after=None, now=NOW, late_after=LATE, rows=rows,
    )  # fmt: skip
    with fleet.db.read() as connection:
        page = tasks(connection, request)
    return page.items, page.rows


def test_a_long_list_of_tasks_is_the_same_whatever_is_known(fleet: Fleet) -> None:
    known = fill(fleet)
    rows = Counting()
    assert listed(fleet, rows) == listed(fleet)
    assert set(rows.kept) == FINAL
    assert listed(fleet, rows) == listed(fleet)
    fleet.execution(known[0], 900, scheduled_for=START + timedelta(minutes=30), **ENDS[5])
    fleet.change_execution(103, status=1, reason="completed", exit_code=0)
    assert listed(fleet, rows) == listed(fleet)
    rows.rows = {key: text[:-9] for key, text in rows.rows.items()}
    assert listed(fleet, rows) == listed(fleet)


def test_a_short_list_asks_nobody_else(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(fleet)
    monkeypatch.setattr(overview, "MANY", 1000)
    rows = Counting()
    assert listed(fleet, rows) == listed(fleet)
    assert rows.kept == []


@pytest.mark.redis
@sqlite_only
@pytest.mark.parametrize("fault", ["none", "killed", "paused", "full", "garbage"])
def test_a_long_list_is_made_whatever_redis_does(
    fleet: Fleet, start_redis: StartRedis, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    fill(fleet)
    plain = listed(fleet)
    server = start_redis()
    place = Place(server.url, "p")
    rows = KnownRows(place, CLOCK)
    assert listed(fleet, rows) == plain
    assert place.client().hexists(place.state_key(1), "row")
    if fault == "killed":
        server.kill()
    elif fault == "paused":
        server.pause()
    elif fault == "full":
        place.client().config_set("maxmemory", "1")
    elif fault == "garbage":
        place.client().hset(place.state_key(1), "row", b"\xff\x1f\xfe")
        place.client().set(place.state_key(2), "x")
    assert listed(fleet, rows) == plain
    assert listed(fleet, KnownRows(place, CLOCK)) == plain
    assert len([record for record in caplog.records if record.name == "reconciler.cache"]) <= 2
    if fault == "paused":
        server.resume()
