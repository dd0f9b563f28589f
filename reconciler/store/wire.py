"""Whole rows as one JSON text each, for the reads that are many and hot.

PyMySQL takes a row apart column by column in Python; all three databases can make one JSON array of it, which
Python reads in C. Texts come back as they are stored; times as text, which ``Moments`` turns into instants.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, String, func


def as_one(*columns: Any) -> ColumnElement[str]:
    """The columns of a row as one; JSON columns have to be coerced to text first."""
    return func.json_array(*columns, type_=String())


def rows(texts: Iterable[str]) -> list[list[Any]]:
    """The rows again."""
    # as one text: the decoder's own Python takes as long for each as its C for a row of ten columns
    found: list[list[Any]] = _DECODER.decode(f"[{','.join(texts)}]")
    return found


class Gathered:
    """The rows of a query that selects ``as_one``, fetched as one text and read in one go: for many rows.

    Made once: recognising a large statement that was made anew takes longer than reading its rows.
    """

    def __init__(self, query: Select[str]) -> None:
        self._one_by_one = query
        text = func.group_concat(query.selected_columns[0])
        self._at_once = query.with_only_columns(func.count(), text)

    def read(self, conn: Connection, **parameters: Any) -> list[list[Any]]:
        """Those that fit these parameters, in any order."""
        count, text = conn.execute(self._at_once, parameters).one()
        try:
            found: list[list[Any]] = _DECODER.decode(f"[{text or ''}]")
        except ValueError:
            found = []
        # servers cut what is longer than group_concat_max_len, and give NULL for more than a packet
        if len(found) == count:
            return found
        return list(rows(conn.scalars(self._one_by_one, parameters)))


_DECODER = json.JSONDecoder(strict=False)
"""Some servers leave control characters as they are."""


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
