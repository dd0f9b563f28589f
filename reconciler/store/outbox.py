"""What people are to be told: written in the transaction that causes it, delivered later by ``notify``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from reconciler.store.tables import Outbox


def enqueue(connection: Connection, kind: str, payload: Mapping[str, Any], at: datetime) -> None:
    """One message, due at ``at``; no secret may be in the payload."""
    connection.execute(insert(Outbox).values(kind=kind, payload=dict(payload), attempts=0, next_attempt=at))
