"""The short form of ``make chaos-schedule``. RECONCILER_TEST_SECONDS makes it longer."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.schedule import run
from tests.services.database import MariaDB

SECONDS = float(os.environ.get("RECONCILER_TEST_SECONDS", "20"))


@pytest.mark.mariadb
@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
def test_every_slot_is_in_the_ledger_once_whoever_is_killed(
    start_mariadb: Callable[..., MariaDB], tmp_path: Path
) -> None:
    seed = int(os.environ.get("RECONCILER_TEST_SEED", "0")) or random.SystemRandom().getrandbits(32)
    result = run(start_mariadb(), tmp_path, SECONDS, seed)
    print(result)
    assert result.wrong == [], f"again with RECONCILER_TEST_SEED={seed}"
    assert result.kills > 2
    assert result.restarts == 1
    assert result.reasons["completed"] > 100
