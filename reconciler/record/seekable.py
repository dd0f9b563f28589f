"""A gzip file whose pages are found without reading what is before them: many members, then an index.

``zcat`` and every other gzip reads it as the one stream that it is. The parts, in order:

- members of about ``MEMBER_BYTES`` of the stream each (more where the stream is very long), every one
  compressed by itself;
- empty members whose extra fields (RFC 1952, 2.3.1.1; subfield ``RI``) hold the index: for each member its
  size, its bytes and its newlines, three unsigned 64-bit numbers, compressed together;
- one empty member of a fixed size (subfield ``RT``): where the index begins, and what there is in all.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate

MEMBER_BYTES = 262_144
"""What has to be unpacked for a page, about a millisecond's work."""
MEMBERS = 4096
"""From so many members on they grow with the stream, so that the index stays small."""
LARGEST_MEMBER = 16_777_216
LEVEL = 1
"""A run waits for us: level 6 is four times slower and saves a fifth."""
PIECE_BYTES = 65_536
AHEAD_BYTES = 1_048_576
"""Compressed bytes that are read at once: a request to a far store costs more than its bytes."""

_GZIP = 31
_HEAD = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff"
_EMPTY = b"\x03\0" + bytes(8)
_EXTRA_BYTES = 60_000
_TRAILER = struct.Struct("<QQQQQB")
_TRAILER_SIZE = len(_HEAD) + 6 + _TRAILER.size + len(_EMPTY)


class NotSeekable(Exception):
    """The file is no whole one of ours, or not any more."""


