"""Durations (``1h30m``) and sizes (``64KiB``): text on the outside, integers on the inside.

A duration is whole seconds, a size is bytes. Formatting is the inverse of parsing and gives one
canonical text, so ``60m`` and ``1h`` are the same value and never a change.
"""

from __future__ import annotations

import re
from functools import lru_cache

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_SIZE = re.compile(r"(\d+)(B|KiB|MiB|GiB)", re.ASCII)
_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SECONDS = (86_400, 3_600, 60, 1)

LONGEST = 3_660 * 86_400
"""Ten years: beyond it a duration is a slip of the finger, and arithmetic on dates may overflow."""

DURATION_HINT = "write a duration such as 90s, 5m, 1h30m or 2d"
SIZE_HINT = "write a size such as 512B, 64KiB or 1MiB"


def parse_duration(text: object) -> int:
    """Seconds in ``90s``, ``5m``, ``1h30m``, ``2d``. Units in falling order, each at most once.

    Raises ValueError for anything else, numbers included: ``90`` does not say of what.
    """
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a duration: {DURATION_HINT}")
    return _seconds(text)


@lru_cache(maxsize=1024)
def _seconds(text: str) -> int:
    match = _DURATION.fullmatch(text)
    if match is None or not text or len(text) > 20:
        raise ValueError(f"{text!r} is not a duration: {DURATION_HINT}")
    seconds = sum(int(part) * unit for part, unit in zip(match.groups(), _SECONDS, strict=True) if part)
    if seconds > LONGEST:
        raise ValueError(f"{text!r} is longer than ten years: write at most 3650d")
    return seconds


@lru_cache(maxsize=1024)
def format_duration(seconds: int) -> str:
    """The canonical text: ``5400`` is ``1h30m``, ``0`` is ``0s``."""
    parts = []
    rest = seconds
    for unit, letter in zip(_SECONDS, "dhms", strict=True):
        count, rest = divmod(rest, unit)
        if count:
            parts.append(f"{count}{letter}")
    return "".join(parts) or "0s"


def parse_size(text: object) -> int:
    """Bytes in ``512B``, ``64KiB``, ``1MiB``, ``2GiB``; raises ValueError for anything else."""
    if isinstance(text, str) and len(text) <= 20 and (match := _SIZE.fullmatch(text)):
        return int(match[1]) * _UNITS[match[2]]
    raise ValueError(f"{text!r} is not a size: {SIZE_HINT}")


def format_size(size: int) -> str:
    """The canonical text: the largest unit that divides it, ``65536`` is ``64KiB``."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return f"{size}B"


def counted(number: int, noun: str) -> str:
    """``1 task``, ``1,200 tasks``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
