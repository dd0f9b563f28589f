"""What the report says of a task, a server and a project, row by row."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.condition import Condition, ConditionStatus, ConditionType, Health, Sync
from reconciler.model.enums import Kind
from reconciler.report.build import status_report
from reconciler.report.status import ObjectStatus, StatusReport
from reconciler.store.tables import Project, Server, Task
from tests.report.world import APPLIED, NOW, World
from tests.store.conftest import Migrated

LATE = timedelta(seconds=60)
HOUR = timedelta(hours=1)
LAST_NIGHT = datetime.fromisoformat("2026-03-01T02:00:00+00:00")
NIGHT_BEFORE = LAST_NIGHT - timedelta(days=1)

TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


def report_of(world: World) -> StatusReport:
    return status_report(world.db, NOW, LATE)


def the_task(world: World) -> ObjectStatus:
    (item,) = report_of(world).of(Kind.TASK)
    return item


def condition(item: ObjectStatus, kind: ConditionType) -> Condition:
    found = item.condition(kind)
    assert found is not None, f"{kind} is missing"
    return found


def types(item: ObjectStatus) -> list[str]:
    return [found.type.value for found in item.conditions]


@pytest.fixture
def url(migrated: Migrated, tmp_path: Path) -> str:
    """The judgement is the same on every database; that the rows are, test_reads.py says."""
    return migrated.url("sqlite", tmp_path / "state.db")


@pytest.fixture
def task(world: World) -> int:
    world.server("db-1")
    return world.task("backup", "db-1")


def test_an_empty_database_gives_an_empty_report(db: Any) -> None:
    report = status_report(db, NOW, LATE)
    assert report.objects == ()
    assert set(report.summary.values()) == {0}


def test_a_task_that_never_ran_is_unknown_and_scheduled(world: World, task: int) -> None:
    item = the_task(world)
    assert (item.sync, item.health) == (Sync.SYNCED, Health.UNKNOWN)
    assert types(item) == ["Synced", "Scheduled", "LastRunSucceeded"]
    assert condition(item, ConditionType.LAST_RUN_SUCCEEDED).status is UNKNOWN
    scheduled = condition(item, ConditionType.SCHEDULED)
    assert (scheduled.status, scheduled.reason) == (TRUE, "Scheduled")
    assert "2026-03-02 02:00:00 UTC" in scheduled.message
    synced = condition(item, ConditionType.SYNCED)
    assert (synced.status, synced.last_transition, synced.observed_generation) == (TRUE, APPLIED, 1)


def test_a_task_whose_last_run_succeeded_is_healthy(world: World, task: int) -> None:
    world.run(task, NIGHT_BEFORE, status=2)
    world.run(task, LAST_NIGHT, seconds=2.5)
    item = the_task(world)
    last = condition(item, ConditionType.LAST_RUN_SUCCEEDED)
    assert item.health is Health.HEALTHY
    assert (last.status, last.reason) == (TRUE, "Completed")
    assert last.message == "exit code 0 after 2.5s at 2026-03-01 02:00:02 UTC"
    assert last.last_transition == LAST_NIGHT + timedelta(seconds=2.5)


@pytest.mark.parametrize(
    ("columns", "reason", "words"),
    [
        ({"reason": "exit-code", "exit_code": 2}, "ExitCode", "exit code 2 after"),
        ({"reason": "timed-out", "exit_code": None}, "TimedOut", "timed out"),
        ({"reason": "lost", "exit_code": None}, "Lost", "knows nothing of it"),
        ({"reason": "host-rebooted", "exit_code": None}, "HostRebooted", "rebooted"),
        ({"reason": "unreachable", "started_at": None}, "Unreachable", "could not be reached"),
        ({"reason": "auth-failed", "started_at": None}, "AuthFailed", "refused the login"),
        ({"reason": "cancelled", "cancel_requested_by": "bob"}, "Cancelled", "cancelled by bob"),
    ],
)
def test_a_task_whose_last_run_failed_is_degraded_and_says_why(
    world: World, task: int, columns: dict[str, Any], reason: str, words: str
) -> None:
    world.run(task, NIGHT_BEFORE)
    world.run(task, LAST_NIGHT, status=2, generation=7, **columns)
    item = the_task(world)
    last = condition(item, ConditionType.LAST_RUN_SUCCEEDED)
    assert item.health is Health.DEGRADED
    assert (last.status, last.reason, last.observed_generation) == (FALSE, reason, 7)
    assert words in last.message


def test_a_run_whose_host_fell_silent_after_the_start_is_neither_good_nor_bad(
    world: World, task: int
) -> None:
    world.run(task, LAST_NIGHT, status=2, reason="unreachable", exit_code=None)
    item = the_task(world)
    assert item.health is Health.UNKNOWN
    assert item.needs_attention
    assert condition(item, ConditionType.LAST_RUN_SUCCEEDED).status is UNKNOWN


def test_the_verdict_is_that_of_the_newest_slot_and_of_its_last_attempt(world: World, task: int) -> None:
    world.run(task, LAST_NIGHT, status=2)
    world.run(task, LAST_NIGHT, attempt=2, trigger="retry")
    world.run(task, NIGHT_BEFORE, status=2, trigger="catch-up")
    item = the_task(world)
    assert item.health is Health.HEALTHY
    assert item.last is not None
    assert item.last.attempt == 2


def test_skipped_slots_do_not_hide_the_verdict_before_them(world: World, task: int) -> None:
    world.run(task, NIGHT_BEFORE, status=2)
    world.run(task, LAST_NIGHT, status=3, reason="overlap")
    assert the_task(world).health is Health.DEGRADED


def test_a_newest_slot_that_was_missed_is_degraded_though_the_run_before_it_succeeded(
    world: World, task: int
) -> None:
    world.run(task, NIGHT_BEFORE)
    world.run(task, LAST_NIGHT, status=3, reason="missed")
    item = the_task(world)
    last = condition(item, ConditionType.LAST_RUN_SUCCEEDED)
    assert item.health is Health.DEGRADED
    assert (last.status, last.reason) == (FALSE, "Missed")
    assert "2026-03-01 02:00:00 UTC was missed" in last.message
    assert "exit code 0" in last.message


def test_older_missed_slots_beside_a_newer_run_are_no_trouble(world: World, task: int) -> None:
    world.run(task, LAST_NIGHT, trigger="catch-up")
    world.run(task, NIGHT_BEFORE, status=3, reason="missed", created_at=NOW)
    assert the_task(world).health is Health.HEALTHY


def test_a_due_slot_that_nobody_claimed_is_overdue_after_late_after(world: World, task: int) -> None:
    world.run(task, NIGHT_BEFORE)
    due = NOW - timedelta(seconds=61)
    world.change(Task, task, next_run=due, next_slot=due)
    item = the_task(world)
    overdue = condition(item, ConditionType.OVERDUE)
    assert item.health is Health.OVERDUE
    assert (overdue.status, overdue.reason) == (TRUE, "NotClaimed")
    assert overdue.last_transition == due + LATE
    assert "2026-03-01 11:58:59 UTC" in overdue.message
    assert "not claimed" in overdue.message


def test_a_due_slot_within_late_after_is_not_overdue(world: World, task: int) -> None:
    due = NOW - timedelta(seconds=60)
    world.change(Task, task, next_run=due, next_slot=due)
    assert the_task(world).condition(ConditionType.OVERDUE) is None


def test_a_claimed_run_that_nobody_starts_is_overdue(world: World, task: int) -> None:
    run = world.run(task, NOW - timedelta(minutes=5), status=0, seconds=None)
    overdue = condition(the_task(world), ConditionType.OVERDUE)
    assert overdue.reason == "NotStarted"
    assert str(run) in overdue.message


def test_a_waiting_run_is_not_overdue_while_another_of_its_task_runs_or_while_it_backs_off(
    world: World, task: int
) -> None:
    world.run(task, NOW - HOUR, status=0)
    world.run(task, NOW - timedelta(minutes=5), status=0, seconds=None)
    item = the_task(world)
    assert item.condition(ConditionType.OVERDUE) is None
    assert [run.state.value for run in item.open] == ["running", "waiting"]


@pytest.mark.parametrize("next_run", [None, NOW + timedelta(days=300)])
def test_a_row_that_lost_its_next_run_is_found_by_its_schedule(
    world: World, task: int, next_run: datetime | None
) -> None:
    world.run(task, NIGHT_BEFORE)
    world.change(Task, task, next_run=next_run, next_slot=next_run)
    overdue = condition(the_task(world), ConditionType.OVERDUE)
    assert overdue.reason == "NotScheduled"
    assert "2026-03-01 02:00:00 UTC" in overdue.message


def test_a_row_without_next_run_is_not_overdue_while_its_last_slot_is_in_the_ledger(
    world: World, task: int
) -> None:
    world.run(task, LAST_NIGHT)
    world.change(Task, task, next_run=None, next_slot=None)
    item = the_task(world)
    assert item.condition(ConditionType.OVERDUE) is None
    assert condition(item, ConditionType.SCHEDULED).reason == "NoNextRun"


def test_a_manual_run_does_not_stand_for_the_slot_that_did_not_run(world: World, task: int) -> None:
    world.run(task, NOW - HOUR, trigger="manual", requested_by="ann")
    world.change(Task, task, next_run=None, next_slot=None)
    assert condition(the_task(world), ConditionType.OVERDUE).reason == "NotScheduled"


def test_slots_before_the_last_change_of_task_or_server_are_not_overdue(world: World, task: int) -> None:
    world.change(Task, task, next_run=None, next_slot=None)
    world.change(Server, 1, updated_at=NOW - HOUR)
    world.change(Server, world.id_of(Server, "db-1"), updated_at=NOW - HOUR)
    assert the_task(world).condition(ConditionType.OVERDUE) is None


@pytest.mark.parametrize("of", ["task", "project", "all"])
def test_a_suspended_task_says_by_whom_why_and_until_when(world: World, task: int, of: str) -> None:
    until = NOW + HOUR
    world.run(task, LAST_NIGHT)
    world.suspend(
        task=task if of == "task" else None, project="shop" if of == "project" else None, until=until
    )
    item = the_task(world)
    suspended = condition(item, ConditionType.SUSPENDED)
    assert item.health is Health.SUSPENDED
    assert suspended.message == "by ann@laptop until 2026-03-01 13:00:00 UTC: migration of the database"
    assert suspended.last_transition == NOW - HOUR


def test_a_suspension_of_another_time_or_task_changes_nothing(world: World, task: int) -> None:
    other = world.task("other", "db-1")
    world.project("elsewhere")
    world.suspend(task=task, until=NOW)
    world.suspend(task=task, since=NOW + HOUR)
    world.suspend(project="elsewhere")
    world.suspend(task=other)
    (backup, _) = report_of(world).of(Kind.TASK)
    assert backup.condition(ConditionType.SUSPENDED) is None


def test_a_slot_inside_of_a_suspension_is_not_overdue_but_one_before_it_is(world: World, task: int) -> None:
    world.suspend(task=task, since=NOW - HOUR)
    world.change(Task, task, next_run=NOW - timedelta(minutes=30), next_slot=NOW - timedelta(minutes=30))
    assert the_task(world).health is Health.SUSPENDED
    world.change(Task, task, next_run=NOW - 2 * HOUR, next_slot=NOW - 2 * HOUR)
    assert the_task(world).health is Health.OVERDUE


@pytest.mark.parametrize(
    ("spec", "columns", "reason"),
    [
        ({"enabled": False}, {"next_run": None, "next_slot": None}, "Disabled"),
        ({"schedule": None}, {}, "NoSchedule"),
        ({"schedule": None, "after": ["extract"]}, {}, "AfterOthers"),
    ],
)
def test_a_task_without_slots_says_why_and_is_never_overdue(
    world: World, spec: dict[str, Any], columns: dict[str, Any], reason: str
) -> None:
    world.server("db-1")
    world.task("quiet", "db-1", spec=spec, **columns)
    item = the_task(world)
    scheduled = condition(item, ConditionType.SCHEDULED)
    assert (scheduled.status, scheduled.reason) == (FALSE, reason)
    assert item.condition(ConditionType.OVERDUE) is None


def test_a_task_on_a_disabled_server_says_so(world: World, task: int) -> None:
    world.change(Server, world.id_of(Server, "db-1"), status=0)
    world.change(Task, task, next_run=None, next_slot=None)
    item = the_task(world)
    assert condition(item, ConditionType.SCHEDULED).reason == "ServerDisabled"
    assert item.condition(ConditionType.OVERDUE) is None


def test_a_row_changed_by_hand_has_drifted(world: World, task: int) -> None:
    world.change(Task, task, command="rm -rf /")
    item = the_task(world)
    assert item.sync is Sync.DRIFTED
    assert condition(item, ConditionType.SYNCED).status is FALSE
    assert condition(item, ConditionType.DRIFTED).status is TRUE


@pytest.mark.parametrize(
    "columns",
    [
        {"timezone": "Mars/Base"},
        {"cron_expr": "nonsense"},
        {"spec": {"spec": {"jitter": "often"}}},
        {"spec": {"spec": {"dst": ["x"], "after": 7}}},
    ],
)
def test_a_row_spoilt_by_hand_does_not_keep_the_report_from_being_made(
    world: World, task: int, columns: dict[str, Any]
) -> None:
    world.task("well", "db-1")
    world.change(Task, task, **columns)
    backup, well = report_of(world).of(Kind.TASK)
    assert (backup.sync, well.sync) == (Sync.DRIFTED, Sync.SYNCED)


def test_columns_that_are_no_json_any_more_have_drifted(world: World) -> None:
    world.server("db-1", labels={"role": "db"})
    world.task("backup", "db-1", spec={"jitter": "5m"}, labels={"tier": "gold"})
    with world.db.write() as conn:
        conn.exec_driver_sql("UPDATE tasks SET labels = 'oops', spec = '[1]'")
        conn.exec_driver_sql("UPDATE servers SET labels = '', spec = 'null'")
    assert [item.sync for item in report_of(world).objects] == [Sync.SYNCED, Sync.DRIFTED, Sync.DRIFTED]


def test_deleted_objects_are_not_reported(world: World, task: int) -> None:
    world.change(Task, task, deleted_at=NOW, status=0)
    world.change(Server, world.id_of(Server, "db-1"), deleted_at=NOW, status=0)
    assert [item.kind for item in report_of(world).objects] == [Kind.PROJECT]


@pytest.mark.parametrize(
    ("columns", "health", "status", "reason"),
    [
        ({"status": 1}, Health.HEALTHY, TRUE, "Answered"),
        ({"status": 2, "reason": "exit-code"}, Health.HEALTHY, TRUE, "Answered"),
        ({"status": 2, "reason": "unreachable", "started_at": None}, Health.DEGRADED, FALSE, "Unreachable"),
        ({"status": 2, "reason": "host-key", "started_at": None}, Health.DEGRADED, FALSE, "HostKey"),
        ({"status": 2, "reason": "internal", "started_at": None}, Health.UNKNOWN, UNKNOWN, "Internal"),
        ({"status": 3}, Health.UNKNOWN, UNKNOWN, "NeverTried"),
    ],
)
def test_a_server_is_as_reachable_as_its_newest_run_says(
    world: World, task: int, columns: dict[str, Any], health: Health, status: ConditionStatus, reason: str
) -> None:
    if columns["status"] != 3:
        world.run(task, NIGHT_BEFORE, status=2, reason="unreachable", started_at=None)
    world.run(task, LAST_NIGHT, **columns)
    (item,) = report_of(world).of(Kind.SERVER)
    reachable = condition(item, ConditionType.REACHABLE)
    assert (item.health, reachable.status, reachable.reason) == (health, status, reason)


def test_a_project_tells_what_was_applied_last(world: World) -> None:
    revision = world.revision()
    world.change(Project, world.id_of(Project, "shop"), revision_id=revision)
    (item,) = report_of(world).of(Kind.PROJECT)
    synced = condition(item, ConditionType.SYNCED)
    assert (item.sync, item.health) == (Sync.SYNCED, Health.HEALTHY)
    assert (synced.status, synced.reason, synced.last_transition) == (TRUE, "Applied", APPLIED)
    assert synced.message == f"revision {revision} of commit 1a2b3c4d5e6f was applied by ann@laptop"


def test_a_stalled_project_is_pending_and_degraded(world: World) -> None:
    key = world.id_of(Project, "shop")
    world.condition("Project", key, type="Stalled", reason="BehindApplied", message="an older commit")
    world.condition("Project", key, type="SourceVerified", reason="Signed", message="by ann")
    world.condition("Project", key, type="OfALaterVersion", reason="X", message="")
    (item,) = report_of(world).of(Kind.PROJECT)
    assert (item.sync, item.health) == (Sync.PENDING, Health.DEGRADED)
    assert types(item) == ["Synced", "SourceVerified", "Stalled"]
    assert condition(item, ConditionType.STALLED).reason == "BehindApplied"
    message = condition(item, ConditionType.SYNCED).message
    assert message.startswith("what its source says now is not applied; revision ")


def test_the_summary_counts_kinds_healths_syncs_and_runs(world: World, task: int) -> None:
    world.run(task, LAST_NIGHT)
    failing = world.task("failing", "db-1")
    world.run(failing, LAST_NIGHT, status=2)
    world.run(failing, LAST_NIGHT, status=0, attempt=2, trigger="retry")
    assert report_of(world).summary == {
        "objects": 4,
        "projects": 1,
        "servers": 1,
        "tasks": 2,
        "healthy": 3,
        "degraded": 1,
        "overdue": 0,
        "suspended": 0,
        "unknown": 0,
        "synced": 4,
        "drifted": 0,
        "pending": 0,
        "running": 1,
        "waiting": 0,
    }


def test_a_failure_shows_the_last_lines_of_its_error_or_else_of_its_output(world: World, task: int) -> None:
    world.run(task, LAST_NIGHT, status=2, error="\n".join(f"line {n}" for n in range(9)) + "\n\x1b[2J\n")
    silent = world.task("silent", "db-1")
    world.run(silent, LAST_NIGHT, status=2, output="only this\n", error="\n")
    backup, quiet = report_of(world).of(Kind.TASK)
    assert backup.error_lines == ("line 5", "line 6", "line 7", "line 8", "\\x1b[2J")
    assert quiet.error_lines == ("only this",)


def test_an_overdue_task_does_not_show_the_lines_of_the_success_before(world: World, task: int) -> None:
    world.run(task, NIGHT_BEFORE, output="all is well\n")
    world.change(Task, task, next_run=NOW - HOUR, next_slot=NOW - HOUR)
    item = the_task(world)
    assert (item.health, item.error_lines) == (Health.OVERDUE, ())


def test_several_causes_of_one_condition_are_one_condition(world: World) -> None:
    key = world.id_of(Project, "shop")
    world.condition(
        "Project", key, type="Stalled/scheduler", reason="Late", message="late", last_transition=LAST_NIGHT
    )
    world.condition("Project", key, type="Stalled", reason="BehindApplied", message="an older commit")
    world.condition(
        "Project", key, type="Stalled/x", status="False", message="well", last_transition=NIGHT_BEFORE
    )
    (item,) = report_of(world).of(Kind.PROJECT)
    stalled = condition(item, ConditionType.STALLED)
    assert (stalled.status, stalled.reason, stalled.last_transition) == (TRUE, "Late", LAST_NIGHT)
    assert stalled.message == "late; an older commit"


def test_a_late_scheduler_does_not_mean_that_a_commit_waits(world: World) -> None:
    world.change(Project, world.id_of(Project, "shop"), revision_id=world.revision())
    key = world.id_of(Project, "shop")
    world.condition("Project", key, type="Stalled/scheduler", reason="Late", message="late")
    (item,) = report_of(world).of(Kind.PROJECT)
    assert (item.sync, item.health) == (Sync.SYNCED, Health.DEGRADED)
