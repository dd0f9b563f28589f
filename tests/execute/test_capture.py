from __future__ import annotations

import hashlib
import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.execute.capture import Capture
from reconciler.model.execution import CapturedStream

MARKER = re.compile(r"\n\[(\d+) bytes left out\]\n")


def captured(data: bytes, limit: int, cuts: list[int] | None = None) -> CapturedStream:
    capture = Capture(limit)
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts or ())})
    for start, end in pairwise(edges):
        capture.write(data[start:end])
    return capture.finish()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"hello\n", "hello\n"),
        (b"x" * 64, "x" * 64),
        ("备份".encode(), "备份"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"cut \xe5\xa4", "cut \ufffd\ufffd"),
    ],
)
def test_what_fits_is_kept_whole(data: bytes, text: str) -> None:
    found = captured(data, 64)
    assert found == CapturedStream(text, len(data), hashlib.sha256(data).hexdigest(), False)


def test_of_too_much_head_and_tail_are_kept_and_the_gap_is_told() -> None:
    data = b"".join(b"line %06d\n" % number for number in range(10_000))
    found = captured(data, 1024)
    assert found.truncated
    head, tail = MARKER.split(found.text)[::2]
    missing = int(MARKER.findall(found.text)[0])
    assert data.startswith(head.encode())
    assert data.endswith(tail.encode())
    assert len(head) + missing + len(tail) == len(data) == found.total_bytes
    assert abs(len(head) - len(tail)) <= 1
    assert len(found.text.encode()) in (1023, 1024)
    assert found.sha256 == hashlib.sha256(data).hexdigest()


def test_bytes_that_are_no_text_fit_the_budget_too() -> None:
    found = captured(b"\xff" * 64, 64)
    assert found.truncated
    assert len(found.text.encode()) <= 64
    missing = int(MARKER.findall(found.text)[0])
    assert found.text.count("\ufffd") + missing == 64


@given(
    data=st.one_of(
        st.binary(max_size=400), st.text(max_size=150).map(lambda text: text.encode("utf-8", "surrogatepass"))
    ),
    limit=st.integers(64, 200),
    cuts=st.lists(st.integers(0, 400), max_size=10),
)
@example(data="备".encode() * 100, limit=64, cuts=[1, 2, 3, 4, 5])
def test_the_budget_holds_for_any_bytes_in_any_pieces(data: bytes, limit: int, cuts: list[int]) -> None:
    found = captured(data, limit, cuts)
    assert found == captured(data, limit)
    assert len(found.text.encode()) <= limit
    assert found.total_bytes == len(data)
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    if not found.truncated:
        assert found.text == "".join(
            "\ufffd" if "\udc80" <= letter <= "\udcff" else letter
            for letter in data.decode("utf-8", "surrogateescape")
        )


@given(st.text(min_size=65, max_size=300))
def test_cuts_of_text_lie_between_characters(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    found = captured(text.encode(), 64)
    if found.truncated:
        kept = found.text
        (missing,) = re.findall(r"\n\[(\d+) bytes left out\]\n", kept)[:1] or [None]
        head, _, tail = kept.partition(f"\n[{missing} bytes left out]\n")
        assert text.startswith(head)
        assert text.endswith(tail)
        assert len(head.encode()) + int(missing) + len(tail.encode()) == len(text.encode())


def test_memory_is_bounded_by_the_budget() -> None:
    capture = Capture(1024)
    for _ in range(1000):
        capture.write(b"x" * 700)
    assert len(capture._head) + len(capture._tail) <= 3 * 1024 + 700
    assert capture.finish().total_bytes == 700_000
