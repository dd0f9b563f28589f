"""A row's hash from its texts is that of the document they make, whatever they hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.canonical import canonical_json, document_hash
from reconciler.store.row_hash import TaskHashes
from reconciler.store.rows import task_document

TEXT = st.text(max_size=20)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [
        "after",
        "calendars",
        "command",
        "concurrency",
        "dst",
        "enabled",
        "env",
        "schedule",
        "tags",
        "timezone",
        "z",
    ]
)
SPEC = st.dictionaries(NAMES | TEXT, VALUE, max_size=8)
REST = st.fixed_dictionaries({"spec": SPEC}, optional={"annotations": VALUE, "formerly": TEXT})


def hash_by_document(
    command: str, schedule: str | None, zone: str, status: int, labels: Any, protected: int, rest: Any
) -> str:
    return document_hash(task_document(command, schedule, zone, status, labels, protected, rest))


@given(
    TEXT,
    st.none() | TEXT,
    st.just("UTC") | TEXT,
    st.integers(0, 1),
    st.dictionaries(TEXT, TEXT, max_size=3),
    st.integers(0, 1),
    st.lists(REST, min_size=1, max_size=3),
)
def test_it_is_that_of_the_document(
    command: str, schedule: str | None, zone: str, status: int, labels: Any, protected: int, rests: list[Any]
) -> None:
    hashes = TaskHashes()
    named = canonical_json(labels), labels
    for rest in rests * 2:
        found = hashes.of(command, schedule, zone, status, named, protected, (canonical_json(rest), rest))
        assert found == hash_by_document(command, schedule, zone, status, labels, protected, rest)


@pytest.mark.parametrize("rest", ["{}", '{"annotations":{"a":"b"}}', '{"spec": {"z": 1, "a": 2}}'])
def test_texts_that_are_not_canonical_mean_the_same(rest: str) -> None:
    value = json.loads(rest)
    found = TaskHashes().of("true", None, "UTC", 1, ("{}", {}), 0, (rest, value))
    assert found == hash_by_document("true", None, "UTC", 1, {}, 0, value)


@pytest.mark.parametrize("rest", ['{"spec":{"env":NaN}}', '{"annotations":NaN,"spec":{}}'])
def test_a_number_that_is_none_is_like_nothing_that_was_applied(rest: str) -> None:
    assert TaskHashes().of("true", None, "UTC", 1, ("{}", {}), 0, (rest, json.loads(rest))) == ""
