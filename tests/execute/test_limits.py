"""What a run finds and what it may not do: umask, locale, and more output than anybody wants."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.execute.control import Control
from reconciler.execute.durable import DurableRun
from reconciler.execute.local import LocalHost
from reconciler.execute.plain import PlainRun
from reconciler.model.execution import Outcome, Reason, Status
from tests.execute.support import (
    CLOCK,
    Background,
    Listener,
    QuietSshd,
    eventually,
    local_hop,
    make_job,
    plain_hop,
    processes,
    running,
    ssh_hop,
)
from tests.execute.test_durable import SHELLS, Place, left_by

MIB = 1024 * 1024
POURING = "while :; do head -c 1000000 /dev/zero; done"
EITHER = pytest.mark.parametrize("durable", [True, False], ids=["durable", "plain"])


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if shutil.which(request.param[0]) is None:
        pytest.skip(f"{request.param[0]} is not installed")
    return Place(tmp_path / "home", request.param)


def run_in(host: LocalHost, command: str, durable: bool, limit: int = 1024**3, **spec: object) -> Outcome:
    job = make_job(local_hop() if durable else plain_hop(), command, **spec)
    if durable:
        return DurableRun(job, Control(), host, {}, CLOCK, limit=limit).outcome()
    return PlainRun(job, Control(), host, {}, CLOCK, limit=limit).outcome()


@EITHER
@pytest.mark.parametrize(
    ("account", "expected"), [(0o000, "022"), (0o002, "022"), (0o022, "022"), (0o027, "027"), (0o077, "077")]
)
def test_what_a_command_makes_is_for_nobody_else_to_write(
    place: Place, durable: bool, account: int, expected: str
) -> None:
    before = os.umask(account)
    try:
        outcome = run_in(place.host, "umask", durable)
    finally:
        os.umask(before)
    assert outcome.stdout.text.strip().lstrip("0") == expected.lstrip("0")


@EITHER
@pytest.mark.parametrize(
    ("environment", "spec", "expected"),
    [
        ({}, {}, "||C.UTF-8"),
        ({"LANG": "de_DE.UTF-8"}, {}, "de_DE.UTF-8||"),
        ({"LC_CTYPE": "C"}, {}, "||C"),
        ({"LC_ALL": "C"}, {}, "|C|"),
        ({}, {"env": {"LANG": "C"}}, "C||"),
        ({}, {"env": {"LC_ALL": "C"}}, "|C|"),
    ],
)
@pytest.mark.skipif(
    not any(Path("/usr/lib/locale", name).is_dir() for name in ("C.utf8", "C.UTF-8")),
    reason="this machine has no UTF-8 locale",
)
def test_characters_are_utf_8_unless_somebody_chose(
    place: Place, durable: bool, environment: dict[str, str], spec: dict[str, object], expected: str
) -> None:
    own = {"PATH": os.environ["PATH"], "HOME": str(place.home), **environment}
    outcome = run_in(LocalHost(own, place.host._shell), 'echo "$LANG|$LC_ALL|$LC_CTYPE"', durable, **spec)
    assert outcome.stdout.text == expected + "\n"


@EITHER
def test_a_run_that_writes_without_end_is_ended_and_says_so(place: Place, durable: bool) -> None:
    outcome = run_in(place.host, POURING, durable, 3 * MIB, killGrace="2s")
    assert outcome.reason is Reason.CANCELLED
    assert "its output is longer than the limit of 3MiB" in (outcome.message or "")
    assert outcome.stdout.total_bytes > 3 * MIB
    assert outcome.stdout.truncated


def test_nobody_needs_to_listen_for_that(place: Place) -> None:
    job = make_job(local_hop(), f"trap '' TERM; echo ready; sleep 0.5; {POURING}", killGrace="1s")
    listener = Listener()
    listener.control = Control(listener._start, lambda *_: listener.control.let_go())
    left = DurableRun(job, listener.control, place.host, {}, CLOCK, limit=3 * MIB).outcome()
    assert left.status is Status.OPEN
    why = place.folder(job) / "why"
    eventually(lambda: why.read_text().startswith("cancelled its output is longer"), 30)
    eventually(lambda: not processes(job), 30)
    outcome = place.run(left_by(job, left))
    assert (outcome.reason, outcome.exit_code) == (Reason.CANCELLED, None)
    assert "its output is longer than the limit" in (outcome.message or "")
    assert outcome.stdout.total_bytes == (place.folder(job) / "out").stat().st_size


def test_one_that_pours_only_later_and_hears_no_term_is_ended_as_soon(place: Place) -> None:
    pouring = "trap '' TERM; sleep 2; yes"
    outcome = run_in(place.host, pouring, True, 3 * MIB, killGrace="2m")
    assert (outcome.reason, outcome.exit_code) == (Reason.CANCELLED, None)
    assert "did not end on TERM" in (outcome.message or "")
    # a second of it is about as much, the grace a hundred times that
    assert outcome.stdout.total_bytes < 4096 * MIB


def test_a_run_that_is_quiet_or_has_ended_is_left_alone(place: Place) -> None:
    job = make_job(local_hop(), "head -c 3000000 /dev/zero >file; sleep 2.5; rm file; echo through")
    outcome = DurableRun(job, Control(), place.host, {}, CLOCK, limit=2 * MIB).outcome()
    assert (outcome.exit_code, outcome.stdout.text) == (0, "through\n")
    # the one who watched goes, too, and leaves no process behind
    eventually(lambda: not guards(place), 20)


def guards(place: Place) -> list[str]:
    """Processes that are in the folder of a run."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if os.readlink(link).startswith(str(place.home / ".local")):
                found.append(link.parent.name)
    return found


@pytest.fixture
def small_home(tmp_path: Path) -> Iterator[Path]:
    """A home with 160 MB."""
    home = tmp_path / "small"
    home.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(home)]
    if subprocess.run(mounted, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield home
    finally:
        subprocess.run(["umount", "-l", str(home)], check=False)


def test_a_run_that_fills_the_disk_is_ended_before_it_harms_others(small_home: Path) -> None:
    there = Place(small_home)
    # a little at a time, as a log grows; the first to stop it is the disk, were it not for us
    pouring = "while head -c 2000000 /dev/zero; do sleep 0.05; done; echo full >&2; sleep 300"
    outcome = run_in(there.host, pouring, True, timeout="2m")
    assert outcome.reason is Reason.CANCELLED
    assert "the disk of its folder is nearly full, and its output has" in (outcome.message or "")
    assert outcome.stdout.total_bytes > 64 * MIB


@pytest.mark.ssh
@pytest.mark.slow
@pytest.mark.timeout(600)
@EITHER
def test_a_gigabyte_of_output_harms_neither_us_nor_others(
    start_quiet_sshd: Callable[..., QuietSshd], durable: bool
) -> None:
    sshd = start_quiet_sshd()
    with running(sshd.folder) as executors:
        host = ssh_hop(sshd, durable=durable)
        before = resident()
        flood = Background(executors, make_job(host, "head -c 2000000000 /dev/zero", killGrace="2s"))
        flood.listener.started.wait(60)
        others = [executors.run(make_job(host, f"echo {number}"), Control()) for number in range(10)]
        assert [outcome.stdout.text for outcome in others] == [f"{number}\n" for number in range(10)]
        outcome = flood.outcome(500)
        assert "its output is longer than the limit" in (outcome.message or "")
        assert outcome.stdout.total_bytes > 1024**3
        assert resident() - before < 200 * MIB


def resident() -> int:
    (line,) = [text for text in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in text]
    return int(line.split()[1]) * 1024
