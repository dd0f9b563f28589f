"""A saved plan: there and back, never with a secret, and never believed when it was edited."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from reconciler.errors import SourceUnreadable
from reconciler.model.measured import Measured
from reconciler.plan.json import plan_shape
from reconciler.plan.planfile import is_plan, load_plan, save_plan
from reconciler.plan.stale import check_stale, refresh
from tests.plan.world import NOW, World, applied, server, task, tree


def rich() -> tuple[World, Any]:
    world = applied(
        server("db-1"), server("old"), task("a", schedule="@daily"), task("was"), task("gone"),
        task("hand"), task("up"), commit="c1",
    )  # fmt: skip
    world.by_hand(world.task_row("hand", "db-1"), timeout="5m")
    world.by_hand(world.task_row("up", "db-1"), timeout="5m")
    desired = tree(
        server("db-1", jump="gate", auth={"password": {"env": "DB_PASSWORD"}}), server("gate"),
        server("new", formerly="old"),
        task("a", schedule="H 3 * * *", timezone="Europe/Berlin", secrets={"P": {"env": "SOURCE"}}),
        task("is", formerly="was"), task("hand"), task("up", env={"A": "1"}), task("next", after=["a"]),
        commit="c2", source="git@host:repo//m",
    )  # fmt: skip
    return world, desired


def through_json(value: object) -> Any:
    return json.loads(json.dumps(value, ensure_ascii=False))


def test_it_comes_back_as_the_same_plan() -> None:
    world, desired = rich()
    rows = [row.id for row in world.tasks.values()]
    plan = world.plan(
        desired, NOW, measured=Measured(dict.fromkeys(rows, 90.0), dict.fromkeys(rows, (1 << 62,)))
    )
    saved = load_plan(through_json(save_plan(plan, world.observed(), NOW)))
    assert saved.plan == plan
    assert plan_shape(saved.plan) == plan_shape(plan)
    assert saved.created_at == NOW


def test_it_applies_like_the_plan_itself() -> None:
    world, desired = rich()
    value = through_json(save_plan(world.plan(desired), world.observed()))
    saved = load_plan(value)
    assert check_stale(saved, world.observed()) == ()
    world.apply(desired, refresh(saved, world.observed()))
    assert world.plan(desired).empty


def test_it_holds_names_of_secret_sources_only() -> None:
    world, desired = rich()
    text = json.dumps(save_plan(world.plan(desired), world.observed()))
    assert "DB_PASSWORD" in text
    assert "SOURCE" in text


@pytest.mark.parametrize("value", [None, [], 3, "plan", {}, {"kind": "other"}, {"format": 1, "project": "x"}])
def test_something_else_is_not_a_plan(value: object) -> None:
    assert not is_plan(value)
    with pytest.raises(SourceUnreadable, match="not a saved plan"):
        load_plan(value)


def test_another_format_is_told_apart() -> None:
    world, desired = rich()
    value = {**save_plan(world.plan(desired), world.observed()), "format": 2}
    with pytest.raises(SourceUnreadable, match="format 2"):
        load_plan(value)


@pytest.mark.parametrize(
    "edit",
    [
        lambda value: value["changes"].pop(),
        lambda value: value["changes"][0].update(name="other"),
        lambda value: value["changes"][0]["desired"]["document"]["spec"].update(host="evil"),
        lambda value: value.update(project="other"),
        lambda value: value.update(checksum="0" * 64),
        lambda value: value.pop("checksum"),
        lambda value: value.update(extra=1),
        lambda value: value["guard"].update(tripped=False, release=None, limit=99),
    ],
)
def test_an_edited_file_is_refused(edit: Any) -> None:
    world, desired = rich()
    value = copy.deepcopy(through_json(save_plan(world.plan(desired), world.observed())))
    edit(value)
    with pytest.raises(SourceUnreadable, match="edited or cut off"):
        load_plan(value)


def resigned(value: dict[str, Any]) -> dict[str, Any]:
    from reconciler.plan.planfile import _checksum

    content = {name: item for name, item in value.items() if name != "checksum"}
    return {**content, "checksum": _checksum(content)}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda value: value["changes"].pop(), "not those of its digest"),
        (lambda value: value.pop("changes"), "impossible content"),
        (lambda value: value.update(changes=7), "impossible content"),
        (lambda value: value["changes"][0].update(kind="Cat"), "impossible content"),
        (lambda value: value["changes"][0].update(origin=[]), "impossible content"),
        (
            lambda value: value["changes"][0]["desired"]["document"]["spec"].update(port="x"),
            "impossible content",
        ),
        (lambda value: value.update(spec={"guard": 1}), "impossible content"),
        (lambda value: value.update(createdAt="yesterday"), "impossible content"),
    ],
)
def test_a_forged_file_is_refused_without_a_traceback(edit: Any, message: str) -> None:
    world, desired = rich()
    value = copy.deepcopy(through_json(save_plan(world.plan(desired), world.observed())))
    edit(value)
    with pytest.raises(SourceUnreadable, match=message):
        load_plan(resigned(value))
