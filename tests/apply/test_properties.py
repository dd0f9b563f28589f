"""Whatever is declared, edited and spoilt by hand: an applied plan leaves nothing to plan."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from reconciler.errors import PlanRefused
from reconciler.model.state import DesiredState, Origin
from tests.apply.states import World, server, task, told, tree
from tests.store.conftest import Migrated

SERVERS = ["s1", "s2", "s3"]
TASKS = ["a", "b", "c", "d"]
WIDE = {"guard": {"maxDeletions": 1000, "maxDeletionPercent": 100}}

server_specs: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "port": st.sampled_from([22, 2222]),
        "enabled": st.booleans(),
        "environment": st.sampled_from(["", "prod"]),
        "maxConcurrentRuns": st.integers(1, 9),
        "metadata": st.sampled_from([{"labels": {"role": "db"}}, {"annotations": {"note": "  "}}]),
    },
)
task_specs: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "schedule": st.sampled_from(["0 2 * * *", "H H * * *", "@every 60s", "@daily", "*/5 * * * 1-5"]),
        "timezone": st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"]),
        "enabled": st.booleans(),
        "jitter": st.sampled_from(["0s", "5m"]),
        "command": st.sampled_from(["true", "echo x\necho y", "备份 'quoted' \\ %s :x"]),
        "timeout": st.sampled_from(["1h", "60m", "5s"]),
        "retries": st.sampled_from([{}, {"limit": 2}, {"factor": 1.5}]),
        "env": st.sampled_from([{}, {"A": "1"}, {"A": "%", "B": ""}]),
        "metadata": st.sampled_from([{"labels": {"tier": "gold"}}, {"protected": False}]),
    },
)


@st.composite
def trees(draw: st.DrawFn, *, renames: bool = True) -> DesiredState:
    """A tree with some servers, tasks on them, and any ``formerly`` that validation would let through."""
    names = draw(st.lists(st.sampled_from(SERVERS), unique=True, min_size=1))
    formers = _formers(draw, names, SERVERS) if renames else {}
    objects: list[Any] = [server(name, formerly=formers.get(name), **draw(server_specs)) for name in names]
    for name in names:
        jobs = draw(st.lists(st.sampled_from(TASKS), unique=True))
        jobs_formers = _formers(draw, jobs, TASKS) if renames else {}
        objects += [task(job, name, formerly=jobs_formers.get(job), **draw(task_specs)) for job in jobs]
    return tree(*objects, settings=draw(st.sampled_from([WIDE, {**WIDE, "prune": False}])))


def _formers(draw: st.DrawFn, names: list[str], pool: list[str]) -> dict[str, str]:
    """No two of one name, and no name that was itself: ``validate`` refuses those."""
    found: dict[str, str] = {}
    for name in names:
        old = draw(st.none() | st.sampled_from([*pool, "elsewhere"]))
        if old is not None and old != name and old not in found.values():
            found[name] = old
    return found


HANDS = [
    "UPDATE tasks SET command = 'by hand'",
    "UPDATE tasks SET status = 1 - status",
    "UPDATE tasks SET cron_expr = NULL, timezone = 'nowhere'",
    "UPDATE tasks SET cron_expr = '@every 7s'",
    "UPDATE tasks SET spec = 'garbage'",
    "UPDATE tasks SET spec = '[1]', labels = '{'",
    """UPDATE tasks SET spec = '{"spec" : {"jitter" : 5, "retries" : {"limit" : "x"}}}'""",
    "UPDATE tasks SET labels = 'null'",
    "UPDATE tasks SET deleted_at = '2026-01-01 00:00:00.000000'",
    "UPDATE tasks SET deleted_at = NULL",
    "UPDATE tasks SET protected = 0, generation = generation + 3",
    "UPDATE tasks SET spec_hash = 'x'",
    "UPDATE servers SET port = 99, username = NULL",
    "UPDATE servers SET status = 1 - status",
    "UPDATE servers SET spec = '', labels = '5'",
    """UPDATE servers SET spec = '{"spec" : {"jump" : 7}}'""",
    "UPDATE servers SET deleted_at = '2026-01-01 00:00:00.000000'",
    "UPDATE servers SET deleted_at = '2026-01-01 00:00:00.000000', project_id = NULL, status = 0",
    "UPDATE servers SET deleted_at = NULL",
    "UPDATE servers SET spec_hash = ''",
    "UPDATE projects SET spec = 'garbage'",
    """UPDATE projects SET spec = '{"prune" : false}'""",
]
hands = st.lists(st.tuples(st.sampled_from(HANDS), st.none() | st.integers(1, 6)), min_size=0, max_size=4)


@contextmanager
def fresh(migrated: Migrated) -> Iterator[World]:
    """A new SQLite file for each example."""
    with tempfile.TemporaryDirectory() as folder:
        world = World.open(migrated.url("sqlite", Path(folder) / "state.db"))
        with closing(world.db):
            yield world


def spoil(world: World, statements: list[tuple[str, int | None]]) -> None:
    """What hands do: to all rows of a table, or to one."""
    for statement, row_id in statements:
        where = "" if row_id is None else f" WHERE id = {row_id}"
        world.sql((statement + where).replace(":", r"\:"))


def identities(world: World) -> dict[Any, int]:
    found: dict[Any, int] = {row["name"]: row["id"] for row in world.rows("SELECT name, id FROM servers")}
    rows = world.rows(
        "SELECT t.name, s.name AS server, t.id FROM tasks t JOIN servers s ON s.id = t.server_id"
    )
    return found | {(row["name"], row["server"]): row["id"] for row in rows}


def times_fit(world: World, desired: DesiredState) -> None:
    """What is declared and may run has a next slot, and what is declared otherwise has none."""
    for row in world.rows(
        "SELECT t.name, s.name AS server, t.next_slot, t.next_run, t.cron_expr,"
        " t.status * s.status AS enabled,"
        " s.deleted_at IS NULL AS there FROM tasks t JOIN servers s ON s.id = t.server_id"
        " WHERE t.deleted_at IS NULL"
    ):
        if (row["name"], row["server"]) not in desired.tasks:
            continue  # without prune it stays as it is
        runs = bool(row["enabled"] and row["there"] and row["cron_expr"])
        assert (row["next_slot"] is not None) is (row["next_run"] is not None) is runs, row


def settled(world: World, desired: DesiredState) -> bool:
    """Apply what can be applied, and see that nothing is left to do. False: it contradicts the database."""
    before = world.dump()
    try:
        plan = world.plan(desired)
    except PlanRefused:
        assert world.dump() == before, "a refused plan writes nothing"
        return False
    applied = world.apply(desired, allow_deletions=plan.digest)
    assert applied.plan.digest == plan.digest, "what was planned is what was applied"
    assert (applied.revision is None) is plan.empty
    left = world.plan(desired)
    assert (told(left), left.all_drift(), left.forget) == ([], (), ())
    times_fit(world, desired)
    content = world.dump()
    assert world.apply(desired).revision is None
    assert world.dump() == content, "a second apply writes nothing at all"
    return True


slow = settings(
    max_examples=int(os.environ.get("RECONCILER_TEST_EXAMPLES", "12")),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
)


@slow
@given(st.lists(st.tuples(trees(), hands), min_size=2, max_size=4))
def test_after_any_edits_and_any_hands_an_apply_leaves_nothing_to_do(
    migrated: Migrated, steps: list[tuple[DesiredState, list[tuple[str, int | None]]]]
) -> None:
    with fresh(migrated) as world:
        for desired, by_hand in steps:
            settled(world, desired)
            spoil(world, by_hand)
            world.clock.advance(61)


@slow
@given(trees(renames=False), trees(renames=False), hands)
def test_what_was_deleted_and_comes_back_keeps_its_id(
    migrated: Migrated, first: DesiredState, second: DesiredState, by_hand: list[tuple[str, int | None]]
) -> None:
    with fresh(migrated) as world:
        assert settled(world, first)
        ids = identities(world)
        assert settled(world, second)
        spoil(world, by_hand)
        assert settled(world, first)
        now = identities(world)
        assert {key: now[key] for key in ids} == ids


@slow
@given(trees(), trees(), st.randoms(use_true_random=False))
def test_the_digest_is_of_what_is_done_not_of_where_it_is_written(
    migrated: Migrated, first: DesiredState, second: DesiredState, randomness: Any
) -> None:
    def moved(desired: DesiredState) -> DesiredState:
        """The same documents, in other files, at other lines, in another order."""

        def somewhere(objects: dict[Any, Any]) -> dict[Any, Any]:
            keys = list(objects)
            randomness.shuffle(keys)
            return {
                key: replace(
                    objects[key], origin=Origin(f"{randomness.random()}.yaml", randomness.randrange(999))
                )
                for key in keys
            }

        return replace(
            desired, servers=somewhere(dict(desired.servers)), tasks=somewhere(dict(desired.tasks))
        )

    with fresh(migrated) as world:
        if not settled(world, first):
            return
        assert world.plan(moved(first)).empty
        try:
            plan = world.plan(second)
        except PlanRefused:
            with pytest.raises(PlanRefused):
                world.plan(moved(second))
            return
        assert world.plan(moved(second)).digest == plan.digest
