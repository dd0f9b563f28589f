"""The edge of this room: every exception of SQLAlchemy, PyMySQL and sqlite3 becomes one of ours.

No message is built from the statement, its values or the URL: they may hold secrets. The one thing
shown of the connection is host and port (or the file).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import pymysql.err
from sqlalchemy import exc

from reconciler.errors import (
    DatabaseBusy,
    DatabaseForbidden,
    DatabaseOutdated,
    DatabaseRejected,
    DatabaseUnavailable,
    ReconcilerError,
)

DEADLOCK = {1205, 1213, 3572, 1020}
"""Lock wait timeout, deadlock, NOWAIT refused, MariaDB's snapshot conflict: the transaction may be repeated."""
LOST = {
    1053,
    1077,
    1079,
    1152,
    1158,
    1159,
    1160,
    1161,
    1184,
    1927,
    1040,
    1203,
    2002,
    2003,
    2006,
    2013,
    2014,
    2055,
    4031,
}
"""Server going down, connection aborted or not possible, too many connections."""
FORBIDDEN = {1044, 1045, 1142, 1143, 1227, 1370, 1410, 1698, 3118, 1862, 1820}
READ_ONLY = {1290, 1836, 1792}
UNKNOWN_DATABASE = {1049}
NO_SUCH_TABLE = {1146, 1054}
FULL = {1021, 1114, 28, 3}
DUPLICATE = {1062, 1586}


@contextmanager
def mapped(place: str) -> Iterator[None]:
    """Translate what the block raises; ``place`` is host:port or the file's name."""
    try:
        yield
    except ReconcilerError:
        raise
    except exc.SQLAlchemyError as error:
        raise translate(error, place) from error
    except (pymysql.err.MySQLError, sqlite3.Error, OSError) as error:
        raise _of_driver(error, place) from error


def translate(error: exc.SQLAlchemyError, place: str) -> ReconcilerError:
    """Our error for one of SQLAlchemy's."""
    if isinstance(error, exc.DBAPIError) and error.orig is not None:
        return _of_driver(error.orig, place, lost=error.connection_invalidated)
    if isinstance(error, exc.TimeoutError):
        return DatabaseBusy(
            f"no connection to the database at {place} became free in time",
            hint="raise RECONCILER_DATABASE_POOL_SIZE, or see what holds the connections",
        )
    if isinstance(error, exc.ArgumentError | exc.NoSuchModuleError):
        return DatabaseRejected(
            "the database URL cannot be used",
            hint="write sqlite:///FILE or mysql+pymysql://USER:PASSWORD@HOST/DATABASE",
        )
    if isinstance(error, exc.StatementError) and isinstance(error.orig, ValueError):
        return DatabaseRejected(f"a value does not fit its column: {error.orig}")
    return DatabaseRejected(f"the database layer failed: {type(error).__name__}")


def is_duplicate(error: BaseException) -> bool:
    """Whether a unique key refused a row."""
    orig = error.orig if isinstance(error, exc.DBAPIError) else error
    if isinstance(orig, sqlite3.IntegrityError):
        return "UNIQUE constraint" in str(orig) or "PRIMARY KEY" in str(orig)
    return _number(orig) in DUPLICATE


def is_retryable(error: BaseException) -> bool:
    """Whether running the whole transaction again may succeed at once: a deadlock, a lock timeout."""
    return isinstance(error, DatabaseBusy)


def _number(error: BaseException | None) -> int:
    arguments = getattr(error, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else 0


def _of_driver(error: BaseException, place: str, *, lost: bool = False) -> ReconcilerError:
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error, place)
    number = _number(error)
    if number in DEADLOCK:
        return DatabaseBusy(f"the database at {place} reports a deadlock or a lock that was held too long")
    if number in FORBIDDEN:
        return DatabaseForbidden(
            f"the database at {place} refuses this user ({number})",
            hint="check user and password, and the rights that docs/operations.md lists",
        )
    if number in UNKNOWN_DATABASE:
        return DatabaseUnavailable(
            f"the server at {place} has no such database",
            hint="CREATE DATABASE … CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, then `reconciler db upgrade`",
        )
    if number in READ_ONLY:
        return DatabaseUnavailable(
            f"the database at {place} is read-only",
            hint="is it a replica, or is a failover in progress? point the URL at the primary",
        )
    if number in FULL:
        return DatabaseUnavailable(f"the database at {place} has no space left")
    if number in NO_SUCH_TABLE:
        return DatabaseOutdated(
            f"the database at {place} lacks a table or column", hint="run `reconciler db upgrade`"
        )
    if lost or number in LOST or isinstance(error, OSError | pymysql.err.InterfaceError):
        return DatabaseUnavailable(
            f"the database at {place} cannot be reached or went away",
            hint="is it running, and does the network let us through? nothing was changed by a broken transaction",
        )
    return DatabaseRejected(f"the database at {place} refused a statement ({type(error).__name__} {number})")


def _of_sqlite(error: sqlite3.Error, place: str) -> ReconcilerError:
    text = str(error).lower()
    name = getattr(error, "sqlite_errorname", "") or ""
    if "locked" in text or name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return DatabaseBusy(f"{place} is locked by another process for too long")
    if name.startswith("SQLITE_READONLY") or "readonly" in text or name == "SQLITE_PERM":
        return DatabaseForbidden(
            f"{place} cannot be written", hint="check the rights of the file and its folder"
        )
    if name.startswith("SQLITE_FULL") or "disk is full" in text:
        return DatabaseUnavailable(f"the disk of {place} is full", hint="make room; nothing was changed")
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_IOERR")) or "unable to open" in text:
        return DatabaseUnavailable(
            f"{place} cannot be opened", hint="does the folder exist, and may it be written?"
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or "not a database" in text:
        return DatabaseRejected(f"{place} is not a usable SQLite database", hint="is it the right file?")
    if "no such table" in text or "no such column" in text or "has no column" in text:
        return DatabaseOutdated(f"{place} lacks a table or column", hint="run `reconciler db upgrade`")
    return DatabaseRejected(f"{place} refused a statement ({type(error).__name__} {name})".rstrip(" )") + ")")
