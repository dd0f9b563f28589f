"""Calendars and suspensions in a plan: what changes in words, and what it does to runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.model.calendar_words import calendar_lines
from reconciler.model.measured import Measured, Suspended
from reconciler.plan.changes import Effect, Plan
from reconciler.plan.diff import make_plan
from reconciler.plan.json import plan_shape
from reconciler.plan.markdown import plan_markdown
from reconciler.plan.text import plan_text
from tests.plan.world import NOW, World, server, task, tree

TASK_ID = 3
"""That of the one task here."""
DAILY = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
NIGHTS = {
    "name": "nights",
    "timezone": "Europe/Berlin",
    "deny": [{"weekdays": DAILY, "from": "22:00", "until": "06:00"}],
}
HOLIDAYS = {"name": "holidays", "deny": [{"dates": ["2026-03-02", "2026-03-03"]}]}
ALWAYS = {"name": "always", "deny": [{"weekdays": DAILY}]}


def edited(
    before: list[dict[str, Any]], after: list[dict[str, Any]], measured: Measured | None = None, **more: Any
) -> Plan:
    """The plan of an edit of one task's calendars."""
    world = World()
    spec = {"schedule": "0 * * * *", **more}
    world.apply(tree(server("db-1"), task("t", **spec, **_said(before))))
    desired = tree(server("db-1"), task("t", **spec, **_said(after)))
    return make_plan(desired, world.observed(), now=NOW, measured=measured)


def _said(calendars: list[dict[str, Any]]) -> Mapping[str, Any]:
    return {"calendars": calendars} if calendars else {}


def effect(plan: Plan) -> Effect:
    (change,) = plan.changes
    assert change.effect is not None
    return change.effect


@pytest.mark.parametrize(
    ("calendar", "lines"),
    [
        (NIGHTS, ["nights: deny daily 22:00–06:00 Europe/Berlin"]),
        (HOLIDAYS, ["holidays: deny 2026-03-02, 2026-03-03 UTC"]),
        ({"name": "c"}, ["c: no windows"]),
        (
            {
                "name": "c",
                "deny": [{"weekdays": ["mon", "tue", "wed", "sat", "sun"]}],
                "allow": [{"from": "2026-12-24T18:00", "until": "2026-12-27"}],
            },
            ["c: deny mon–wed, sat, sun UTC", "c: allow 2026-12-24T18:00 to 2026-12-27 UTC"],
        ),
    ],
)
def test_a_calendar_is_a_line_for_each_window(calendar: dict[str, Any], lines: list[str]) -> None:
    assert calendar_lines([calendar]) == lines


@pytest.mark.parametrize("spoilt", [[{"name": "x", "deny": 3}], "x", [3], {"a": float("1")}])
def test_what_a_hand_has_spoilt_has_no_words_and_forbids_nothing(spoilt: object) -> None:
    assert calendar_lines(spoilt) is None


def test_an_edit_shows_the_windows_that_come_and_go() -> None:
    more = {**HOLIDAYS, "deny": [{"dates": ["2026-03-02", "2026-03-03"]}, {"weekdays": ["sun"]}]}
    plan = edited([NIGHTS, HOLIDAYS], [NIGHTS, more])
    assert list(plan.changes[0].fields) == ["spec.calendars"]
    text = plan_text(plan)
    assert "      calendars:\n        + holidays: deny sun UTC\n" in text
    assert "nights" not in text


def test_forbidden_slots_are_neither_next_fires_nor_runs_per_day() -> None:
    found = effect(edited([], [NIGHTS, HOLIDAYS]))
    assert (found.before.runs_per_day, found.after.runs_per_day) == (24, 15.9)
    hours = [fire.hour for fire in found.after.next_fires]
    # noon on Sunday; Berlin is at UTC+1, and 21:00 UTC is 22:00
    assert hours == [13, 14, 15, 16, 17]
    later = make_plan(
        tree(server("db-1"), task("t", schedule="0 * * * *", calendars=[NIGHTS, HOLIDAYS])),
        World().observed(),
        now=datetime(2026, 3, 1, 20, 30, tzinfo=UTC),
        measured=Measured(),
    )
    fires = effect_of_task(later).after.next_fires
    assert [f"{fire:%d %H}" for fire in fires] == ["04 05", "04 06", "04 07", "04 08", "04 09"]


def effect_of_task(plan: Plan) -> Effect:
    (found,) = (change.effect for change in plan.changes if change.server is not None)
    assert found is not None
    return found


def test_what_is_always_forbidden_never_runs() -> None:
    found = effect(edited([], [ALWAYS], schedule="@every 1m"))
    assert (found.after.runs_per_day, found.after.next_fires, found.busiest_minute) == (0, (), None)


