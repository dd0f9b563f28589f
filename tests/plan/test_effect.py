"""What a change does to runs: how often, when, across clock changes, how many at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.model.enums import Concurrency
from reconciler.model.measured import Measured
from reconciler.plan.changes import Change, Effect, Plan
from reconciler.plan.effects import _clock_changes
from reconciler.plan.timing import Timetable, overlaps, rounded, timing_of
from reconciler.schedule.stable import jitter_offset
from tests.plan.world import NOW, World, applied, server, task, tree

BERLIN = {"timezone": "Europe/Berlin"}
DAY = timedelta(days=1)


def effect_of(plan: Plan, name: str = "a") -> Effect:
    change = next(one for one in plan.changes if one.name == name)
    assert isinstance(change, Change)
    assert change.effect is not None
    return change.effect


def per_day(expression: str, **spec: Any) -> float:
    timing = timing_of({"metadata": {}, "spec": {"schedule": expression, **spec}}, "a@db-1")
    return Timetable(NOW).times(timing).runs_per_day


@pytest.mark.parametrize(
    ("expression", "runs"),
    [
        ("0 2 * * *", 1), ("*/5 * * * *", 288), ("* * * * *", 1440), ("@hourly", 24), ("0 0 * * 1", 0.143),
        ("0 0 * * 1-5", 0.714), ("0 0 1 * *", 0.0329), ("0 0 29 2 *", 0.000684), ("@every 10s", 8640),
        ("@every 11s", 7855), ("@every 31d", 0.0323), ("0 9,17 * * *", 2), ("H H * * *", 1),
    ],
)  # fmt: skip
def test_runs_per_day_are_the_mean_of_ordinary_days(expression: str, runs: float) -> None:
    assert per_day(expression) == runs
    assert per_day(expression, **BERLIN) == runs, "a clock change is told apart"


@pytest.mark.parametrize(
    "spec", [{}, {"schedule": "@daily", "enabled": False}, {"schedule": "nonsense"}, {"schedule": 7},
             {"schedule": "@daily", "timezone": "Mars/Base"}, {"schedule": "@daily", "jitter": 3}],
)  # fmt: skip
def test_what_has_no_schedule_is_disabled_or_spoilt_never_runs(spec: dict[str, Any]) -> None:
    assert timing_of({"metadata": {}, "spec": spec}, "a@b") is None


@pytest.mark.parametrize(
    ("value", "shown"), [(1440.2, 1440), (95.99, 96), (0.14285, 0.143), (1.0, 1), (0, 0)]
)
def test_figures_are_rounded_to_what_a_reader_can_use(value: float, shown: float) -> None:
    assert rounded(value) == shown
    assert isinstance(rounded(value), int) is (shown == int(shown))


def test_a_changed_schedule_shows_the_next_five_fires_before_and_after() -> None:
    world = applied(server("db-1"), task("a", schedule="0 2 * * *", **BERLIN))
    effect = effect_of(world.plan(tree(server("db-1"), task("a", schedule="30 14 * * *", **BERLIN)), NOW))
    first = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
    assert effect.before.next_fires == tuple(first + number * DAY for number in range(5))
    assert effect.after.next_fires[0] == datetime(2026, 3, 1, 13, 30, tzinfo=UTC)
    assert len(effect.after.next_fires) == 5
    assert effect.after.timezone == "Europe/Berlin"


def test_clock_changes_of_the_coming_year_are_noted() -> None:
    effect = effect_of(World().plan(tree(server("db-1"), task("a", schedule="30 2 * * *", **BERLIN)), NOW))
    assert effect.dst == (
        (datetime(2026, 3, 29, 1, 0, tzinfo=UTC), "dst-gap", 1),
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "dst-repeat", 1),
    )


@pytest.mark.parametrize(
    ("spec", "runs"),
    [
        ({"schedule": "30 2 * * *"}, (1, 1)),
        ({"schedule": "30 * * * *"}, (0, 2)),
        ({"schedule": "30 2 * * *", "dst": "both"}, (0, 2)),
        ({"schedule": "30 2 * * *", "dst": "skip"}, (0, 1)),
        ({"schedule": "30 * * * *", "dst": "once"}, (1, 1)),
    ],
)
def test_a_clock_change_tells_how_often_the_times_it_touches_run(
    spec: dict[str, str], runs: tuple[int, int]
) -> None:
    effect = effect_of(World().plan(tree(server("db-1"), task("a", **spec, **BERLIN)), NOW))
    assert tuple(times for _at, _note, times in effect.dst) == runs
    (changes,) = _clock_changes(effect)
    gap, repeat = changes.text.split("; ")
    assert gap.endswith((", which does not run", ", which runs then")[runs[0]])
    assert repeat.endswith(("and runs once", "and runs twice")[runs[1] - 1])


def test_jitter_is_part_of_when_it_fires() -> None:
    plan = World().plan(tree(server("db-1"), task("a", schedule="@hourly", jitter="10m")), NOW)
    offset = jitter_offset("a@db-1", 600)
    assert effect_of(plan).after.next_fires[0] == NOW + timedelta(hours=1) + offset


def test_creation_and_deletion_begin_and_end_at_nothing() -> None:
    created = effect_of(World().plan(tree(server("db-1"), task("a", schedule="@hourly")), NOW))
    assert (created.before.runs_per_day, created.after.runs_per_day) == (0, 24)
    assert created.before.next_fires == ()
    world = applied(server("db-1"), task("a", schedule="@hourly"))
    deleted = effect_of(world.plan(tree(server("db-1")), NOW))
    assert (deleted.before.runs_per_day, deleted.after.runs_per_day) == (24, 0)
    assert deleted.after.next_fires == ()


def test_a_disabled_server_runs_nothing_and_says_what_it_stops() -> None:
    world = applied(server("db-1"), task("a", schedule="@hourly"), task("b", schedule="@daily"))
    rows = {row.name: row.id for row in world.tasks.values()}
    plan = world.plan(
        tree(server("db-1", enabled=False), task("a", schedule="@hourly"), task("b", schedule="@daily")),
        NOW,
        measured=Measured(running={rows["b"]: (77,), rows["a"]: (5, 6)}),
    )
    effect = effect_of(plan, "db-1")
    assert (effect.before.runs_per_day, effect.after.runs_per_day) == (25, 0)
    assert effect.running == (5, 6, 77)
    assert effect.busiest_minute is None


def test_a_task_on_a_disabled_server_does_not_run_before_nor_after() -> None:
    world = applied(server("db-1", enabled=False), task("a", schedule="@hourly"))
    plan = world.plan(tree(server("db-1", enabled=False), task("a", schedule="@daily")), NOW)
    assert effect_of(plan).before == effect_of(plan).after


def test_an_unchanged_server_and_a_project_have_no_effect() -> None:
    world = applied(server("db-1"))
    plan = world.plan(tree(server("db-1", port=5), spec={"prune": False}), NOW)
    assert [change.effect for change in plan.changes] == [None, None]


def test_runs_in_progress_are_named() -> None:
    world = applied(server("db-1"), task("a"))
    row = world.task_row("a", "db-1")
    plan = world.plan(
        tree(server("db-1"), task("a", timeout="2h")), NOW, measured=Measured(running={row.id: (12, 13)})
    )
    assert effect_of(plan).running == (12, 13)


def test_a_renamed_server_shows_whose_hash_and_jitter_move() -> None:
    tasks = {
        "hashed": {"schedule": "H H * * *"},
        "jittered": {"schedule": "@daily", "jitter": "1h"},
        "plain": {"schedule": "@daily"},
        "march": {"schedule": "0 0 1 MAR THU"},
    }
    world = applied(server("x"), *[task(name, "x", **spec) for name, spec in tasks.items()])
    plan = world.plan(
        tree(server("y", formerly="x"), *[task(name, "y", **spec) for name, spec in tasks.items()]), NOW
    )
    (change,) = plan.changes
    assert change.scheduling_changed
    assert change.effect is not None
    assert sorted(shift.name for shift in change.effect.shifted) == ["hashed", "jittered"]
    assert all(shift.before != shift.after for shift in change.effect.shifted)


def test_the_busiest_minute_counts_all_tasks_of_the_server_after_the_change() -> None:
    world = applied(
        server("db-1"), server("db-2"),
        task("a", schedule="0 2 * * *"), task("b", schedule="0 2 * * *"), task("c", schedule="*/30 * * * *"),
        task("d", "db-2", schedule="0 2 * * *"), task("gone", schedule="0 2 * * *"),
    )  # fmt: skip
    plan = world.plan(
        tree(
            server("db-1"), server("db-2"),
            task("a", schedule="0 2 * * *"), task("b", schedule="0 2 * * *"),
            task("new", schedule="0 2 * * *"), task("c", schedule="*/30 * * * *"),
            task("d", "db-2", schedule="0 2 * * *"),
        ),
        NOW,
    )  # fmt: skip
    assert effect_of(plan, "new").busiest_minute == (datetime(2026, 3, 2, 2, 0, tzinfo=UTC), 4)


def test_a_second_schedule_fills_minutes_with_more_than_one_run() -> None:
    plan = World().plan(tree(server("db-1"), task("a", schedule="@every 10s")), NOW)
    assert effect_of(plan).busiest_minute == (NOW, 6)


def test_the_busiest_minute_of_part_of_a_plan_leaves_the_rest_as_it_is() -> None:
    from reconciler.plan.target import Target

    world = applied(server("db-1"), task("a", schedule="0 2 * * *"), task("b", schedule="0 5 * * *"))
    desired = tree(
        server("db-1"),
        task("a", schedule="0 3 * * *"),
        task("b", schedule="0 3 * * *"),
        task("c", schedule="0 3 * * *"),
    )
    whole = effect_of(world.plan(desired, NOW)).busiest_minute
    part = effect_of(world.plan(desired, NOW, targets=[Target.parse("Task/a")])).busiest_minute
    assert whole == (datetime(2026, 3, 2, 3, 0, tzinfo=UTC), 3)
    assert part == (datetime(2026, 3, 2, 3, 0, tzinfo=UTC), 1)


HOUR = tuple(range(0, 7 * 86_400, 3600))


@pytest.mark.parametrize(
    ("seconds", "concurrency", "a_week"),
    [
        (3599, Concurrency.FORBID, 0),
        (3600, Concurrency.FORBID, 0),
        (3601, Concurrency.FORBID, 84),
        (3601, Concurrency.ALLOW, 168),
        (3601, Concurrency.REPLACE, 168),
        (3601, Concurrency.QUEUE, 168),
        (2.5 * 3600, Concurrency.FORBID, 112),
    ],
)
def test_overlaps_of_an_hourly_task(seconds: float, concurrency: Concurrency, a_week: int) -> None:
    assert overlaps(HOUR, seconds, concurrency) == pytest.approx(a_week, abs=1)


def test_overlap_is_expected_from_the_average_duration() -> None:
    world = applied(server("db-1"), task("a", schedule="@hourly"))
    row = world.task_row("a", "db-1")
    desired = tree(server("db-1"), task("a", schedule="*/5 * * * *"))
    plan = world.plan(desired, NOW, measured=Measured(average_seconds={row.id: 400.0}))
    assert effect_of(plan).overlap_per_day == 144
    assert effect_of(world.plan(desired, NOW)).overlap_per_day is None
    none = tree(server("db-1"), task("a"))
    plan = world.plan(none, NOW, measured=Measured(average_seconds={row.id: 400.0}))
    assert effect_of(plan).overlap_per_day == 0


def test_drift_of_a_schedule_has_an_effect_too() -> None:
    world = applied(server("db-1"), task("a", schedule="@hourly"))
    world.by_hand(world.task_row("a", "db-1"), schedule="@daily")
    (drift,) = world.plan(tree(server("db-1"), task("a", schedule="@hourly")), NOW).drift
    assert drift.effect is not None
    assert (drift.effect.before.runs_per_day, drift.effect.after.runs_per_day) == (1, 24)
