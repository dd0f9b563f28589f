"""What ``explain`` says of a slot that did not run: who or what was in the way, what would have helped."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from reconciler.store.views import SuspensionView
from tests.report.test_explain_rules import DAY, HOUR, TWO, ask, nightly
from tests.report.views import run_view
from tests.report.world import NOW

LATE = TWO + 3 * HOUR + timedelta(minutes=5)
"""When the slot of two was claimed after all."""
GONE: dict[str, Any] = {"status": 3, "reason": "missed", "created_at": LATE, "finished_at": LATE}
DEFAULT = "(catchUp is latest with a catchUpWindow of 1h)"


@pytest.mark.parametrize(
    ("spec", "newer", "hint"),
    [
        ({}, False, f"a `catchUpWindow` of at least 3h5m would have run it {DEFAULT}"),
        (
            {"catchUp": "none"},
            False,
            (
                "`catchUp: latest` with a `catchUpWindow` of at least 3h5m would have run it "
                "(catchUp is none with a catchUpWindow of 1h)"
            ),
        ),
        (
            {"catchUp": "none"},
            True,
            (
                "`catchUp: all` with a `catchUpWindow` of at least 3h5m would have run it; `latest` runs "
                "only the newest of those missed (catchUp is none with a catchUpWindow of 1h)"
            ),
        ),
        (
            {"catchUpWindow": "1d"},
            True,
            (
                "`catchUp: all` would have run it; `latest` runs only the newest of those missed "
                "(catchUp is latest with a catchUpWindow of 1d)"
            ),
        ),
        (
            {"catchUp": "all"},
            True,
            (f"a `catchUpWindow` of at least 3h5m would have run it {DEFAULT.replace('latest', 'all')}"),
        ),
        ({"catchUpWindow": "1d"}, False, None),
        (
            {"catchUpWindow": "spoilt"},
            False,
            f"a `catchUpWindow` of at least 3h5m would have run it {DEFAULT}",
        ),
    ],
)
def test_a_missed_slot_says_how_late_and_what_would_have_caught_it(
    spec: dict[str, Any], newer: bool, hint: str | None
) -> None:
    rows = [run_view(TWO, **GONE)]
    if newer:
        rows.append(run_view(TWO + HOUR, trigger="catch-up", created_at=LATE, id=9))
    _, found = ask(nightly(spec=spec), TWO, *rows)
    assert found.message == (
        "the slot of 2026-03-01 02:00:00 UTC was missed: no scheduler claimed it until "
        "2026-03-01 05:05:00 UTC, 3h 5m after it was due (up to 1m is on time)"
    )
    assert found.hint == hint


def test_a_missed_slot_of_another_generation_is_told_what_holds_now() -> None:
    _, found = ask(nightly(spec={"catchUpWindow": "1d"}, generation=2), TWO, run_view(TWO, **GONE))
    assert found.hint == "now it would be caught up: catchUp is latest with a catchUpWindow of 1d"


OVERLAP = run_view(TWO, status=3, id=50, created_at=TWO, finished_at=TWO)


@pytest.mark.parametrize(
    ("other", "way"),
    [
        (
            {"finished_at": TWO + HOUR},
            (
                "execution 7, of the slot of 2026-03-01 01:00:00 UTC, which began at 2026-03-01 01:00:00 UTC "
                "and ended at 2026-03-01 03:00:00 UTC"
            ),
        ),
        (
            {"status": 0},
            (
                "execution 7, of the slot of 2026-03-01 01:00:00 UTC, which began at 2026-03-01 01:00:00 UTC "
                "and has not ended"
            ),
        ),
        (
            {"status": 2, "reason": "unreachable"},
            (
                "execution 7, of the slot of 2026-03-01 01:00:00 UTC, which began at 2026-03-01 01:00:00 UTC "
                "and whose host has not answered since"
            ),
        ),
        (
            {"status": 0, "started_at": None, "trigger": "manual", "requested_by": "bob"},
            "execution 7, asked for by bob, which had not started",
        ),
        (
            {"status": 0, "started_at": None, "trigger": "manual", "start_sent_at": TWO - HOUR},
            (
                "execution 7, asked for by somebody, which had not started, though its start may have "
                "reached its host"
            ),
        ),
        ({"finished_at": TWO - HOUR / 2}, "an earlier run, which is no longer in the ledger"),
        ({"created_at": TWO + HOUR, "status": 0}, "an earlier run, which is no longer in the ledger"),
    ],
)
def test_an_overlap_names_the_run_that_was_in_the_way(other: dict[str, Any], way: str) -> None:
    _, found = ask(nightly(), TWO, OVERLAP, tried=(run_view(TWO - HOUR, id=7, **other),))
    assert found.message == (
        f"the slot of 2026-03-01 02:00:00 UTC was skipped, because of an overlap: in its way was {way}"
    )
    assert "`concurrency: queue`" in (found.hint or "")


@pytest.mark.parametrize(
    ("rule", "word"),
    [("forbid", "would have let it wait"), ("queue", "`concurrency: allow`"), ("allow", None)],
)
def test_an_overlap_says_what_would_have_made_it_run(rule: str, word: str | None) -> None:
    _, found = ask(nightly(spec={"concurrency": rule}), TWO, OVERLAP)
    assert found.hint is None if word is None else word in (found.hint or "")


def pause(**values: Any) -> SuspensionView:
    given: dict[str, Any] = {
        "reason": "migration", "by": "ann@laptop", "since": TWO - HOUR, "until": None, "task_id": 1,
    }  # fmt: skip
    return SuspensionView(**{**given, **values})


SUSPENDED = run_view(TWO, status=3, reason="suspended")


@pytest.mark.parametrize(
    ("item", "words", "hint"),
    [
        ({}, "suspended by ann@laptop from 2026-03-01 01:00:00 UTC until it is resumed: migration",
         "`reconciler resume shop/backup@db-1` ends the suspension"),
        ({"task_id": None, "project_id": 1, "until": NOW + HOUR},
         ("suspended with its project by ann@laptop from 2026-03-01 01:00:00 UTC until 2026-03-01 13:00:00 "
         "UTC: migration"), "`reconciler resume --project shop` ends the suspension"),
        ({"task_id": None}, "suspended with everything by", "`reconciler resume --all` ends the suspension"),
        ({"until": TWO + HOUR}, "until 2026-03-01 03:00:00 UTC", "suspended slots are never caught up"),
        ({"until": TWO}, "suspended then; the suspension itself is no longer recorded", ""),
    ],
)  # fmt: skip
def test_a_suspended_slot_says_by_whom_and_until_when(item: dict[str, Any], words: str, hint: str) -> None:
    _, found = ask(nightly(), TWO, SUSPENDED, suspensions=(pause(**item),))
    assert words in found.message
    assert hint in (found.hint or "")


def test_a_suspended_slot_that_nobody_claimed_is_not_overdue() -> None:
    task = nightly(next_slot=TWO, next_run=TWO)
    _, found = ask(task, TWO, suspensions=(pause(),))
    assert (found.verdict, found.reason) == ("skipped", "suspended")
    assert "the next claim of a scheduler records it" in found.message
    _, found = ask(nightly(), TWO + DAY, suspensions=(pause(),))
    assert (found.verdict, found.reason) == ("upcoming", "suspended")
    assert "it will be skipped" in found.message


def test_a_replaced_slot_names_the_run_that_replaced_it() -> None:
    row = run_view(TWO, status=3, reason="superseded", finished_at=TWO + HOUR)
    _, found = ask(nightly(), TWO, row, run_view(TWO + HOUR, id=9))
    assert "at 2026-03-01 03:00:00 UTC it still waited, and execution 9 replaced it" in found.message
    _, found = ask(nightly(), TWO, row)
    assert "had passed unclaimed when a change of the task changed its times" in found.message


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"enabled": False}, "`enabled: true` at tasks.yaml:3"),
        ({"server_enabled": False}, "an enabled server db-1"),
        ({"enabled": False, "deleted_at": NOW}, "declaring it again restores it"),
        ({}, "it is enabled again now"),
    ],
)
def test_a_disabled_slot_says_what_enables_it(task: dict[str, Any], words: str) -> None:
    row = run_view(TWO, status=3, reason="disabled", finished_at=TWO + HOUR)
    _, found = ask(nightly(**task), TWO, row)
    assert "disabled or deleted at 2026-03-01 03:00:00 UTC" in found.message
    assert words in (found.hint or "")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, ("the slot of 2026-03-01 02:00:00 UTC came due; it ran as execution 7000000000000000001 from "
             "2026-03-01 02:00:00 UTC: exit code 0 after 3.2s at 2026-03-01 02:00:03 UTC")),
        ({"started_at": TWO + HOUR}, "1h after it was due"),
        ({"trigger": "catch-up", "created_at": LATE}, "was missed, and caught up 3h 5m late; it ran"),
        ({"trigger": "dependency"}, "load had succeeded at 2026-03-01 02:00:00 UTC; it ran"),
        ({"trigger": "manual"}, "somebody asked for it"),
        ({"status": 2, "reason": "auth-failed", "started_at": None}, "was tried as execution"),
        ({"status": 2, "reason": "unreachable"}, "it may still run on its host"),
    ],
)  # fmt: skip
def test_a_run_says_what_made_it(row: dict[str, Any], words: str) -> None:
    _, found = ask(nightly(spec={"after": ["load"]}), TWO, run_view(TWO, **row))
    assert words in found.message


def test_a_waiting_run_names_what_it_waits_for() -> None:
    waiting = run_view(TWO, status=0, started_at=None, id=9)
    other = run_view(TWO - HOUR, status=0, started_at=TWO - HOUR, id=7)
    _, found = ask(nightly(), TWO, waiting, tried=(waiting, other))
    assert found.verdict == "upcoming"
    assert "execution 9 waits for its turn: in its way is execution 7, of the slot of" in found.message
    retry = run_view(TWO, status=0, started_at=None, id=9, attempt=2, due_at=NOW + HOUR)
    _, found = ask(nightly(), TWO, run_view(TWO, status=2), retry)
    assert "attempt 1 failed (exit code 1 after" in found.message
    assert "execution 9 waits until 2026-03-01 13:00:00 UTC" in found.message
