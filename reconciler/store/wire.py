"""Whole rows as one JSON text each, for the reads that are many and hot.

PyMySQL takes a row apart column by column in Python; all three databases can make one JSON array of it, which
Python reads in C. Texts come back as they are stored; times as text, which ``Moments`` turns into instants.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, String, func


def as_one(*columns: Any) -> ColumnElement[str]:
    """The columns of a row as one; JSON columns have to be coerced to text first."""
    return func.json_array(*columns, type_=String())


def rows(texts: Iterable[str]) -> Iterator[list[Any]]:
    """The rows again."""
    # some servers leave control characters as they are
    return map(_DECODER.decode, texts)


_DECODER = json.JSONDecoder(strict=False)


class Moments(dict[str | None, datetime | None]):
    """Texts of a DATETIME(6) in UTC as instants, with a memory for one result: many rows share theirs."""

    def __missing__(self, text: str | None) -> datetime | None:
        moment = None if text is None else datetime.fromisoformat(f"{text}+00:00")
        self[text] = moment
        return moment

    def known(self, text: str) -> datetime:
        """Of a column that is never NULL."""
        moment = self[text]
        assert moment is not None
        return moment
