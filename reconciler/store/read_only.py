"""An SQLite file in a folder that this process may not write.

SQLite keeps the state of write-ahead files in two more files beside the database, and so wants to write even
to read. Where it cannot, and nobody has the file open, the file alone is the whole truth and is opened as
such: `plan`, `get`, `status`, `explain` and `schedule` only read.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reconciler.errors import DatabaseForbidden


def must_be_read_only(file: Path) -> bool:
    """Whether the file is there and nothing can be put beside it, nor is: no process has it open to write."""
    return file.exists() and not os.access(file.parent, os.W_OK) and not _beside(file, "-shm").exists()


def connect_read_only(file: Path, **options: Any) -> sqlite3.Connection:
    """Open it as it is; raises DatabaseForbidden where a part of it was left beside it."""
    left = _beside(file, "-wal")
    if left.exists() and left.stat().st_size:
        raise DatabaseForbidden(
            f"{file} cannot be read without writing: its last changes are still in {left.name}",
            hint="run any command once where the folder may be written, or give this user the right to write",
        )
    connection: sqlite3.Connection = sqlite3.connect(
        f"file:{quote(str(file))}?mode=ro&immutable=1", uri=True, **options
    )
    return connection


def _beside(file: Path, ending: str) -> Path:
    return file.with_name(file.name + ending)