class SeekableWriter:
    """Passes a stream on to ``sink`` in the form above; ``finish`` ends it. Memory is bounded."""

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink
        self._entries = array("Q")
        self._written = 0
        self._total = 0
        self._newlines = 0
        self._last = b""
        self._begin()

    def _begin(self) -> None:
        self._packer = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
        self._start = self._written
        self._room = min(LARGEST_MEMBER, max(MEMBER_BYTES, self._total // MEMBERS))
        self._in_member = 0
        self._newlines_in_member = 0

    def write(self, data: bytes) -> None:
        """The next piece of the stream."""
        view = memoryview(data)
        while view:
            piece = bytes(view[: self._room - self._in_member])
            view = view[len(piece) :]
            self._in_member += len(piece)
            self._newlines_in_member += piece.count(b"\n")
            self._last = piece[-1:]
            self._put(self._packer.compress(piece))
            if self._in_member >= self._room:
                self._end_member()

    def finish(self) -> None:
        """The stream has ended."""
        if self._in_member:
            self._end_member()
        index = zlib.compress(self._entries.tobytes())
        place = self._written
        for at in range(0, len(index), _EXTRA_BYTES):
            self._put(_empty_member(b"RI", index[at : at + _EXTRA_BYTES]))
        members = len(self._entries) // 3
        ended = self._last == b"\n"
        self._put(
            _empty_member(
                b"RT", _TRAILER.pack(place, len(index), members, self._total, self._newlines, ended)
            )
        )

    def _end_member(self) -> None:
        self._put(self._packer.flush())
        self._total += self._in_member
        self._newlines += self._newlines_in_member
        self._entries.extend((self._written - self._start, self._in_member, self._newlines_in_member))
        self._begin()

    def _put(self, data: bytes) -> None:
        if data:
            self._sink(data)
            self._written += len(data)


def _empty_member(name: bytes, extra: bytes) -> bytes:
    field = name + struct.pack("<H", len(extra)) + extra
    return _HEAD + struct.pack("<H", len(field)) + field + _EMPTY


class Seekable:
    """Reads such a file. ``read(start, length)`` gives its bytes, ``size`` is how many it has.

    Everything may raise NotSeekable, and what ``read`` raises.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read = read
        trailer = self._extra(b"RT", size - _TRAILER_SIZE, _TRAILER.size) if size >= _TRAILER_SIZE else None
        if trailer is None:
            raise NotSeekable("it has no end as its writer leaves one")
        self._end, length, members, total, newlines, ended = _TRAILER.unpack(trailer)
        if self._end > size or members * 18 > size or length > size:
            raise NotSeekable("its index does not fit")
        self.total = total
        """Bytes of the stream."""
        self.lines = newlines + (0 if ended or not total else 1)
        """Lines of the stream; the last one may lack its newline."""
        sizes = self._index(length, members)
        self._starts = [0, *accumulate(sizes[0::3])]
        self._bytes = [0, *accumulate(sizes[1::3])]
        self._newlines = [0, *accumulate(sizes[2::3])]
        if (self._starts[-1], self._bytes[-1], self._newlines[-1]) != (self._end, total, newlines):
            raise NotSeekable("its index contradicts itself")

    def _index(self, length: int, members: int) -> array[int]:
        packed, at = b"", self._end
        while len(packed) < length:
            part = self._extra(b"RI", at, min(_EXTRA_BYTES, length - len(packed)))
            if part is None:
                raise NotSeekable("its index is damaged")
            packed += part
            at += len(_HEAD) + 6 + len(part) + len(_EMPTY)
        numbers: array[int] = array("Q")
        try:
            numbers.frombytes(zlib.decompressobj().decompress(packed, members * 24 + 1))
        except (zlib.error, ValueError) as error:
            raise NotSeekable("its index is damaged") from error
        if len(numbers) != members * 3:
            raise NotSeekable("its index is damaged")
        return numbers

    def _extra(self, name: bytes, at: int, length: int) -> bytes | None:
        """The extra field of the empty member at ``at``; None if there is no such one."""
        data = self._read(at, len(_HEAD) + 6 + length + len(_EMPTY))
        extra = data[len(_HEAD) + 6 : len(_HEAD) + 6 + length]
        return extra if data == _empty_member(name, extra) and len(extra) == length else None

    def lines_between(self, first: int, last: int) -> Iterator[bytes]:
        """Lines ``first`` ≤ n < ``last``, counted from 0, as they are, in pieces; the last may lack its
        newline.
        """
        member = max(0, bisect_left(self._newlines, first) - 1)
        skip, wanted = first - self._newlines[member], last - first
        if wanted <= 0 or first >= self.lines:
            return
        for piece in self._pieces(member):
            here = piece
            if skip:
                count = here.count(b"\n")
                if count < skip:
                    skip -= count
                    continue
                here = here[_after(here, skip) :]
                skip = 0
            count = here.count(b"\n")
            if count >= wanted:
                yield here[: _after(here, wanted)]
                return
            wanted -= count
            if here:
                yield here

    def bytes_from(self, start: int) -> Iterator[bytes]:
        """Everything from byte ``start`` on, in pieces."""
        if start >= self.total:
            return
        member = bisect_right(self._bytes, start) - 1
        skip = start - self._bytes[member]
        for piece in self._pieces(member):
            if skip < len(piece):
                yield piece[skip:]
            skip = max(0, skip - len(piece))

    def _pieces(self, member: int) -> Iterator[bytes]:
        """The stream from a member on; memory does not grow with its size."""
        at = self._starts[member]
        unpacker = zlib.decompressobj(_GZIP)
        fed = False
        while at < self._end:
            packed = self._read(at, min(AHEAD_BYTES, self._end - at))
            if not packed:
                break
            at += len(packed)
            more = True
            while more:
                piece = _unpack(unpacker, packed)
                fed = not unpacker.eof
                if unpacker.eof:
                    packed, unpacker = unpacker.unused_data, zlib.decompressobj(_GZIP)
                    more = bool(packed)
                else:
                    packed = unpacker.unconsumed_tail
                    more = bool(packed) or len(piece) == PIECE_BYTES
                if piece:
                    yield piece
        if fed or at < self._end:
            raise NotSeekable("it was cut off")


def _unpack(unpacker: zlib._Decompress, packed: bytes) -> bytes:
    try:
        return unpacker.decompress(packed, PIECE_BYTES)
    except zlib.error as error:
        raise NotSeekable("a part of it is damaged") from error


def _after(data: bytes, newlines: int) -> int:
    """Where the line after so many newlines begins."""
    at = 0
    for _ in range(newlines):
        at = data.index(b"\n", at) + 1
    return at
