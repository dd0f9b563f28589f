from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.quantity import (
    LONGEST,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("0s", 0),
        ("1d2h3m4s", 93_784),
        ("90m", 5400),
    ],
)
def test_a_duration_is_seconds(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "s", "5 m", "1m1h", "1.5h", "-5s", "5M", "٣s", 90, None, True, "9" * 30 + "s"]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"duration|longer"):
        parse_duration(text)


@given(st.integers(0, LONGEST))
def test_formatting_a_duration_is_the_inverse_of_parsing(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


def test_equal_durations_have_one_text() -> None:
    assert format_duration(parse_duration("60m")) == format_duration(parse_duration("1h")) == "1h"


@pytest.mark.parametrize(
    ("text", "size"), [("512B", 512), ("64KiB", 65_536), ("1MiB", 1_048_576), ("1GiB", 2**30)]
)
def test_a_size_is_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size
    assert format_size(size) == text


@pytest.mark.parametrize("text", ["", "64", "64kb", "64 KiB", "-1B", 64, "1.5MiB"])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@given(st.integers(0, 2**40))
def test_formatting_a_size_is_the_inverse_of_parsing(size: int) -> None:
    assert parse_size(format_size(size)) == size
