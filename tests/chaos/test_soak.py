"""The short form of ``make soak``. RECONCILER_TEST_SECONDS makes it longer."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.soak import run
from tests.services.database import MariaDB

SECONDS = float(os.environ.get("RECONCILER_TEST_SECONDS", "15"))


@pytest.mark.mariadb
@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 600)
def test_the_last_good_commit_is_applied_whatever_broke(
    start_mariadb: Callable[..., MariaDB], tmp_path: Path
) -> None:
    seed = int(os.environ.get("RECONCILER_TEST_SEED", "0")) or random.SystemRandom().getrandbits(32)
    result = run(start_mariadb(), tmp_path, SECONDS, seed, tasks=6)
    print(result)
    assert result.wrong == [], f"again with RECONCILER_TEST_SEED={seed}"
    assert result.reasons["completed"] > 10
