"""What will run when: every slot once, in order, with zone, jitter, clock changes and suspensions."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.report.timeline import Fire, Load, Planned, fire_json, plan_of, timeline
from reconciler.report.timeline_text import timeline_text
from reconciler.store.views import SuspensionView
from tests.report.views import task_view

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def planned(schedule: str, name: str = "backup", *suspensions: SuspensionView, **values: Any) -> Planned:
    plan = plan_of(task_view(name, schedule=schedule, **values), suspensions)
    assert plan is not None
    return plan


def suspended(since: datetime, until: datetime | None) -> SuspensionView:
    return SuspensionView("reason", "ann", since, until)


def shown(fires: list[Fire]) -> list[tuple[str, str]]:
    return [(fire.at.strftime("%d %H:%M"), fire.task.name) for fire in fires]


def test_runs_of_all_tasks_come_in_order_of_their_due_times() -> None:
    tasks = [planned("0 */6 * * *", "b"), planned("0 12,18 * * *", "a"), planned("30 17 * * *", "c")]
    assert shown(list(timeline(tasks, START, START + DAY / 2))) == [
        ("01 12:00", "a"),
        ("01 12:00", "b"),
        ("01 17:30", "c"),
        ("01 18:00", "a"),
        ("01 18:00", "b"),
    ]


def test_the_range_includes_its_start_and_not_its_end() -> None:
    plan = planned("@every 1h")
    assert [fire.at for fire in plan.fires(START, START + 2 * HOUR)] == [START, START + HOUR]
    assert plan.count(START, START + 2 * HOUR) == 2


def test_a_run_is_due_at_its_slot_and_the_tasks_own_part_of_the_jitter() -> None:
    plan = planned("@every 1h", spec={"jitter": "30m"})
    assert timedelta(0) < plan.jitter < timedelta(minutes=30)
    fires = list(timeline([plan], START, START + 2 * HOUR))
    assert [fire.scheduled_for for fire in fires] == [START, START + HOUR]
    assert all(fire.at - fire.scheduled_for == plan.jitter for fire in fires)
    # due inside of the range, though its slot is before it
    assert [fire.scheduled_for for fire in plan.fires(START + plan.jitter, START + HOUR)] == [START]


def test_a_time_that_a_zone_skips_runs_after_the_gap_and_says_so() -> None:
    plan = planned("30 2 * * *", timezone="Europe/Berlin")
    (fire,) = timeline([plan], datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 3, 29, 12, tzinfo=UTC))
    assert fire_json(fire) == {
        "task": "backup",
        "server": "db-1",
        "project": "shop",
        "at": "2026-03-29T01:00:00.000000Z",
        "scheduledFor": "2026-03-29T01:00:00.000000Z",
        "timezone": "Europe/Berlin",
        "localTime": "2026-03-29T03:00:00.000000+02:00",
        "note": "dst-gap",
    }


def test_a_time_that_a_zone_repeats_says_so() -> None:
    plan = planned("30 2 * * *", timezone="Europe/Berlin")
    (fire,) = timeline([plan], datetime(2026, 10, 25, tzinfo=UTC), datetime(2026, 10, 25, 12, tzinfo=UTC))
    shape = fire_json(fire)
    assert (shape["localTime"], shape["note"]) == ("2026-10-25T02:30:00.000000+02:00", "dst-repeat")


def test_what_is_not_runnable_has_no_timeline() -> None:
    for values in ({"enabled": False}, {"server_enabled": False}, {"deleted_at": START}):
        assert plan_of(task_view(schedule="@daily", **values)) is None
    assert plan_of(task_view()) is None
    assert plan_of(task_view(schedule="nonsense")) is None


def test_no_run_is_due_inside_of_a_suspension() -> None:
    plan = planned("@every 1h", "backup", suspended(START + HOUR, START + 3 * HOUR))
    assert [fire.at for fire in timeline([plan], START, START + 4 * HOUR)] == [START, START + 3 * HOUR]
    assert planned("@every 1s", "x", suspended(START, None)).count(START, START + 365 * DAY) == 0
    assert list(timeline([planned("@every 1s", "x", suspended(START, None))], START, START + 365 * DAY)) == []


MOMENTS = st.integers(0, 3 * 86_400).map(lambda seconds: START + timedelta(seconds=seconds))
SCHEDULES = st.sampled_from(["@every 7m", "*/20 * * * *", "13 2,14 * * *", "@hourly"])


@settings(max_examples=60, deadline=None)
@given(
    schedule=SCHEDULES,
    jitter=st.sampled_from(["0s", "45m"]),
    edges=st.lists(MOMENTS, min_size=2, max_size=8).map(sorted),
    start=MOMENTS,
    end=MOMENTS,
)
def test_counting_agrees_with_walking_whatever_is_suspended(
    schedule: str, jitter: str, edges: list[datetime], start: datetime, end: datetime
) -> None:
    pairs = [suspended(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    plan = planned(schedule, "backup", *pairs, spec={"jitter": jitter}, timezone="Europe/Berlin")
    walked = [fire.at for fire in plan.fires(start, end)]
    assert len(walked) == plan.count(start, max(start, end))
    assert walked == [fire.at for fire in timeline([plan], start, end)]
    assert not any(item.since <= at < (item.until or end) for at in walked for item in pairs)


def test_the_load_counts_each_run_in_its_hour_and_server() -> None:
    start, end = START + HOUR / 2, START + 3 * HOUR
    tasks = [planned("@every 10m", "a"), planned("0 14 * * *", "b", server="web-1")]
    walked, counted = Load(start), Load(start)
    for fire in timeline(tasks, start, end):
        walked.add(fire.task.server, fire.at)
    assert [counted.add_planned(task, start, end) for task in tasks] == [15, 1]
    assert walked.json() == counted.json()
    assert walked.json() == [
        {"server": "db-1", "hour": "2026-03-01T12:00:00.000000Z", "runs": 3},
        {"server": "db-1", "hour": "2026-03-01T13:00:00.000000Z", "runs": 6},
        {"server": "db-1", "hour": "2026-03-01T14:00:00.000000Z", "runs": 6},
        {"server": "web-1", "hour": "2026-03-01T14:00:00.000000Z", "runs": 1},
    ]


def test_a_long_timeline_of_frequent_tasks_is_not_held_in_memory() -> None:
    tasks = [planned("@every 1s", f"task-{n}") for n in range(10)]
    list(islice(timeline(tasks, START, START + DAY), 100))
    tracemalloc.start()
    count = sum(1 for _ in islice(timeline(tasks, START, START + DAY), 20_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 200_000


def test_the_text_shows_load_frequent_tasks_and_a_timeline() -> None:
    tasks = [
        planned("@every 10s", "disk"),
        planned("0 2 * * *", "备份数据库", timezone="Europe/Berlin"),
        planned("30 17 * * *", "report", server="web-1"),
    ]
    assert list(timeline_text(tasks, START, START + DAY)) == [
        "8,642 runs of 3 tasks on 2 servers  2026-03-01 12:00:00 UTC – 2026-03-02 12:00:00 UTC",
        "",
        "Load per server and hour (UTC)",
        "         12    18    00    06",
        "  db-1   ████████████████████████    8,641 runs, most at 01:00: 361",
        "  web-1  ·····▁··················        1 runs, most at 17:00: 1",
        "",
        "Often (more than 24 times)",
        "  TASK       SCHEDULE    ZONE   RUNS  FIRST",
        "  disk@db-1  @every 10s  UTC   8,640  12:00",
        "",
        "Timeline",
        "  DAY         UTC    LOCAL                         TASK",
        "  Sun 01 Mar  17:30                                report@web-1",
        "  Mon 02 Mar  01:00  02:00 Europe/Berlin (+01:00)  备份数据库@db-1",
    ]


def test_an_empty_timeline_says_so() -> None:
    assert list(timeline_text([], START, START + DAY))[1:] == ["Nothing runs by itself in this time."]


def test_the_text_stays_short_however_much_runs() -> None:
    often = [planned("@every 1s", f"often-{n}", server=f"server-{n}") for n in range(100)]
    rare = [planned("0 */2 * * *", f"rare-{n}") for n in range(100)]
    lines = list(timeline_text([*often, *rare], START, START + 300 * DAY))
    assert len(lines) < 330
    assert max(len(line) for line in lines) < 160
