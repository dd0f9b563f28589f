"""Same effect, same digest; another effect, another digest."""

from __future__ import annotations

from datetime import timedelta

from tests.plan.world import NOW, applied, server, task, tree

OBJECTS = [server("db-1"), server("db-2"), task("a"), task("b", "db-2", schedule="@daily")]


def test_moved_lines_files_and_documents_keep_it() -> None:
    world = applied(server("db-1"))
    plan = world.plan(tree(*OBJECTS, commit="one"))
    moved = [
        task("b", "db-2", schedule="@daily", line=80, path="z.yaml"),
        server("db-2", path="z.yaml"),
        task("a", line=5),
        server("db-1", line=9),
    ]
    assert world.plan(tree(*moved, commit="two", source="elsewhere")).digest == plan.digest


def test_time_and_effect_are_not_in_it() -> None:
    world = applied(server("db-1"))
    digests = {world.plan(tree(*OBJECTS), now).digest for now in (None, NOW, NOW + timedelta(days=40))}
    assert len(digests) == 1


def test_each_part_of_a_change_is_in_it() -> None:
    world = applied(server("db-1"), server("db-2"), task("a"), task("b"))
    base = [server("db-1"), server("db-2"), task("a"), task("b")]
    variants = [
        tree(*base),
        tree(*base[:3]),
        tree(*base[:2], task("b")),
        tree(*base, task("c")),
        tree(*base, task("c", "db-2")),
        tree(*base, task("c", timeout="2h")),
        tree(*base[:2], task("a", timeout="2h"), task("b")),
        tree(*base[:2], task("a", timeout="3h"), task("b")),
        tree(*base[:2], task("a"), task("c", formerly="b", command="run b")),
        tree(*base, spec={"prune": False}),
    ]
    digests = [world.plan(one).digest for one in variants]
    assert len(set(digests)) == len(digests)
    world.by_hand(world.task_row("a", "db-1"), timeout="9m")
    assert world.plan(tree(*base)).digest not in digests, "drift is in it"
    assert len(digests[0]) == 64


def test_another_project_has_another_digest() -> None:
    assert applied(server("x")).plan(tree(task("a", "shop/x"), project="p")).digest != (
        applied(server("x")).plan(tree(task("a", "shop/x"), project="q")).digest
    )
