"""Folders of recorded runs: which of them go, and what is done where a host does not let us in."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from reconciler.execute.control import Control
from reconciler.execute.executors import Executors
from reconciler.execute.fault import Fault
from reconciler.execute.trash import LONGEST_SECONDS, QUIET_SECONDS, Trash
from reconciler.model.execution import Reason
from tests.execute.support import QuietSshd, eventually, local_hop, make_job, ssh_hop
from tests.services.clock import FakeClock


class Closed:
    """A host that refuses every login until it is told to let people in."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.tried: list[float] = []
        self.refuses = True
        self.sent: list[bytes] = []

    def open(self, *_words: object, **_options: object) -> Any:
        self.tried.append(self.clock.monotonic())
        if self.refuses:
            raise Fault(Reason.AUTH_FAILED, "it refused us")
        return SimpleNamespace(
            send=self.sent.append, drained=True, lost=None, receive=lambda _seconds: None, close=lambda: None
        )


def passing(clock: FakeClock, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Let time pass in steps that the thread under test can follow."""
    for _ in range(int(seconds)):
        if until():
            return
        clock.advance(1.0)
        threading.Event().wait(0.002)


def test_a_host_that_refuses_us_is_tried_less_and_less_and_told_once(
    fake_clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    host = Closed(fake_clock)
    trash = Trash(lambda _job: host, fake_clock)  # type: ignore[arg-type, return-value]
    with caplog.at_level(logging.INFO, logger="reconciler.execute.trash"):
        trash.put(make_job(local_hop(), "true"))
        passing(fake_clock, 900, lambda: len(host.tried) >= 5)
        pauses = [round(after - before) for before, after in pairwise(host.tried)]
        assert len(host.tried) >= 5
        assert all(later >= 1.5 * earlier for earlier, later in pairwise(pauses))
        assert pauses[0] >= 2 * QUIET_SECONDS
        assert [record.getMessage() for record in caplog.records] == [
            "the folder of 1 run on here cannot be removed yet: it refused us"
        ]
        host.refuses = False
        passing(fake_clock, LONGEST_SECONDS, lambda: bool(host.sent))
    assert len(host.sent) == 1
    trash.close()


@pytest.mark.ssh
def test_a_run_that_never_began_leaves_nothing_to_remove(over_ssh: Executors, quiet_sshd: QuietSshd) -> None:
    hop = ssh_hop(quiet_sshd)
    stranger = replace(hop, spec=hop.spec.model_copy(update={"username": "no-such-account"}))
    refused = make_job(stranger, "true")
    assert over_ssh.run(refused, Control()).reason is Reason.AUTH_FAILED
    without = make_job(hop, "true", secrets={"X": {"env": "NOT_SET"}})
    assert over_ssh.run(without, Control()).reason is Reason.START_FAILED
    ran = make_job(hop, "true")
    assert over_ssh.run(ran, Control()).reason is Reason.COMPLETED
    for job in (refused, without, ran):
        over_ssh.recorded(job)
    assert [heap.ids for heap in over_ssh._trash._heaps.values()] == [[ran.execution_id]]
    over_ssh._trash.close()
    folder = quiet_sshd.home / ".local/state/reconciler/runs" / str(ran.execution_id)
    eventually(lambda: not folder.exists())
