"""The schema of a database: which revision it has, whether it fits the program, and how it is upgraded.

An SQLite file is created and upgraded by whoever opens it. A database server is upgraded only by
``db upgrade``: a person decides, because every program that uses the server must fit the new schema.

The revision stands in a table of our own, ``reconciler_schema``, together with the version of the program
that made it: one SELECT says all, both are written in one transaction, and no other program's
``alembic_version`` can be mistaken for ours (docs/adr/0003-tables.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select, text
from sqlalchemy.exc import DBAPIError

from reconciler import __version__
from reconciler.errors import (
    DatabaseBusy,
    DatabaseOutdated,
    DatabaseRejected,
    DatabaseTooNew,
    ReconcilerError,
)
from reconciler.store.engine import Database, without_time_limit
from reconciler.store.faults import lacks_table, mapped
from reconciler.store.tables import SERVER_TABLE, Base

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006")
"""All revisions this program knows, oldest first. Written out, so that an everyday command neither loads
Alembic nor reads the migrations; a test says that they agree."""
MIGRATIONS = Path(__file__).with_name("migrations")
WAIT_SECONDS = 60
"""How long an upgrade waits for another one that is under way."""
OLDEST = {"mysql": (8, 0, 16), "mariadb": (10, 6)}
"""Before them CHECKs are not enforced, or SKIP LOCKED is unknown."""

VERSIONS = Table(
    "reconciler_schema",
    MetaData(),  # not among the models: Alembic owns the first column and keeps its table out of comparisons
    Column("version_num", String(32), primary_key=True),
    Column("program", String(64), nullable=False, server_default=""),
    **SERVER_TABLE,  # type: ignore[call-overload]
)


class Fit(StrEnum):
    """How a database's schema fits this program."""

    EMPTY = "empty"
    """No revision is complete. There may be tables of an upgrade that was cut off: it can be run again."""
    CURRENT = "current"
    OUTDATED = "outdated"
    TOO_NEW = "too-new"
    FOREIGN = "foreign"
    """Tables with our names that another program made."""


@dataclass(frozen=True, slots=True)
class SchemaState:
    """What was found beside what this program expects.

    ``revision`` is the database's (None: none is complete) and ``program`` the version that made it;
    ``expected`` and ``own_version`` are this program's.
    """

    fit: Fit
    revision: str | None = None
    program: str | None = None
    expected: str = ""
    own_version: str = __version__


def check(db: Database) -> SchemaState:
    """Look at the database; needs SELECT only and creates nothing.

    Raises DatabaseUnavailable, DatabaseForbidden.
    """
    if db.engine.dialect.name == "sqlite" and not Path(db.place).exists():
        return _found(Fit.EMPTY)
    with db.read() as connection:
        return _state(connection)


def ensure(db: Database, upgrade_sqlite: bool = True) -> None:
    """Make sure that the schema fits this program: one SELECT when it does.

    An SQLite file is created and upgraded here, unless ``upgrade_sqlite`` is False. Raises DatabaseTooNew
    (both versions are named), DatabaseOutdated (a database server that is empty or older), DatabaseRejected
    (the tables are another program's).
    """
    state = check(db)
    if state.fit is Fit.CURRENT:
        return
    mendable = state.fit in (Fit.EMPTY, Fit.OUTDATED)
    if not (mendable and upgrade_sqlite and db.engine.dialect.name == "sqlite"):
        raise misfit(db.place, state)
    upgrade(db)


def upgrade(db: Database) -> str | None:
    """Bring the schema to this program's revision and return that; None if there was nothing to do.

    May be repeated after it was killed at any point, and run by several processes at once: one works, the
    others wait for it. Raises DatabaseTooNew, DatabaseRejected (another program's tables, too old a server),
    DatabaseForbidden, and DatabaseBusy when another upgrade lasts too long.
    """
    with _alone(db) as connection:
        state = _state(connection)
        if state.fit is Fit.CURRENT:
            return None
        if state.fit in (Fit.TOO_NEW, Fit.FOREIGN):
            raise misfit(db.place, state)
        _refuse_old_server(connection, db.place)
        VERSIONS.create(connection, checkfirst=True)
        if db.engine.dialect.name != "sqlite":
            connection.commit()  # Alembic would take an open transaction for one that it must not end
        _migrate(connection)
        return state.expected


def differences(db: Database) -> list[str]:
    """How the tables differ from what this program expects, one sentence each; empty when they do not."""
    from reconciler.store.inspection import differences as compared

    with db.read() as connection:
        return compared(connection)


