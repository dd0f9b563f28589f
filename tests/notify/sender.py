"""A process that delivers until it is killed: ``python -m tests.notify.sender URL WEBHOOK``."""

from __future__ import annotations

import random
import sys

from reconciler.clock import SystemClock
from reconciler.notify import delivery, pace
from reconciler.notify.delivery import Delivery
from reconciler.notify.webhook import Webhook
from reconciler.store.engine import Database


def main(url: str, webhook: str, owner: str) -> None:
    """Deliver to the target ``ops``; a vanished process is missed after two seconds, a minute lasts one."""
    delivery.LEASE_SECONDS = 2.0
    pace.MINUTE = 1.0
    clock = SystemClock()
    db = Database.open(url, clock)
    sender = Webhook(lambda: webhook, lambda: "s3cr3t", clock)
    one = Delivery(db, clock, random.Random(), owner, "ops", sender)
    while True:
        one.step()
        clock.sleep(0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])
