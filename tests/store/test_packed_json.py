"""Long JSON in few bytes."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Text, insert, select, type_coerce

from reconciler.store.engine import Database
from reconciler.store.tables import Outbox
from reconciler.store.types import PACK_FROM, PACKED, PackedJson

MANY = [
    {"action": "create", "name": f"aufgabe-{number}-备份\udcff", "fields": {}} for number in range(20_000)
]


@pytest.mark.parametrize(
    ("value", "packed"),
    [
        ([], False),
        ([{"name": "z:begins like a packed one"}], False),
        (["x" * (PACK_FROM - 5)], False),
        (["x" * (PACK_FROM + 1)], True),
        (MANY[:5_000], True),
    ],
    ids=["empty", "marker", "just short", "just long", "many"],
)
def test_what_went_in_comes_out(value: Any, packed: bool) -> None:
    kind = PackedJson()
    stored = kind.process_bind_param(value, None)  # type: ignore[arg-type]
    assert stored is not None
    assert stored.startswith(PACKED) is packed
    assert stored.isascii() or not packed
    assert kind.process_result_value(stored, None) == value  # type: ignore[arg-type]


def test_nothing_stays_nothing() -> None:
    assert PackedJson().process_bind_param(None, None) is None  # type: ignore[arg-type]
    assert PackedJson().process_result_value(None, None) is None  # type: ignore[arg-type]


def test_many_changes_fit_into_a_packet(db: Database) -> None:
    """20,000 changes with all their fields: 12 MB of text."""
    changes = [
        one | {"name": f"task-{n}", "fields": {"spec.command": "x" * 500}} for n, one in enumerate(MANY)
    ]
    table = Outbox.__table__
    packed = PackedJson()
    column = type_coerce(table.c.payload, packed)
    with db.write() as connection:
        connection.execute(
            insert(table).values(  # type: ignore[arg-type]
                kind="test", payload=type_coerce(changes, packed), attempts=0
            )
        )
    with db.read() as connection:
        text = connection.execute(select(type_coerce(table.c.payload, Text))).scalar_one()
        assert len(text) < 1_000_000
        assert connection.execute(select(column)).scalar_one() == changes
