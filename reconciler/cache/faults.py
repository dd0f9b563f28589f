"""Whatever the library raises, as one CacheUnavailable whose message says what is wrong and quotes nobody.

A server's answer is never quoted: one that is no Redis may send back the very login that it was given.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from reconciler.errors import CacheUnavailable

_HINT = "nothing is lost without it: the database decides, and is looked at every second"


@contextmanager
def mapped(place: str) -> Iterator[None]:
    """Run calls of the library; ``place`` (host:port) is named in the message. Raises CacheUnavailable only.

    Every Exception is caught: a server that answers nonsense makes the library fail in ways of its own.
    """
    try:
        yield
    except CacheUnavailable:
        raise
    except Exception as error:
        raise unavailable(place, error) from None


def unavailable(place: str, error: BaseException) -> CacheUnavailable:
    """The error for what the library raised, or returned in a pipeline's list of answers."""
    return CacheUnavailable(f"Redis at {place} {_words(error)}", hint=_HINT)


def _words(error: BaseException) -> str:
    if _is_tls(error):
        return "cannot be reached by TLS: certificate or protocol are not what is expected"
    for kind, words in _table():
        if isinstance(error, kind):
            return words
    return f"answered what cannot be understood ({type(error).__name__})"


def _is_tls(error: BaseException | None) -> bool:
    seen = 0
    while error is not None and seen < 5:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
        seen += 1
    return False


@cache
def _table() -> tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...]:
    """From the special to the general; the library's classes inherit from each other in this order."""
    import hiredis
    from redis import exceptions as of

    return (
        (
            (of.AuthenticationError, of.AuthenticationWrongNumberOfArgsError, of.AuthorizationError),
            "refuses the login",
        ),
        (of.NoPermissionError, "does not permit its user a command that the program needs"),
        (of.OutOfMemoryError, "is full and refuses writes"),
        (of.ReadOnlyError, "is a read-only replica"),
        (of.BusyLoadingError, "is still loading"),
        (of.MasterDownError, "is a replica without its master"),
        (
            (of.ClusterError, of.RedisClusterException, of.AskError, of.ClusterCrossSlotError),
            "is part of a cluster, which is not supported",
        ),
        (of.MaxConnectionsError, "has too many connections"),
        ((of.TimeoutError, TimeoutError), "does not answer in time"),
        ((of.InvalidResponse, hiredis.ProtocolError), "does not speak Redis's protocol"),
        ((of.ConnectionError, OSError), "cannot be reached"),
        (of.ResponseError, "refuses a command, or holds something else under one of our keys"),
    )
