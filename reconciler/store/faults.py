"""The edge of this room: every exception of SQLAlchemy, PyMySQL and sqlite3 becomes one of ours.

No message is built from the statement, its values or the URL: they may hold secrets. Shown are host and port
(or the file), and of a server's own message only names: of a right, a table, a column, a key.
"""

from __future__ import annotations

import re
import sqlite3
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from reconciler.errors import (
    DatabaseBusy,
    DatabaseForbidden,
    DatabaseOutdated,
    DatabaseRejected,
    DatabaseUnavailable,
    ReconcilerError,
)

# The numbers are those of both servers' error lists; 2000 to 2999 are the client's own.
DEADLOCK = {1205, 1213, 3572, 1020}
"""Lock wait timeout, deadlock, NOWAIT refused, MariaDB's snapshot conflict: repeat the transaction."""
LOST = {
    *(1040, 1129, 1135, 1203, 1226),  # too many connections, this host blocked, no thread, this user's limit
    *(1047, 1053, 1077, 1079),  # cluster node not ready, shutting down
    *(1152, 1158, 1159, 1160, 1161, 1184, 1927, 4031),  # aborted, killed, idle for too long
    *(1037, 1038, 1041),  # out of memory
    *(1180, 1317, 1969, 3024),  # commit failed, interrupted, statement over its time
    *(2002, 2003, 2005, 2006, 2012, 2013, 2014, 2026, 2027, 2055),
}
"""The server is not there, going down, full of connections, or the connection broke."""
LOGIN = {1045, 1130, 1251, 1698, 1820, 1862, 3118, 3159, 3955}
"""Wrong password, host not allowed, method unknown, expired, locked, only with TLS."""
FORBIDDEN = {1044, 1142, 1143, 1227, 1370, 1410}
SSL_FAILED = 2026
READ_ONLY = {1036, 1290, 1792, 1836}
"""1036 is what MariaDB says of a table of an engine that only reads (innodb_read_only)."""
UNKNOWN_DATABASE = {1049}
NO_SUCH_TABLE = {1146, 1054}
FULL = {20, 1021, 1026, 1114}
WRITING = {3, 1030}
"""What a storage engine says whose files cannot be written: it is no fault of the statement."""
TOO_LONG = {1153}
DUPLICATE = {1062, 1586}
REFUSED = {
    **dict.fromkeys(DUPLICATE, "a duplicate"),
    **dict.fromkeys((1406, 1265), "a value that is too long"),
    1264: "a number out of range",
    **dict.fromkeys((1292, 1366), "a value of the wrong kind"),
    **dict.fromkeys((1048, 1364), "a missing value"),
    **dict.fromkeys((3819, 4025), "a value that a CHECK forbids"),
    **dict.fromkeys((1216, 1452), "a reference to nothing"),
    **dict.fromkeys((1217, 1451), "the end of something that is still referred to"),
}
SQLITE_REFUSED = {
    "SQLITE_CONSTRAINT_UNIQUE": REFUSED[1062],
    "SQLITE_CONSTRAINT_PRIMARYKEY": REFUSED[1062],
    "SQLITE_CONSTRAINT_NOTNULL": REFUSED[1048],
    "SQLITE_CONSTRAINT_CHECK": REFUSED[3819],
    "SQLITE_CONSTRAINT_FOREIGNKEY": "a reference to nothing, or the end of something still referred to",
}
RIGHTS = (
    "GRANT SELECT, INSERT, UPDATE, DELETE on the database; SELECT alone is enough for plan, get, status, "
    "explain and schedule; `reconciler db upgrade` needs CREATE, ALTER, INDEX, DROP and REFERENCES too"
)
MYSQL_WORDS = {"SELECT with locking clause": "UPDATE"}
"""What MySQL calls a SELECT … FOR UPDATE, and the right that it wants for it."""

_DENIED = re.compile(
    r"^(?P<right>[A-Za-z][A-Za-z ,]*) command denied to user .*"
    r" for (?:column [`'][\w.]+[`'] in )?(?P<kind>table|routine) (?P<name>[`'][\w`'.]+[`'])"
)
_NEEDED = re.compile(r"you need \(at least one of\) the (?P<right>[A-Z_ ,]+) privilege")
_PLACES = (
    # Each stands at the edge of its message, where no value can imitate it.
    re.compile(r" for key '(?P<name>[\w.]+)'$"),
    re.compile(r" for column (?P<name>[`'\w.]+) at row \d+$"),
    re.compile(r"^(?:Column|Field) '(?P<name>\w+)' "),
    re.compile(r"^(?:Check constraint|CONSTRAINT) (?P<name>['`]\w+['`]) (?:is violated|failed)"),
    re.compile(r" constraint fails \(.* CONSTRAINT (?P<name>`\w+`) FOREIGN KEY"),
    re.compile(r"^[A-Z ]+ constraint failed: (?P<name>[\w., ]+)$"),
)


