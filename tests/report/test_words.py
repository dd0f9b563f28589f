"""Times, spans and documents in words."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.instant import rfc3339
from reconciler.report.explain_text import _sentence
from reconciler.report.spec_text import spec_lines
from reconciler.report.times import brief_span, local_rfc3339, relative, span, wall, zone_or_utc

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_json_times_are_utc_with_microseconds() -> None:
    assert rfc3339(None) is None
    assert rfc3339(NOW) == "2026-03-01T12:00:00.000000Z"
    east = datetime(2026, 3, 1, 13, 0, 0, 5, tzinfo=timezone(timedelta(hours=1)))
    assert rfc3339(east) == "2026-03-01T12:00:00.000005Z"
    assert local_rfc3339(NOW, zone_or_utc("Asia/Kolkata")) == "2026-03-01T17:30:00.000000+05:30"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.08, "80ms"),
        (0.44, "0.4s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.6, "1m"),
        (61, "1m 1s"),
        (3600, "1h"),
        (5400, "1h 30m"),
        (90_000, "1d 1h"),
        (-5, "-5.0s"),
    ],
)
def test_spans_have_at_most_two_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(99, "99s"), (100, "1m"), (5999, "99m"), (6000, "1h"), (172_800, "2d")]
)
def test_brief_spans_have_one_unit(seconds: int, text: str) -> None:
    assert brief_span(timedelta(seconds=seconds)) == text


def test_relative_times_look_both_ways() -> None:
    assert relative(None, NOW) == "-"
    assert relative(NOW, NOW) == "now"
    assert relative(NOW + timedelta(hours=3), NOW) == "in 3h"
    assert relative(NOW - timedelta(minutes=5), NOW) == "5m ago"


def test_a_wall_clock_shows_as_much_of_the_date_as_is_open() -> None:
    berlin = zone_or_utc("Europe/Berlin")
    assert wall(NOW, berlin, NOW) == "13:00"
    assert wall(NOW + timedelta(seconds=86_401), berlin, NOW) == "Mon 13:00:01"
    assert wall(NOW + timedelta(days=30), berlin, NOW) == "2026-03-31 14:00"


def test_a_zone_that_is_none_is_utc() -> None:
    assert zone_or_utc("Mars/Base") is UTC


TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.one_of(TEXTS, st.booleans(), st.integers(-9, 9_999_999), st.none())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_a_document_in_words_reads_back_as_the_same_document(document: dict[str, Any]) -> None:
    assert (yaml.safe_load("\n".join(spec_lines(document))) or {}) == document


def test_a_script_is_shown_as_a_block() -> None:
    document = {"command": "set -e\necho hi\n", "env": {"PORT": "8080"}, "after": ["a", "b c"]}
    assert list(spec_lines(document)) == [
        "command: |",
        "  set -e",
        "  echo hi",
        "env:",
        '  PORT: "8080"',
        'after: [a, "b c"]',
    ]
    assert json.loads('"8080"') == "8080"


def test_a_sentence_begins_with_a_name_as_it_is_written() -> None:
    assert _sentence("root@vm asked for it", ("root@vm",)) == "root@vm asked for it."
    assert _sentence("extract had succeeded", ("extract",)) == "extract had succeeded."
    assert _sentence("the slot came due!", ("root@vm",)) == "The slot came due!"
