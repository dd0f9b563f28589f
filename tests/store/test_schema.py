"""A database from nothing, from the middle, from the past and the future: upgraded, or refused with words."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import event, inspect, text

from reconciler import __version__
from reconciler.clock import SystemClock
from reconciler.errors import DatabaseBusy, DatabaseOutdated, DatabaseRejected, DatabaseTooNew
from reconciler.store import schema
from reconciler.store.engine import Database
from reconciler.store.schema import Fit, SchemaState, check, differences, ensure, upgrade
from tests.store.conftest import DIALECTS, Migrated

ROOT = Path(__file__).resolve().parents[2]
LAST = schema.REVISIONS[-1]


@pytest.fixture
def empty(database_url: str) -> Iterator[Database]:
    with closing(Database.open(database_url, SystemClock())) as database:
        yield database


def statements_of(db: Database, verbs: tuple[str, ...] = ()) -> list[str]:
    """A list that grows with each statement the database is sent."""
    seen: list[str] = []

    @event.listens_for(db.engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not verbs or statement.lstrip().upper().startswith(verbs):
            seen.append(statement)

    return seen


def set_version(db: Database, revision: str, program: str) -> None:
    with db.write() as connection:
        values = {"version_num": revision, "program": program}
        connection.execute(schema.VERSIONS.update().values(values))


def test_the_revisions_written_out_are_those_of_the_folder() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    config.set_main_option("path_separator", "newline")
    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(found)) == schema.REVISIONS


# From empty --------------------------------------------------------------------------------------


def test_an_upgrade_from_nothing_makes_what_the_models_describe(empty: Database) -> None:
    assert check(empty) == SchemaState(Fit.EMPTY, None, None, LAST, __version__)
    assert upgrade(empty) == LAST
    assert check(empty) == SchemaState(Fit.CURRENT, LAST, __version__, LAST, __version__)
    assert differences(empty) == []
    ensure(empty)


def test_a_second_upgrade_has_nothing_to_do_and_writes_nothing(empty: Database) -> None:
    upgrade(empty)
    written = statements_of(empty, ("CREATE", "ALTER", "INSERT", "UPDATE", "DELETE"))
    assert upgrade(empty) is None
    assert written == []


def test_only_sqlite_is_made_by_itself(empty: Database) -> None:
    if empty.dialect == "sqlite":
        ensure(empty)
        assert check(empty).fit is Fit.CURRENT
        return
    with pytest.raises(DatabaseOutdated, match="no tables of reconciler yet") as caught:
        ensure(empty)
    assert caught.value.hint == "run `reconciler db upgrade`"
    assert check(empty).fit is Fit.EMPTY


def test_sqlite_is_left_alone_where_the_caller_says_so(sqlite_url: str) -> None:
    with closing(Database.open(sqlite_url, SystemClock())) as db:
        with pytest.raises(DatabaseOutdated):
            ensure(db, upgrade_sqlite=False)
        assert not Path(db.place).exists(), "not even looking makes the file"


def test_when_all_is_current_one_select_says_so(db: Database) -> None:
    with db.read():
        pass  # the first connection of an engine asks the server what it is
    sent = statements_of(db)
    ensure(db)
    own = [statement for statement in sent if "BEGIN" not in statement]
    assert len(own) == 1
    assert own[0].startswith("SELECT")


def test_looking_at_a_current_database_does_not_load_alembic(tmp_path: Path, migrated: Migrated) -> None:
    url = migrated.url("sqlite", tmp_path / "state.db")
    script = (
        "import sys\n"
        "from reconciler.clock import SystemClock\n"
        "from reconciler.store.engine import Database\n"
        "from reconciler.store.schema import ensure\n"
        f"ensure(Database.open({url!r}, SystemClock()))\n"
        "print('alembic' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


# From an earlier and from a later program --------------------------------------------------------

SECOND = """
import sqlalchemy as sa
from alembic import op

from reconciler.store.migrations import once

revision = "9999"
down_revision = "{before}"


def upgrade():
    once.create_table("extras", sa.Column("note", sa.String(20), primary_key=True))
    once.create_index("extras", "note")
