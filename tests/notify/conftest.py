"""A receiver in a process of its own, and a database with messages for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from reconciler.clock import Clock
from reconciler.store import outbox
from reconciler.store.engine import Database
from reconciler.store.outbox import Message
from reconciler.store.tables import Outbox
from tests.dispatch.conftest import World, clock, world
from tests.dispatch.fleet import Fleet
from tests.store.conftest import db, migrated, migrated_mariadb, migrated_mysql, url

__all__ = ["World", "clock", "db", "migrated", "migrated_mariadb", "migrated_mysql", "url", "world"]


@dataclass
class Receiver:
    """What it got, and how it behaves."""

    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=S3CRET"

    def behave(self, mode: str) -> None:
        """An HTTP status, ``slow``, ``trickle``, ``close`` or ``nonsense``."""
        (self.folder / "mode").write_text(mode)

    @property
    def got(self) -> list[dict[str, Any]]:
        log = self.folder / "log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(one["body"]) for one in self.got]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    folder = tmp_path / "receiver"
    folder.mkdir()
    (folder / "mode").write_text("200")
    words = [sys.executable, "-m", "tests.notify.receiver", str(folder / "mode"), str(folder / "log")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Receiver(int(process.stdout.readline()), folder)
        finally:
            process.kill()


def put(db: Database, now: datetime, *names: str, target: str = "ops", **payload: Any) -> None:
    """A failure of each of these tasks, for ``target``."""
    messages = [
        Message(
            "failure",
            target,
            f"failure/{target}/{name}",
            {"project": "shop", "task": name, "server": "web-1", "reason": "exit-code", **payload},
        )
        for name in names
    ]
    db.transact(lambda connection: outbox.tell(connection, messages, now))


def sent(db: Database) -> list[bool]:
    """Of each message in the outbox: whether it was delivered."""
    with db.read() as connection:
        return [at is not None for at in connection.scalars(select(Outbox.delivered_at).order_by(Outbox.id))]


__all__ += ["Clock", "Fleet", "closing", "put", "sent"]
