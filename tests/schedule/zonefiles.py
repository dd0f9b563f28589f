"""The zone database as files, read by a few lines of the tests' own (RFC 8536)."""

from __future__ import annotations

import struct
import zoneinfo
from functools import lru_cache
from importlib.resources import files
from pathlib import Path


def zone_bytes(name: str) -> bytes:
    """The file that ``zoneinfo`` reads for a zone: the system's, else that of the tzdata package."""
    for folder in zoneinfo.TZPATH:
        path = Path(folder, name)
        if path.is_file():
            return path.read_bytes()
    return files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


@lru_cache(maxsize=1)
def all_zones_once() -> list[str]:
    """One name for every distinct zone; its aliases have the same bytes."""
    found = {zone_bytes(name): name for name in sorted(zoneinfo.available_timezones(), reverse=True)}
    return sorted(found.values())


def written_changes(data: bytes) -> list[tuple[int, int, int]]:
    """``(instant, offset before, offset after)`` of every change in the file's 64-bit block, in seconds."""
    first = _header(data, 0)
    start = 44 + _length(first, 4)
    counts = _header(data, start)
    _, _, _, times, types, _ = counts
    at = start + 44
    instants = struct.unpack_from(f">{times}q", data, at)
    kinds = data[at + 8 * times : at + 9 * times]
    table = at + 9 * times
    offsets = [struct.unpack_from(">i", data, table + 6 * kind)[0] for kind in range(types)]
    after = [offsets[kind] for kind in kinds]
    before = [offsets[0], *after][:times]
    return [
        (instant, old, new) for instant, old, new in zip(instants, before, after, strict=True) if old != new
    ]


def _header(data: bytes, start: int) -> tuple[int, ...]:
    assert data[start : start + 4] == b"TZif"
    return struct.unpack_from(">6I", data, start + 20)


def _length(counts: tuple[int, ...], size: int) -> int:
    ut, standard, leaps, times, types, characters = counts
    return times * size + times + types * 6 + characters + leaps * (size + 4) + standard + ut
