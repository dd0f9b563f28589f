"""Who we are: keys of every form, passwords, the agent, and what a server may say to them."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from reconciler.execute.control import Control
from reconciler.execute.executors import Executors
from reconciler.execute.fault import Fault
from reconciler.execute.ssh.login import load_key
from reconciler.model.execution import Hop, Reason, Status
from reconciler.model.server import ServerSpec
from tests.execute.support import QuietSshd, make_job, running, ssh_hop
from tests.services.sshd import new_key

pytestmark = pytest.mark.ssh

PASSPHRASE = "correct horse"


def made(tmp_path: Path, *options: str) -> bytes:
    smaller = ["-b", "2048"] if "rsa" in options else []
    new_key(tmp_path / "key", *options, *smaller)
    return (tmp_path / "key").read_bytes()


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
@pytest.mark.parametrize("form", ["RFC4716", "PEM", "PKCS8"])
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_keys_of_every_form_are_read(tmp_path: Path, kind: str, form: str, passphrase: str | None) -> None:
    options = ["-t", kind, "-m", form]
    if passphrase is not None:
        options += ["-N", passphrase]
    key = load_key(made(tmp_path, *options), None if passphrase is None else passphrase.encode(), "db-1")
    assert key.get_base64() == (tmp_path / "key.pub").read_text().split()[1]


def test_a_key_without_its_last_newline_is_read(tmp_path: Path) -> None:
    assert load_key(made(tmp_path).rstrip(b"\n"), None, "db-1").can_sign()


@pytest.mark.parametrize(
    ("options", "passphrase", "words"),
    [
        (["-N", PASSPHRASE], None, "needs a passphrase"),
        (["-N", PASSPHRASE], b"wrong", "a wrong passphrase"),
        (["-N", PASSPHRASE, "-t", "rsa", "-m", "PEM"], None, "needs a passphrase"),
        (["-N", PASSPHRASE, "-t", "rsa", "-m", "PEM"], b"wrong", "a wrong passphrase"),
    ],
)
def test_a_passphrase_that_does_not_fit_is_told(
    tmp_path: Path, options: list[str], passphrase: bytes | None, words: str
) -> None:
    text = made(tmp_path, *options)
    with pytest.raises(Fault, match=words) as caught:
        load_key(text, passphrase, "db-1")
    assert caught.value.reason is Reason.AUTH_FAILED


@pytest.mark.parametrize(
    "text", [b"", b"hunter22", b"-----BEGIN OPENSSH PRIVATE KEY-----\nhunter22\n", b"\xff\xfe"]
)
def test_what_is_no_key_is_told_without_showing_it(text: bytes) -> None:
    with pytest.raises(Fault) as caught:
        load_key(text, None, "db-1")
    assert caught.value.reason is Reason.AUTH_FAILED
    assert "hunter" not in caught.value.message


def test_a_key_that_the_server_does_not_know_is_refused(quiet_sshd: QuietSshd, tmp_path: Path) -> None:
    new_key(tmp_path / "client")
    with running(tmp_path) as some:
        outcome = some.run(make_job(ssh_hop(quiet_sshd), "true"), Control())
    assert (outcome.reason, outcome.started_at) == (Reason.AUTH_FAILED, None)
    assert "SHA256:" in (outcome.message or "")
    assert "authorized_keys" in (outcome.message or "")


def test_a_missing_key_is_named(quiet_sshd: QuietSshd, tmp_path: Path) -> None:
    with running(tmp_path) as some:
        outcome = some.run(make_job(ssh_hop(quiet_sshd), "true"), Control())
    assert outcome.reason is Reason.START_FAILED
    assert "{file: client} is not there" in (outcome.message or "")


def test_a_server_that_takes_no_passwords_says_what_it_takes(
    over_ssh: Executors, quiet_sshd: QuietSshd
) -> None:
    (quiet_sshd.folder / "password").write_text("hunter22")
    hop = ssh_hop(quiet_sshd, auth={"password": {"file": "password"}})
    outcome = over_ssh.run(make_job(hop, "true"), Control())
    assert outcome.reason is Reason.AUTH_FAILED
    assert "it accepts: publickey" in (outcome.message or "")
    assert "hunter22" not in (outcome.message or "")


def test_failed_logins_are_not_repeated_at_once(quiet_sshd: QuietSshd, tmp_path: Path) -> None:
    """A host that counts failures must not lock us out because many tasks have one wrong key."""
    new_key(tmp_path / "client")
    with running(tmp_path) as some:
        before = quiet_sshd.log_text().count("Connection from")
        outcomes = [some.run(make_job(ssh_hop(quiet_sshd), "true"), Control()) for _ in range(5)]
        assert {outcome.reason for outcome in outcomes} == {Reason.AUTH_FAILED}
        assert quiet_sshd.log_text().count("Connection from") == before + 1


# ---- the agent


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    if shutil.which("ssh-agent") is None:
        pytest.skip("ssh-agent is not installed")
    place = Path("/tmp") / f"rec-agent-{os.getpid()}"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(place)], stdout=subprocess.DEVNULL) as process:
        while not place.exists():
            threading.Event().wait(0.01)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
        yield tmp_path
        process.terminate()


def add(key: Path) -> None:
    subprocess.run(["ssh-add", "-q", str(key)], check=True, capture_output=True)


def test_without_auth_the_agent_logs_in(agent: Path, over_ssh: Executors, quiet_sshd: QuietSshd) -> None:
    for number in range(2):
        new_key(agent / f"other{number}")
        add(agent / f"other{number}")
    add(quiet_sshd.client_key)
    outcome = over_ssh.run(make_job(ssh_hop(quiet_sshd, auth=None), "echo ran"), Control())
    assert outcome.stdout.text == "ran\n"


def test_an_agent_with_other_keys_is_refused(agent: Path, over_ssh: Executors, quiet_sshd: QuietSshd) -> None:
    for number in range(8):
        new_key(agent / f"other{number}")
        add(agent / f"other{number}")
    outcome = over_ssh.run(make_job(ssh_hop(quiet_sshd, auth=None), "true"), Control())
    assert outcome.reason is Reason.AUTH_FAILED


def test_without_any_way_to_log_in_the_message_says_so(
    over_ssh: Executors, quiet_sshd: QuietSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    outcome = over_ssh.run(make_job(ssh_hop(quiet_sshd, auth=None), "true"), Control())
    assert outcome.reason is Reason.AUTH_FAILED
    assert "no ssh agent" in (outcome.message or "")


# ---- passwords: this machine's accounts have none, so a small server of paramiko's own answers


class Accounts(paramiko.ServerInterface):
    def __init__(self, ways: str) -> None:
        self.ways = ways

    def get_allowed_auths(self, username: str) -> str:
        return self.ways

    def check_auth_password(self, username: str, password: str) -> int:
        if "password" not in self.ways.split(","):
            return paramiko.AUTH_FAILED
        return paramiko.AUTH_SUCCESSFUL if password == "hunter22" else paramiko.AUTH_FAILED

    def check_auth_interactive(self, username: str, submethods: str) -> paramiko.InteractiveQuery:
        query = paramiko.InteractiveQuery("", "")
        query.add_prompt("Password: ", False)
        return query

    def check_auth_interactive_response(self, responses: list[str]) -> int:
        return paramiko.AUTH_SUCCESSFUL if responses == ["hunter22"] else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self.serve, args=(channel,), daemon=True).start()
        return True

    def serve(self, channel: paramiko.Channel) -> None:
        text = b""
        while b"\n}\n" not in text:
            text += channel.recv(65536)
        done = subprocess.run(["/bin/sh"], input=text, capture_output=True)
        channel.sendall(done.stdout)
        channel.sendall_stderr(done.stderr)
        channel.send_exit_status(done.returncode)
        channel.close()


@contextlib.contextmanager
def password_server(ways: str) -> Iterator[Hop]:
    key = paramiko.ECDSAKey.generate()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transports: list[paramiko.Transport] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    transport = paramiko.Transport(peer)
                    transports.append(transport)
                    transport.add_server_key(key)
                    with contextlib.suppress(paramiko.SSHException, EOFError):
                        transport.start_server(server=Accounts(ways))

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield Hop(
                "db-1",
                ServerSpec.model_validate(
                    {
                        "host": "127.0.0.1",
                        "port": listener.getsockname()[1],
                        "username": "deploy",
                        "auth": {"password": {"env": "DB"}},
                        "hostKeys": [f"{key.get_name()} {key.get_base64()}"],
                    }
                ),
            )
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for transport in transports:
                transport.close()


@pytest.mark.parametrize(
    "ways", ["password", "keyboard-interactive", "publickey,keyboard-interactive,password"]
)
@pytest.mark.parametrize(
    ("password", "reason"), [("hunter22", Reason.COMPLETED), ("hunter23", Reason.AUTH_FAILED)]
)
def test_a_password_logs_in_where_the_server_takes_one(ways: str, password: str, reason: Reason) -> None:
    with password_server(ways) as hop, running(environment={"RECONCILER_SECRET_DB": password}) as some:
        outcome = some.run(make_job(hop, "echo ran"), Control())
    assert outcome.reason is reason, outcome.message
    assert outcome.status is (Status.SUCCESS if reason is Reason.COMPLETED else Status.FAILED)
    assert password not in (outcome.message or "")
