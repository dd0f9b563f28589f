"""Durable runs: what survives cut connections and vanished owners, and what is said of each."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from paramiko import Message
from paramiko.common import cMSG_CHANNEL_WINDOW_ADJUST

from reconciler.execute.control import Control
from reconciler.execute.durable import DurableRun
from reconciler.execute.executors import Executors
from reconciler.execute.folder import begin_script, tidy_script
from reconciler.execute.local import LocalHost
from reconciler.execute.ssh.transport import Link
from reconciler.model.execution import Job, Outcome, Reason, Status
from tests.execute.support import (
    CLOCK,
    Background,
    Listener,
    QuietSshd,
    eventually,
    local_hop,
    make_job,
    processes,
    running,
    ssh_hop,
)
from tests.services.proxy import TcpProxy

SHELLS = [("dash",), ("bash", "--posix"), ("busybox", "sh")]


class Place:
    """A host that is this machine, with a home of its own."""

    def __init__(self, home: Path, shell: tuple[str, ...] = ("/bin/sh",), path: str | None = None) -> None:
        home.mkdir(exist_ok=True)
        self.home = home
        self.host = LocalHost({"PATH": path or os.environ["PATH"], "HOME": str(home), "USER": "me"}, shell)

    def folder(self, job: Job) -> Path:
        return self.home / ".local/state/reconciler/runs" / str(job.execution_id)

    def run(
        self, job: Job, listener: Listener | None = None, secrets: dict[str, bytes] | None = None
    ) -> Outcome:
        control = (listener or Listener()).control
        return DurableRun(job, control, self.host, secrets or {}, CLOCK).outcome()

    def behind(self, job: Job) -> tuple[Listener, Callable[[], Outcome]]:
        """Run it in a thread."""
        listener, found = Listener(), []
        thread = threading.Thread(target=lambda: found.append(self.run(job, listener)), daemon=True)
        thread.start()

        def outcome() -> Outcome:
            thread.join(60)
            assert found, "the run has not ended"
            return found[0]

        return listener, outcome


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if shutil.which(request.param[0]) is None:
        pytest.skip(f"{request.param[0]} is not installed")
    return Place(tmp_path / "home", request.param)


@pytest.fixture
def here(tmp_path: Path) -> Place:
    return Place(tmp_path / "home")


def job_of(command: str, **spec: Any) -> Job:
    return make_job(local_hop(), command, **spec)


def left_by(job: Job, outcome: Outcome) -> Job:
    """The job as the next owner of its lease gets it."""
    return replace(job, started_at=outcome.started_at, start_sent=True)


# ---- every shell


@pytest.mark.parametrize(
    ("command", "code", "out", "err"),
    [
        ("true", 0, "", ""),
        ("echo out; echo err >&2; exit 3", 3, "out\n", "err\n"),
        ("kill -9 $$", 137, "", ""),
        ("exec sh -c 'kill -TERM $$'", 143, "", ""),
        ("cat; echo end", 0, "end\n", ""),
        ("sleep 0.4; printf 备份", 0, "备份", ""),
        ("trap 'echo bye' EXIT; sleep 0.3; exit 4", 4, "bye\n", ""),
        ('echo $# "$*"; [ "$$" = "$(ps -o sid= -p $$ | tr -d " ")" ] && echo leader', 0, "0 \nleader\n", ""),
    ],
)
def test_a_command_runs_in_every_shell(place: Place, command: str, code: int, out: str, err: str) -> None:
    job = job_of(command)
    outcome = place.run(job)
    assert (outcome.exit_code, outcome.stdout.text, outcome.stderr.text) == (code, out, err)
    assert (outcome.message, outcome.started_at is not None) == (None, True)
    # whoever asks later is told the same
    again = place.run(left_by(job, outcome))
    assert (again.exit_code, again.stdout, again.stderr) == (code, outcome.stdout, outcome.stderr)
    assert place.folder(job).stat().st_mode & 0o777 == 0o700


def test_every_byte_of_environment_and_output_passes_and_secrets_are_masked(place: Place) -> None:
    raw = bytes(range(1, 256))
    job = job_of(
        'printf %s "$RAW"; printf %s "$RAW" >&2; sleep 0.4; echo "$TEXT|$PWD|$PATH"; '
        "printf hun; sleep 0.3; echo ter22",
        env={"TEXT": "'$x`\\\"\t备份", "PATH": os.environ["PATH"] + ":/nowhere", "r_run": "x", "IFS": "/"},
        workingDirectory="/tmp",
    )
    outcome = place.run(job, secrets={"RAW": raw, "P": b"hunter22"})
    rest = f"***'$x`\\\"\t备份|/tmp|{os.environ['PATH']}:/nowhere\n***\n"
    assert (outcome.exit_code, outcome.stdout.text, outcome.stderr.text) == (0, rest, "***")
    for file in place.folder(job).iterdir():
        if file.name not in ("out", "err"):
            assert b"hunter22" not in file.read_bytes()


def test_a_timeout_ends_the_tree_and_says_what_had_to_be_killed(place: Place) -> None:
    job = job_of("trap '' TERM; (setsid sleep 300 &); echo ready; sleep 300", timeout="1s", killGrace="1s")
    outcome = place.run(job)
    assert (outcome.reason, outcome.exit_code, outcome.stdout.text) == (Reason.TIMED_OUT, None, "ready\n")
    assert "timed out after 1s; did not end on TERM and had to be killed: " in (outcome.message or "")
    assert (outcome.message or "").count("sleep (") == 2
    assert not processes(job)
    again = place.run(left_by(job, outcome))
    assert (again.reason, (again.message or "").count("sleep (")) == (Reason.TIMED_OUT, 2)


def test_an_owner_that_lets_go_leaves_the_run_to_the_next(place: Place) -> None:
    job = job_of("echo one; sleep 1; echo two; echo err >&2; exit 5")
    listener, outcome = place.behind(job)
    listener.until(b"one\n")
    listener.control.let_go()
    assert outcome().status is Status.OPEN
    assert processes(job)
    ended = place.run(left_by(job, outcome()))
    assert (ended.reason, ended.exit_code) == (Reason.EXIT_CODE, 5)
    assert (ended.stdout.text, ended.stderr.text) == ("one\ntwo\n", "err\n")


def test_a_second_start_attaches(place: Place) -> None:
    job = job_of("echo $$; sleep 1; exit 4")
    listener, outcome = place.behind(job)
    assert listener.started.wait(20)
    again = place.run(job)
    assert (again.exit_code, again.stdout.text) == (4, outcome().stdout.text)
    assert outcome().exit_code == 4


def test_busybox_tools_alone_are_enough(tmp_path: Path) -> None:
    box = shutil.which("busybox")
    if box is None:
        pytest.skip("busybox is not installed")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "tail", "dd", "cat", "mkdir", "rm", "sleep", "setsid", "grep", "sort", "tr"):
        (tools / name).symlink_to(box)
    place = Place(tmp_path / "home", (str(tools / "sh"),), str(tools))
    job = job_of("echo one; echo err >&2; sleep 1; echo two; sleep 0.5")
    listener, outcome = place.behind(job)
    listener.until(b"one\n")
    listener.control.let_go()
    assert outcome().status is Status.OPEN
    listener = Listener()
    rest = DurableRun(left_by(job, outcome()), listener.control, place.host, {}, CLOCK)
    # as after a cut: the first four bytes are here already
    rest._intakes.stdout.offset = 4
    ended = rest.outcome()
    assert (ended.exit_code, ended.stdout.text, ended.stderr.text) == (0, "two\n", "err\n")


# ---- verdicts


def begun(place: Place, command: str, **spec: Any) -> tuple[Job, list[int]]:
    """A run whose owner is gone, and the pids of its command's shell and of the one that waits for it."""
    job = job_of(command, **spec)
    listener, outcome = place.behind(job)
    assert listener.started.wait(20)
    listener.control.let_go()
    words = (place.folder(job) / "pid").read_text().split()
    return left_by(job, outcome()), [int(words[0]), int(words[2])]


