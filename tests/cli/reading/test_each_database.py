"""Every reading command on every database, and with no right but SELECT."""

from __future__ import annotations

from datetime import timedelta

from tests.cli.reading.conftest import Command, on_each_database
from tests.report.world import NOW, World


@on_each_database
def test_every_reading_command_answers(world: World, reconciler: Command, url: str) -> None:
    world.server("db-1")
    task = world.task("备份", "db-1")
    run = str(world.run(task, NOW - timedelta(hours=1), output="saved 备份\n"))
    revision = reconciler("get", "revisions", "-o", "json").json["items"][0]["id"]
    for words in (
        ["get", "servers"],
        ["get", "tasks", "备份"],
        ["get", "executions", "备份@db-1", "--state", "success", "--since", "2h"],
        ["get", "revisions"],
        ["get", "projects"],
        ["describe", "server", "db-1"],
        ["describe", "task", "备份"],
        ["describe", "execution", run],
        ["describe", "revision", str(revision)],
        ["status"],
        ["schedule"],
    ):
        said = reconciler(*words)
        assert (said.code, said.err) == (0, ""), words
        assert said.out, words
        assert reconciler(*words, "-o", "json").json, words
    assert reconciler("logs", "备份").out == "saved 备份\n"
