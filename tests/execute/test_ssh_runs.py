"""Runs on a real sshd."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.execute.control import Control
from reconciler.execute.executors import Executors
from reconciler.model.execution import Outcome, Reason, Status
from tests.execute.support import (
    Background,
    Listener,
    QuietSshd,
    eventually,
    make_job,
    processes,
    running,
    ssh_hop,
)

pytestmark = pytest.mark.ssh


@pytest.mark.parametrize(
    ("command", "code", "out", "err"),
    [
        ("true", 0, "", ""),
        ("echo out; echo err >&2; exit 3", 3, "out\n", "err\n"),
        ("printf 备份", 0, "备份", ""),
        ("cat; echo end", 0, "end\n", ""),
        ("kill -9 $$", 137, "", ""),
        ("kill -TERM $$", 143, "", ""),
        ("exit 200", 200, "", ""),
        ("sleep 0.2 & wait; echo waited", 0, "waited\n", ""),
    ],
)
def test_a_command_gives_its_output_and_its_exit_code(
    over_ssh: Executors, quiet_sshd: QuietSshd, command: str, code: int, out: str, err: str
) -> None:
    outcome = over_ssh.run(make_job(ssh_hop(quiet_sshd), command), Control())
    assert (outcome.exit_code, outcome.stdout.text, outcome.stderr.text) == (code, out, err)
    assert outcome.message is None
    assert outcome.started_at is not None


def test_environment_secrets_and_names_pass_whatever_they_hold(
    over_ssh: Executors, quiet_sshd: QuietSshd, tmp_path: Path
) -> None:
    raw = bytes(range(1, 256))
    (quiet_sshd.folder / "raw").write_bytes(raw)
    folder = tmp_path / "it's 备份\n"
    folder.mkdir()
    job = make_job(
        ssh_hop(quiet_sshd, "数据库-1"),
        'pwd; printf %s "$RAW" >raw; '
        'echo "$TEXT|$RECONCILER_TASK|$RECONCILER_SERVER|$RECONCILER_SCHEDULED_FOR"',
        env={"TEXT": "'$x`\\\"\t备份"},
        secrets={"RAW": {"file": "raw"}},
        workingDirectory=str(folder),
    )
    outcome = over_ssh.run(job, Control())
    assert outcome.stdout.text == f"{folder}\n'$x`\\\"\t备份|备份|数据库-1|2026-03-01T02:00:00.000000Z\n"
    assert (folder / "raw").read_bytes() == raw


def command_lines() -> str:
    """Of all processes of this machine, as ps would show them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
    return "\n".join(found)


def test_nothing_of_a_run_is_on_a_command_line(over_ssh: Executors, quiet_sshd: QuietSshd) -> None:
    (quiet_sshd.folder / "password").write_text("hunter22\n")
    job = make_job(
        ssh_hop(quiet_sshd),
        "# the-command\necho said-on-stdout; sleep 299",
        env={"X": "the-environment"},
        secrets={"PASSWORD": {"file": "password"}},
    )
    background = Background(over_ssh, job)
    background.listener.until(b"said-on-stdout")
    eventually(lambda: "sleep 299" in command_lines())
    shown = command_lines()
    background.listener.control.cancel("seen enough")
    background.outcome()
    assert [
        word for word in ("hunter22", "the-environment", "the-command", "said-on-stdout") if word in shown
    ] == []


def test_fifty_megabytes_on_both_streams_arrive_whole(over_ssh: Executors, quiet_sshd: QuietSshd) -> None:
    job = make_job(ssh_hop(quiet_sshd), "yes out | head -c 50000000 & yes err | head -c 50000000 >&2; wait")
    outcome = over_ssh.run(job, Control())
    assert outcome.status is Status.SUCCESS
    for stream, word in ((outcome.stdout, "out\n"), (outcome.stderr, "err\n")):
        assert stream.total_bytes == 50_000_000
        assert stream.truncated
        assert stream.text.startswith(word * 100)
        assert stream.text.endswith(word * 100)


def test_output_is_masked_and_live(over_ssh: Executors, quiet_sshd: QuietSshd) -> None:
    (quiet_sshd.folder / "password").write_text("hunter22\n")
    job = make_job(
        ssh_hop(quiet_sshd),
        'echo one; printf hun; sleep 0.3; echo "ter22"; echo "$P" >&2; sleep 300',
        secrets={"P": {"file": "password"}},
    )
    background = Background(over_ssh, job)
    background.listener.until(b"one\n")
    background.listener.until(b"***\n")
    background.listener.until(b"***\n", "stderr")
    background.listener.control.cancel("enough")
    assert background.outcome().stdout.text == "one\n***\n"


