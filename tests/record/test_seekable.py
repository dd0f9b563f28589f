"""The form of archives: any gzip reads it, and any page of it is found."""

from __future__ import annotations

import gzip
import subprocess
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.record import seekable
from reconciler.record.seekable import NotSeekable, Seekable, SeekableWriter

PIECES = st.lists(
    st.one_of(
        st.just(b"\n"),
        st.binary(max_size=200),
        st.integers(0, 700).map(lambda size: b"x" * size + b"\n"),
        st.just("备份\n".encode()),
    ),
    max_size=60,
)


def packed(pieces: list[bytes]) -> bytes:
    out = bytearray()
    writer = SeekableWriter(out.extend)
    for piece in pieces:
        writer.write(piece)
    writer.finish()
    return bytes(out)


def opened(data: bytes) -> Seekable:
    return Seekable(lambda start, length: data[start : start + length], len(data))


def lines_of(data: bytes) -> list[bytes]:
    *whole, rest = data.split(b"\n")
    return [line + b"\n" for line in whole] + ([rest] if rest else [])


@pytest.fixture(autouse=True, scope="module")
def small_members() -> object:
    """So that little output has many members."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seekable, "MEMBER_BYTES", 128)
        patch.setattr(seekable, "PIECE_BYTES", 50)
        patch.setattr(seekable, "AHEAD_BYTES", 90)
        yield


@given(PIECES, st.integers(0, 80), st.integers(0, 80), st.integers(0, 20_000))
def test_every_range_of_lines_and_every_end_is_that_of_the_stream(
    pieces: list[bytes], first: int, count: int, byte: int
) -> None:
    whole = b"".join(pieces)
    data = packed(pieces)
    assert gzip.decompress(data) == whole
    found = opened(data)
    lines = lines_of(whole)
    assert (found.total, found.lines) == (len(whole), len(lines))
    assert b"".join(found.lines_between(first, first + count)) == b"".join(lines[first : first + count])
    assert b"".join(found.bytes_from(byte)) == whole[byte:]


def test_zcat_reads_it_as_one_stream() -> None:
    pieces = [f"line {number}\n".encode() for number in range(5000)]
    done = subprocess.run(["gzip", "-dc"], input=packed(pieces), capture_output=True, check=True)
    assert done.stdout == b"".join(pieces)
    assert done.stderr == b""


def test_a_page_is_unpacked_without_what_is_before_it() -> None:
    data = packed([f"line {number}\n".encode() for number in range(20_000)])
    read: list[int] = []

    def reader(start: int, length: int) -> bytes:
        read.append(length)
        return data[start : start + length]

    found = Seekable(reader, len(data))
    read.clear()
    assert b"".join(found.lines_between(15_000, 15_002)) == b"line 15000\nline 15001\n"
    assert sum(read) < 1000


def test_members_grow_where_a_stream_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seekable, "MEMBERS", 10)
    line = b"0123456789abcde\n"
    data = packed([line * 64] * 100)
    found = opened(data)
    sizes = [after - before for before, after in pairwise(found._bytes)]
    assert sizes[0] == 128
    assert len(sizes) < 60
    assert b"".join(found.lines_between(3000, 3001)) == line


@pytest.mark.parametrize("cut", [1, 50, 2000])
def test_a_file_that_was_cut_off_is_refused(cut: int) -> None:
    data = packed([b"some line\n"] * 1000)
    with pytest.raises(NotSeekable):
        opened(data[:-cut])


@pytest.mark.parametrize("data", [b"", b"x" * 500, gzip.compress(b"another program's\n" * 50, mtime=0)])
def test_what_is_not_ours_is_refused(data: bytes) -> None:
    with pytest.raises(NotSeekable):
        opened(data)


@given(st.integers(0, 2**32), st.integers(1, 255))
def test_damage_anywhere_is_noticed_or_harmless(place: int, change: int) -> None:
    pieces = [f"line {number}\n".encode() for number in range(300)]
    data = bytearray(packed(pieces))
    data[place % len(data)] ^= change
    try:
        read = b"".join(opened(bytes(data)).bytes_from(0))
    except NotSeekable:
        return
    # a gzip header holds bytes that mean nothing to anyone, its time for one
    assert read == b"".join(pieces)