def test_gone_processes_without_an_exit_code_are_lost_with_their_output(here: Place) -> None:
    job, pids = begun(here, "echo said; sleep 300 & wait")
    eventually(lambda: (here.folder(job) / "out").read_bytes() == b"said\n")
    for pid in reversed(pids):
        os.kill(pid, signal.SIGKILL)
    outcome = here.run(job)
    assert (outcome.reason, outcome.proven, outcome.stdout.text) == (Reason.LOST, False, "said\n")
    for pid in processes(job):
        os.kill(pid, signal.SIGKILL)


def test_another_process_of_its_number_is_not_the_shell_that_waits(here: Place) -> None:
    job, pids = begun(here, "exec sleep 300")
    for pid in reversed(pids):
        os.kill(pid, signal.SIGKILL)
    file = here.folder(job) / "pid"
    words = file.read_text().split()
    words[2] = str(os.getpid())
    file.write_text(" ".join(words) + "\n")
    assert here.run(job).reason is Reason.LOST


def test_a_run_that_an_earlier_version_started_is_waited_for(place: Place) -> None:
    job, pids = begun(place, "sleep 0.5; exit 3")
    file = place.folder(job) / "pid"
    words = file.read_text().split()
    # it noted the start time of the shell that waits, field 22
    words[3] = Path(f"/proc/{pids[1]}/stat").read_text().rpartition(")")[2].split()[19]
    file.write_text(" ".join(words) + "\n")
    # for a while only that shell knows of the end
    os.kill(pids[1], signal.SIGSTOP)
    eventually(lambda: not Path(f"/proc/{pids[0]}/cwd").exists() or not os.listdir(f"/proc/{pids[0]}/fd"))
    listener, outcome = Listener(), []
    thread = threading.Thread(target=lambda: outcome.append(place.run(job, listener)), daemon=True)
    thread.start()
    thread.join(0.5)
    assert not outcome
    os.kill(pids[1], signal.SIGCONT)
    thread.join(20)
    assert outcome[0].exit_code == 3


