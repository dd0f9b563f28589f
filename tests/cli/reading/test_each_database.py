"""Every reading command on every database, and with no right but SELECT."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import make_url

from reconciler.cli.main import main
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
        ["explain", "备份"],
    ):
        said = reconciler(*words)
        assert (said.code, said.err) == (0, ""), words
        assert said.out, words
        assert reconciler(*words, "-o", "json").json, words
    assert reconciler("logs", "备份").out == "saved 备份\n"


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("mariadb", marks=pytest.mark.mariadb),
        pytest.param("mysql", marks=pytest.mark.mysql),
    ],
    indirect=True,
)
def test_the_right_to_select_is_enough(
    world: World, reconciler: Command, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    world.server("db-1")
    task = world.task("backup", "db-1")
    world.run(task, NOW - timedelta(hours=1), status=2, error="boom\n")
    parsed = make_url(url)
    reader = f"reader{parsed.database[-8:]}" if parsed.database else "reader"
    with world.db.write() as conn:
        for statement in (
            f"DROP USER IF EXISTS {reader}@'%'",
            f"CREATE USER {reader}@'%' IDENTIFIED BY 'only-Reads.7'",
            f"GRANT SELECT ON `{parsed.database}`.* TO {reader}@'%'",
        ):
            conn.exec_driver_sql(statement.replace("%", "%%"))
    allowed = parsed.set(username=reader, password="only-Reads.7").render_as_string(hide_password=False)
    for words in (
        ["get", "tasks"],
        ["status"],
        ["schedule"],
        ["explain", "backup"],
        ["describe", "task", "backup"],
        ["logs", "backup"],
    ):
        code = main([*words, "--database", allowed])
        said = capsys.readouterr()
        assert (code, bool(said.out)) == (0, True), said.err
    with world.db.write() as conn:
        conn.exec_driver_sql(f"DROP USER {reader}@'%%'")
