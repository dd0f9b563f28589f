"""Random trees, edits and hands: an applied plan leaves nothing to plan, and rows keep who they are."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.errors import PlanRefused
from reconciler.model.state import DesiredServer, DesiredState, DesiredTask
from reconciler.plan.changes import Action
from reconciler.plan.planfile import load_plan, save_plan
from reconciler.plan.stale import check_stale, refresh
from tests.plan.world import NOW, World, server, task, tree

SERVERS = ["s1", "s2", "s3"]
TASKS = ["a", "b", "c"]
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "timeout": st.sampled_from(["1m", "2m"]),
        "schedule": st.sampled_from(["@daily", "H * * * *", "@every 90s"]),
        "env": st.dictionaries(st.sampled_from("XY"), st.sampled_from("12"), min_size=1),
        "enabled": st.just(False),
    },
)


@st.composite
def trees(draw: st.DrawFn) -> DesiredState:
    """A valid tree over few names, so that edits meet each other; no two objects claim one former name."""
    names = draw(st.lists(st.sampled_from(SERVERS), min_size=1, unique=True))
    objects: list[DesiredServer | DesiredTask] = []
    claimed: set[str] = set()
    for name in names:
        former = draw(st.sampled_from([None, None, *SERVERS]))
        if former == name or former in claimed:
            former = None
        if former:
            claimed.add(former)
        objects.append(server(name, formerly=former, port=draw(st.sampled_from([22, 23]))))
    rows = draw(st.lists(st.tuples(st.sampled_from(TASKS), st.sampled_from(names)), unique=True, max_size=7))
    moved: set[str] = set()
    for name, at in rows:
        former = draw(
            st.sampled_from([None, None, *TASKS, *[f"{one}@{on}" for one in TASKS for on in SERVERS]])
        )
        claim = f"{former}@{at}" if former and "@" not in former else former
        if former is None or claim in moved or claim == f"{name}@{at}":
            former = None
        else:
            moved.add(str(claim))
        protected = draw(st.booleans()) and draw(st.booleans())
        objects.append(task(name, at, formerly=former, protected=protected, **draw(SPECS)))
    return tree(*draw(st.permutations(objects)), spec={"prune": draw(st.sampled_from([True, True, False]))})


def rows(world: World) -> dict[int, tuple[str, ...]]:
    return {
        **{row.id: (row.name,) for row in world.servers.values()},
        **{row.id: (row.name, row.server) for row in world.tasks.values()},
    }


def tried(world: World, desired: DesiredState) -> bool:
    """Apply it; whether that was possible."""
    try:
        world.apply(desired)
    except PlanRefused:
        return False
    return True


def spoil(world: World, draw: st.DataObject) -> None:
    """Hands at work on some rows."""
    for row in [*world.servers.values(), *world.tasks.values()]:
        if row.live and draw.draw(st.booleans()):
            field = {"port": 99} if row.id in world.servers else {"timeout": "9m", "env": {"X": "hand"}}
            world.by_hand(row, **field)


QUIET = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=80)


@QUIET
@given(st.lists(trees(), min_size=1, max_size=5), st.data())
def test_an_applied_plan_leaves_nothing_to_plan(sequence: list[DesiredState], data: st.DataObject) -> None:
    world = World()
    for desired in sequence:
        known = rows(world)
        spoil(world, data)
        if not tried(world, desired):
            continue
        again = world.plan(desired)
        assert again.empty, [*again.changes, *again.drift]
        assert not again.forget
        assert set(known) <= set(rows(world)), "no row ever disappears"
        live = {(row.name, row.server) for row in world.tasks.values() if row.live}
        declared = set(desired.tasks)
        assert declared == live if desired.spec.prune else declared <= live
        assert all(not row.drifted for row in world.tasks.values() if (row.name, row.server) in declared)


@QUIET
@given(trees(), st.data())
def test_what_was_deleted_comes_back_with_its_id_by_a_revert(
    first: DesiredState, data: st.DataObject
) -> None:
    world = World()
    world.apply(first)
    was = rows(world)
    servers = [one for one in first.servers.values() if data.draw(st.booleans())]
    names = {one.name for one in servers}
    tasks = [one for one in first.tasks.values() if one.server in names and data.draw(st.booleans())]
    world.apply(tree(*servers, *tasks))
    world.apply(first)
    assert rows(world) == was
    assert all(row.live for row in [*world.servers.values(), *world.tasks.values()])


@QUIET
@given(trees(), trees(), st.randoms(use_true_random=False))
def test_the_order_of_documents_makes_no_difference(
    first: DesiredState, second: DesiredState, random: Any
) -> None:
    world = World()
    if not tried(world, first):
        return
    objects = [*second.servers.values(), *second.tasks.values()]
    random.shuffle(objects)
    shuffled = tree(*objects, spec={"prune": second.spec.prune})
    with suppress(PlanRefused):
        assert world.plan(second).digest == world.plan(shuffled).digest


@QUIET
@given(trees(), trees(), st.data())
def test_a_saved_plan_does_the_same_as_a_fresh_one(
    first: DesiredState, second: DesiredState, data: st.DataObject
) -> None:
    world = World()
    if not tried(world, first):
        return
    spoil(world, data)
    try:
        plan = world.plan(second, NOW)
    except PlanRefused:
        return
    saved = load_plan(json.loads(json.dumps(save_plan(plan, world.observed()))))
    assert saved.plan.touched() == plan.touched()
    assert check_stale(saved, world.observed()) == ()
    world.apply(second, refresh(saved, world.observed()))
    after = world.plan(second)
    assert after.empty


@QUIET
@given(trees(), trees())
def test_generations_grow_only_where_git_changed_the_spec(first: DesiredState, second: DesiredState) -> None:
    world = World()
    if not tried(world, first):
        return
    before = {row.id: (row.generation, row.applied_hash) for row in world.tasks.values()}
    try:
        plan = world.plan(second)
    except PlanRefused:
        return
    world.apply(second, plan)
    for row in world.tasks.values():
        if row.id in before:
            generation, applied_hash = before[row.id]
            assert row.generation == generation + (row.applied_hash != applied_hash)
    assert all(change.action is not Action.UPDATE or change.git_changed for change in plan.changes)
