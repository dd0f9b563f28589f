"""Everything the library raises is one error of ours, and none of its words reach anybody."""

from __future__ import annotations

import inspect
import socket
import ssl

import hiredis
import pytest
import redis
import redis.exceptions
import redis.sentinel

from reconciler.cache.faults import mapped, unavailable
from reconciler.errors import CacheUnavailable

SECRET = "hunter2"


def raised_by_the_library() -> list[type[Exception]]:
    """Every exception class that its modules define or pass on."""
    found: set[type[Exception]] = set()
    for module in (redis, redis.exceptions, redis.sentinel, redis.connection, redis.client, hiredis):
        found |= {
            item
            for _, item in inspect.getmembers(module, inspect.isclass)
            if issubclass(item, Exception) and item.__module__.split(".")[0] in ("redis", "hiredis")
        }
    return sorted(found, key=lambda item: f"{item.__module__}.{item.__name__}")


FOREIGN = [OSError, socket.timeout, socket.gaierror, ssl.SSLError, ConnectionResetError, BrokenPipeError]
NONSENSE = [TypeError, ValueError, KeyError, IndexError, AttributeError, UnicodeError, RecursionError]


def make(kind: type[Exception]) -> Exception:
    """Some want more words than one."""
    for words in ((f"no {SECRET}",), ("MOVED 1 127.0.0.1:1",), ("1 127.0.0.1:1",), ()):
        try:
            return kind(*words)
        except Exception:
            continue
    made = kind.__new__(kind)
    made.args = (SECRET,)
    return made


def test_the_library_still_has_the_exceptions_that_this_list_was_made_for() -> None:
    names = {kind.__name__ for kind in raised_by_the_library()}
    assert {"RedisError", "OutOfMemoryError", "HiredisError", "MasterNotFoundError"} <= names
    assert len(names) > 35


@pytest.mark.parametrize(
    "kind",
    [*raised_by_the_library(), *FOREIGN, *NONSENSE],
    ids=lambda kind: f"{kind.__module__}.{kind.__name__}",
)
def test_each_exception_is_mapped_and_not_quoted(kind: type[Exception]) -> None:
    with pytest.raises(CacheUnavailable) as caught, mapped("cache:6379"):
        raise make(kind)
    error = caught.value
    assert error.message.startswith("Redis at cache:6379 ")
    assert SECRET not in f"{error.message} {error.hint} {error.details}"
    assert error.__cause__ is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (redis.exceptions.AuthenticationError("x"), "refuses the login"),
        (redis.exceptions.NoPermissionError("x"), "does not permit its user"),
        (redis.exceptions.OutOfMemoryError("x"), "is full"),
        (redis.exceptions.ReadOnlyError("x"), "read-only replica"),
        (redis.exceptions.TimeoutError("x"), "does not answer in time"),
        (redis.exceptions.InvalidResponse("x"), "does not speak Redis's protocol"),
        (redis.exceptions.ConnectionError("x"), "cannot be reached"),
        (redis.exceptions.ResponseError("WRONGTYPE x"), "holds something else"),
        (redis.exceptions.MovedError("1 127.0.0.1:1"), "part of a cluster"),
        (KeyError("x"), "answered what cannot be understood (KeyError)"),
    ],
)
def test_the_message_says_what_is_wrong(error: Exception, words: str) -> None:
    assert words in unavailable("h:1", error).message
