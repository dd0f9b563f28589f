"""What a long-running process says of itself: alive, ready, and its figures."""

from __future__ import annotations

import json
import logging
import random
import re
import resource
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from reconciler import bootstrap
from reconciler.clock import SystemClock
from reconciler.controller.http import Request, Response
from reconciler.controller.loop import Loop
from reconciler.controller.notifying import Notifying
from reconciler.controller.observing import Observer
from reconciler.controller.outage import Outage
from reconciler.controller.publishing import Publisher
from reconciler.controller.reconcile import Reconciler
from reconciler.controller.runtime import Runtime
from reconciler.controller.service import Service
from reconciler.controller.survey import Survey
from reconciler.controller.tally import Histogram
from reconciler.errors import DatabaseUnavailable, NotDelivered
from reconciler.notify.delivery import Delivery
from reconciler.settings import Settings
from reconciler.store.engine import Database
from reconciler.store.schema import upgrade
from tests.controller.conftest import eventually
from tests.controller.executors import Quick
from tests.controller.test_notifying import Target
from tests.dispatch.fleet import Fleet
from tests.notify.conftest import put
from tests.services.clock import FakeClock
from tests.services.database import MariaDB

CLOCK = SystemClock()


class Asked:
    """A service with its routes, asked without a port."""

    def __init__(self, service: Service, routes: dict[tuple[str, str], Any]) -> None:
        self.service = service
        self.routes = routes

    def __call__(self, path: str) -> tuple[int, dict[str, Any]]:
        response = self.answer(path)
        return response.status.value, json.loads(response.body)

    def answer(self, path: str) -> Response:
        response: Response = self.routes["GET", path].handler(Request("GET", path, {}, b""))
        return response

    def figures(self) -> dict[str, float]:
        """Sample with its labels → value, of all that are ours."""
        text = self.answer("/metrics").body.decode()
        return {
            sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


Begin = Callable[..., Asked]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Starts a whole service on that database; ends it after the test."""
    with ExitStack() as stack:

        def beginner(url: str, *, publisher: Publisher | None = None, workers: int = 8) -> Asked:
            db = stack.enter_context(closing(Database.open(url, CLOCK)))
            settings = Settings(workers=workers, state_dir=tmp_path / "state", listen="127.0.0.1:0")
            runtime = Runtime(db, settings, CLOCK, Quick(), random.Random())
            reconcilers: Sequence[Reconciler] = ()
            survey = Survey(db, CLOCK, runtime.outage)
            service = Service(runtime, reconcilers, CLOCK, threading.Event(), publisher, survey)
            listener = bootstrap.listener(settings, CLOCK, service)
            assert listener is not None
            asked = Asked(service, listener._routes)
            assert asked("/readyz") == (
                503,
                {"ready": False, "reasons": [{"code": "starting", "message": "the process begins"}]},
            )
            service.start()
            stack.callback(service.stop, 1.0, finish=False)
            return asked

        yield beginner


def codes(answer: tuple[int, dict[str, Any]]) -> set[str]:
    return {reason["code"] for reason in answer[1]["reasons"]}


def test_a_process_at_work_is_alive_and_ready_until_it_ends(sqlite_url: str, begin: Begin) -> None:
    with closing(Database.open(sqlite_url, CLOCK)) as db:
        upgrade(db)
    ask = begin(sqlite_url)
    eventually(lambda: ask("/readyz") == (200, {"ready": True, "reasons": []}))
    assert ask("/healthz") == (200, {"healthy": True, "stuck": []})
    ask.service.stop(1.0, finish=False)
    assert codes(ask("/readyz")) == {"ending"}
    assert ask("/healthz")[0] == 200


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_that_hangs_or_died_is_named_and_one_that_sleeps_is_not(fake_clock: FakeClock) -> None:
    outage = Outage(fake_clock)
    go_on = threading.Event()
    entered = threading.Event()

    def hang() -> None:
        entered.set()
        go_on.wait(30)

    def die() -> float:
        raise SystemExit

    hanging = Loop("hang", hang, fake_clock, outage, patience=60)
    dead = Loop("die", die, fake_clock, outage)
    sleeping = Loop("sleep", lambda: None, SystemClock(), outage)
    unbegun = Loop("unbegun", lambda: None, fake_clock, outage)
    for loop in (hanging, dead, sleeping):
        loop.start()
    assert entered.wait(10)
    dead.join(10)
    assert [loop.name for loop in outage.loops if loop.stuck(fake_clock.monotonic())] == ["die"]
    fake_clock.advance(61)
    stuck = [loop.name for loop in outage.loops if loop.stuck(fake_clock.monotonic())]
    assert stuck == ["hang", "die"]
    assert not unbegun.stuck(fake_clock.monotonic())
    go_on.set()
    eventually(lambda: not hanging.stuck(fake_clock.monotonic()))
    for loop in (hanging, sleeping):
        loop.end()
        loop.join(10)


@pytest.mark.mariadb
@pytest.mark.slow
def test_ready_goes_away_with_the_database_and_comes_back_under_load(
    start_mariadb: Callable[..., MariaDB], begin: Begin
) -> None:
    server = start_mariadb()
    url = server.url(server.create_database())
    with closing(Database.open(url, CLOCK)) as db:
        upgrade(db)
        fleet = Fleet(db)
        due = CLOCK.now().replace(microsecond=0) + timedelta(seconds=2)
        fleet.tasks([f"t-{n}" for n in range(10)], due=due, schedule="@every 1s")
        ask = begin(url)
        eventually(lambda: ask("/readyz")[0] == 200)
        eventually(lambda: ask.figures().get("reconciler_runs_total completed success", 0) >= 10, 30)
        server.kill()
        eventually(lambda: codes(ask("/readyz")) >= {"database"}, 30)
        # it lives: a restart would not bring the database back
        assert ask("/healthz")[0] == 200
        figures = ask.figures()
        assert figures["reconciler_database_up"] == 0
        assert "reconciler_queue_waiting_runs" not in figures
        before = figures["reconciler_runs_total completed success"]
        server.start()
        eventually(lambda: ask("/readyz")[0] == 200, 60)
        eventually(lambda: ask.figures()["reconciler_runs_total completed success"] > before, 30)
        assert ask.service.stop(5.0, finish=False)


def test_a_schema_that_somebody_upgraded_is_not_ready(sqlite_url: str, begin: Begin) -> None:
    with closing(Database.open(sqlite_url, CLOCK)) as db:
        upgrade(db)
        ask = begin(sqlite_url)
        eventually(lambda: ask("/readyz")[0] == 200)
        with db.write() as connection:
            connection.exec_driver_sql("UPDATE reconciler_schema SET version_num = '9999'")
        assert ask.service.survey is not None
        ask.service.survey._loop.wake()
        eventually(lambda: codes(ask("/readyz")) == {"schema"})


def test_late_renewals_and_a_full_disk_are_reasons(
    sqlite_url: str, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Database.open(sqlite_url, CLOCK)) as db:
        upgrade(db)
    ask = begin(sqlite_url)
    eventually(lambda: ask("/readyz")[0] == 200)
    runtime = ask.service.runtime
    monkeypatch.setattr(runtime.keeper, "renew", lambda ids: pytest.fail("not renewed"))
    runtime.keeper.renewed_at -= 20
    assert codes(ask("/readyz")) == {"leases"}
    monkeypatch.undo()
    eventually(lambda: ask("/readyz")[0] == 200)
    runtime._writer._keeper._full_told = True  # type: ignore[union-attr]
    assert codes(ask("/readyz")) == {"spool"}


def test_figures_tell_what_happened_without_names_of_tasks_or_servers(
    sqlite_url: str, begin: Begin, tmp_path: Path
) -> None:
    with closing(Database.open(sqlite_url, CLOCK)) as db:
        upgrade(db)
        fleet = Fleet(db)
        fleet.tasks(["secretive"], due=CLOCK.now() + timedelta(seconds=0.5), schedule="@every 1s")
        ask = begin(sqlite_url, publisher=Publisher(tmp_path / "page.txt", lambda: "page", CLOCK))
        eventually(lambda: ask.figures().get("reconciler_runs_total completed success", 0) >= 2)
        eventually(lambda: "reconciler_queue_waiting_runs" in ask.figures())
        figures = ask.figures()
    assert figures["reconciler_ready"] == figures["reconciler_database_up"] == 1
    assert figures["reconciler_schedule_lag_seconds_count"] == figures["reconciler_slots_claimed_total"] >= 2
    assert figures["reconciler_schedule_lag_seconds_bucket +Inf"] >= 2
    assert figures["reconciler_start_lag_seconds_count"] >= 2
    assert figures["reconciler_runs_started_total"] >= 2
    assert figures["reconciler_claims_total"] >= 2
    assert figures["reconciler_leases_lost_total"] == 0
    assert figures["reconciler_pages_published_total"] >= 1
    assert figures["reconciler_spool_records"] == figures["reconciler_spool_oldest_age_seconds"] == 0
    assert figures["process_resident_memory_bytes"] > 0
    assert figures["process_cpu_seconds_total"] > 0
    text = ask.answer("/metrics").body.decode()
    assert "secretive" not in text
    assert not {name for name in figures if name.startswith("reconciler") and "_ms" in name}


def test_a_target_of_messages_that_hangs_is_named_and_messages_are_counted(
    sqlite_url: str, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Database.open(sqlite_url, CLOCK)) as db:
        upgrade(db)
        Fleet(db)
        ask = begin(sqlite_url)
        eventually(lambda: ask("/readyz")[0] == 200)
        assert not [name for name in ask.figures() if "notifications" in name]
        targets = {"well": Target(), "refuses": Target(error=NotDelivered("no")), "slow": Target(hangs=True)}
        deliveries = [
            Delivery(db, CLOCK, random.Random(), "me", name, target) for name, target in targets.items()
        ]
        observer = Observer(db, CLOCK, "me", timedelta(seconds=60), {})
        outage = ask.service.runtime.outage
        ask.service.notify_by(Notifying(observer, deliveries, CLOCK, outage))
        for name in targets:
            put(db, CLOCK.now(), "a", target=name)
        eventually(lambda: ask.figures()["reconciler_notifications_sent_total well"] == 1)
        eventually(lambda: ask.figures()["reconciler_notifications_failed_total refuses"] >= 1)
        figures = ask.figures()
        assert figures["reconciler_notifications_sent_total refuses"] == 0
        assert figures["reconciler_notifications_given_up_total refuses"] == 0
        assert figures["reconciler_notifications_sent_total slow"] == 0
        eventually(lambda: ask.figures().get("reconciler_outbox_messages") == 2, 30)
        assert targets["slow"].reached.wait(30)
        assert ask("/healthz")[0] == 200
        for loop in outage.loops:
            monkeypatch.setattr(loop, "_patience", 0.0 if loop.name == "notify slow" else 1e9)
        assert [one["loop"] for one in ask("/healthz")[1]["stuck"]] == ["notify"]
        assert "stuck" in codes(ask("/readyz"))
        targets["slow"].go_on.set()
        eventually(lambda: ask("/healthz")[0] == 200)
        ask.service.stop(1.0, finish=False)


def test_a_thousand_scrapes_leave_nothing_behind(sqlite_url: str, begin: Begin) -> None:
    with closing(Database.open(sqlite_url, CLOCK)) as db:
        upgrade(db)
    ask = begin(sqlite_url)
    eventually(lambda: ask("/readyz")[0] == 200)
    for _ in range(200):
        ask.answer("/metrics")
    blocks, peak = sys.getallocatedblocks(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(1000):
        ask.answer("/metrics")
    # the other loops come and go meanwhile; a leak of one object a scrape would show
    assert sys.getallocatedblocks() - blocks < 5_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 8 * 1024


def test_without_the_extra_metrics_answer_what_to_install(
    sqlite_url: str, begin: Begin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Database.open(sqlite_url, CLOCK)) as db:
        upgrade(db)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "reconciler.controller.metrics", raising=False)
    with caplog.at_level(logging.WARNING, logger="reconciler.http"):
        ask = begin(sqlite_url)
    status, answer = ask("/metrics")
    assert status == 501
    assert "pip install 'reconciler[metrics]'" in answer["error"]["message"]
    assert sum("/metrics answers 501" in record.message for record in caplog.records) == 1


def test_the_figures_need_the_token_and_health_does_not(sqlite_url: str, begin: Begin) -> None:
    with closing(Database.open(sqlite_url, CLOCK)) as db:
        upgrade(db)
    ask = begin(sqlite_url)
    guarded = {path for (_, path), route in ask.routes.items() if route.guarded}
    assert guarded == {"/metrics"}


def test_classes_of_a_histogram_are_cumulated() -> None:
    histogram = Histogram((1.0, 2.0))
    for seconds in (-3, 0.5, 1.0, 1.5, 9):
        histogram.observe(seconds)
    assert list(histogram.cumulated()) == [(1.0, 3), (2.0, 4), (float("inf"), 5)]
    assert histogram.sum == 12.0


def test_a_failure_of_one_loop_is_told_for_all(fake_clock: FakeClock) -> None:
    outage = Outage(fake_clock)
    assert outage.since is None
    outage.failed(DatabaseUnavailable("gone"))
    assert outage.since == fake_clock.monotonic()
    # a call that was under way already may be answered just afterwards
    outage.succeeded()
    assert outage.present
    fake_clock.advance(1)
    outage.succeeded()
    assert outage.since is None


def test_every_figure_is_explained_in_the_documentation() -> None:
    root = Path(__file__).resolve().parents[2]
    source = (root / "reconciler/controller/metrics.py").read_text()
    documented = (root / "docs/operations.md").read_text()
    names = set(re.findall(r'"(reconciler_\w+)"', source))
    assert len(names) > 25
    assert not {name for name in names if f"`{name}" not in documented}
