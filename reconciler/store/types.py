"""Column types that leave nothing to a server's defaults: time, JSON, long text, keys."""

from __future__ import annotations

import base64
import json
import zlib
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Integer, LargeBinary, Text
from sqlalchemy.dialects.mysql import DATETIME, LONGTEXT, MEDIUMBLOB, MEDIUMTEXT
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from reconciler.model.canonical import canonical_json

PACKED = "z:"
"""No JSON begins so."""
PACK_FROM = 65_536
"""Characters."""


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in Python; naive UTC with microseconds in the database (DATETIME(6) on the servers).

    Drivers drop the offset of an aware value silently, so anything but UTC is refused here: a naive
    value or another offset raises ValueError before it can be stored as the wrong instant.
    """

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        offset = value.utcoffset()
        if offset is None or offset:
            raise ValueError(f"a time for the database must be aware and in UTC, not {value!r}")
        return value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class Json(TypeDecorator[Any]):
    """Canonical JSON as text.

    Not the servers' JSON type: MySQL re-sorts keys and rewrites numbers, and hashes are computed
    from the program's own form.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(LONGTEXT())
        return dialect.type_descriptor(Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class PackedJson(Json):
    """Canonical JSON that may be long: above 64 KiB it is stored compressed, as ``z:`` and Base64.

    A statement has to fit into max_allowed_packet (16 MiB on MariaDB), and the changes of an apply of
    100,000 tasks are 40 MB of nearly equal lines.
    """

    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        text = super().process_bind_param(value, dialect)
        if text is None or len(text) < PACK_FROM:
            return text
        packed = zlib.compress(text.encode("utf-8", "surrogatepass"), level=6)
        return PACKED + base64.b64encode(packed).decode("ascii")

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        if value is not None and value.startswith(PACKED):
            packed = base64.b64decode(value.removeprefix(PACKED))
            value = zlib.decompress(packed).decode("utf-8", "surrogatepass")
        return super().process_result_value(value, dialect)


LongText = Text().with_variant(LONGTEXT(), "mysql", "mariadb")
MediumBytes = LargeBinary().with_variant(MEDIUMBLOB(), "mysql", "mariadb")
MediumText = Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")
Key = BigInteger().with_variant(Integer(), "sqlite")
"""Of auto-increment keys: SQLite counts up only what is called INTEGER."""
