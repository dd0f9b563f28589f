"""An SQLite file in a folder that may only be read."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from reconciler.cli.main import main
from tests.manifest.trees import SERVER, write


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an applied tree ``m``; from now on nothing can be written there."""
    monkeypatch.chdir(write(tmp_path, {"m/a.yaml": SERVER}))
    monkeypatch.delenv("RECONCILER_DATABASE_URL", raising=False)
    assert main(["apply", "m", "--yes"]) == 0
    folder = tmp_path / ".reconciler"
    assert sorted(file.name for file in folder.iterdir()) == [".gitignore", "state.db"]
    if os.geteuid():
        folder.chmod(0o500)
    else:
        # root may write everywhere but on a read-only mount, where this is the answer
        monkeypatch.setattr("reconciler.store.read_only.os.access", lambda _, mode: mode != os.W_OK)
    return folder


@pytest.mark.parametrize(
    "words",
    ["plan m", "get servers", "get executions", "status", "schedule", "describe server db-1", "db check"],
)
def test_what_only_reads_needs_no_right_to_write(words: str, place: Path) -> None:
    before = {file.name: file.read_bytes() for file in place.iterdir()}
    assert main(words.split()) == 0
    assert {file.name: file.read_bytes() for file in place.iterdir()} == before


def test_an_apply_that_changes_something_says_what_is_missing(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(place.parent, {"m/a.yaml": SERVER.replace("10.0.0.11", "10.0.0.12")})
    assert main(["apply", "m", "--yes"]) == 1
    assert "error: .reconciler/state.db cannot be written" in capsys.readouterr().err


def test_changes_that_are_not_in_the_file_yet_are_not_silently_left_out(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    with monkeypatch.context() as writable:
        writable.undo()
        place.chmod(0o700)
        connection = sqlite3.connect(place / "state.db")
        connection.execute("UPDATE servers SET line = 77")
        connection.commit()
        for name in ("state.db", "state.db-wal"):
            shutil.copy(place / name, killed / name)
        connection.close()
    monkeypatch.setattr("reconciler.store.read_only.os.access", lambda _, mode: mode != os.W_OK)
    assert main(["get", "servers", "--database", f"sqlite:///{killed}/state.db"]) == 1
    assert "its last changes are still in state.db-wal" in capsys.readouterr().err