def test_another_boot_is_a_rebooted_host_and_a_recorded_end_stays_one(here: Place) -> None:
    job, pids = begun(here, "echo said; exec sleep 300")
    eventually(lambda: (here.folder(job) / "out").read_bytes() == b"said\n")
    file = here.folder(job) / "pid"
    words = file.read_text().split()
    words[4] = "0" * 8
    file.write_text(" ".join(words) + "\n")
    outcome = here.run(job)
    assert (outcome.reason, outcome.stdout.text) == (Reason.HOST_REBOOTED, "said\n")
    os.kill(pids[0], signal.SIGTERM)
    eventually(lambda: (here.folder(job) / "exit").read_text().startswith("E143E"))
    assert here.run(job).exit_code == 143


def test_an_end_that_is_found_out_late_says_so(place: Place) -> None:
    job, _ = begun(place, "sleep 0.5; exit 3")
    end = place.folder(job) / "exit"
    eventually(lambda: end.read_text().startswith("E3E"))
    os.utime(end, (time.time() - 180, time.time() - 180))
    outcome = place.run(job)
    assert outcome.exit_code == 3
    assert (outcome.message or "").startswith("it had ended on its host 3m")
    os.utime(end)
    assert place.run(job).message is None


def test_a_folder_that_is_gone_is_lost_and_never_started_again(here: Place) -> None:
    job = replace(job_of("echo ran"), started_at=CLOCK.now(), start_sent=True)
    outcome = here.run(job)
    assert (outcome.reason, outcome.stdout.text) == (Reason.LOST, "")
    assert not here.folder(job).exists()


def test_a_start_that_never_arrived_is_sent_again(here: Place) -> None:
    assert here.run(replace(job_of("echo ran"), start_sent=True)).stdout.text == "ran\n"


