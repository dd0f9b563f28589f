"""PyMySQL's connection, with what it leaves open: whole passwords, patience by occasion, packets that fit."""

from __future__ import annotations

import functools
import ssl
import struct
from typing import TYPE_CHECKING, Any

from pymysql import err
from pymysql.connections import Connection
from pymysql.constants import CR, ER

ANSWER_SECONDS = 5
"""For each answer of the handshake, and for the ping of a connection that was idle."""
STATEMENT_SECONDS = 60
"""A statement that answers nothing for so long has lost its server."""

if TYPE_CHECKING:
    _Connection = Connection[Any]
else:  # generic for type checkers only
    _Connection = Connection


ROOM = 8192
"""By so many bytes both servers count a statement longer than it is: headers, whole blocks of 4 KiB."""


class ServerConnection(_Connection):
    """A connection to MySQL or MariaDB; raises exceptions of ``pymysql.err`` only."""

    longest = 1 << 62
    """Bytes of a statement that the server takes: its max_allowed_packet, less what it adds and rounds up."""

    @classmethod
    def dial(cls, password: str = "", **options: Any) -> ServerConnection:
        """Connect; what answers must be a database server, and must do so soon."""
        try:
            # as bytes: of a text PyMySQL would say latin1, and the server knows what a client said in UTF-8
            return cls(password=password.encode(), read_timeout=ANSWER_SECONDS, **options)
        except (struct.error, LookupError, ValueError, TypeError, AttributeError) as error:
            # PyMySQL reads whatever comes as a greeting; what another kind of server says breaks it anywhere
            raise err.InternalError(f"no greeting of a database ({type(error).__name__})") from None

    def _create_ssl_ctx(self, wanted: dict[str, Any] | ssl.SSLContext) -> ssl.SSLContext:
        """PyMySQL's, called for each connection: ``wanted`` is empty where the URL does not speak of TLS."""
        if not wanted:
            return _unverified()
        try:
            context: ssl.SSLContext = super()._create_ssl_ctx(wanted)  # type: ignore[misc]  # not in the stubs
        except OSError as error:
            # of the files, before anybody was dialled; the number and the attribute as PyMySQL has them
            failed = err.OperationalError(CR.CR_SSL_CONNECTION_ERROR, "files for TLS")
            failed.original_exception = error  # type: ignore[attr-defined]
            raise failed from error
        return context

    def prepare(self, session: str) -> None:
        """Set what holds for the whole session, and learn how long a statement may be."""
        with self.cursor() as cursor:
            cursor.execute(session)
            cursor.execute("SELECT @@max_allowed_packet")
            (limit,) = cursor.fetchone()
        self.longest = int(limit) - ROOM
        self.wait_at_most(STATEMENT_SECONDS)

    def wait_at_most(self, seconds: float | None) -> None:
        """How long an answer may take from now on; None: as long as it does."""
        # PyMySQL has one setting for the handshake and for statements, and looks at it before each answer
        self._read_timeout = seconds

    def ping_soon(self) -> None:
        """Raise what a dead connection raises, and soon also if the server only hangs."""
        self.wait_at_most(ANSWER_SECONDS)
        self.ping(reconnect=False)
        self.wait_at_most(STATEMENT_SECONDS)

    def query(self, sql: str | bytes, unbuffered: bool = False) -> int:
        """Send a statement, unless it is longer than the server takes.

        The server would cut the line in the middle of it, which looks like an outage and would be tried again
        for ever.
        """
        statement = sql.encode() if isinstance(sql, str) else sql
        if len(statement) > self.longest:
            raise err.OperationalError(ER.NET_PACKET_TOO_LARGE, "longer than max_allowed_packet")
        return int(super().query(statement, unbuffered))


@functools.cache
def _unverified() -> ssl.SSLContext:
    """Encrypts with whoever answers, one for all connections.

    PyMySQL's own would be one for each, and load every certificate of the machine in order to verify nothing.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