TREES = {
    "one process": "echo ready; sleep 300",
    "its own session": "setsid sleep 300 & echo ready; wait",
    "double fork": "(setsid sh -c 'sleep 300 & sleep 301 &' &); echo ready; sleep 302",
    "without environment": "env -i setsid sleep 300 & echo ready; wait",
    "only builtins": "echo ready; while :; do :; done",
}


@pytest.mark.parametrize("tree", TREES)
def test_a_timeout_ends_the_whole_tree(over_ssh: Executors, quiet_sshd: QuietSshd, tree: str) -> None:
    job = make_job(ssh_hop(quiet_sshd), TREES[tree], timeout="1s", killGrace="2s")
    outcome = over_ssh.run(job, Control())
    assert outcome.reason is Reason.TIMED_OUT
    assert outcome.message == "timed out after 1s; ended on TERM, nothing of it is left"
    assert (outcome.exit_code, outcome.stdout.text) == (None, "ready\n")
    assert not processes(job)


def test_what_ignores_term_is_killed_and_named(over_ssh: Executors, quiet_sshd: QuietSshd) -> None:
    command = "trap '' TERM; setsid sleep 300 & sleep 300"
    outcome = over_ssh.run(make_job(ssh_hop(quiet_sshd), command, timeout="1s", killGrace="1s"), Control())
    assert outcome.reason is Reason.TIMED_OUT
    assert "did not end on TERM and had to be killed: " in (outcome.message or "")
    assert (outcome.message or "").count("sleep (") == 2


def test_a_cancelled_run_ends(over_ssh: Executors, quiet_sshd: QuietSshd) -> None:
    background = Background(over_ssh, make_job(ssh_hop(quiet_sshd), "echo ready; sleep 300"))
    background.listener.until(b"ready")
    background.listener.control.cancel("by alice")
    outcome = background.outcome()
    assert (outcome.reason, outcome.exit_code) == (Reason.CANCELLED, None)
    assert outcome.message == "cancelled: by alice; ended on TERM, nothing of it is left"
    assert not processes(background.job)


def test_a_run_that_floods_its_output_can_be_ended(over_ssh: Executors, quiet_sshd: QuietSshd) -> None:
    outcome = over_ssh.run(make_job(ssh_hop(quiet_sshd), "yes", timeout="1s"), Control())
    assert outcome.reason is Reason.TIMED_OUT
    assert outcome.stdout.total_bytes > 1_000_000


def test_a_background_child_does_not_hold_the_run(over_ssh: Executors, quiet_sshd: QuietSshd) -> None:
    job = make_job(ssh_hop(quiet_sshd, durable=False), "sleep 300 & echo done")
    begun = time.monotonic()
    outcome = over_ssh.run(job, Control())
    assert time.monotonic() - begun < 10
    assert (outcome.status, outcome.stdout.text) == (Status.SUCCESS, "done\n")
    assert "left in the background" in (outcome.message or "")
    eventually(lambda: len(processes(job)) == 1)
    os.kill(processes(job)[0], 9)


def test_a_folder_that_is_not_there_is_a_failed_start(over_ssh: Executors, quiet_sshd: QuietSshd) -> None:
    job = make_job(ssh_hop(quiet_sshd), "true", workingDirectory="-no such")
    outcome = over_ssh.run(job, Control())
    assert (outcome.reason, outcome.started_at) == (Reason.START_FAILED, None)
    assert "./-no such" in (outcome.message or "")


def test_a_script_runs_by_its_interpreter(over_ssh: Executors, quiet_sshd: QuietSshd) -> None:
    text = "import os, sys\nprint(os.environ['X'], sys.stdin.read(), __file__)\nsys.exit(7)\n"
    job = make_job(
        ssh_hop(quiet_sshd, durable=False),
        text,
        script={"file": "a/b.py", "interpreter": "python3"},
        env={"X": "1"},
    )
    outcome = over_ssh.run(job, Control())
    assert (outcome.exit_code, outcome.stderr.text) == (7, "")
    assert outcome.stdout.text.endswith(f"/reconciler-{job.execution_id}/b.py\n")
    eventually(lambda: not Path(f"/tmp/reconciler-{job.execution_id}").exists())