def test_jitter_moves_a_slot_into_a_forbidden_time() -> None:
    one = {"name": "c", "deny": [{"weekdays": DAILY, "from": "00:00", "until": "00:30"}]}
    found = effect(edited([], [one], jitter="15m"))
    assert all(fire.hour or fire.minute >= 30 for fire in found.after.next_fires)


def test_overlaps_and_the_busiest_minute_leave_forbidden_slots_out() -> None:
    measured = Measured(average_seconds={TASK_ID: 5400.0})
    free = effect(edited([NIGHTS], [HOLIDAYS], measured, concurrency="allow"))
    night = effect(edited([HOLIDAYS], [NIGHTS], measured, concurrency="allow"))
    assert free.overlap_per_day == 24
    # sixteen runs a day, and the first of each morning follows none
    assert night.overlap_per_day == 15
    assert free.busiest_minute is not None
    assert free.busiest_minute[0] < datetime(2026, 3, 2, tzinfo=UTC)


def test_one_edit_of_a_calendar_that_many_tasks_name_is_one_entry() -> None:
    def fleet(nights: dict[str, Any]) -> list[Any]:
        own = [
            task(f"own-{n}", calendars=[nights, HOLIDAYS], schedule="0 * * * *", line=n) for n in range(20)
        ]
        return [server("db-1"), *own, *(task(f"t-{n}", calendars=[nights], line=n) for n in range(20))]

    world = World()
    world.apply(tree(*fleet(NIGHTS)))
    later = {**NIGHTS, "deny": [{"weekdays": DAILY, "from": "23:00", "until": "06:00"}]}
    plan = make_plan(tree(*fleet(later)), world.observed(), now=NOW, measured=Measured())
    assert len(plan.changes) == 40
    for text in (plan_text(plan), plan_markdown(plan)):
        assert "40 tasks" in text
        assert "own-0@db-1, own-1@db-1" in text
        assert text.count("nights: deny daily 23:00–06:00 Europe/Berlin") == 1
        assert len(text.splitlines()) < 40
    # a task that changes otherwise, too, is an entry of its own
    objects = fleet(later)
    objects[1] = task("own-0", calendars=[later, HOLIDAYS], schedule="5 * * * *")
    text = plan_text(make_plan(tree(*objects), world.observed(), now=NOW, measured=Measured()))
    assert "39 tasks" in text
    assert "Task own-0@db-1" in text


def test_calendars_move_no_next_slot() -> None:
    (change,) = edited([NIGHTS], [HOLIDAYS]).changes
    assert not change.scheduling_changed


def pause(of: str, reason: str = "disk", until: datetime | None = None) -> Suspended:
    return Suspended(of, "ann@laptop", reason, NOW - timedelta(hours=1), until)


def test_a_changed_task_that_is_suspended_says_by_whom_until_when_and_why() -> None:
    until = datetime(2026, 3, 1, 18, 0, tzinfo=UTC)
    measured = Measured(suspended={TASK_ID: pause("task", "new\ndisk", until)})
    plan = edited([], [NIGHTS], measured)
    words = "suspended now"
    said = "by ann@laptop until 2026-03-01 18:00 UTC: new\\ndisk"
    for text in (plan_text(plan), plan_markdown(plan)):
        (line,) = (line for line in text.splitlines() if words in line)
        assert line.endswith(said)
    shape = plan_shape(plan)["changes"][0]["effect"]["suspended"]
    assert shape == {
        "of": "task",
        "by": "ann@laptop",
        "reason": "new\ndisk",
        "since": "2026-03-01T11:00:00.000000Z",
        "until": "2026-03-01T18:00:00.000000Z",
    }
    assert plan.digest == edited([], [NIGHTS]).digest


def test_a_suspension_of_all_or_of_the_project_holds_for_new_tasks_too() -> None:
    desired = tree(server("db-1"), task("t", schedule="0 * * * *"))
    for of, words in (("project", "with its project, by"), ("all", "with everything, by")):
        measured = Measured(all_suspended=pause(of))
        text = plan_text(make_plan(desired, World().observed(), now=NOW, measured=measured))
        assert f"{words} ann@laptop until it is resumed: disk" in text


def test_of_many_servers_it_says_on_how_many_it_is_suspended() -> None:
    def fleet(**spec: Any) -> list[Any]:
        names = ["a", "b", "c"]
        return [*(server(name) for name in names), *(task("t", name, **spec) for name in names)]

    world = World()
    world.apply(tree(*fleet()))
    rows = world.observed().tasks
    measured = Measured(suspended={rows["t", "b"].id: pause("task")})
    plan = make_plan(tree(*fleet(timeout="5m")), world.observed(), now=NOW, measured=measured)
    assert "1 of 3, by ann@laptop" in plan_text(plan)
