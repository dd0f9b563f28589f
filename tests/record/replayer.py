"""A process that records what it finds in a spool, for tests that kill it: ``URL STATE_FOLDER``."""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path

from reconciler.clock import SystemClock
from reconciler.record.ledger import DatabaseLedger
from reconciler.record.spool import Spool
from reconciler.record.writer import Writer
from reconciler.store.engine import Database
from reconciler.store.ids import ExecutionIds


def main(url: str, root: str) -> None:
    """Replay, a few at a time, until it is killed."""
    logging.basicConfig(level=logging.WARNING)
    clock = SystemClock()
    ledger = DatabaseLedger(Database.open(url, clock), clock, ExecutionIds(300, clock))
    Writer(ledger, clock, Spool(Path(root), "replayer", clock), max_rows=3).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
