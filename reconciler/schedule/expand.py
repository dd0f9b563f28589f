"""Canonical items to bit sets, by croniter, which is imported when the first expression is parsed."""

from __future__ import annotations

from functools import lru_cache, reduce
from operator import or_
from typing import Any, NamedTuple


class Expanded(NamedTuple):
    """What one item names: value bits, and for days ``#``, ``L5`` and ``L``."""

    bits: int
    nth: frozenset[tuple[int, int]] = frozenset()
    last_weekdays: int = 0
    last_day: bool = False


_LENGTHS = (60, 24, 31, 12, 7)
_LOWEST = (0, 0, 1, 1, 0)


@lru_cache(maxsize=4096)
def expand_item(index: int, item: str) -> Expanded:
    """The expansion of one canonical item of the field ``index``; raises ValueError with croniter's reason.

    One item at a time: croniter refuses ``1,5#2`` for a reason of its own search, which is not used here,
    and a refusal of one item has a place. Items are few, so a fleet of any size costs some hundred calls.
    """
    from croniter import croniter
    from croniter.croniter import CroniterError

    fields = ["*"] * 5
    fields[index] = item.lower()
    try:
        # Any: the stubs say these lists hold text, they hold numbers, "*" and "l"
        answer: Any = croniter.expand(" ".join(fields))
    except (CroniterError, TypeError, KeyError) as error:
        raise ValueError(str(error)) from error
    expanded, nth = answer
    if nth:
        numbered = frozenset((weekday, n) for weekday, ns in nth.items() for n in ns if isinstance(n, int))
        last = sum(1 << weekday for weekday, ns in nth.items() if "l" in ns)
        return Expanded(0, numbered, last)
    values = expanded[index]
    if values == ["*"]:
        return Expanded((1 << _LENGTHS[index]) - 1 << _LOWEST[index])
    return Expanded(sum(1 << value for value in values if isinstance(value, int)), last_day="l" in values)


def expand_field(index: int, text: str) -> Expanded:
    """All items of a canonical field, joined by commas, as one."""
    items = [expand_item(index, item) for item in text.split(",")]
    return Expanded(
        bits=reduce(or_, (item.bits for item in items)),
        nth=frozenset[tuple[int, int]]().union(*(item.nth for item in items)),
        last_weekdays=reduce(or_, (item.last_weekdays for item in items)),
        last_day=any(item.last_day for item in items),
    )
