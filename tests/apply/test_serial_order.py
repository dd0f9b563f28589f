"""Many processes applying at once leave the state of some serial order: that of their revisions."""

from __future__ import annotations

import multiprocessing
import os
import random
import traceback
from contextlib import closing
from pathlib import Path
from typing import Any

from reconciler.apply.apply import apply
from reconciler.apply.request import ApplyRequest
from reconciler.clock import SystemClock
from reconciler.errors import LockHeld, PlanRefused
from reconciler.model.state import DesiredState
from reconciler.store.engine import Database
from tests.apply.states import World, commit, server, task, tree
from tests.store.conftest import Migrated

ROUNDS = {"sqlite": 12, "mariadb": 25, "mysql": 12}
"""Applies of each of four processes; RECONCILER_TEST_ROUNDS times as many."""
TIMES = int(os.environ.get("RECONCILER_TEST_ROUNDS", "1"))


def variant(project: str, number: int) -> DesiredState:
    """One of many trees; the two projects share a server name, and each needs the other's server at times."""
    other = {"north": "south", "south": "north"}[project]
    choice = random.Random(f"{project}/{number}")
    objects: list[Any] = [server(f"{project}-1", port=choice.choice([22, 2222]))]
    if choice.random() < 0.5:
        objects.append(server(f"{project}-2"))
    if choice.random() < 0.3:
        objects.append(server("shared"))
    objects += [
        task(name, f"{project}-1", timeout=choice.choice(["1h", "2h"]), schedule="@every 60s")
        for name in choice.sample(["a", "b", "c", "d"], 3)
    ]
    if choice.random() < 0.4:
        objects.append(task("guest", f"{other}/{other}-{choice.choice([1, 2])}"))
    settings = {"guard": {"maxDeletions": 1000, "maxDeletionPercent": 100}}
    # the commit says which tree it was
    return tree(*objects, project=project, settings=settings, commit=commit(f"{project}-{number}"))


def contend(url: str, project: str, seed: int, rounds: int, report: Any) -> None:
    """What each process does; every outcome but these is a failure of the test."""
    choice = random.Random(seed)
    counts = {"applied": 0, "nothing": 0, "locked": 0, "refused": 0}
    try:
        with closing(Database.open(url, SystemClock())) as db:
            for _ in range(rounds):
                request = ApplyRequest(variant(project, choice.randrange(40)), "otto@ci", "otto@ci")
                try:
                    applied = apply(db, request, SystemClock(), random.Random())
                    counts["applied" if applied.revision else "nothing"] += 1
                except LockHeld:
                    counts["locked"] += 1
                except PlanRefused:
                    counts["refused"] += 1
        report.put(counts)
    except BaseException:
        report.put(traceback.format_exc())


def state(world: World) -> dict[str, list[dict[str, Any]]]:
    """Everything but ids and times."""
    return {
        "servers": world.rows(
            "SELECT s.name, s.port, s.status, s.spec, s.spec_hash, s.generation, p.name AS owner,"
            " r.`commit` AS said, s.deleted_at IS NULL AS live FROM servers s"
            " LEFT JOIN projects p ON p.id = s.project_id"
            " JOIN revisions r ON r.id = s.revision_id ORDER BY s.name"
        ),
        "tasks": world.rows(
            "SELECT t.name, s.name AS server, t.status, t.spec, t.spec_hash, t.generation, p.name AS owner,"
            " r.`commit` AS said, t.deleted_at IS NULL AS live, t.next_run IS NULL AS never FROM tasks t"
            " JOIN servers s ON s.id = t.server_id JOIN projects p ON p.id = t.project_id"
            " JOIN revisions r ON r.id = t.revision_id ORDER BY p.name, s.name, t.name"
        ),
        "projects": world.rows("SELECT name, `commit`, spec FROM projects ORDER BY name"),
        "revisions": world.rows("SELECT `commit`, digest, counts FROM revisions ORDER BY id"),
    }


def test_any_number_of_processes_leave_the_state_of_some_serial_order(
    world: World, world_url: str, migrated: Migrated, tmp_path: Path
) -> None:
    rounds = ROUNDS[world.db.dialect] * TIMES
    world.db.close()  # no connection is shared with a fork
    fork = multiprocessing.get_context("fork")
    reports = fork.Queue()
    contenders = [
        fork.Process(target=contend, args=(world_url, project, seed, rounds, reports), daemon=True)
        for seed, project in enumerate(["north", "north", "south", "south"])
    ]
    for process in contenders:
        process.start()
    outcomes = [reports.get(timeout=60 * TIMES) for _ in contenders]
    for process in contenders:
        process.join(10)
    assert all(isinstance(outcome, dict) for outcome in outcomes), outcomes
    applied = sum(outcome["applied"] for outcome in outcomes)
    # how many depends on how busy the machine is: most of the others find the lock held
    assert applied > 1, outcomes

    left = state(world)
    orphans = "SELECT t.id FROM tasks t JOIN servers s ON s.id = t.server_id WHERE t.deleted_at IS NULL"
    assert world.rows(f"{orphans} AND s.deleted_at IS NOT NULL") == []
    assert len(left["revisions"]) == applied
    replayed = World.open(migrated.url("sqlite", tmp_path / "replayed.db"))
    with closing(replayed.db):
        for revision in left["revisions"]:
            project, _, number = revision["commit"].rpartition("-")
            assert replayed.apply(variant(project, int(number))).plan.digest == revision["digest"]
        assert state(replayed) == left
