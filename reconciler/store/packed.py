"""Many short columns as one text, and many rows as one, for reads of ten thousand rows.

The pure Python driver of the servers costs about a microsecond and a half for every value of a row, three
for every time, and six for the row itself: so the server joins them with separators, and they are split here.
For values that cannot hold a separator (U+001E, U+001F): numbers, times, hashes, words of our own; short free
text goes through ``cleaned``. Whole texts of people's go through ``wire``, as JSON, which takes the servers
twice as long.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Text, func
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

SEPARATOR = "\x1f"
END_OF_ROW = "\x1e"


class packed(FunctionElement[str]):
    """``packed(a, b, c)``: the values as one text, NULL as nothing. Times keep their microseconds."""

    name = "packed"
    type = Text()
    inherit_cache = True


@compiles(packed)
def _servers(element: packed, compiler: Any, **words: Any) -> str:
    parts = ", ".join(f"COALESCE({compiler.process(clause, **words)}, '')" for clause in element.clauses)
    return f"CONCAT_WS(CHAR(31 USING utf8mb4), {parts})"


@compiles(packed, "sqlite")
def _sqlite(element: packed, compiler: Any, **words: Any) -> str:
    parts = (f"COALESCE({compiler.process(clause, **words)}, '')" for clause in element.clauses)
    return " || CHAR(31) || ".join(parts)


class joined(FunctionElement[str]):
    """``joined(text)``: those of all rows as one, for ``parted``; NULL for none. Servers cut what is longer
    than ``group_concat_max_len`` (engine.SESSION), and give NULL for more than a packet.
    Texts that may have over 512 characters MariaDB puts through a file of its tmpdir."""

    name = "joined"
    type = Text()
    inherit_cache = True


@compiles(joined)
def _servers_rows(element: joined, compiler: Any, **words: Any) -> str:
    return f"GROUP_CONCAT({compiler.process(element.clauses, **words)}, '{END_OF_ROW}' SEPARATOR '')"


@compiles(joined, "sqlite")
def _sqlite_rows(element: joined, compiler: Any, **words: Any) -> str:
    return f"GROUP_CONCAT({compiler.process(element.clauses, **words)} || CHAR(30), '')"


def parted(found: str | None, count: int) -> list[str] | None:
    """The texts of ``count`` rows that ``joined`` gave; None if something is missing."""
    texts = found.split(END_OF_ROW) if found else [""]
    return texts if not texts.pop() and len(texts) == count else None


def cleaned(column: Any) -> Any:
    """A short free text, only shown and never compared, with a space for each separator in it."""
    return func.replace(func.replace(column, SEPARATOR, " "), END_OF_ROW, " ")


class Times(dict[str, "datetime | None"]):
    """Text of a time as the databases write it → aware UTC; nothing → None. Each text is read once."""

    def __missing__(self, text: str) -> datetime | None:
        moment = datetime.fromisoformat(f"{text}+00:00") if text else None
        if len(self) < 100_000:
            self[text] = moment
        return moment

    def known(self, text: str) -> datetime:
        """Of a column that is never NULL."""
        moment = self[text]
        assert moment is not None
        return moment


def number(text: str) -> int | None:
    """A number; nothing → None."""
    return int(text) if text else None