def test_a_start_that_stood_still_never_happens_once_somebody_gave_it_up(here: Place) -> None:
    job = job_of("echo ran")
    here.folder(job).mkdir(parents=True)
    outcome = here.run(replace(job, start_sent=True))
    assert (outcome.reason, outcome.started_at) == (Reason.START_FAILED, None)
    # the stalled start goes on: it finds that it must not
    for name in ("out", "err", "exit", "why"):
        (here.folder(job) / name).touch()
    script = begin_script(job, {}, b"mark", ()).replace(
        b'if ! LC_ALL=C mkdir -m 700 "$r_run" 2>/dev/null; then', b"if false; then"
    )
    shell = here.host.open(None, None, threading.Event())
    with contextlib.closing(shell):
        shell.send(script)
        said = b""
        while not shell.drained:
            said += b"".join(data for _, data in shell.receive(10))
    assert b"void" in said
    assert (here.folder(job) / "out").read_bytes() == b""


def test_the_next_owner_ends_an_overdue_run_and_gives_a_noted_verdict(here: Place) -> None:
    job, _ = begun(here, "sleep 300", timeout="1s", killGrace="1s")
    time.sleep(1)
    # whatever the task says by now: it runs under the spec of its start
    later = replace(job, spec=job.spec.model_copy(update={"timeout": 3600}))
    outcome = here.run(later)
    assert outcome.reason is Reason.TIMED_OUT
    assert outcome.message == "timed out after 1s; ended on TERM, nothing of it is left"

    job, _ = begun(here, "trap '' TERM; while :; do sleep 0.1; done", killGrace="1s")
    (here.folder(job) / "why").write_text(f"{'cancelled alice asked for it':<200}\n")
    outcome = here.run(job)
    assert outcome.reason is Reason.CANCELLED
    assert (outcome.message or "").startswith("cancelled: alice asked for it; did not end on TERM")
    assert not processes(job)


def test_a_cancel_that_comes_second_changes_nothing(here: Place) -> None:
    job, _ = begun(here, "exit 3")
    eventually(lambda: (here.folder(job) / "exit").read_text().startswith("E3E"))
    listener = Listener()
    listener.control.cancel("too late")
    outcome = here.run(job, listener)
    assert (outcome.reason, outcome.exit_code) == (Reason.EXIT_CODE, 3)


def test_a_cancel_of_a_start_that_never_arrived_ends_it_unstarted(here: Place) -> None:
    listener = Listener()
    listener.control.cancel("no more")
    outcome = here.run(replace(job_of("echo ran"), start_sent=True), listener)
    assert (outcome.reason, outcome.started_at) == (Reason.CANCELLED, None)


def test_a_host_without_a_writable_place_fails_the_start(tmp_path: Path) -> None:
    home = tmp_path / "home"
    place = Place(home)
    (home / ".local").write_text("a file")
    outcome = place.run(job_of("echo ran"))
    assert (outcome.reason, outcome.started_at) == (Reason.START_FAILED, None)
    assert "durable: false" in (outcome.message or "")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_run_that_fills_the_disk_has_its_exit_code_and_a_reason(small_disk: Path) -> None:
    place = Place(small_disk / "home")
    job = job_of("head -c 5000000 /dev/zero | tr '\\0' x; echo done")
    outcome = place.run(job)
    assert (outcome.reason, outcome.exit_code) == (Reason.EXIT_CODE, 1)
    assert "disk" in (outcome.message or "")
    assert 0 < outcome.stdout.total_bytes < 1_048_576
    again = place.run(left_by(job, outcome))
    assert (again.exit_code, again.message) == (1, outcome.message)
    full = place.run(job_of("true"))
    assert full.reason is Reason.START_FAILED
    shutil.rmtree(place.folder(job))
    assert place.run(job_of("true")).status is Status.SUCCESS


