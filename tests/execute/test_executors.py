"""What holds for runs of any connection."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from reconciler.errors import ArchiveUnavailable
from reconciler.execute import executors as module
from reconciler.execute.archive import ArchiveFaults
from reconciler.execute.control import Control, Stream
from reconciler.execute.executors import Executors
from reconciler.model.enums import Connection
from reconciler.model.execution import Job, Reason, Status
from reconciler.settings import Settings
from tests.execute.support import CLOCK, Listener, executors, local_hop, make_job, plain_hop, running
from tests.services.clock import FakeClock


def test_local_runs_need_leave_from_the_settings() -> None:
    listener = Listener()
    outcome = Executors(Settings(), CLOCK, {}).run(make_job(local_hop(), "true"), listener.control)
    assert (outcome.status, outcome.reason, outcome.started_at) == (Status.FAILED, Reason.START_FAILED, None)
    assert "RECONCILER_ALLOW_LOCAL=1" in (outcome.message or "")
    assert not listener.started.is_set()


def test_a_new_limit_of_output_holds_for_runs_that_start_later() -> None:
    some = executors()
    some.use(Settings(output_limit=2 * 1024**2))
    for hop in (plain_hop(), local_hop()):
        outcome = some.run(make_job(hop, "yes | head -c 9000000; sleep 20"), Control())
        assert outcome.reason is Reason.CANCELLED
        assert "its output is longer than the limit of 2MiB" in (outcome.message or "")
    # the others stay: local runs are still allowed
    some.use(Settings())
    assert some.run(make_job(plain_hop(), "yes | head -c 9000000"), Control()).status is Status.SUCCESS


def test_a_bug_becomes_an_outcome_that_tells_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("hunter22")

    monkeypatch.setattr(module, "PlainRun", broken)
    outcome = executors().run(make_job(plain_hop(), "true"), Control())
    assert outcome.reason is Reason.INTERNAL
    assert "RuntimeError" in (outcome.message or "")
    assert "hunter22" not in (outcome.message or "")


def test_listeners_that_fail_do_not_disturb_the_run(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no")

    outcome = executors().run(make_job(local_hop(), "echo out; echo err >&2"), Control(broken, broken))
    assert outcome.status is Status.SUCCESS
    assert (outcome.stdout.text, outcome.stderr.text) == ("out\n", "err\n")
    assert len(caplog.records) == 2


def test_the_start_is_told_once_and_before_any_output() -> None:
    heard: list[object] = []

    def on_start(at: datetime) -> None:
        heard.append(at)

    def on_output(stream: Stream, data: bytes) -> None:
        heard.append((stream, data))

    outcome = executors().run(
        make_job(local_hop(), "echo out; sleep 0.2; echo more"), Control(on_start, on_output)
    )
    assert heard[0] == outcome.started_at
    assert heard.count(outcome.started_at) == 1
    assert heard[1:] == [("stdout", b"out\n"), ("stdout", b"more\n")]


class Folder:
    """An archive in memory that may break."""

    def __init__(self, breaks: str = "") -> None:
        self.whole: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
        self.breaks = breaks
        self.abandoned = False

    def open(self, job: Job) -> Folder:
        if self.breaks == "open":
            raise OSError("disk full")
        return self

    def write(self, stream: Stream, data: bytes) -> None:
        if self.breaks == "write":
            raise OSError("disk full")
        self.whole[stream] += data

    def finish(self) -> str:
        if self.breaks == "finish":
            raise OSError("disk full")
        return "file:///archive/1"

    def abandon(self) -> None:
        self.abandoned = True


@pytest.mark.parametrize("breaks", ["", "open", "write", "finish"])
def test_the_archive_gets_the_whole_masked_output_and_its_failure_fails_no_run(
    breaks: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Folder(breaks)
    some = Executors(Settings(allow_local=True), CLOCK, {"RECONCILER_SECRET_X": "hunter22"}, folder.open)
    job = make_job(
        local_hop(),
        "yes $X | head -c 90000; echo err >&2",
        secrets={"X": {"env": "X"}},
        output={"maxBytes": "1KiB", "archive": True},
    )
    outcome = some.run(job, Control())
    assert outcome.status is Status.SUCCESS
    assert outcome.stdout.truncated
    if breaks:
        assert outcome.archive is None
        assert folder.abandoned is (breaks != "open")
        (message,) = [record.message for record in caplog.records]
        assert message.startswith(f"the output of execution {job.execution_id} is not in the archive: ")
        assert (outcome.message or "").startswith("its whole output is not in the archive: ")
    else:
        assert outcome.message is None
        assert outcome.archive == "file:///archive/1"
        assert not folder.abandoned
        assert folder.whole == {"stdout": b"***\n" * 10_000, "stderr": b"err\n"}
        assert outcome.stdout.sha256 == hashlib.sha256(folder.whole["stdout"]).hexdigest()


def test_an_archive_that_says_why_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def full(job: Job) -> None:
        raise ArchiveUnavailable("the archive /a cannot be written: No space left on device")

    some = Executors(Settings(allow_local=True), CLOCK, {}, full)
    job = make_job(local_hop(), "echo x", output={"archive": True})
    outcome = some.run(job, Control())
    assert (outcome.archive, outcome.message) == (
        None,
        "its whole output is not in the archive: the archive /a cannot be written: No space left on device",
    )
    assert caplog.text.count("\n") == 1
    assert caplog.records[0].message == (
        f"the output of execution {job.execution_id} is not in the archive: "
        "the archive /a cannot be written: No space left on device"
    )


def test_a_full_disk_is_not_told_for_every_run(
    caplog: pytest.LogCaptureFixture, fake_clock: FakeClock
) -> None:
    faults = ArchiveFaults(fake_clock)
    full, gone = ArchiveUnavailable("No space left on device"), ArchiveUnavailable("no such bucket")
    for number in range(5):
        faults.failed(number, full)
    faults.failed(5, gone)
    assert [record.message for record in caplog.records] == [
        "the output of execution 0 is not in the archive: No space left on device",
        "the output of execution 5 is not in the archive: no such bucket",
    ]
    fake_clock.advance(61)
    faults.failed(6, full)
    assert caplog.records[-1].message == (
        "the output of execution 6 is not in the archive (nor those of 4 others since this was last said): "
        "No space left on device"
    )


def test_no_archive_is_opened_for_tasks_that_want_none() -> None:
    def never(job: Job) -> None:
        raise AssertionError

    some = Executors(Settings(allow_local=True), CLOCK, {}, never)
    assert some.run(make_job(local_hop(), "true"), Control()).status is Status.SUCCESS


def test_success_exit_codes_are_the_tasks_own() -> None:
    with running() as some:
        job = make_job(plain_hop(), "exit 3", successExitCodes=[0, 3])
        assert some.run(job, Control()).status is Status.SUCCESS
        again = replace(job, spec=job.spec.model_copy(update={"success_exit_codes": (0,)}))
        assert some.run(again, Control()).reason is Reason.EXIT_CODE


def test_paramiko_is_imported_only_for_ssh() -> None:
    code = (
        "import sys; import reconciler.execute.executors; "
        "print([name for name in ('paramiko', 'cryptography') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_after_closing_nothing_starts_any_more() -> None:
    some = executors()
    some.close()
    hop = replace(local_hop(), spec=local_hop().spec.model_copy(update={"connection": Connection.SSH}))
    outcome = some.run(make_job(hop, "true"), Control())
    assert (outcome.reason, outcome.message) == (
        Reason.CANCELLED,
        "cancelled before its start: reconciler is shutting down",
    )
