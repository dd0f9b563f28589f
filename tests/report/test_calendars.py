"""Calendars in reports: what will run, what is overdue, and what people are told of a forbidden slot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.model.condition import ConditionStatus, ConditionType, Health
from reconciler.report.describe import TaskDescription
from reconciler.report.describe_text import task_text
from reconciler.report.judge import TaskFacts, judge_task
from reconciler.report.overdue import Coming, find_overdue, suspect_slot
from reconciler.report.rows import task_row
from reconciler.report.timeline import Load, plan_of, timeline
from reconciler.store.views import SuspensionView, TaskView
from tests.report.test_explain_rules import ask
from tests.report.views import run_view, task_view
from tests.report.world import NOW

HOUR = timedelta(hours=1)
LATE = timedelta(seconds=60)
DAILY = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
NIGHTS = {
    "name": "nights",
    "timezone": "Europe/Berlin",
    "deny": [{"weekdays": DAILY, "from": "22:00", "until": "06:00"}],
}
ALWAYS = {"name": "always", "deny": [{"weekdays": DAILY}]}
TEN = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)
"""An instant in the forbidden night: 23:00 in Berlin."""
MORNING = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)


def hourly(next_slot: datetime | None = None, *calendars: dict[str, Any], **values: Any) -> TaskView:
    spec = {"calendars": list(calendars or (NIGHTS,))}
    return task_view(schedule="0 * * * *", next_slot=next_slot, next_run=next_slot, spec=spec, **values)


def test_forbidden_slots_are_not_in_the_timeline_nor_in_its_load() -> None:
    plan = plan_of(hourly())
    assert plan is not None
    start = datetime(2026, 3, 1, 18, 0, tzinfo=UTC)
    hours = [fire.at.hour for fire in timeline([plan], start, start + 24 * HOUR)]
    assert hours == [18, 19, 20, *range(5, 18)]
    load = Load(start)
    assert load.add_planned(plan, start, start + 24 * HOUR) == len(hours)
    assert len(list(plan.fires(start, start + 24 * HOUR))) == len(hours)


def test_suspensions_and_calendars_together_are_no_more_than_all_of_the_time() -> None:
    pause = SuspensionView("why", "ann", TEN - 3 * HOUR, TEN + 2 * HOUR, 1, None)
    plan = plan_of(hourly(), [pause])
    assert plan is not None
    start = TEN - 4 * HOUR
    assert plan.count(start, MORNING + HOUR) == len(list(plan.fires(start, MORNING + HOUR))) == 2


def test_a_task_that_may_never_run_has_no_fires_and_the_search_ends() -> None:
    plan = plan_of(hourly(None, ALWAYS))
    assert plan is not None
    assert list(plan.fires(NOW, NOW + timedelta(days=20_000))) == []


@pytest.mark.parametrize(
    ("next_slot", "now", "slot"),
    [
        (TEN, TEN + HOUR, None),  # forbidden, and so is all since
        (TEN, MORNING + timedelta(seconds=59), None),  # the first that may run is still on time
        (TEN, MORNING + timedelta(seconds=61), MORNING),  # nobody claimed it
        (TEN, MORNING + 5 * HOUR, MORNING),
        (MORNING, MORNING + HOUR, MORNING),
    ],
)
def test_overdue_is_the_first_slot_that_may_run(
    next_slot: datetime, now: datetime, slot: datetime | None
) -> None:
    found = find_overdue(hourly(next_slot), [], [], now, LATE)
    assert (None if found is None else found.slot) == slot


def test_the_same_holds_behind_a_suspension() -> None:
    pause = SuspensionView("why", "ann", TEN - 3 * HOUR, None, 1, None)
    assert find_overdue(hourly(MORNING), [], [pause], MORNING + HOUR, LATE) is None


def test_a_row_whose_next_slot_is_gone_is_not_suspected_for_a_forbidden_slot() -> None:
    assert suspect_slot(hourly(None), [], Coming(TEN + timedelta(minutes=5)), LATE) is None
    found = suspect_slot(hourly(None), [], Coming(MORNING + timedelta(minutes=5)), LATE)
    assert found is not None
    assert found.slot == MORNING


def test_the_status_says_that_the_next_slot_does_not_run_and_which_one_does() -> None:
    finished = run_view(TEN - 2 * HOUR)
    status = judge_task(hourly(TEN), TaskFacts(newest=finished, finished=finished))
    assert status.health is Health.HEALTHY
    assert status.next_run == MORNING
    condition = status.condition(ConditionType.SCHEDULED)
    assert condition is not None
    assert (condition.status, condition.reason) == (ConditionStatus.TRUE, "Scheduled")
    assert condition.message == (
        "calendar nights forbids runs until 2026-03-02 06:00 Europe/Berlin, so the slot due at "
        "2026-03-01 22:00:00 UTC does not run; the next run is due at 2026-03-02 05:00:00 UTC"
    )
    row = task_row(hourly(TEN), status, TEN - HOUR, several=False)
    assert row[-2:] == ["in 8h", "Mon 05:00"]


def test_a_task_that_may_never_run_is_not_scheduled() -> None:
    task = hourly(TEN, ALWAYS)
    status = judge_task(task, TaskFacts())
    condition = status.condition(ConditionType.SCHEDULED)
    assert condition is not None
    assert (condition.status, condition.reason) == (ConditionStatus.FALSE, "Forbidden")
    assert "calendar always forbids all runs of the next ten years" in condition.message
    assert ("forbidden", "dim") in [
        (str(cell[0]), "dim") for cell in task_row(task, status, NOW, False)[-2:-1]
    ]


def test_explain_says_which_calendar_forbids_a_slot_to_come_and_what_would_let_it_run() -> None:
    _, answer = ask(hourly(TEN), TEN)
    assert (answer.verdict, answer.reason) == ("upcoming", "suspended")
    assert "will be skipped: calendar nights forbids runs until 2026-03-02 06:00" in answer.message
    assert answer.hint is not None
    assert "`allow`" in answer.hint
    assert "reconciler run backup@db-1" in answer.hint


def test_explain_says_so_of_one_that_is_due_and_not_yet_claimed() -> None:
    _, answer = ask(hourly(TEN), None, now=TEN + timedelta(minutes=5))
    assert (answer.verdict, answer.reason) == ("skipped", "suspended")
    assert "the next claim of a scheduler records it" in answer.message


def test_explain_believes_what_the_row_says_not_the_present_calendar() -> None:
    row = run_view(TEN, status=3, reason="suspended")
    note = "calendar freeze forbids runs until 2026-03-05 00:00 UTC"
    _, answer = ask(hourly(MORNING), TEN, row, now=MORNING, note=note)
    assert (answer.verdict, answer.reason) == ("skipped", "suspended")
    assert answer.message.endswith(f"was skipped: {note}")
    assert answer.hint is not None
    assert answer.hint.endswith("never caught up")
    # the rows of earlier versions say nothing
    _, answer = ask(hourly(MORNING), TEN, row, now=MORNING)
    assert "no longer recorded" in answer.message


def test_describe_lists_calendars_in_words_and_the_declaration_by_name() -> None:
    task = hourly(TEN)
    status = judge_task(task, TaskFacts())
    found = TaskDescription(task, status, None, (), (), (), (), None, None)
    text = "\n".join(task_text(found, NOW))
    assert "Calendars\n  nights: deny daily 22:00–06:00 Europe/Berlin\n" in text
    assert "    calendars: [nights]\n" in text
    assert "The next slot does not run: calendar nights forbids runs until" in text
