"""Secrets on their way to a host: where they must never be seen."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.execute.control import Control
from reconciler.execute.fault import Fault
from reconciler.execute.ssh.login import load_key
from reconciler.model.execution import Outcome, Reason, Status
from tests.execute.support import Background, QuietSshd, make_job, running, ssh_hop
from tests.execute.test_ssh_login import password_server
from tests.services.sshd import new_key

pytestmark = pytest.mark.ssh

SECRET = "pw-7Hq2zKx9"
OTHER = "pw-Wm4tRb1c"


@pytest.fixture
def everything_said(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """All that any logger says at its most talkative, the ssh library's too."""
    caplog.set_level(logging.DEBUG)
    library = logging.getLogger("paramiko")
    level = library.level
    library.setLevel(logging.DEBUG)
    yield lambda: "\n".join([*(record.getMessage() for record in caplog.records), caplog.text])
    library.setLevel(level)


def texts(outcome: Outcome) -> str:
    return f"{outcome.message} {outcome.stdout.text} {outcome.stderr.text}"


def proc(name: str) -> str:
    """``name`` (cmdline, environ) of every process of this machine that can be read."""
    found = []
    for path in Path("/proc").glob(f"[0-9]*/{name}"):
        try:
            found.append(path.read_bytes().decode("utf-8", "replace"))
        except OSError:
            continue
    return "\n".join(found)


def key_lines(path: Path) -> list[str]:
    """The lines of a private key that must not be seen anywhere."""
    return [line for line in path.read_text().splitlines() if line and not line.startswith("---")][1:]


@pytest.mark.parametrize("right", [True, False])
def test_a_passphrase_is_seen_nowhere(
    start_quiet_sshd: Callable[..., QuietSshd],
    tmp_path: Path,
    everything_said: Callable[[], str],
    right: bool,
) -> None:
    server = start_quiet_sshd("LogLevel DEBUG3")
    new_key(tmp_path / "client", "-N", SECRET)
    server.authorized_keys.write_text((tmp_path / "client.pub").read_text())
    (tmp_path / "passphrase").write_text(SECRET if right else OTHER)
    auth = {"privateKey": {"file": "client"}, "passphrase": {"file": "passphrase"}}
    with running(tmp_path) as some:
        background = Background(some, make_job(ssh_hop(server, auth=auth), "echo ready; sleep 1"))
        if right:
            background.listener.until(b"ready")
        seen = proc("cmdline") + proc("environ")
        outcome = background.outcome()
    assert outcome.reason is (Reason.COMPLETED if right else Reason.AUTH_FAILED)
    for secret in (SECRET, OTHER, *key_lines(tmp_path / "client")):
        assert secret not in texts(outcome)
        assert secret not in everything_said()
        assert secret not in server.log_text()
        assert secret not in seen


@pytest.mark.parametrize("right", [True, False])
def test_a_password_is_seen_nowhere(everything_said: Callable[[], str], right: bool) -> None:
    environment = {"RECONCILER_SECRET_DB": "hunter22" if right else "hunter23"}
    with password_server("password") as hop, running(environment=environment) as some:
        outcome = some.run(make_job(hop, "env; echo ran"), Control())
    assert outcome.status is (Status.SUCCESS if right else Status.FAILED)
    assert "hunter" not in texts(outcome)
    assert "hunter" not in everything_said()


def test_what_a_task_is_given_is_seen_by_its_command_alone(
    start_quiet_sshd: Callable[..., QuietSshd], tmp_path: Path, everything_said: Callable[[], str]
) -> None:
    server = start_quiet_sshd("LogLevel DEBUG3", "PermitUserEnvironment yes", "AcceptEnv *")
    (tmp_path / "client").write_bytes(server.client_key.read_bytes())
    (tmp_path / "token").write_text(SECRET)
    with running(tmp_path) as some:
        command = 'test -n "$TOKEN" && unset TOKEN && echo ready && sleep 300'
        job = make_job(ssh_hop(server), command, secrets={"TOKEN": {"file": "token"}})
        background = Background(some, job)
        background.listener.until(b"ready")
        sleeping = proc("cmdline")
        environments = [
            (Path(f"/proc/{pid}/environ").read_bytes(), Path(f"/proc/{pid}/comm").read_text())
            for pid in server.connections()
        ]
        background.listener.control.cancel("the test is over", 0)
        outcome = background.outcome()
    assert SECRET not in sleeping
    assert environments
    assert not [name for environment, name in environments if SECRET.encode() in environment]
    assert SECRET not in texts(outcome)
    assert SECRET not in everything_said()
    assert SECRET not in server.log_text()


HOSTILE = {
    "empty": b"\n",
    "binary": bytes(range(1, 256)) * 8,
    "a terminal's commands": b"\x1b[2J\x1b]0;" + SECRET.encode() + b"\x07",
    "a certificate": b"-----BEGIN CERTIFICATE-----\n" + SECRET.encode() + b"\n-----END CERTIFICATE-----\n",
    "a public key": b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + SECRET.encode() + b"\n",
    "a cut key": b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE\n",
    "a lying length": b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA/////w==\n"
    b"-----END OPENSSH PRIVATE KEY-----\n",
    "an old DSA key": b"-----BEGIN DSA PRIVATE KEY-----\nMIIBuwIBAAKBgQ==\n-----END DSA PRIVATE KEY-----\n",
    "PuTTY's form": b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: "
    + SECRET.encode()
    + b"\n",
    "a long line": SECRET.encode() * 50_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("passphrase", [None, OTHER.encode()], ids=["", "with a passphrase"])
def test_a_hostile_key_file_is_one_clear_fault(text: bytes, passphrase: bytes | None) -> None:
    with pytest.raises(Fault) as caught:
        load_key(text, passphrase, "db-1")
    assert caught.value.reason is Reason.AUTH_FAILED
    assert caught.value.message.startswith("the private key for db-1 ")
    assert len(caught.value.message) < 300
    # neither in the message nor in the trace of what caused it
    trace = "".join(traceback.format_exception(caught.value))
    chain = trace.replace("SECRET", "").replace("OTHER", "")
    for secret in (SECRET, OTHER, "\x1b"):
        assert secret not in caught.value.message
        assert secret not in chain


def test_a_secret_of_the_login_that_is_missing_names_its_source_alone(
    quiet_sshd: QuietSshd, tmp_path: Path, everything_said: Callable[[], str]
) -> None:
    (tmp_path / "client").write_text(SECRET)
    with running(tmp_path) as some:
        outcome = some.run(
            make_job(
                ssh_hop(
                    quiet_sshd,
                    auth={"privateKey": {"file": "client"}, "passphrase": {"env": "NOT_THERE"}},
                ),
                "true",
            ),
            Control(),
        )
    assert outcome.reason is Reason.START_FAILED
    assert "RECONCILER_SECRET_NOT_THERE" in (outcome.message or "")
    assert SECRET not in texts(outcome) + everything_said()
