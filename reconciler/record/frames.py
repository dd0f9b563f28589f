"""The format of a spool's file: a head, then records, each with a mark, its length and a checksum (ADR 0008).

The mark has bytes that UTF-8 never has, so what follows a damaged place is found again.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

HEAD = b"reconciler spool 1\n"
MARK = b"\xffrec"
_FIELDS = struct.Struct(">II")
_FRONT = len(MARK) + _FIELDS.size


@dataclass(frozen=True, slots=True)
class Payload:
    """A whole record's bytes; ``start``: where it begins in the file."""

    start: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no whole record. ``torn``: they end the file, and are a write that never ended."""

    start: int
    data: bytes
    torn: bool


def frame(payload: bytes) -> bytes:
    """The payload as it stands in a file; at most 4 GiB."""
    length = len(payload).to_bytes(4, "big")
    return MARK + length + zlib.crc32(payload, zlib.crc32(length)).to_bytes(4, "big") + payload


def payloads(data: bytes) -> Iterator[Payload | Damage]:
    """The payloads of a file in order, and between them what cannot be read."""
    at = len(HEAD)
    if not data.startswith(HEAD):
        at = max(0, data.find(MARK)) if MARK in data else len(data)
        # not even the head was written whole: nothing after it was promised to anybody
        if at:
            yield Damage(0, data[:at], torn=HEAD.startswith(data))
    while at < len(data):
        payload = _payload(data, at)
        if payload is not None:
            yield Payload(at, payload)
            at += _FRONT + len(payload)
            continue
        following = _next(data, at + 1)
        yield Damage(at, data[at:following], torn=following == len(data) and _is_begun(data, at))
        at = following


def _payload(data: bytes, at: int) -> bytes | None:
    """The payload of the record that begins at ``at``; None if no whole one does."""
    front = data[at : at + _FRONT]
    if len(front) < _FRONT or not front.startswith(MARK):
        return None
    length, checksum = _FIELDS.unpack_from(front, len(MARK))
    payload = data[at + _FRONT : at + _FRONT + length]
    if len(payload) < length or zlib.crc32(payload, zlib.crc32(front[len(MARK) : len(MARK) + 4])) != checksum:
        return None
    return payload


def _next(data: bytes, at: int) -> int:
    """Where the next whole record begins; the end if there is none."""
    while (found := data.find(MARK, at)) >= 0:
        if _payload(data, found) is not None:
            return found
        at = found + 1
    return len(data)


def _is_begun(data: bytes, at: int) -> bool:
    """Whether the rest of the file is the beginning of a record that was never written whole."""
    rest = data[at:]
    if len(rest) < _FRONT:
        return MARK.startswith(rest[: len(MARK)])
    if not rest.startswith(MARK):
        return False
    length = int.from_bytes(rest[len(MARK) : len(MARK) + 4], "big")
    return len(rest) < _FRONT + length