@contextmanager
def mapped(place: str) -> Iterator[None]:
    """Translate what the block raises; ``place`` is host:port/database or the file's name."""
    try:
        yield
    except ReconcilerError:
        raise
    except exc.SQLAlchemyError as error:
        raise translate(error, place) from error
    except (sqlite3.Error, *_errors_of_servers()) as error:
        raise _of_driver(error, place) from error
    except UnicodeEncodeError as error:
        # the drivers let this one through as it is; its own text would show what was to be stored
        raise DatabaseRejected(
            f"a text for the database at {place} has characters that are no valid Unicode"
        ) from error


def _errors_of_servers() -> tuple[type[Exception]]:
    """PyMySQL's, imported when something was raised: with SQLite nothing else loads it and cryptography."""
    from pymysql.err import MySQLError

    return (MySQLError,)


def translate(error: exc.SQLAlchemyError, place: str) -> ReconcilerError:
    """Our error for one of SQLAlchemy's."""
    if isinstance(error, exc.DBAPIError) and error.orig is not None:
        return _of_driver(error.orig, place, lost=error.connection_invalidated)
    if isinstance(error, exc.TimeoutError):
        return DatabaseBusy(
            f"no connection to the database at {place} became free in time",
            hint="raise RECONCILER_DATABASE_POOL_SIZE, or see what holds the connections",
        )
    if isinstance(error, exc.DisconnectionError):
        return _unreachable(place)
    if isinstance(error, exc.NoSuchTableError):
        return _outdated(place)
    if isinstance(error, exc.ArgumentError):
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


def lacks_table(error: exc.DBAPIError) -> bool:
    """Whether a table or a column is not there."""
    text = str(error.orig).lower()
    return _number(error.orig) in NO_SUCH_TABLE or text.startswith(("no such table", "no such column"))


def is_retryable(error: BaseException) -> bool:
    """Whether running the whole transaction again may succeed at once: a deadlock, a lock timeout."""
    return isinstance(error, DatabaseBusy)


def _number(error: BaseException | None) -> int:
    arguments = getattr(error, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else 0


def _of_driver(error: BaseException, place: str, *, lost: bool = False) -> ReconcilerError:
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error, place)
    from pymysql.err import InterfaceError, InternalError

    number = _number(error)
    if (fault := _of_tls(error, number, place)) is not None:
        return fault
    if number in DEADLOCK:
        return DatabaseBusy(f"the database at {place} reports a deadlock or a lock that was held too long")
    if number in LOGIN or number in FORBIDDEN:
        return _forbidden(error, number, place)
    if number in REFUSED:
        return _refused(error, REFUSED[number], place)
    if number in NO_SUCH_TABLE:
        return _outdated(place)
    for numbers, message, hint in _UNUSABLE:
        if number in numbers:
            return DatabaseUnavailable(message.format(place=place), hint=hint)
    if number in TOO_LONG:
        return DatabaseRejected(
            f"the database at {place} refused a statement longer than its max_allowed_packet",
            hint="set max_allowed_packet = 64M or more on the server",
        )
    if lost or number in LOST or isinstance(error, InterfaceError):
        return _unreachable(place)
    if isinstance(error, InternalError) and not number:
        # PyMySQL's word for bytes that are no packet of the protocol: another kind of server, a broken line
        return DatabaseUnavailable(
            f"what answers at {place} does not speak the protocol of MySQL and MariaDB",
            hint="check host and port",
        )
    return DatabaseRejected(f"the database at {place} refused a statement ({type(error).__name__} {number})")


