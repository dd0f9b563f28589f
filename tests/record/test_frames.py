"""The spool's format: what was written whole is read, whatever happened to the bytes around it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.record.frames import HEAD, MARK, Damage, Payload, frame, payloads

TEXTS = [b"first", b"", "zweiter 备份 \udcff".encode("utf-8", "surrogatepass"), b"x" * 70_000, b"last"]


def file_of(texts: list[bytes]) -> bytes:
    return HEAD + b"".join(map(frame, texts))


def read(data: bytes) -> list[bytes]:
    return [item.data for item in payloads(data) if isinstance(item, Payload)]


def damages(data: bytes) -> list[Damage]:
    return [item for item in payloads(data) if isinstance(item, Damage)]


def test_what_was_written_is_read_in_order() -> None:
    assert read(file_of(TEXTS)) == TEXTS
    assert damages(file_of(TEXTS)) == []
    assert read(file_of([])) == []


def test_a_file_cut_anywhere_gives_all_records_before_the_cut_and_tells_of_the_rest() -> None:
    whole = file_of([b"one", b"two", b"three"])
    ends = [len(HEAD) + len(b"".join(map(frame, [b"one", b"two", b"three"][:n]))) for n in range(4)]
    for cut in range(len(whole)):
        data = whole[:cut]
        assert read(data) == [b"one", b"two", b"three"][: sum(end <= cut for end in ends[1:])]
        found = damages(data)
        assert (
            b"".join(damage.data for damage in found) == data[max((e for e in ends if e <= cut), default=0) :]
        )
        assert all(damage.torn for damage in found)


PLACES = [
    (len(HEAD), "the mark"),
    (len(HEAD) + len(MARK), "the length, by which it is far too long"),
    (len(HEAD) + len(MARK) + 3, "the length, by a little"),
    (len(HEAD) + len(MARK) + 5, "the checksum"),
    (len(HEAD) + len(MARK) + 9, "the record"),
]


@pytest.mark.parametrize(("place", "what"), PLACES, ids=[what for _, what in PLACES])
def test_a_flipped_bit_costs_one_record(place: int, what: str) -> None:
    data = bytearray(file_of([b"first", b"second", b"third"]))
    data[place] ^= 0x41
    assert read(bytes(data)) == [b"second", b"third"]
    (damage,) = damages(bytes(data))
    assert damage == Damage(len(HEAD), bytes(data[len(HEAD) : len(HEAD) + len(frame(b"first"))]), torn=False)


def test_a_damaged_head_costs_no_record() -> None:
    data = b"X" + file_of([b"first"])[1:]
    assert read(data) == [b"first"]
    assert [damage.data for damage in damages(data)] == [b"X" + HEAD[1:]]


def test_zeros_that_a_power_cut_left_are_told_apart_from_records() -> None:
    data = file_of([b"first"]) + b"\0" * 5000
    assert read(data) == [b"first"]
    assert [len(damage.data) for damage in damages(data)] == [5000]


@given(st.lists(st.binary(max_size=40), max_size=6), st.data())
def test_no_bytes_at_all_break_the_reading(texts: list[bytes], data: st.DataObject) -> None:
    content = bytearray(file_of(texts))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=5))
        if not content:
            break
    items = list(payloads(bytes(content)))
    damaged = sum(len(item.data) for item in items if isinstance(item, Damage))
    framed = sum(len(frame(item.data)) for item in items if isinstance(item, Payload))
    assert damaged + framed == len(content) - (len(HEAD) if bytes(content).startswith(HEAD) else 0)