def misfit(place: str, state: SchemaState) -> ReconcilerError:
    """The error for a schema that does not fit; ``details`` has both revisions and both versions."""
    details = {
        "revision": state.revision,
        "program": state.program,
        "expectedRevision": state.expected,
        "ownVersion": state.own_version,
    }
    theirs = f"revision {state.revision}" + (f" of reconciler {state.program}" if state.program else "")
    ours = f"reconciler {state.own_version} with revision {state.expected}"
    hint = "run `reconciler db upgrade`"
    if state.fit is Fit.EMPTY:
        message = f"the database at {place} has no tables of reconciler yet"
        return DatabaseOutdated(message, hint=hint, details=details)
    if state.fit is Fit.OUTDATED:
        message = f"the database at {place} is at {theirs}, and this is {ours}"
        return DatabaseOutdated(message, hint=hint, details=details)
    if state.fit is Fit.TOO_NEW:
        return DatabaseTooNew(
            f"the database at {place} is at {theirs}, which is newer than this {ours}",
            hint=f"use reconciler {state.program or 'of the version that upgraded it'} or later",
            details=details,
        )
    return DatabaseRejected(
        f"the database at {place} has tables with our names that another program made",
        hint="give reconciler a database of its own, and point RECONCILER_DATABASE_URL at it",
        details=details,
    )


def _found(fit: Fit, revision: str | None = None, program: str | None = None) -> SchemaState:
    return SchemaState(fit, revision, program or None, REVISIONS[-1])


def _state(connection: Connection) -> SchemaState:
    try:
        row = connection.execute(select(VERSIONS.c.version_num, VERSIONS.c.program)).one_or_none()
    except DBAPIError as error:
        if not lacks_table(error):
            raise
        names = set(inspect(connection).get_table_names())
        if VERSIONS.name in names:
            # made between the two looks, by whoever upgrades just now
            return _state(connection)
        return _found(_without_versions(names))
    if row is None:
        return _found(Fit.EMPTY)
    if row.version_num == REVISIONS[-1]:
        return _found(Fit.CURRENT, row.version_num, row.program)
    fit = Fit.OUTDATED if row.version_num in REVISIONS else Fit.TOO_NEW
    return _found(fit, row.version_num, row.program)


def _without_versions(names: set[str]) -> Fit:
    """Our table of versions comes before all others, so without it no other table can be ours."""
    return Fit.FOREIGN if names.intersection(Base.metadata.tables) else Fit.EMPTY


@contextmanager
def _alone(db: Database) -> Iterator[Connection]:
    """A connection on which nobody else upgrades this database meanwhile.

    SQLite: the one write transaction, so that all is done or nothing. The servers: a named lock that ends
    with the connection, which goes back to no pool; DDL commits itself there.
    """
    if db.engine.dialect.name == "sqlite":
        with db.write() as connection:
            yield connection
        return
    with mapped(db.place), db.engine.connect() as connection:
        without_time_limit(connection)
        name = f"reconciler-{sha256(str(db.engine.url.database).encode()).hexdigest()[:32]}"
        query = text("SELECT GET_LOCK(:name, :seconds)")
        if connection.execute(query, {"name": name, "seconds": WAIT_SECONDS}).scalar_one() != 1:
            raise DatabaseBusy(
                f"another upgrade of the database at {db.place} has been running for {WAIT_SECONDS} s",
                hint="wait for its end, then look with `reconciler db check`",
            )
        yield connection


def _refuse_old_server(connection: Connection, place: str) -> None:
    dialect = connection.dialect
    if dialect.name == "sqlite":
        return
    name = "mariadb" if getattr(dialect, "is_mariadb", False) else "mysql"
    # MariaDB may call itself 5.5.5-10.11.4: SQLAlchemy's normalised form leaves that prefix out
    normalised = getattr(dialect, "_mariadb_normalized_version_info", None)
    version = normalised if name == "mariadb" and normalised else dialect.server_version_info or ()
    numbers = tuple(part for part in version if isinstance(part, int))
    if numbers < OLDEST[name]:
        shown, least = (".".join(map(str, each)) for each in (numbers, OLDEST[name]))
        raise DatabaseRejected(
            f"the server at {place} is {name} {shown}, which is too old", hint=f"it must be {least} or later"
        )


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes.update(connection=connection, versions=VERSIONS, program=__version__)
    command.upgrade(config, "head")