def test_a_local_run_outlives_its_killed_owner(here: Place) -> None:
    job = job_of("echo one; sleep 1.5; echo two; exit 6")
    code = (
        "import sys, threading, os\n"
        "from reconciler.execute.local import LocalHost\n"
        f"host = LocalHost({{'HOME': {str(here.home)!r}, 'PATH': os.environ['PATH']}})\n"
        "shell = host.open(None, None, threading.Event())\n"
        "shell.send(sys.stdin.buffer.read())\n"
        "print(shell.receive(10), flush=True)\n"
        "threading.Event().wait()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdin is not None
        assert owner.stdout is not None
        owner.stdin.write(begin_script(job, {}, b"m/", ()))
        owner.stdin.close()
        assert b"started" in owner.stdout.readline()
        owner.kill()
    outcome = here.run(replace(job, start_sent=True))
    assert (outcome.exit_code, outcome.stdout.text) == (6, "one\ntwo\n")
    assert outcome.started_at is not None


# ---- over ssh


@pytest.fixture
def proxied(
    quiet_sshd: QuietSshd, tcp_proxy: Callable[[int], TcpProxy]
) -> Iterator[tuple[Executors, TcpProxy, dict[str, Any]]]:
    """Executors that reach the sshd through a proxy: that, and how a hop says so."""
    proxy = tcp_proxy(quiet_sshd.port)
    with running(quiet_sshd.folder) as some:
        yield some, proxy, {"host": proxy.host, "port": proxy.port}


@pytest.mark.ssh
@pytest.mark.timeout(300)
def test_a_hundred_megabytes_through_twenty_cuts_are_whole(
    proxied: tuple[Executors, TcpProxy, dict[str, Any]], quiet_sshd: QuietSshd
) -> None:
    some, proxy, way = proxied
    lines = 100_000_000 // 10
    command = f"seq -f %09.0f {lines} & seq -f %09.0f 1000000 >&2; wait"
    expected = hashlib.sha256()
    for start in range(1, lines + 1, 100_000):
        expected.update(b"".join(b"%09d\n" % number for number in range(start, start + 100_000)))
    background = Background(some, make_job(ssh_hop(quiet_sshd, **way), command))
    for cut in range(1, 21):
        eventually(lambda cut=cut: proxy.passed["to_client"] > cut * 4_000_000, 60)
        proxy.cut()
    outcome = background.outcome(200)
    assert (outcome.status, outcome.exit_code) == (Status.SUCCESS, 0)
    assert (outcome.stdout.total_bytes, outcome.stdout.sha256) == (100_000_000, expected.hexdigest())
    assert outcome.stderr.total_bytes == 10_000_000


@pytest.mark.ssh
@pytest.mark.parametrize("durable", [True, False], ids=["durable", "plain"])
def test_no_byte_is_lost_where_the_host_cannot_be_told_that_it_came(
    quiet_sshd: QuietSshd, over_ssh: Executors, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    """As when the connection breaks while bytes that came before are still being read."""
    send, failed = Link._send_user_message, []  # type: ignore[attr-defined]

    def fail_once(link: Link, message: Message) -> None:
        if message.asbytes()[:1] == cMSG_CHANNEL_WINDOW_ADJUST and not failed:
            failed.append(message)
            raise OSError("broken")
        send(link, message)

    monkeypatch.setattr(Link, "_send_user_message", fail_once)
    job = make_job(ssh_hop(quiet_sshd, durable=durable), "seq -f %09.0f 500000")
    outcome = over_ssh.run(job, Control())
    expected = b"".join(b"%09d\n" % number for number in range(1, 500_001))
    assert failed
    assert (outcome.stdout.total_bytes, outcome.stdout.sha256) == (
        len(expected),
        hashlib.sha256(expected).hexdigest(),
    )


@pytest.mark.ssh
def test_a_secret_that_is_cut_in_two_by_a_cut_is_masked(
    proxied: tuple[Executors, TcpProxy, dict[str, Any]], quiet_sshd: QuietSshd, tmp_path: Path
) -> None:
    some, proxy, way = proxied
    (quiet_sshd.folder / "password").write_text("hunter22\n")
    go = tmp_path / "go"
    job = make_job(
        ssh_hop(quiet_sshd, **way),
        f"printf 'a hun'; until [ -e {go} ]; do sleep 0.1; done; printf 'ter22 z'",
        secrets={"P": {"file": "password"}},
    )
    background = Background(some, job)
    background.listener.until(b"a ")
    proxy.cut()
    go.touch()
    assert background.outcome().stdout.text == "a *** z"


@pytest.mark.ssh
def test_a_run_is_collected_after_a_long_silence_and_the_output_was_live(
    proxied: tuple[Executors, TcpProxy, dict[str, Any]], quiet_sshd: QuietSshd
) -> None:
    some, proxy, way = proxied
    job = make_job(ssh_hop(quiet_sshd, **way), "echo one; sleep 1; echo two; exit 3")
    background = Background(some, job)
    background.listener.until(b"one\n")
    proxy.refuse()
    time.sleep(2)
    proxy.resume()
    outcome = background.outcome()
    assert (outcome.exit_code, outcome.stdout.text) == (3, "one\ntwo\n")


@pytest.mark.ssh
def test_a_silent_host_is_unreachable_after_the_timeout_and_its_proven_end_is_found_later(
    proxied: tuple[Executors, TcpProxy, dict[str, Any]],
    quiet_sshd: QuietSshd,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reconciler.execute.durable.ANSWER_SECONDS", 1.0)
    some, proxy, way = proxied
    job = make_job(ssh_hop(quiet_sshd, **way), "echo one; sleep 2; exit 7", timeout="3s")
    background = Background(some, job)
    background.listener.until(b"one\n")
    proxy.refuse()
    outcome = background.outcome(60)
    assert (outcome.reason, outcome.proven) == (Reason.UNREACHABLE, False)
    assert outcome.started_at == background.listener.started_at
    proxy.resume()
    later = make_job(ssh_hop(quiet_sshd), "true")
    found = some.run(replace(later, execution_id=job.execution_id, started_at=outcome.started_at), Control())
    assert (found.reason, found.exit_code, found.proven) == (Reason.EXIT_CODE, 7, True)


@pytest.mark.ssh
def test_the_normal_case_costs_one_channel_and_its_folder_goes_with_the_record(
    over_ssh: Executors, quiet_sshd: QuietSshd
) -> None:
    runs = quiet_sshd.home / ".local/state/reconciler/runs"
    before = set(runs.iterdir()) if runs.exists() else set()
    jobs = [make_job(ssh_hop(quiet_sshd), f"echo {number}") for number in range(120)]
    for job in jobs:
        assert over_ssh.run(job, Control()).status is Status.SUCCESS
        over_ssh.recorded(job)
    assert over_ssh._connections is not None
    (connection,) = over_ssh._connections._all
    assert connection._channels == len(jobs)
    # two batches went with later starts
    eventually(lambda: len(set(runs.iterdir()) - before) <= 20)
    over_ssh._trash.close()
    eventually(lambda: set(runs.iterdir()) <= before)


@pytest.mark.ssh
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("sudo") is None, reason="needs root and sudo")
def test_run_as_starts_searches_and_kills_through_sudo(
    start_quiet_sshd: Callable[..., QuietSshd],
) -> None:
    server = start_quiet_sshd()
    job = make_job(
        ssh_hop(server),
        "trap '' TERM; id -un; setsid sleep 300 & while :; do sleep 1; done",
        runAs="root",
        timeout="2s",
        killGrace="1s",
    )
    with running(server.folder) as some:
        outcome = some.run(job, Control())
        some.recorded(job)
    assert (outcome.reason, outcome.stdout.text) == (Reason.TIMED_OUT, "root\n")
    assert "had to be killed" in (outcome.message or "")
    assert not processes(job)


def test_forgotten_folders_are_swept_after_seven_days(here: Place) -> None:
    old, running_still, fresh = job_of("true"), job_of("sleep 300"), job_of("true")
    here.run(old)
    here.run(fresh)
    listener, outcome = here.behind(running_still)
    assert listener.started.wait(20)
    long_ago = time.time() - 8 * 86_400
    for job in (old, running_still):
        for path in (*here.folder(job).iterdir(), here.folder(job)):
            os.utime(path, (long_ago, long_ago))
    shell = here.host.open(None, None, threading.Event())
    with contextlib.closing(shell):
        shell.send(tidy_script((), sweep=True))
        while not shell.drained:
            shell.receive(10)
    assert [here.folder(job).exists() for job in (old, running_still, fresh)] == [False, True, True]
    listener.control.cancel("seen enough")
    outcome()
