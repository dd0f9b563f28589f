"""JSON columns that a hand may have spoilt, read once for each distinct text."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from reconciler.model.canonical import canonical_json

SHOWN = 200
"""Characters of an unreadable text that a plan shows."""
DEEPEST = 50
"""Levels of a value; what we write has at most six, and very deep ones break whoever walks them."""


@dataclass(frozen=True, slots=True)
class Read:
    """A column's value; ``unreadable`` is the text (shortened) that is no object as we write it, else None.

    ``value`` is shared between rows: never change it.
    """

    value: dict[str, Any]
    unreadable: str | None = None


class Columns(dict[Any, Read]):
    """Text → what it says. What lies under the key ``part``, if anything, has to be an object too."""

    def __init__(self, part: str | None = None) -> None:
        self._part = part

    def __missing__(self, text: Any) -> Read:
        read = self[text] = self._read(text)
        return read

    def _read(self, text: Any) -> Read:
        try:
            value = _decode(text)
            if not _harmless(text):
                canonical_json(value).encode()
        except (ValueError, TypeError, RecursionError):
            value = None
        fits = isinstance(value, dict) and isinstance(value.get(self._part, {}), dict)
        return Read(value) if fits and _ours(text, value) else Read({}, _shown(text))


def _finite(text: str) -> float:
    """A number that JSON can say again."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number")
    return value


_decode = json.JSONDecoder(parse_float=_finite, parse_constant=_finite).decode
"""NaN, Infinity and 1e999 could be neither hashed nor stored."""


def _harmless(text: str) -> bool:
    """Whether no lone surrogate or endless depth is in it, which could not be hashed and shown."""
    return "\\u" not in text and text.count("{") + text.count("[") <= DEEPEST


def _ours(text: str, value: Any) -> bool:
    """Not too deep, and without null: what is not set is left out. Nearly all texts show that themselves."""
    plain = "null" not in text and text.count("{") + text.count("[") <= DEEPEST
    return plain or _is_ours(value, DEEPEST)


def _is_ours(value: Any, levels: int) -> bool:
    """Not too deep, and without null: what is not set is left out."""
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return levels > 0 and all(_is_ours(item, levels - 1) for item in items)
    return value is not None


def _shown(text: Any) -> str:
    shown = text if isinstance(text, str) else repr(text)
    return shown if len(shown) <= SHOWN else shown[: SHOWN - 1] + "…"