def _of_tls(error: BaseException, number: int, place: str) -> ReconcilerError | None:
    """A connection that never was, because of what the URL says of TLS, or of the server's certificate."""
    cause = getattr(error, "original_exception", None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return DatabaseUnavailable(
            f"the certificate of the database at {place} is not trusted: {cause.verify_message.rstrip('.')}",
            hint="ssl_ca in the database URL names the certificate of who signed it; with "
            "ssl_check_hostname=false it may have another name",
        )
    if isinstance(cause, OSError) and number == SSL_FAILED:
        return DatabaseUnavailable(
            f"the files for TLS in the URL of the database at {place} cannot be used: {_words(cause)}",
            hint="ssl_ca, ssl_cert and ssl_key are paths of PEM files, as this process sees them",
        )
    if isinstance(cause, ssl.SSLError):
        return DatabaseUnavailable(
            f"the database at {place} and we do not agree on TLS: {_words(cause)}",
            hint="check its port and its version of TLS, and the ssl_… options of the database URL",
        )
    if number == SSL_FAILED:
        return DatabaseUnavailable(
            f"the database at {place} offers no TLS, for which its URL asks",
            hint="give the server a certificate, or leave ssl_… out of the database URL",
        )
    return None


def _words(error: OSError) -> str:
    """``no certificate or crl found`` of OpenSSL's NO_CERTIFICATE_OR_CRL_FOUND."""
    said = error.reason.lower().replace("_", " ") if isinstance(error, ssl.SSLError) else error.strerror
    return said or type(error).__name__


_UNUSABLE = (
    (
        UNKNOWN_DATABASE,
        "the server at {place} has no such database",
        "CREATE DATABASE … CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, then `reconciler db upgrade`",
    ),
    (
        READ_ONLY,
        "the database at {place} is read-only",
        "is it a replica, or is a failover in progress? point the URL at the primary",
    ),
    (FULL, "the database at {place} has no space left", "make room; the transaction changed nothing"),
    (
        WRITING,
        "the database at {place} cannot write its files",
        "is its disk full or broken? its error log has more; the transaction changed nothing",
    ),
)


def _unreachable(place: str) -> ReconcilerError:
    return DatabaseUnavailable(
        f"the database at {place} cannot be reached or went away",
        hint="is it running, and does the network let us through? a broken transaction changed nothing",
    )


def _outdated(place: str) -> ReconcilerError:
    return DatabaseOutdated(
        f"the database at {place} lacks a table or column", hint="run `reconciler db upgrade`"
    )


def _forbidden(error: BaseException, number: int, place: str) -> ReconcilerError:
    """What is missing: the login, the database, or a right on a table."""
    if number in LOGIN:
        return DatabaseForbidden(
            f"the database at {place} refuses the login ({number})",
            hint="check user and password in RECONCILER_DATABASE_URL (special characters as %XX), and from "
            "which hosts the user may come",
        )
    text = _text(error)
    if denied := _DENIED.search(text):
        right = MYSQL_WORDS.get(denied["right"], denied["right"])
        kind, name = denied["kind"], _bare(denied["name"])
        return DatabaseForbidden(
            f"the database user lacks the right {right} on {kind} {name} at {place}",
            hint=RIGHTS,
            details={"right": right, kind: name},
        )
    if needed := _NEEDED.search(text):
        return DatabaseForbidden(
            f"the database user lacks the right {needed['right']} at {place}",
            hint=RIGHTS,
            details={"right": needed["right"]},
        )
    what = "may not use the database" if number == 1044 else f"lacks a right ({number})"
    return DatabaseForbidden(f"the database user {what} at {place}", hint=RIGHTS)


def _refused(error: BaseException, what: str, place: str) -> ReconcilerError:
    text = _text(error)
    found = next(filter(None, (pattern.search(text) for pattern in _PLACES)), None)
    where = f" for {_bare(found['name'])}" if found else ""
    return DatabaseRejected(f"the database at {place} refused {what}{where}")


def _bare(name: str) -> str:
    """Without quotes, and of ``database.table.column`` the last two."""
    return ".".join(name.replace("`", "").replace("'", "").split(".")[-2:])


def _text(error: BaseException) -> str:
    """The server's own message; it may hold values, so nothing but names is taken out of it."""
    return str(error.args[-1]) if error.args else ""


def _of_sqlite(error: sqlite3.Error, place: str) -> ReconcilerError:
    text = str(error).lower()
    name = getattr(error, "sqlite_errorname", "") or ""
    if "locked" in text or name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return DatabaseBusy(f"{place} is locked by another process for too long")
    if name.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")) or "readonly" in text:
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
    if isinstance(error, sqlite3.IntegrityError):
        return _refused(error, SQLITE_REFUSED.get(name, "a value that a constraint forbids"), place)
    return DatabaseRejected(f"{place} refused a statement ({f'{type(error).__name__} {name}'.strip()})")
