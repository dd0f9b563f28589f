"""Rows that a hand changed: shown apart from what git changes, put back by an apply, never trusted."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.plan.changes import Action
from tests.apply.states import World, server, task, the, told, tree

WHOLE = tree(
    server("db-1", environment="prod", metadata={"labels": {"role": "db"}}),
    task("backup", schedule="0 2 * * *", timezone="Europe/Berlin", jitter="5m", timeout="2h"),
    task("plain"),
)

HANDS: dict[str, tuple[str, str, dict[str, tuple[Any, Any]]]] = {
    "a command": (
        "UPDATE tasks SET command = 'rm -rf /' WHERE name = 'backup'",
        "backup",
        {"spec.command": ("rm -rf /", "echo backup")},
    ),
    "a schedule": (
        "UPDATE tasks SET cron_expr = '* * * * *' WHERE name = 'backup'",
        "backup",
        {"spec.schedule": ("* * * * *", "0 2 * * *")},
    ),
    "a schedule taken away": (
        "UPDATE tasks SET cron_expr = NULL WHERE name = 'backup'",
        "backup",
        {"spec.schedule": (None, "0 2 * * *")},
    ),
    "a zone that is none": (
        "UPDATE tasks SET timezone = 'Mars/Olympus' WHERE name = 'backup'",
        "backup",
        {"spec.timezone": ("Mars/Olympus", "Europe/Berlin")},
    ),
    "a switch": (
        "UPDATE tasks SET status = 0 WHERE name = 'backup'",
        "backup",
        {"spec.enabled": (False, True)},
    ),
    "a port": ("UPDATE servers SET port = 2222", "db-1", {"spec.port": (2222, 22)}),
    "protection": ("UPDATE servers SET protected = 1", "db-1", {"metadata.protected": (True, False)}),
    "a label": (
        """UPDATE servers SET labels = '{"role":"web"}'""",
        "db-1",
        {"metadata.labels.role": ("web", "db")},
    ),
    "the rest of a spec": (
        """UPDATE tasks SET spec = '{"spec":{"jitter":"5m","timeout":"9h"}}' WHERE name = 'backup'""",
        "backup",
        {"spec.timeout": ("9h", "2h")},
    ),
}


@pytest.mark.parametrize("hand", HANDS)
def test_what_a_hand_changed_is_shown_apart_and_put_back_with_a_revision(
    small_world: World, hand: str
) -> None:
    world = small_world
    world.apply(WHOLE)
    before = world.dump(but=["revisions", "outbox", "leases"])
    statement, name, fields = HANDS[hand]
    assert world.sql(statement) == 1
    world.clock.advance(5)

    plan = world.plan(WHOLE)
    assert told(plan) == []
    (drift,) = plan.drift
    assert drift.name == name
    assert {path: (one.before, one.after) for path, one in drift.fields.items()} == fields
    assert not plan.empty

    applied = world.settle(WHOLE)
    assert applied.revision is not None
    remembered = world.one("SELECT changes, digest FROM revisions WHERE id = 2")
    assert '"action":"heal"' in remembered["changes"]
    after = world.dump(but=["revisions", "outbox", "leases"])
    # a task that is switched on again counts successes for its `after` anew
    changing = {"updated_at", "revision_id", "next_run", "next_slot", "after_since"}
    assert without(world, after, changing) == without(world, before, changing)
    assert {row["generation"] for row in world.rows("SELECT generation FROM tasks")} == {1}
    assert {row["generation"] for row in world.rows("SELECT generation FROM servers")} == {1}


def without(world: World, dump: dict[str, Any], columns: set[str]) -> dict[str, Any]:
    kept = {}
    for table, rows in dump.items():
        names = [str(row["name"]) for row in world.rows(f"PRAGMA table_info({table})")]
        places = [place for place, name in enumerate(names) if name not in columns]
        kept[table] = [tuple(row[place] for place in places) for row in rows]
    return kept


SPOILT = [
    "",
    "garbage",
    "{",
    "null",
    "5",
    "[]",
    '"x"',
    '{"spec": 5}',
    '{"spec": [1]}',
    '{"a": NaN}',
    "{" * 3000,
]
SPOILT += [
    '{"a": 1e999}',
    '{"spec": {"jump": 5, "timeout": {}}}',
    '{"annotations": 7, "spec": {"retries": "x"}}',
]
SPOILT += ['{"spec": {"a": "\\ud800"}}', '{"spec":' + '{"a":' * 200 + "1" + "}" * 201]


@pytest.mark.parametrize("text", SPOILT, ids=range(len(SPOILT)))
@pytest.mark.parametrize("table", ["servers", "tasks"])
def test_a_spoilt_spec_is_drift_that_people_can_see_and_is_put_back(
    small_world: World, table: str, text: str
) -> None:
    world = small_world
    world.apply(WHOLE)
    before = world.rows(f"SELECT id, spec, spec_hash, generation FROM {table} ORDER BY id")
    world.sql(f"UPDATE {table} SET spec = :text", text=text)
    plan = world.plan(WHOLE)
    assert told(plan) == []
    assert plan.drift
    assert all(drift.fields for drift in plan.drift)
    world.settle(WHOLE)
    assert world.rows(f"SELECT id, spec, spec_hash, generation FROM {table} ORDER BY id") == before


@pytest.mark.parametrize("text", ["", "garbage", "[]", '{"a": {"b": 1}}', '{"a": null}'])
@pytest.mark.parametrize("table", ["servers", "tasks"])
def test_spoilt_labels_are_drift_too(small_world: World, table: str, text: str) -> None:
    world = small_world
    world.apply(WHOLE)
    before = world.rows(f"SELECT id, labels FROM {table} ORDER BY id")
    world.sql(f"UPDATE {table} SET labels = :text", text=text)
    assert all(drift.fields for drift in world.plan(WHOLE).drift)
    world.settle(WHOLE)
    assert world.rows(f"SELECT id, labels FROM {table} ORDER BY id") == before


@pytest.mark.parametrize(
    "text", ["", "garbage", '{"prune": false}', '{"guard": 5}', '{"guard": {"maxDeletions": 999}}']
)
def test_project_settings_changed_by_hand_are_put_back(small_world: World, text: str) -> None:
    world = small_world
    world.apply(WHOLE)
    before = world.one("SELECT spec, spec_hash FROM projects")
    world.sql("UPDATE projects SET spec = :text", text=text)
    plan = world.plan(WHOLE)
    assert told(plan) == []
    assert [drift.kind.value for drift in plan.all_drift()] == ["Project"]
    assert world.settle(WHOLE).revision is not None
    assert world.one("SELECT spec, spec_hash FROM projects") == before


def test_spoilt_rows_of_other_projects_are_none_of_ours(small_world: World) -> None:
    world = small_world
    world.apply(WHOLE)
    world.apply(tree(server("theirs"), task("x", "theirs"), project="fleet"))
    before = world.dump()
    world.sql("UPDATE servers SET spec = 'garbage' WHERE name = 'theirs'")
    world.sql("UPDATE projects SET spec = 'garbage' WHERE name = 'fleet'")
    assert world.apply(WHOLE).revision is None
    world.sql("UPDATE servers SET name = 'renamed by hand' WHERE name = 'theirs'")
    assert world.apply(WHOLE).revision is None
    assert before["tasks"] == world.dump()["tasks"]


def test_what_git_changes_too_is_written_whole_and_the_reason_tells(small_world: World) -> None:
    world = small_world
    world.apply(WHOLE)
    world.sql("UPDATE tasks SET command = 'by hand' WHERE name = 'plain'")
    changed = tree(*WHOLE.servers.values(), WHOLE.tasks["backup", "db-1"], task("plain", timeout="5m"))
    plan = world.plan(changed)
    change = the(plan, Action.UPDATE)
    assert {name: (one.before, one.after) for name, one in change.fields.items()} == {
        "spec.timeout": ("1h", "5m")
    }
    assert [(one.name, list(one.fields)) for one in plan.all_drift()] == [("plain", ["spec.command"])]
    world.settle(changed)
    row = world.task_row("plain")
    assert (row["command"], row["generation"]) == ("echo plain", 2)


def test_what_a_hand_did_and_git_now_declares_is_an_update(small_world: World) -> None:
    world = small_world
    world.apply(WHOLE)
    world.sql("UPDATE tasks SET cron_expr = '@every 60s' WHERE name = 'plain'")
    declared = tree(
        *WHOLE.servers.values(), WHOLE.tasks["backup", "db-1"], task("plain", schedule="@every 60s")
    )
    assert told(world.settle(declared).plan) == [("update", "plain@db-1")]
    row = world.task_row("plain")
    assert row["generation"] == 2
    assert row["next_slot"] is not None


def test_rows_deleted_by_hand_come_back(small_world: World) -> None:
    world = small_world
    world.apply(WHOLE)
    ids = world.rows("SELECT id FROM tasks ORDER BY id"), world.rows("SELECT id FROM servers")
    world.sql("UPDATE tasks SET deleted_at = '2026-01-01 00:00:00.000000', status = 0 WHERE name = 'plain'")
    world.sql("UPDATE servers SET deleted_at = '2026-01-01 00:00:00.000000', project_id = NULL")
    assert told(world.settle(WHOLE).plan) == [("restore", "db-1"), ("restore", "plain@db-1")]
    assert (world.rows("SELECT id FROM tasks ORDER BY id"), world.rows("SELECT id FROM servers")) == ids


def test_rows_revived_by_hand_go_again(small_world: World) -> None:
    world = small_world
    world.apply(WHOLE)
    less = tree(*WHOLE.servers.values(), WHOLE.tasks["backup", "db-1"])
    world.apply(less)
    world.sql("UPDATE tasks SET deleted_at = NULL, status = 1 WHERE name = 'plain'")
    assert told(world.settle(less).plan) == [("delete", "plain@db-1")]
    assert world.task_row("plain")["status"] == 0


def test_keep_drift_leaves_rows_as_a_hand_left_them(small_world: World) -> None:
    world = small_world
    world.apply(WHOLE)
    world.sql("UPDATE tasks SET status = 0 WHERE name = 'backup'")
    before = world.dump()
    assert world.apply(WHOLE, keep_drift=True).revision is None
    assert world.dump() == before

    changed = tree(*WHOLE.servers.values(), WHOLE.tasks["backup", "db-1"], task("plain", timeout="5m"))
    applied = world.apply(changed, keep_drift=True)
    assert applied.revision is not None
    assert world.task_row("backup")["status"] == 0
    assert world.task_row("plain")["generation"] == 2
    changes = world.one("SELECT changes FROM revisions WHERE id = :id", id=applied.revision.id)["changes"]
    assert "heal" not in changes
    world.settle(changed)
    assert world.task_row("backup")["status"] == 1


def test_keep_drift_keeps_project_settings_as_well(small_world: World) -> None:
    world = small_world
    world.apply(WHOLE)
    by_hand = '{"prune":false}'
    world.sql("UPDATE projects SET spec = :text", text=by_hand)
    assert world.apply(WHOLE, keep_drift=True).revision is None
    changed = tree(*WHOLE.servers.values(), WHOLE.tasks["backup", "db-1"], task("plain", timeout="5m"))
    assert world.apply(changed, keep_drift=True).revision is not None
    assert world.one("SELECT spec FROM projects")["spec"] == by_hand


def test_a_swap_is_not_done_again_because_its_memory_was_spoilt(small_world: World) -> None:
    world = small_world
    world.apply(tree(server("db-1"), task("a"), task("b")))
    swap = tree(server("db-1"), task("a", formerly="b"), task("b", formerly="a"))
    world.apply(swap)
    ids = world.rows("SELECT name, id FROM tasks ORDER BY name")
    world.sql("UPDATE tasks SET spec = 'garbage'")
    world.settle(swap)
    assert world.rows("SELECT name, id FROM tasks ORDER BY name") == ids
