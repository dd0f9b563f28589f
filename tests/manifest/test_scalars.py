"""Plain scalars against PyYAML's own resolver (YAML 1.1)."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from yaml.resolver import Resolver

from reconciler.manifest.scalars import NUMBER_START, WORDS, Ambiguous, number

_YAML_1_1 = Resolver()


def tag(text: str) -> str:
    """``int``, ``float``, ``str``, ``timestamp``, … of YAML 1.1."""
    return str(_YAML_1_1.resolve(yaml.ScalarNode, text, (True, False))).rpartition(":")[2]


def test_the_words_are_those_of_yaml_1_1() -> None:
    for word, value in WORDS.items():
        assert tag(word) == {True: "bool", False: "bool", None: "null"}[value]
        if value is not None:
            assert tag(word + "x") == "str"


READINGS = {
    "012": ("10", "12"),
    "08": ("text", "8"),
    "0o17": ("text", "15"),
    "1_000": ("1000", "text"),
    "0b11": ("3", "text"),
    "-0b11": ("-3", "text"),
    "0x1_F": ("31", "text"),
    "+0x1F": ("31", "text"),
    "1e3": ("text", "1000"),
    "1.5e3": ("text", "1500"),
    "-.5": ("text", "-0.5"),
    "1:30": ("90", "text"),
    "-1:30": ("-90", "text"),
    "1:30.5": ("90.5", "text"),
    "190:20:30": ("685230", "text"),
}


@pytest.mark.parametrize("text", READINGS)
def test_both_readings_of_an_ambiguous_scalar_are_known(text: str) -> None:
    assert number(text) == Ambiguous(text)
    assert Ambiguous(text).readings() == READINGS[text]


NUMBERS = {
    "0": 0,
    "-0": 0,
    "+5": 5,
    "42": 42,
    "0x1F": 31,
    "1.5": 1.5,
    "1.": 1.0,
    ".5": 0.5,
    "1.5e+3": 1500.0,
    "00": 0,
}


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_that_all_parsers_read_alike_are_numbers(text: str) -> None:
    value = number(text)
    assert value == NUMBERS[text]
    assert type(value) is type(NUMBERS[text])


@given(st.text("0123456789_.:+-eExobaf", min_size=1, max_size=9).filter(lambda text: text[0] in NUMBER_START))
@settings(max_examples=2000, deadline=None)
def test_what_we_take_for_a_text_is_one_to_yaml_1_1_and_what_it_takes_for_a_number_is_never_a_text_to_us(
    text: str,
) -> None:
    # PyYAML calls these integers, and then fails to read them
    assume(not re.fullmatch(r"[-+]?0[xb]_+", text))
    value = number(text)
    kind = tag(text)
    if value is None:
        assert kind in ("str", "timestamp")
    elif isinstance(value, Ambiguous):
        assert (value.readings()[0] == "text") == (kind == "str")
    else:
        assert kind in ("int", "float")


def test_a_number_of_very_many_digits_is_not_computed() -> None:
    assert number("9" * 1_000_000) is None
