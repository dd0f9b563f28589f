"""`db upgrade|check|prune` as a person and a script see them, on all three databases."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from reconciler import __version__
from reconciler.cli.main import main
from reconciler.clock import SystemClock
from reconciler.store.engine import Database
from reconciler.store.schema import REVISIONS, VERSIONS
from tests.services.database import MariaDB

LAST = REVISIONS[-1]


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Done]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RECONCILER_DATABASE_URL", raising=False)

    def run(*arguments: str) -> Done:
        code = main(arguments)
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return run


def change(url: str, statement: Any) -> None:
    with closing(Database.open(url, SystemClock())) as db, db.write() as connection:
        connection.execute(statement)


def place(url: str) -> str:
    with closing(Database.open(url, SystemClock())) as db:
        return db.place


def test_an_empty_database_is_upgraded_once_and_then_checks_well(cli: Cli, database_url: str) -> None:
    option, where = ("--database", database_url), place(database_url)

    before = cli("db", "check", *option)
    assert (before.code, before.out) == (1, "")
    assert f"the database at {where} has no tables of reconciler yet" in before.err
    assert "hint: run `reconciler db upgrade`" in before.err

    assert cli("db", "upgrade", *option) == Done(
        0, f"{where} is at revision {LAST} now (before: empty)\n", ""
    )
    assert cli(*option, "db", "upgrade") == Done(0, f"{where} is at revision {LAST} already\n", "")

    after = cli("db", *option, "check")
    assert (after.code, after.err) == (0, "")
    assert after.out.startswith(f"{where} is at revision {LAST} of reconciler {__version__}, as expected")


def test_json_says_the_same_in_every_state(cli: Cli, database_url: str) -> None:
    option, where = ("-o", "json", "--database", database_url), place(database_url)
    expected = {"database": where, "expectedRevision": LAST, "ownVersion": __version__, "differences": []}
    none = {"revision": None, "program": None}

    empty = cli("db", "check", *option)
    assert (empty.code, empty.json) == (1, expected | none | {"state": "empty"})

    upgraded = cli("db", "upgrade", *option)
    assert upgraded.json == {"database": where, "before": None, "revision": LAST, "changed": True}
    again = cli("db", "upgrade", *option)
    assert again.json == {"database": where, "before": LAST, "revision": LAST, "changed": False}

    current = cli("db", "check", *option)
    ours = {"revision": LAST, "program": __version__}
    assert (current.code, current.json) == (0, expected | ours | {"state": "current"})

    change(database_url, VERSIONS.update().values(version_num="9999", program="77.0"))
    newer = cli("db", "check", *option)
    theirs = {"revision": "9999", "program": "77.0"}
    assert (newer.code, newer.json) == (1, expected | theirs | {"state": "too-new"})
    for words in (("db", "upgrade"), ("get", "tasks")):
        refused = cli(*words, *option)
        assert (refused.code, refused.json["error"]["code"]) == (1, "database-too-new")
        assert refused.json["error"]["details"]["program"] == "77.0"


def test_tables_that_somebody_changed_are_named_one_by_one(cli: Cli, database_url: str) -> None:
    option = ("--database", database_url)
    cli("db", "upgrade", *option)
    change(database_url, text("ALTER TABLE leases ADD COLUMN extra INTEGER"))
    change(database_url, text("DROP TABLE outbox"))

    plain = cli("db", "check", *option)
    assert (plain.code, plain.out) == (1, "")
    assert "- column leases.extra is not expected" in plain.err
    assert "- table outbox is missing" in plain.err

    found = cli("db", "check", *option, "-o", "json")
    assert found.code == 1
    assert found.json["state"] == "current"
    assert sorted(found.json["differences"]) == [
        "column leases.extra is not expected",
        "table outbox is missing",
    ]


def test_a_database_server_is_not_touched_by_other_commands(cli: Cli, mariadb_url: str) -> None:
    refused = cli("get", "tasks", "-o", "json", "--database", mariadb_url)
    assert refused.code == 1
    assert refused.json["error"]["code"] == "database-outdated"
    assert refused.json["error"]["hint"] == "run `reconciler db upgrade`"
    assert cli("db", "check", "-o", "json", "--database", mariadb_url).json["state"] == "empty"


def test_looking_at_the_default_database_does_not_make_it(cli: Cli, tmp_path: Path) -> None:
    assert cli("db", "check").code == 1
    assert list(tmp_path.iterdir()) == []
    assert cli("db", "upgrade").code == 0
    assert (tmp_path / ".reconciler" / "state.db").exists()


def test_what_is_not_there_is_told_without_the_password(cli: Cli) -> None:
    for action in ("upgrade", "check"):
        done = cli("db", action, "--database", "mysql://u:s3cret@127.0.0.1:1/x", "-o", "json")
        assert (done.code, done.json["error"]["code"]) == (1, "database-unavailable")
        assert "127.0.0.1:1/x" in done.err
        assert "s3cret" not in done.out + done.err


NOTHING = {"executions": 0, "messages": 0, "stuck": 0, "projects": [], "items": []}


def test_prune_of_an_empty_database_says_that_nothing_goes(cli: Cli) -> None:
    assert cli("db", "prune", "--dry-run") == Done(0, "would go: 0 executions\n", "")
    assert cli("db", "prune") == Done(0, "deleted: 0 executions\n", "")
    assert cli("db", "prune", "--dry-run", "-o", "json").json == {"dryRun": True} | NOTHING
    assert cli("db", "prune", "-o", "json").json == {"dryRun": False} | NOTHING


@pytest.mark.parametrize(
    "words", [("db",), ("db", "mend"), ("db", "check", "-o", "xml"), ("db", "upgrade", "x")]
)
def test_a_slip_is_a_wrong_usage(cli: Cli, words: tuple[str, ...]) -> None:
    assert cli(*words).code == 64


TREE = """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: shop}
---
apiVersion: reconciler/v1
kind: Server
metadata: {name: web}
spec: {host: web.example, username: deploy}
---
apiVersion: reconciler/v1
kind: Task
metadata: {name: backup}
spec: {server: web, command: "true", schedule: "0 3 * * *"}
"""


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind) for kind in ("mariadb", "mysql")])
def test_commands_that_only_look_need_select_alone(
    cli: Cli, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = request.getfixturevalue(kind)
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "all.yaml").write_text(TREE)
    with server.fresh() as url:
        assert cli("db", "upgrade", "--database", url).code == 0
        applied = cli("apply", "--yes", "--database", url)
        assert applied.code == 0, applied.err
        name = url.partition("?")[0].rpartition("/")[2]
        server.execute("CREATE USER 'reader'@'%' IDENTIFIED BY 'r'")
        try:
            server.execute(f"GRANT SELECT ON `{name}`.* TO 'reader'@'%'")
            reader = ("--database", url.replace(f"//{server.user}", "//reader:r", 1))
            for words in (
                *(("get", nouns) for nouns in ("servers", "tasks", "executions", "revisions", "projects")),
                ("plan",), ("status",), ("schedule",), ("describe", "task", "backup"), ("db", "check"),
                ("db", "prune", "--dry-run"),
            ):  # fmt: skip
                done = cli(*words, *reader)
                assert done.code == 0, (words, done.err)
            (tmp_path / "manifests" / "all.yaml").write_text(TREE.replace("0 3", "0 4"))
            refused = cli("apply", "--yes", *reader, "-o", "json")
            assert (refused.code, refused.json["error"]["code"]) == (1, "database-forbidden")
            assert refused.json["error"]["details"]["right"] in ("INSERT", "UPDATE")
            assert "lacks the right" in refused.err
        finally:
            server.execute("DROP USER 'reader'@'%'")


@pytest.mark.mariadb
@pytest.mark.slow
@pytest.mark.parametrize(
    ("says", "shown", "least"),
    [
        ("10.5.22-MariaDB", "mariadb 10.5.22", "10.6"),
        # a server without MariaDB in its name is taken for MySQL; up to here both call the isolation alike
        ("5.7.19-log", "mysql 5.7.19", "8.0.16"),
    ],
)
def test_a_server_that_is_too_old_is_named_with_the_version_that_would_do_and_nothing_is_made(
    cli: Cli, start_mariadb: Callable[..., MariaDB], says: str, shown: str, least: str
) -> None:
    server = start_mariadb(version=says)
    url = server.url(server.create_database("old"))
    done = cli("db", "upgrade", "--database", url)
    assert done.code == 1
    assert done.out == ""
    where = f"127.0.0.1:{server.port}/old"
    assert done.err == (
        f"error: the server at {where} is {shown}, which is too old\n  hint: it must be {least} or later\n"
    )
    done = cli("db", "upgrade", "--database", url, "-o", "json")
    assert done.code == 1
    assert done.json["error"]["message"] == f"the server at {where} is {shown}, which is too old"
    assert server.execute("SHOW TABLES", database="old") == []
