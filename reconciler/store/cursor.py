"""Cursors of lists: where a page ended, as a word that only this program reads."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence

from reconciler.errors import UsageError

Key = Sequence[int | str]


def encode(noun: str, key: Key) -> str:
    """The cursor after the row with this sort key."""
    text = json.dumps([noun, *key], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(noun: str, cursor: str, kinds: Sequence[type]) -> list[int | str]:
    """The sort key in a cursor of ``get NOUN``; raises UsageError for any other text."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        first, *key = json.loads(raw)
    except (binascii.Error, ValueError, TypeError):
        raise _bad(noun, cursor) from None
    if first != noun or len(key) != len(kinds) or not all(map(_fits, key, kinds)):
        raise _bad(noun, cursor)
    return list(key)


def _fits(part: object, kind: type) -> bool:
    """Whether a part of a key is of its kind, and a number is one that a database can hold."""
    return type(part) is kind and not (isinstance(part, int) and abs(part) >= 1 << 63)


def _bad(noun: str, cursor: str) -> UsageError:
    shown = cursor if len(cursor) <= 80 else cursor[:80] + "…"
    return UsageError(
        f"--after {shown!r} is no cursor of `get {noun}`",
        hint="take it from `next` of the page before, with the same arguments",
    )