def test_accounts_whose_rc_files_print_noise_do_not_disturb(
    start_quiet_sshd: Callable[..., QuietSshd],
) -> None:
    server = start_quiet_sshd()
    (server.home / ".bashrc").write_text("echo welcome; echo reconciler/1/started >&2; printf 'no newline'\n")
    with running(server.folder) as some:
        outcome = some.run(make_job(ssh_hop(server), "echo out; echo err >&2"), Control())
        assert (outcome.stdout.text, outcome.stderr.text) == ("out\n", "err\n")
        job = make_job(ssh_hop(server), "echo ready; sleep 300", timeout="1s")
        assert some.run(job, Control()).message == "timed out after 1s; ended on TERM, nothing of it is left"


def test_an_account_that_gives_no_shell_is_a_failed_start(start_quiet_sshd: Callable[..., QuietSshd]) -> None:
    server = start_quiet_sshd("ForceCommand echo This account is closed; exit 1")
    with running(server.folder) as some:
        outcome = some.run(make_job(ssh_hop(server), "true"), Control())
    assert (outcome.reason, outcome.started_at) == (Reason.START_FAILED, None)
    assert "This account is closed" in (outcome.message or "")


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("sudo") is None, reason="needs root and sudo")
class TestRunAs:
    def test_the_command_runs_as_the_other_account(self, over_ssh: Executors, quiet_sshd: QuietSshd) -> None:
        job = make_job(
            ssh_hop(quiet_sshd, durable=False),
            "id -un; pwd; echo $MINE",
            runAs="nobody",
            env={"MINE": "it's"},
        )
        assert over_ssh.run(job, Control()).stdout.text == "nobody\n/\nit's\n"

    def test_a_timeout_ends_its_tree(self, over_ssh: Executors, quiet_sshd: QuietSshd) -> None:
        job = make_job(
            ssh_hop(quiet_sshd, durable=False),
            "setsid sleep 300 & echo ready; while :; do :; done",
            runAs="nobody",
            timeout="1s",
        )
        outcome = over_ssh.run(job, Control())
        assert outcome.message == "timed out after 1s; ended on TERM, nothing of it is left"
        assert not processes(job)

    def test_an_unknown_account_is_a_failed_start(self, over_ssh: Executors, quiet_sshd: QuietSshd) -> None:
        outcome = over_ssh.run(make_job(ssh_hop(quiet_sshd), "true", runAs="no-such-account"), Control())
        assert outcome.reason is Reason.START_FAILED
        assert "no-such-account" in (outcome.message or "")


@pytest.mark.parametrize("sessions", [10, 3])
def test_a_thousand_short_runs_in_twenty_threads_are_all_well(
    start_quiet_sshd: Callable[..., QuietSshd], sessions: int
) -> None:
    """More threads than sshd's MaxSessions: refused sessions wait a little and are never failed runs."""
    server = start_quiet_sshd(f"MaxSessions {sessions}")
    total = 1000 if sessions == 10 else 200
    hop = ssh_hop(server)
    count = iter(range(total))
    lock = threading.Lock()
    outcomes: list[Outcome] = []

    def work() -> None:
        while True:
            with lock:
                number = next(count, None)
            if number is None:
                return
            outcomes.append(some.run(make_job(hop, f"echo {number}"), Control()))

    with running(server.folder) as some:
        threads = [threading.Thread(target=work) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [outcome for outcome in outcomes if outcome.status is not Status.SUCCESS] == []
    assert sorted(int(outcome.stdout.text) for outcome in outcomes) == list(range(total))


def test_a_hundred_runs_leave_no_thread_and_no_descriptor_behind(quiet_sshd: QuietSshd) -> None:
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    with running(quiet_sshd.folder) as some:
        assert some.run(make_job(ssh_hop(quiet_sshd), "true"), Control()).status is Status.SUCCESS
        before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
        for _ in range(100):
            assert some.run(make_job(ssh_hop(quiet_sshd), "true"), Control()).status is Status.SUCCESS
        assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before
        assert some._connections is not None
        (connection,) = some._connections._all
        assert connection.users == 0
        assert connection.link.exits == {}
    eventually(lambda: (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (threads, descriptors))


def test_a_run_that_an_earlier_owner_started_is_lost_and_its_rest_ended(
    over_ssh: Executors, quiet_sshd: QuietSshd
) -> None:
    job = make_job(ssh_hop(quiet_sshd, durable=False), "setsid sleep 300 & echo ready; wait", killGrace="1s")
    background = Background(over_ssh, job)
    background.listener.until(b"ready")
    assert background.listener.started_at is not None
    again = over_ssh.run(replace(job, started_at=background.listener.started_at), Listener().control)
    assert again.reason is Reason.LOST
    assert not again.proven
    assert "nothing of it is left on the host" in (again.message or "")
    assert not processes(job)
    background.outcome()