"""


@contextmanager
def later_program(folder: Path, version: str = "7.8.9") -> Iterator[None]:
    """A program that knows one revision more than this one."""
    folder.mkdir()
    versions = folder / "versions"
    versions.mkdir()
    for file in schema.MIGRATIONS.glob("*.py"):
        (folder / file.name).write_text(file.read_text())
    for file in (schema.MIGRATIONS / "versions").glob("*.py"):
        (versions / file.name).write_text(file.read_text())
    (versions / "9999_extras.py").write_text(SECOND.format(before=LAST))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", folder)
        patch.setattr(schema, "REVISIONS", (*schema.REVISIONS, "9999"))
        patch.setattr(schema, "__version__", version)
        yield


@contextmanager
def earlier_program(folder: Path, last: str) -> Iterator[None]:
    """This program as it was when ``last`` was its newest revision."""
    versions = folder / "versions"
    versions.mkdir(parents=True)
    known = schema.REVISIONS[: schema.REVISIONS.index(last) + 1]
    for file in schema.MIGRATIONS.glob("*.py"):
        (folder / file.name).write_text(file.read_text())
    for file in (schema.MIGRATIONS / "versions").glob("*.py"):
        if file.name.startswith((*known, "__init__")):
            (versions / file.name).write_text(file.read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", folder)
        patch.setattr(schema, "REVISIONS", known)
        yield


def tables_like(db: Database, name: str) -> list[str]:
    with db.read() as connection:
        return [table for table in inspect(connection).get_table_names() if table == name]


@pytest.mark.parametrize("start", [None, *schema.REVISIONS])
def test_from_every_earlier_revision_the_next_is_reached(
    empty: Database, tmp_path: Path, start: str | None
) -> None:
    if start is not None:
        with earlier_program(tmp_path / "earlier", start):
            assert upgrade(empty) == start
    with later_program(tmp_path / "later"):
        state = check(empty)
        assert state.fit is (Fit.OUTDATED if start else Fit.EMPTY)
        assert (state.revision, state.expected) == (start, "9999")
        if empty.dialect == "sqlite":
            ensure(empty)
        else:
            with pytest.raises(DatabaseOutdated) as caught:
                ensure(empty)
            assert caught.value.hint == "run `reconciler db upgrade`"
            if start:
                assert f"at revision {start} of reconciler {__version__}" in caught.value.message
                assert "9999" in caught.value.message
            assert upgrade(empty) == "9999"
        assert (check(empty).fit, check(empty).program) == (Fit.CURRENT, "7.8.9")
        assert tables_like(empty, "extras") == ["extras"]


def test_a_newer_database_is_refused_with_both_versions_and_stays_as_it_is(
    empty: Database, tmp_path: Path
) -> None:
    with later_program(tmp_path / "later"):
        upgrade(empty)
    for refused in (ensure, upgrade):
        with pytest.raises(DatabaseTooNew) as caught:
            refused(empty)
        for word in ("9999", "7.8.9", LAST, __version__):
            assert word in caught.value.message
        assert caught.value.hint == "use reconciler 7.8.9 or later"
        assert caught.value.details == {
            "revision": "9999", "program": "7.8.9", "expectedRevision": LAST, "ownVersion": __version__,
        }  # fmt: skip
    assert check(empty) == SchemaState(Fit.TOO_NEW, "9999", "7.8.9", LAST, __version__)


def test_tables_of_another_program_are_left_alone(empty: Database) -> None:
    with empty.write() as connection:
        connection.execute(text("CREATE TABLE users (id INTEGER PRIMARY KEY)"))
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('f00ba4')"))
    written = statements_of(empty, ("CREATE", "ALTER", "INSERT", "UPDATE", "DELETE"))
    for refused in (ensure, upgrade):
        with pytest.raises(DatabaseRejected, match="another program made"):
            refused(empty)
    assert check(empty).fit is Fit.FOREIGN
    assert written == []


def test_tables_that_are_none_of_our_business_are_no_hindrance(empty: Database) -> None:
    with empty.write() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("CREATE TABLE oddity (id INTEGER)"))
    assert upgrade(empty) == LAST
    assert differences(empty) == []
    assert check(empty).fit is Fit.CURRENT


@pytest.mark.parametrize(
    ("version", "mariadb", "refused"),
    [
        ((5, 7, 44), False, "mysql 5.7.44"),
        ((8, 0, 15), False, "mysql 8.0.15"),
        ((8, 0, 16), False, None),
        ((9, 4, 0), False, None),
        ((10, 5, 22), True, "mariadb 10.5.22"),
        ((10, 6, 0), True, None),
        ((12, 1, 2), True, None),
    ],
)
def test_a_server_that_is_too_old_is_refused_before_anything_is_made(
    sqlite_url: str, version: tuple[int, ...], mariadb: bool, refused: str | None
) -> None:
    class Dialect:
        name = "mysql"
        is_mariadb = mariadb
        server_version_info = (5, 5, 5) if mariadb else version
        _mariadb_normalized_version_info = version if mariadb else None

    class Connection:
        dialect = Dialect

    if refused is None:
        schema._refuse_old_server(Connection, "db:3306/x")  # type: ignore[arg-type]
        return
    with pytest.raises(DatabaseRejected, match=refused) as caught:
        schema._refuse_old_server(Connection, "db:3306/x")  # type: ignore[arg-type]
    assert "or later" in (caught.value.hint or "")


# Cut off, and several at once --------------------------------------------------------------------


class Cut(Exception):
    """The process dies here."""


def test_an_upgrade_that_is_cut_off_anywhere_is_finished_by_the_next(empty: Database) -> None:
    """Each try dies after one statement more of its own has worked."""
    left = 0

    @event.listens_for(empty.engine, "after_cursor_execute")
    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal left
        if statement.lstrip().upper().startswith(("CREATE", "INSERT", "UPDATE", "ALTER")):
            left -= 1
            if left == 0:
                raise Cut

    cuts = 0
    # SQLite takes a cut upgrade back, so the cut moves on; the servers keep what is made, so the work does.
    step = {"sqlite": 1, "mariadb": 2, "mysql": 6}[empty.dialect]
    for tries in range(1, 100):
        left = tries if empty.dialect == "sqlite" else step + cuts // 20
        try:
            upgrade(empty)
        except Cut:
            cuts += 1
            assert check(empty).fit in (Fit.EMPTY, Fit.OUTDATED), "unfinished is never taken for finished"
        else:
            break
    assert cuts >= 30 // step
    assert check(empty).fit is Fit.CURRENT
    assert differences(empty) == []


@pytest.mark.parametrize("kind", DIALECTS[1:])
def test_an_upgrade_whose_process_is_killed_is_finished_by_the_next(
    kind: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(kind)
    with server.fresh() as url, closing(Database.open(url, SystemClock())) as db:
        script = (
            "import os, signal\n"
            "from sqlalchemy import event\n"
            "from reconciler.clock import SystemClock\n"
            "from reconciler.store.engine import Database\n"
            "from reconciler.store.schema import upgrade\n"
            f"db = Database.open({url!r}, SystemClock())\n"
            "@event.listens_for(db.engine, 'before_cursor_execute')\n"
            "def die(_c, _u, statement, *_):\n"
            "    if 'CREATE INDEX ix_tasks_server_id' in statement:\n"
            "        os.kill(os.getpid(), signal.SIGKILL)\n"
            "upgrade(db)\n"
        )
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == -9, done.stderr
        assert tables_like(db, "tasks") == ["tasks"]
        assert tables_like(db, "outbox") == []
        assert check(db).fit is Fit.EMPTY
        assert upgrade(db) == LAST
        assert differences(db) == []


def test_upgrades_at_the_same_time_wait_for_each_other(database_url: str) -> None:
    barrier = threading.Barrier(4)

    def one(_: int) -> str | None:
        with closing(Database.open(database_url, SystemClock())) as database:
            barrier.wait()
            return upgrade(database)

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(one, range(4)))
    assert sorted(seen, key=str) == [LAST, None, None, None]


def test_processes_that_open_a_new_sqlite_file_at_once_all_find_it_ready(tmp_path: Path) -> None:
    script = (
        "import os, sys, traceback\n"
        "import alembic.command\n"
        "from reconciler.clock import SystemClock\n"
        "from reconciler.store.engine import Database\n"
        "from reconciler.store.schema import check, ensure\n"
        "def child(number):\n"
        f"    db = Database.open(f'sqlite:///{tmp_path}/{{number // 5}}/state.db', SystemClock())\n"
        "    ensure(db)\n"
        "    return check(db).fit == 'current'\n"
        "children = []\n"
        "for number in range(10):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        try:\n"
        "            os._exit(0 if child(number) else 3)\n"
        "        except BaseException:\n"
        "            traceback.print_exc()\n"
        "            os._exit(4)\n"
        "    children.append(pid)\n"
        "print([os.waitpid(pid, 0)[1] for pid in children])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == (str([0] * 10), "")


def test_an_upgrade_waits_only_so_long_for_another(mariadb_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "WAIT_SECONDS", 1)
    with closing(Database.open(mariadb_url, SystemClock())) as db:
        with schema._alone(db), pytest.raises(DatabaseBusy, match="another upgrade"):
            upgrade(db)
        assert upgrade(db) == LAST
