"""The newest output of one run, in memory, with its place in each stream."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from reconciler.execute.control import Stream

KEPT_BYTES = 65_536
KEPT_PIECES = 1000
MERGED_BYTES = 4096
"""Pieces that follow each other in one stream become one, up to this size."""
FEW = 100
"""More pieces than that are given by stream, all of one and then all of the other."""


@dataclass(slots=True)
class Piece:
    """A part of a stream: ``at`` is its place in the output of both streams, ``start`` that in its own."""

    stream: Stream
    at: int
    start: int
    data: bytes


class Recent:
    """Takes a run's masked output from its thread; others read the newest `KEPT_BYTES` of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pieces: deque[Piece] = deque()
        self._bytes = 0
        self._end = 0
        self._ends: dict[Stream, int] = {"stdout": 0, "stderr": 0}

    def add(self, stream: Stream, data: bytes) -> None:
        """More output."""
        with self._lock:
            at, start = self._end, self._ends[stream]
            self._end += len(data)
            self._ends[stream] += len(data)
            if len(data) > KEPT_BYTES:
                cut = len(data) - KEPT_BYTES
                at, start, data = at + cut, start + cut, data[cut:]
            last = self._pieces[-1] if self._pieces else None
            if (
                last is not None
                and last.stream == stream
                and last.at + len(last.data) == at
                and len(last.data) + len(data) <= MERGED_BYTES
            ):
                last.data += data
            else:
                self._pieces.append(Piece(stream, at, start, data))
            self._bytes += len(data)
            while self._bytes > KEPT_BYTES or len(self._pieces) > KEPT_PIECES:
                self._bytes -= len(self._pieces.popleft().data)

    def since(self, at: int) -> tuple[list[Piece], int]:
        """What is kept from place ``at`` on, in order, and the place to ask for next."""
        with self._lock:
            found = []
            for piece in reversed(self._pieces):
                if piece.at + len(piece.data) <= at:
                    break
                cut = max(0, at - piece.at)
                found.append(Piece(piece.stream, piece.at + cut, piece.start + cut, piece.data[cut:]))
            end = self._end
        found.reverse()
        return (found if len(found) <= FEW else _by_stream(found)), end


def _by_stream(pieces: list[Piece]) -> list[Piece]:
    """One piece for each stream: what is kept of a stream has no gap."""
    firsts: dict[Stream, Piece] = {}
    parts: dict[Stream, list[bytes]] = {}
    for piece in pieces:
        firsts.setdefault(piece.stream, piece)
        parts.setdefault(piece.stream, []).append(piece.data)
    return [Piece(stream, first.at, first.start, b"".join(parts[stream])) for stream, first in firsts.items()]
