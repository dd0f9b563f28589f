"""Instants as all JSON, messages and run environments write them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import overload


@overload
def rfc3339(moment: datetime) -> str: ...
@overload
def rfc3339(moment: None) -> None: ...
@overload
def rfc3339(moment: datetime | None) -> str | None: ...
def rfc3339(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC with microseconds and ``Z``; None stays None. ``moment`` is aware, of any zone."""
    return None if moment is None else _text(moment)


@lru_cache(maxsize=50_000)
def _text(moment: datetime) -> str:
    # three microseconds each, and a report of many tasks writes every moment three times
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat(timespec="microseconds")[:-6] + "Z"
