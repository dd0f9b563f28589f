"""What a long-running command prints of the slots that did not run."""

from __future__ import annotations

import io
import json
from datetime import timedelta

from reconciler.cli.console import Console
from reconciler.cli.live import Live
from reconciler.controller.reconcile import News, Report
from reconciler.controller.scheduling import skips
from reconciler.dispatch.scheduler import Claimed
from reconciler.errors import SourceUntrusted
from reconciler.model.execution import Reason, Trigger
from reconciler.store.claims import NewExecution
from tests.dispatch.fleet import START
from tests.services.clock import FakeClock

NAMES = {1: ("backup", "db-1"), 2: ("dump", "db-2"), 3: ("report", "db-1")}


def row(id_: int, task: int, minutes: int, reason: Reason = Reason.MISSED, count: int = 1) -> NewExecution:
    slot = START + timedelta(minutes=minutes)
    return NewExecution(
        id_, task, 1, Trigger.SCHEDULE, slot, slot, 1, None, "fleet.yaml", 1, reason=reason, count=count
    )


AFTER_AN_OUTAGE = Claimed(
    names=NAMES,
    skipped=(
        row(11, 1, 0, count=40),
        row(12, 1, 40),
        row(21, 2, 0),
        row(13, 1, 41),
        row(14, 1, 42, Reason.OVERLAP),
        row(31, 3, 0, Reason.SUSPENDED),
        row(32, 3, 24 * 60, Reason.SUSPENDED),
    ),
)


def printed(form: str) -> list[str]:
    out = io.StringIO()
    live = Live(Console(out=out), FakeClock(), form)
    for event in skips(AFTER_AN_OUTAGE):
        live.event(event)
    return out.getvalue().splitlines()


def test_the_slots_that_a_task_missed_in_an_outage_are_one_line() -> None:
    assert printed("text") == [
        (
            "12:00:00 - backup@db-1  missed  42 slots from 2026-03-01 12:00:00 to 12:41:00 UTC; "
            "why: reconciler explain backup@db-1"
        ),
        (
            "12:00:00 - dump@db-2  missed  the slot of 2026-03-01 12:00:00 UTC; "
            "why: reconciler explain dump@db-2"
        ),
        "12:42:00 - backup@db-1  overlap",
        (
            "12:00:00 - report@db-1  suspended  2 slots from 2026-03-01 12:00:00 to 2026-03-02 12:00:00 UTC; "
            "why: reconciler explain report@db-1"
        ),
    ]


def test_a_warning_of_a_source_says_when() -> None:
    err = io.StringIO()
    live = Live(Console(err=err), FakeClock(), "text")
    stopped = SourceUntrusted("commit abc has no signature", hint="sign it")
    live.report(Report(News.STOPPED, "manifests", stopped.message, error=stopped))
    now = f"{FakeClock().now():%H:%M:%S}"
    assert err.getvalue() == f"{now} warning: manifests: commit abc has no signature (sign it)\n"


def test_machines_are_told_of_each_row() -> None:
    told = [json.loads(line) for line in printed("json")]
    assert sorted(item["execution"] for item in told) == ["11", "12", "13", "14", "21", "31", "32"]
    assert {item["event"] for item in told} == {"skipped"}
    assert {item["message"] for item in told} == {None}
