"""Stable numbers from a name: what ``H`` and ``jitter`` draw from.

The key is ``name@server``, so the same task lands on the same minute on every controller, after every
restart and in every release; a rename moves it, and the plan shows that. Python's own ``hash`` is salted
per process and CRC-32 keeps neighbouring names together, hence BLAKE2.
"""

from __future__ import annotations

from datetime import timedelta
from hashlib import blake2b


def draw(key: str, purpose: str, span: int) -> int:
    """A number in ``[0, span)``: always the same for one key and purpose, evenly spread over keys.

    ``purpose`` (at most 16 ASCII characters) keeps the draws of one key apart: minute, hour, jitter.
    """
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, person=purpose.encode("ascii"))
    return int.from_bytes(digest.digest(), "big") * span >> 64


def jitter_offset(key: str, jitter_seconds: int) -> timedelta:
    """The part of ``jitter`` that belongs to ``key`` (``name@server``): in ``[0, jitter)``, whole
    milliseconds.

    Milliseconds, because with whole seconds a jitter of 1 s would be none at all, and because the sorted
    set in Redis orders by milliseconds: a due time must be the same number there and in the database.
    """
    return (
        timedelta(milliseconds=draw(key, "jitter", jitter_seconds * 1000))
        if jitter_seconds > 0
        else timedelta(0)
    )
