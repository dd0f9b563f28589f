from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.driver import Program


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Makes programs in the test's folder and ends what they left running."""
    made: list[Program] = []

    def make(database: str | None = None, **environment: str) -> Program:
        folder = tmp_path / f"program-{len(made)}"
        folder.mkdir()
        made.append(Program(folder, database, **environment))
        return made[-1]

    yield make
    for one in made:
        one.close()
