"""The front door, with the clock standing still."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import main
from reconciler.clock import SystemClock
from tests.report.conftest import world
from tests.report.world import NOW
from tests.store.conftest import DIALECTS, Migrated, db, migrated, migrated_mariadb, migrated_mysql

__all__ = ["db", "migrated", "migrated_mariadb", "migrated_mysql", "world"]


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Said]


@pytest.fixture
def url(request: pytest.FixtureRequest, migrated: Migrated, tmp_path: Path) -> str:
    """SQLite: forms and errors are the same everywhere, and what is read is tested on all in tests/report.

    With ``@on_each_database`` the three in turn.
    """
    return migrated.url(getattr(request, "param", "sqlite"), tmp_path / "state.db")


on_each_database = pytest.mark.parametrize("url", DIALECTS, indirect=True)


@pytest.fixture
def reconciler(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> Command:
    """Runs a command on the test's database; it is noon of 1 March 2026, UTC."""
    monkeypatch.setattr(SystemClock, "now", lambda self: NOW)
    monkeypatch.chdir(tmp_path)
    for name in ("RECONCILER_DATABASE_URL", "RECONCILER_LATE_AFTER"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str) -> Said:
        capsys.readouterr()
        code = main([*words, "--database", url])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run
