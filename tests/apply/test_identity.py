"""Which row is which declared object: ids and history survive every edit of the tree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.errors import PlanRefused
from reconciler.plan.changes import Action
from tests.apply.states import World, commit, server, task, the, told, tree


def problems(error: pytest.ExceptionInfo[PlanRefused]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = error.value.details["problems"]
    return found


def ids(world: World, table: str) -> dict[str, int]:
    return {row["name"]: row["id"] for row in world.rows(f"SELECT name, id FROM {table}")}


def test_a_first_apply_creates_servers_before_tasks_and_a_second_writes_nothing(world: World) -> None:
    desired = tree(task("backup", schedule="0 2 * * *"), server("db-1"), commit=commit())
    applied = world.settle(desired)
    assert told(applied.plan) == [("create", "db-1"), ("create", "backup@db-1")]
    assert applied.summary == {
        "create": 2, "update": 0, "rename": 0, "delete": 0, "restore": 0, "unchanged": 0,
    }  # fmt: skip
    row = world.task_row("backup")
    assert (row["status"], row["generation"], row["path"], row["line"]) == (1, 1, "tasks.yaml", 1)
    assert applied.revision is not None
    assert row["revision_id"] == applied.revision.id


def test_an_update_keeps_the_id_raises_the_generation_and_names_each_field(world: World) -> None:
    world.apply(tree(server("db-1"), task("backup", timeout="1h", metadata={"labels": {"tier": "gold"}})))
    before = world.task_row("backup")
    changed = task("backup", timeout="2h", metadata={"labels": {"tier": "iron"}}, at=("moved.yaml", 7))
    change = the(world.settle(tree(server("db-1"), changed)).plan, Action.UPDATE)
    assert {name: (field.before, field.after) for name, field in change.fields.items()} == {
        "metadata.labels.tier": ("gold", "iron"),
        "spec.timeout": ("1h", "2h"),
    }
    after = world.task_row("backup")
    assert (after["id"], after["generation"]) == (before["id"], before["generation"] + 1)
    assert (after["path"], after["line"]) == ("moved.yaml", 7)


def test_moved_lines_and_written_out_defaults_are_no_change(small_world: World) -> None:
    small_world.apply(tree(server("db-1"), task("backup")))
    before = small_world.dump()
    moved = tree(
        server("db-1", port=22, enabled=True, at=("other.yaml", 40)),
        task("backup", timezone="UTC", timeout="60m", at=("other.yaml", 90)),
    )
    assert small_world.apply(moved).revision is None
    assert small_world.dump() == before


def test_a_renamed_task_keeps_its_id_its_history_and_its_generation(small_world: World) -> None:
    small_world.apply(tree(server("db-1"), task("old")))
    before = small_world.task_row("old")
    applied = small_world.settle(tree(server("db-1"), task("new", formerly="old", command="echo old")))
    assert told(applied.plan) == [("rename", "new@db-1")]
    after = small_world.task_row("new")
    assert (after["id"], after["generation"]) == (before["id"], before["generation"])


def test_a_renamed_server_takes_its_tasks_along(small_world: World) -> None:
    small_world.apply(tree(server("db-1"), task("backup")))
    before = small_world.task_row("backup")
    renamed = tree(server("db-2", formerly="db-1", host="db-1.example"), task("backup", "db-2"))
    applied = small_world.settle(renamed)
    assert told(applied.plan) == [("rename", "db-2")]
    after = small_world.task_row("backup", "db-2")
    assert after == before


RENAMES: dict[str, tuple[dict[str, str | None], dict[str, str | None]]] = {
    "chain": ({"a": None, "b": None}, {"b": "a", "c": "b"}),
    "swap": ({"a": None, "b": None}, {"a": "b", "b": "a"}),
    "circle": ({"a": None, "b": None, "c": None}, {"a": "c", "b": "a", "c": "b"}),
    "chain with a newcomer": ({"a": None, "b": None}, {"a": None, "b": "a", "c": "b"}),
}


@pytest.mark.parametrize("case", RENAMES)
def test_chains_and_swaps_of_tasks_in_one_commit_work_once(world: World, case: str) -> None:
    start, then = RENAMES[case]
    world.apply(tree(server("db-1"), *(task(name) for name in start)))
    before = ids(world, "tasks")
    applied = world.settle(tree(server("db-1"), *(task(name, formerly=old) for name, old in then.items())))
    after = ids(world, "tasks")
    for new, old in then.items():
        if old is not None:
            assert after[new] == before[old], new
    assert applied.summary["rename"] == sum(old is not None for old in then.values())
    assert applied.summary["delete"] == 0


@pytest.mark.parametrize("case", RENAMES)
def test_chains_and_swaps_of_servers_take_their_tasks_along(world: World, case: str) -> None:
    start, then = RENAMES[case]
    world.apply(tree(*(server(name) for name in start), *(task(f"on-{name}", name) for name in start)))
    servers, tasks = ids(world, "servers"), ids(world, "tasks")
    moved = [task(f"on-{old}", new) for new, old in then.items() if old is not None]
    world.settle(tree(*(server(name, formerly=old) for name, old in then.items()), *moved))
    for new, old in then.items():
        if old is not None:
            assert ids(world, "servers")[new] == servers[old]
            row = world.task_row(f"on-{old}", new)
            assert (row["id"], row["deleted_at"]) == (tasks[f"on-{old}"], None)


def test_a_swap_that_was_forgotten_can_be_done_again(world: World) -> None:
    plain = tree(server("db-1"), task("a"), task("b"))
    swap = tree(server("db-1"), task("a", formerly="b"), task("b", formerly="a"))
    world.apply(plain)
    first = ids(world, "tasks")
    for expected in ({"a": first["b"], "b": first["a"]}, first):
        world.settle(swap)
        assert ids(world, "tasks") == expected
        revisions = world.rows("SELECT id FROM revisions")
        world.apply(plain)
        # the commands were swapped back with the names, so that only the memory of the swap is left to clear
        world.settle(plain)
        assert len(world.rows("SELECT id FROM revisions")) <= len(revisions) + 1


def test_forgetting_a_rename_is_no_revision(small_world: World) -> None:
    small_world.apply(tree(server("db-1"), task("old", command="true")))
    small_world.apply(tree(server("db-1"), task("new", formerly="old", command="true")))
    revisions = small_world.rows("SELECT id FROM revisions")
    small_world.settle(tree(server("db-1"), task("new", command="true")))
    assert small_world.rows("SELECT id FROM revisions") == revisions
    assert "formerly" not in small_world.task_row("new")["spec"]


def test_a_task_moves_between_servers_by_name_at_server(small_world: World) -> None:
    small_world.apply(tree(server("db-1"), server("db-2"), task("backup")))
    before = small_world.task_row("backup")
    moved = task("backup", "db-2", formerly="backup@db-1")
    applied = small_world.settle(tree(server("db-1"), server("db-2"), moved))
    assert told(applied.plan) == [("rename", "backup@db-2")]
    assert small_world.task_row("backup", "db-2")["id"] == before["id"]


def test_a_task_moves_away_from_a_server_that_goes_in_the_same_commit(world: World) -> None:
    world.apply(tree(server("db-1"), server("db-2"), task("backup")))
    before = world.task_row("backup")
    applied = world.settle(tree(server("db-2"), task("backup", "db-2", formerly="backup@db-1")))
    assert told(applied.plan) == [("rename", "backup@db-2"), ("delete", "db-1")]
    assert world.task_row("backup", "db-2")["id"] == before["id"]


def test_without_formerly_a_move_is_delete_and_create(small_world: World) -> None:
    small_world.apply(tree(server("db-1"), server("db-2"), task("backup")))
    applied = small_world.settle(tree(server("db-1"), server("db-2"), task("backup", "db-2")))
    assert told(applied.plan) == [("create", "backup@db-2"), ("delete", "backup@db-1")]


@pytest.mark.parametrize("kind", ["server", "task"])
def test_formerly_onto_a_name_that_a_deleted_row_holds_is_a_problem_with_its_hint(
    small_world: World, kind: str
) -> None:
    def named(name: str, formerly: str | None = None) -> Any:
        return server(name, formerly=formerly) if kind == "server" else task(name, formerly=formerly)

    small_world.apply(tree(server("db-1"), named("a"), named("b")))
    small_world.apply(tree(server("db-1"), named("a")))
    before = small_world.dump()
    with pytest.raises(PlanRefused) as error:
        small_world.apply(tree(server("db-1"), named("b", "a")))
    (problem,) = problems(error)
    assert problem["code"] == "name-held-by-deleted"
    assert "drop `formerly`" in problem["hint"]
    assert problem["field"] == "metadata.formerly"
    assert small_world.dump() == before


def test_what_was_deleted_comes_back_with_id_history_and_generation(world: World) -> None:
    whole = tree(server("db-1"), task("backup", schedule="@every 60s"))
    world.apply(whole)
    first_server, first_task = world.server_row(), world.task_row("backup")
    world.clock.advance(10)
    deleted = world.settle(tree(), allow_deletions=world.plan(tree()).digest)
    assert told(deleted.plan) == [("delete", "backup@db-1"), ("delete", "db-1")]
    gone_server, gone_task = world.server_row(), world.task_row("backup")
    assert gone_server["deleted_at"] is not None
    assert (gone_server["project_id"], gone_server["status"], gone_task["status"]) == (None, 0, 0)
    assert (gone_task["next_slot"], gone_task["next_run"]) == (None, None)

    world.clock.advance(10)
    restored = world.settle(whole)
    assert told(restored.plan) == [("restore", "db-1"), ("restore", "backup@db-1")]
    back_server, back_task = world.server_row(), world.task_row("backup")
    assert (back_server["id"], back_task["id"]) == (first_server["id"], first_task["id"])
    assert back_server["project_id"] == first_server["project_id"]
    assert (back_server["generation"], back_task["generation"]) == (1, 1)
    assert (back_task["status"], back_task["deleted_at"]) == (1, None)
    assert back_task["next_slot"] is not None
    assert back_task["created_at"] == first_task["created_at"]

    world.apply(tree(server("db-1")))
    world.apply(tree(server("db-1"), task("backup", timeout="2h")))
    assert world.task_row("backup")["generation"] == 2


def test_a_disabled_server_that_comes_back_is_still_disabled(small_world: World) -> None:
    whole = tree(server("db-1", enabled=False), server("db-2"))
    small_world.apply(whole)
    small_world.apply(tree(server("db-2")))
    small_world.settle(whole)
    assert small_world.server_row()["status"] == 0
    assert small_world.server_row()["generation"] == 1


def test_a_server_of_another_project_is_refused_with_both_places(small_world: World) -> None:
    small_world.apply(tree(server("db-1", at=("fleet/db.yaml", 12)), project="fleet"))
    before = small_world.dump()
    with pytest.raises(PlanRefused) as error:
        small_world.apply(tree(server("db-1", at=("mine.yaml", 3)), project="billing"))
    (problem,) = problems(error)
    assert (problem["code"], problem["path"], problem["line"]) == ("owned-by-other-project", "mine.yaml", 3)
    assert "'fleet'" in problem["message"]
    assert "fleet/db.yaml:12" in problem["message"]
    assert small_world.dump() == before


def test_a_rename_onto_a_server_of_another_project_is_refused(small_world: World) -> None:
    small_world.apply(tree(server("db-1"), project="fleet"))
    small_world.apply(tree(server("mine")))
    with pytest.raises(PlanRefused) as error:
        small_world.apply(tree(server("db-1", formerly="mine")))
    assert [problem["code"] for problem in problems(error)] == ["owned-by-other-project"]


def test_a_deleted_server_belongs_to_whoever_declares_it_next(world: World) -> None:
    world.apply(tree(server("db-1"), server("keep"), project="fleet"))
    before = world.server_row()
    world.apply(tree(server("keep"), project="fleet"))
    applied = world.settle(tree(server("db-1", host="new"), task("backup"), project="billing"))
    assert told(applied.plan) == [("restore", "db-1"), ("create", "backup@db-1")]
    after = world.server_row()
    assert (after["id"], after["generation"], after["host"]) == (before["id"], 2, "new")
    owner = world.one("SELECT name FROM projects WHERE id = :id", id=after["project_id"])
    assert owner["name"] == "billing"
    with pytest.raises(PlanRefused):
        world.apply(tree(server("db-1"), server("keep"), project="fleet"))


def test_pruning_touches_only_what_the_project_owns(small_world: World) -> None:
    small_world.apply(tree(server("theirs"), task("their-task", "theirs"), project="fleet"))
    small_world.apply(tree(server("mine"), task("a", "mine"), task("b", "mine")))
    applied = small_world.settle(tree(server("mine"), task("a", "mine")))
    assert told(applied.plan) == [("delete", "b@mine")]
    assert small_world.task_row("their-task", "theirs", "fleet")["deleted_at"] is None


def test_two_projects_may_have_tasks_of_one_name_on_one_server(small_world: World) -> None:
    small_world.apply(tree(server("db-1"), task("backup"), project="fleet"))
    applied = small_world.settle(tree(task("backup", "fleet/db-1"), project="billing"))
    assert told(applied.plan) == [("create", "backup@db-1")]
    assert len(small_world.rows("SELECT id FROM tasks WHERE name = 'backup'")) == 2


def test_deleting_a_server_that_other_projects_need_names_their_tasks_and_jumps(small_world: World) -> None:
    small_world.apply(tree(server("db-1"), server("keep"), project="fleet"))
    small_world.apply(
        tree(
            task("backup", "fleet/db-1"),
            server("inner", jump="fleet/db-1"),
            task("free", "inner"),
            project="billing",
        )
    )
    with pytest.raises(PlanRefused) as error:
        small_world.apply(tree(server("keep"), project="fleet"))
    (problem,) = problems(error)
    assert problem["code"] == "server-needed"
    assert "billing/backup@db-1" in problem["message"]
    assert "billing/inner" in problem["message"]
    # once the others have moved away it goes
    small_world.apply(tree(server("inner"), task("free", "inner"), project="billing"))
    assert told(small_world.apply(tree(server("keep"), project="fleet")).plan) == [("delete", "db-1")]


UNKNOWN: dict[str, Any] = {
    "no such project": task("backup", "nobody/db-1"),
    "no such server": task("backup", "fleet/db-9"),
    "of another project": task("backup", "other/db-1"),
    "a jump": server("inner", jump="fleet/db-9"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_an_unknown_server_of_another_project_is_a_problem_at_its_place(
    small_world: World, case: str
) -> None:
    small_world.apply(tree(server("db-1"), project="fleet"))
    small_world.apply(tree(server("db-2"), project="other"))
    with pytest.raises(PlanRefused) as error:
        small_world.apply(tree(replace(UNKNOWN[case])))
    (problem,) = problems(error)
    assert problem["code"] == "unknown-server"
    assert problem["hint"]
    assert problem["line"] == 1


def test_without_prune_what_left_the_tree_stays(small_world: World) -> None:
    settings = {"prune": False}
    small_world.apply(tree(server("db-1"), task("a"), task("b"), settings=settings))
    before = small_world.dump()
    applied = small_world.apply(tree(task("a"), server("db-1"), settings=settings))
    assert applied.revision is None
    assert applied.summary["unchanged"] == 3
    assert small_world.dump() == before


def test_a_project_renamed_by_formerly_keeps_its_objects(world: World) -> None:
    world.apply(tree(server("db-1"), task("backup"), project="old"))
    before = world.task_row("backup", project="old")
    applied = world.settle(tree(server("db-1"), task("backup"), project="new", formerly="old"))
    assert told(applied.plan) == [("rename", "new")]
    assert world.task_row("backup", project="new") == before
    assert [row["name"] for row in world.rows("SELECT name FROM projects")] == ["new"]


def test_changed_project_settings_are_an_update_of_the_project(small_world: World) -> None:
    small_world.apply(tree(server("db-1")))
    change = the(
        small_world.settle(tree(server("db-1"), settings={"guard": {"maxDeletions": 3}})).plan, Action.UPDATE
    )
    assert change.kind.value == "Project"
    assert {name: (one.before, one.after) for name, one in change.fields.items()} == {
        "spec.guard.maxDeletions": (10, 3)
    }


def test_names_of_any_script_live_beside_each_other(world: World) -> None:
    names = ["备份数据库", "Backup", "backup", "bäckup", "резерв", "🗄️ nightly"]
    world.settle(tree(server("sérveur-1"), *(task(name, "sérveur-1") for name in names)))
    assert sorted(ids(world, "tasks")) == sorted(names)
