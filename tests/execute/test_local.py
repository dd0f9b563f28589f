"""Runs on this machine, with every shell that may be a host's /bin/sh."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.execute.local import LocalHost
from reconciler.execute.plain import PlainRun
from reconciler.execute.script import start_script
from reconciler.model.execution import Job, Outcome, Reason, Status
from tests.execute.support import (
    CLOCK,
    Background,
    Listener,
    eventually,
    executors,
    make_job,
    own_home,
    plain_hop,
    processes,
    running,
)
from tests.services.guard import descendants

SHELLS = [("dash",), ("bash", "--posix"), ("busybox", "sh")]
EXECUTORS = executors()


def run(command: str, **spec: Any) -> Outcome:
    return EXECUTORS.run(make_job(plain_hop(), command, **spec), Listener().control)


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def host(request: pytest.FixtureRequest) -> LocalHost:
    if shutil.which(request.param[0]) is None:
        pytest.skip(f"{request.param[0]} is not installed")
    return LocalHost(os.environ, request.param)


def run_on(
    host: LocalHost, command: str, secrets: dict[str, bytes] | None = None, **spec: Any
) -> tuple[Job, Outcome]:
    job = make_job(plain_hop(), command, **spec)
    return job, PlainRun(job, Listener().control, host, secrets or {}, CLOCK).outcome()


# ---- in every shell


@pytest.mark.parametrize(
    ("command", "code", "out", "err"),
    [
        ("true", 0, "", ""),
        ("echo out; echo err >&2; exit 3", 3, "out\n", "err\n"),
        ("false", 1, "", ""),
        ("printf 备份; exit 200", 200, "备份", ""),
        ("kill -9 $$", 137, "", ""),
        ("exec sh -c 'kill -TERM $$'", 143, "", ""),
        ("cat; echo end", 0, "end\n", ""),
        ("sleep 0.2 & sleep 0.1 & wait; echo waited", 0, "waited\n", ""),
        ("exec echo replaced", 0, "replaced\n", ""),
        ("trap 'echo bye' EXIT; exit 4", 4, "bye\n", ""),
        ('echo $# "$*"', 0, "0 \n", ""),
        ("cat <<'E'\nit's \"here\" $HOME\nE", 0, 'it\'s "here" $HOME\n', ""),
        ("# only a comment", 0, "", ""),
    ],
)
def test_a_command_runs_as_under_sh(host: LocalHost, command: str, code: int, out: str, err: str) -> None:
    _, outcome = run_on(host, command)
    assert (outcome.exit_code, outcome.stdout.text, outcome.stderr.text) == (code, out, err)
    assert outcome.status is (Status.SUCCESS if code == 0 else Status.FAILED)
    assert outcome.message is None


def test_a_command_with_a_syntax_error_fails_by_itself(host: LocalHost) -> None:
    _, outcome = run_on(host, "if then (")
    assert outcome.reason is Reason.EXIT_CODE
    assert outcome.started_at is not None
    assert outcome.stderr.text


def test_any_bytes_pass_in_environment_secrets_and_folders(host: LocalHost, tmp_path: Path) -> None:
    odd = 'it\'s "odd" \\ $HOME `id` \n\t* 备份 \x01\x7f'
    folder = tmp_path / "a 'folder' 备份\n$x"
    folder.mkdir()
    raw = bytes(range(1, 256))
    _, outcome = run_on(
        host,
        'printf "%s|" "$ODD" >"$OUT/odd"; printf %s "$RAW" >"$OUT/raw"; pwd >"$OUT/pwd"',
        {"RAW": raw},
        env={"ODD": odd, "OUT": str(tmp_path), "r_dir": "mine", "r_id": "mine"},
        workingDirectory=str(folder),
    )
    assert outcome.status is Status.SUCCESS, outcome
    assert (tmp_path / "odd").read_text() == odd + "|"
    assert (tmp_path / "raw").read_bytes() == raw
    assert (tmp_path / "pwd").read_text() == str(folder) + "\n"


def test_the_command_sees_its_own_variables_and_none_of_ours(host: LocalHost) -> None:
    job, outcome = run_on(host, "set; env; alias", env={"r_mark": "kept"})
    lines = outcome.stdout.text.splitlines()
    assert f"RECONCILER_EXECUTION_ID={job.execution_id}" in lines
    assert [line for line in lines if line.startswith("r_")] in (
        ["r_mark=kept"] * 2,
        ["r_mark='kept'", "r_mark=kept"],
    )


@pytest.mark.parametrize("interpreter", ["/bin/sh", "bash", sys.executable])
def test_a_script_runs_by_its_interpreter_and_leaves_no_file(host: LocalHost, interpreter: str) -> None:
    text = "import sys; print(sys.argv)" if interpreter == sys.executable else 'echo "$0"; exit 5'
    job, outcome = run_on(host, text, script={"file": "scripts/back up.sh", "interpreter": interpreter})
    assert f"reconciler-{job.execution_id}/back up.sh" in outcome.stdout.text
    assert outcome.exit_code == (0 if interpreter == sys.executable else 5)
    eventually(lambda: not Path(f"/tmp/reconciler-{job.execution_id}").exists())


def test_a_command_may_be_larger_than_an_argument_can_be(host: LocalHost) -> None:
    _, outcome = run_on(host, f"x='{'y' * 300_000}'; echo ${{#x}}")
    assert outcome.stdout.text == "300000\n"


TREES = {
    "one process": "echo ready; sleep 300",
    "in the background": "sleep 300 & echo ready; wait",
    "its own session": "setsid sleep 300 & echo ready; wait",
    "double fork": "(setsid sh -c 'sleep 300 & sleep 301 &' &); echo ready; sleep 302",
    "without environment": "env -i setsid sleep 300 & echo ready; wait",
    "only builtins": "echo ready; while :; do :; done",
}


# The search is one script: of the other shells two trees are enough.
@pytest.mark.parametrize(
    ("host", "tree"),
    [(shell, tree) for shell in SHELLS for tree in TREES if shell == SHELLS[0] or tree in list(TREES)[3::2]],
    ids=lambda value: value if isinstance(value, str) else value[0],
    indirect=["host"],
)
def test_a_timeout_ends_the_whole_tree(host: LocalHost, tree: str) -> None:
    job, outcome = run_on(host, TREES[tree], timeout="1s", killGrace="2s")
    assert outcome.reason is Reason.TIMED_OUT
    assert outcome.message == "timed out after 1s; ended on TERM, nothing of it is left"
    assert outcome.exit_code is None
    assert outcome.stdout.text == "ready\n"
    assert not processes(job)
    assert outcome.started_at is not None
    assert 1 <= (outcome.finished_at - outcome.started_at).total_seconds() < 10


def test_what_ignores_term_is_killed_and_named(host: LocalHost) -> None:
    command = "trap '' TERM; setsid sleep 300 & sleep 300"
    job, outcome = run_on(host, command, timeout="1s", killGrace="1s")
    assert outcome.reason is Reason.TIMED_OUT
    assert outcome.message is not None
    assert "did not end on TERM and had to be killed: " in outcome.message
    assert outcome.message.count("sleep (") == 2
    assert not processes(job)


# ---- once


def test_a_local_run_sees_only_a_clean_environment() -> None:
    with running(
        environment={"RECONCILER_SECRET_X": "s3cr3t", "RECONCILER_DATABASE_URL": "x", "OTHER": "x"}
    ) as some:
        outcome = some.run(make_job(plain_hop(), "env"), Listener().control)
    names = {line.partition("=")[0] for line in outcome.stdout.text.splitlines()}
    own = {"EXECUTION_ID", "TASK", "SERVER", "SCHEDULED_FOR", "ATTEMPT"}
    assert {name for name in names if name.startswith("RECONCILER")} == {f"RECONCILER_{name}" for name in own}
    assert "OTHER" not in names
    assert {"PATH", "HOME"} <= names


def test_the_command_starts_in_the_home_folder() -> None:
    assert run("pwd").stdout.text == f"{own_home()}\n"


def test_a_folder_that_is_not_there_is_a_failed_start() -> None:
    outcome = run("true", workingDirectory="/no/such/folder")
    assert outcome.reason is Reason.START_FAILED
    assert outcome.started_at is None
    assert "/no/such/folder" in (outcome.message or "")


def test_both_streams_of_any_size_are_read_at_once() -> None:
    outcome = run("head -c 50000000 /dev/zero & head -c 50000000 /dev/zero >&2; wait")
    assert outcome.status is Status.SUCCESS
    for stream in (outcome.stdout, outcome.stderr):
        assert stream.total_bytes == 50_000_000
        assert stream.truncated
        assert len(stream.text) <= 65_536


def test_output_is_masked_everywhere() -> None:
    listener = Listener()
    with running(environment={"RECONCILER_SECRET_DB": "hunter22"}) as some:
        job = make_job(
            plain_hop(),
            'printf hun; sleep 0.2; echo "ter22 $PASSWORD"; echo "$PASSWORD" >&2; exit 1',
            secrets={"PASSWORD": {"env": "DB"}},
        )
        outcome = some.run(job, listener.control)
    assert outcome.stdout.text == "*** ***\n"
    assert outcome.stderr.text == "***\n"
    assert listener.heard == {"stdout": b"*** ***\n", "stderr": b"***\n"}
    assert outcome.stdout.total_bytes == 8


def test_a_secret_that_is_too_short_to_be_masked_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with running(environment={"RECONCILER_SECRET_PIN": "123"}) as some:
        job = make_job(plain_hop(), "echo $PIN", secrets={"PIN": {"env": "PIN"}})
        assert some.run(job, Listener().control).stdout.text == "123\n"
    assert "the secret PIN is shorter than 4 bytes and cannot be masked" in caplog.text


def test_a_secret_that_is_missing_fails_the_start() -> None:
    outcome = run("true", secrets={"X": {"env": "NOT_THERE"}})
    assert outcome.reason is Reason.START_FAILED
    assert "RECONCILER_SECRET_NOT_THERE is not set" in (outcome.message or "")


def test_a_cancelled_run_ends_and_says_who_wanted_it() -> None:
    background = Background(EXECUTORS, make_job(plain_hop(), "echo ready; sleep 300"))
    background.listener.until(b"ready")
    assert background.listener.started.is_set()
    background.listener.control.cancel("by alice")
    outcome = background.outcome()
    assert outcome.reason is Reason.CANCELLED
    assert outcome.message == "cancelled: by alice; ended on TERM, nothing of it is left"
    assert outcome.started_at == background.listener.started_at
    assert not processes(background.job)


def test_a_command_that_is_ended_does_not_go_on_with_its_next_step(host: LocalHost, tmp_path: Path) -> None:
    """The shell must not see its child end before it gets the signal itself."""
    for number in range(2):
        command = f"(sleep 300; touch {tmp_path}/inner{number}); sleep 300; touch {tmp_path}/outer{number}"
        job = make_job(plain_hop(), f"echo ready; {command}")
        listener = Listener()
        thread = threading.Thread(target=PlainRun(job, listener.control, host, {}, CLOCK).outcome)
        thread.start()
        listener.until(b"ready")
        eventually(lambda job=job: len(processes(job)) >= 3)  # type: ignore[misc]
        listener.control.cancel("by alice")
        thread.join()
    assert list(tmp_path.iterdir()) == []


def test_a_run_cancelled_before_its_start_never_starts(tmp_path: Path) -> None:
    listener = Listener()
    listener.control.cancel("by bob")
    outcome = EXECUTORS.run(make_job(plain_hop(), f"touch {tmp_path}/ran"), listener.control)
    assert outcome.reason is Reason.CANCELLED
    assert outcome.started_at is None
    assert outcome.message == "cancelled before its start: by bob"
    assert not list(tmp_path.iterdir())


def test_a_shutdown_ends_all_runs_and_shortens_their_grace() -> None:
    some = executors()
    background = [
        Background(some, make_job(plain_hop(), "trap '' TERM; echo ready; sleep 300")) for _ in range(3)
    ]
    for one in background:
        one.listener.until(b"ready")
    begun = time.monotonic()
    some.stop("reconciler is shutting down", grace=0.5)
    outcomes = [one.outcome() for one in background]
    assert time.monotonic() - begun < 8
    assert {outcome.reason for outcome in outcomes} == {Reason.CANCELLED}
    assert all("reconciler is shutting down" in (outcome.message or "") for outcome in outcomes)
    assert some.run(make_job(plain_hop(), "true"), Listener().control).reason is Reason.CANCELLED
    some.close()


def test_a_background_child_that_keeps_the_output_does_not_hold_the_run() -> None:
    job = make_job(plain_hop(), "sleep 300 & echo done")
    begun = time.monotonic()
    outcome = EXECUTORS.run(job, Listener().control)
    assert time.monotonic() - begun < 10
    assert (outcome.status, outcome.stdout.text) == (Status.SUCCESS, "done\n")
    assert "left in the background" in (outcome.message or "")
    # as under cron it lives on; the watcher goes
    eventually(lambda: len(processes(job)) == 1)
    os.kill(processes(job)[0], signal.SIGKILL)


def test_a_run_whose_owner_is_killed_ends_with_it() -> None:
    """What SIGKILL leaves of a worker must not go on: its row is handed to another."""
    job = make_job(plain_hop(), "setsid sleep 300 & sleep 300", killGrace="1s")
    code = (
        "import os, sys\n"
        "from reconciler.execute.local import LocalHost\n"
        "import threading\n"
        "shell = LocalHost(os.environ).open(None, int(sys.argv[1]), threading.Event())\n"
        "shell.send(sys.stdin.buffer.read())\n"
        "print(shell.receive(10), flush=True)\n"
        "threading.Event().wait()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(job.execution_id)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(start_script(job, {}))
        worker.stdin.close()
        assert b"started" in worker.stdout.readline()
        eventually(lambda: len(processes(job)) >= 3)
        worker.kill()
    eventually(lambda: not processes(job))


def test_a_run_that_an_earlier_owner_started_is_ended_and_lost() -> None:
    job = make_job(plain_hop(), "true")
    environment = {**os.environ, "RECONCILER_EXECUTION_ID": str(job.execution_id)}
    with subprocess.Popen(["sleep", "300"], env=environment) as leftover:
        eventually(lambda: bool(processes(job)))
        started = CLOCK.now()
        outcome = EXECUTORS.run(replace(job, started_at=started), Listener().control)
        assert leftover.wait(5) == -signal.SIGTERM
    assert (outcome.reason, outcome.started_at) == (Reason.LOST, started)
    assert "nothing of it is left on the host" in (outcome.message or "")


def test_a_hundred_runs_leave_no_thread_descriptor_or_child_behind() -> None:
    run("true")
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        assert run("true").status is Status.SUCCESS
    # what earlier tests left may end meanwhile
    assert threading.active_count() <= threads
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    assert "sh\n" not in [Path(f"/proc/{pid}/comm").read_text() for pid in descendants(os.getpid())]


def test_without_pidfd_the_end_is_noticed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    outcome = run("echo out; exit 3")
    assert (outcome.exit_code, outcome.stdout.text) == (3, "out\n")
    assert run("sleep 300", timeout="1s").reason is Reason.TIMED_OUT


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
@pytest.mark.parametrize("command", ["sleep 300", "trap '' TERM; sleep 300"])
def test_on_a_host_without_proc_the_process_group_is_ended(command: str) -> None:
    host = LocalHost(os.environ, ("unshare", "-m", "sh", "-c", "umount -l /proc; exec sh"))
    job, outcome = run_on(host, f"{command} & {command}", timeout="1s", killGrace="1s")
    if outcome.reason is Reason.START_FAILED:
        pytest.skip("this machine allows no mount namespaces")
    assert outcome.reason is Reason.TIMED_OUT
    eventually(lambda: not processes(job))


def test_sudo_that_would_ask_for_a_password_fails_the_start(tmp_path: Path) -> None:
    stand_in = tmp_path / "sudo"
    stand_in.write_text(
        '#!/bin/sh\nprintf "%s " "$@" >&2\necho >&2\necho "sudo: a password is required" >&2\nexit 1\n'
    )
    stand_in.chmod(0o755)
    host = LocalHost({**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{tmp_path}:{before}"
    try:
        _, outcome = run_on(host, "true", runAs="postgres")
    finally:
        os.environ["PATH"] = before
    assert outcome.reason is Reason.START_FAILED
    assert "-n -H -u postgres -- " in (outcome.message or "")
    assert "sudo: a password is required" in (outcome.message or "")


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("sudo") is None, reason="needs root and sudo")
class TestRunAs:
    def test_the_command_runs_as_the_other_account_in_its_own_world(self) -> None:
        outcome = run("id -un; pwd; echo $HOME $MINE $RECONCILER_TASK", runAs="nobody", env={"MINE": "it's"})
        assert outcome.stdout.text == "nobody\n/\n/nonexistent it's 备份\n"

    def test_a_timeout_ends_its_tree_too(self) -> None:
        job = make_job(
            plain_hop(),
            "trap '' TERM; setsid sleep 300 & echo ready; while :; do :; done",
            runAs="nobody",
            timeout="1s",
            killGrace="1s",
        )
        outcome = EXECUTORS.run(job, Listener().control)
        assert outcome.reason is Reason.TIMED_OUT
        assert "had to be killed" in (outcome.message or "")
        assert not processes(job)

    def test_an_unknown_account_fails_the_start(self) -> None:
        outcome = run("true", runAs="no-such-account")
        assert outcome.reason is Reason.START_FAILED
        assert "no-such-account" in (outcome.message or "")
