"""Examinations of real servers, well and ill in one way at a time."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.execute import doctor as doctor_module
from reconciler.execute import inspection
from reconciler.execute.doctor import Check, Doctor, Examination, Subject
from reconciler.execute.inspection import DURABLE_TOOLS, PLAIN_TOOLS
from reconciler.model.execution import Hop, Reason
from reconciler.settings import Settings
from tests.execute.support import CLOCK, QuietSshd, local_hop, ssh_hop
from tests.services.process import free_port
from tests.services.sshd import new_key

ORDER = ["reach", "host-key", "login", "shell", "tools", "clock", "place"]


@contextlib.contextmanager
def doctor(secrets_dir: Path | None = None, home: str = "/", **settings: Any) -> Iterator[Doctor]:
    inherited = {"PATH": os.environ["PATH"], "USER": "me", "HOME": home}
    one = Doctor(Settings(secrets_dir=secrets_dir, **settings), CLOCK, inherited)
    try:
        yield one
    finally:
        one.close()


def subject(*hops: Hop, accounts: tuple[str, ...] = ()) -> Subject:
    return Subject(1, hops[-1].name, hops, accounts)


def names(found: Examination) -> list[str]:
    return [check.name for check in found.checks]


def of(found: Examination, name: str) -> Check:
    return next(check for check in found.checks if check.name == name)


def not_run(found: Examination) -> list[str]:
    return [check.name for check in found.checks if check.ok is None]


@pytest.mark.ssh
def test_a_server_that_is_well_passes_every_check(quiet_sshd: QuietSshd) -> None:
    with doctor(quiet_sshd.folder) as one:
        found = one.examine(subject(ssh_hop(quiet_sshd)))
    assert names(found) == ORDER
    assert found.well, found
    assert all(check.milliseconds is not None and check.advice is None for check in found.checks)
    assert "SSH-2.0-OpenSSH" in of(found, "reach").detail
    assert quiet_sshd.fingerprint in of(found, "host-key").detail
    assert of(found, "login").detail == f"{quiet_sshd.user} by key"
    assert of(found, "shell").detail.startswith("/bin/sh")
    assert of(found, "clock").detail.endswith("ours")
    assert f"{quiet_sshd.home}/.local/state/reconciler is writable" in of(found, "place").detail
    # nothing of the examination is left there
    assert list((quiet_sshd.home / ".local/state/reconciler/runs").glob("doctor*")) == []


@pytest.mark.ssh
def test_a_jump_host_is_examined_first_and_shared(quiet_sshd: QuietSshd) -> None:
    before = quiet_sshd.log_text().count("Accepted publickey")
    jump = ssh_hop(quiet_sshd, "bastion-1")
    with doctor(quiet_sshd.folder) as one:
        found = list(one.examine_all([subject(jump, ssh_hop(quiet_sshd, f"db-{n}")) for n in range(3)]))
    assert all(item.well for item in found), found
    assert names(found[0]) == ["jump bastion-1", *ORDER]
    # one login at the jump host, one for each server behind it
    assert quiet_sshd.log_text().count("Accepted publickey") == before + 4


@pytest.mark.ssh
def test_a_failed_step_leaves_the_later_ones_and_says_so(quiet_sshd: QuietSshd, tmp_path: Path) -> None:
    with doctor(quiet_sshd.folder) as one:
        found = one.examine(subject(ssh_hop(quiet_sshd, port=free_port()), accounts=("postgres",)))
    assert (found.fault, not found.well) == (Reason.UNREACHABLE, True)
    assert of(found, "reach").ok is False
    assert "Connection refused" in of(found, "reach").detail
    assert "ssh -v -p" in (of(found, "reach").advice or "")
    assert not_run(found) == [*ORDER[1:], "sudo postgres"]
    assert of(found, "login").detail == "not run: reach failed"
    assert of(found, "login").milliseconds is None


@pytest.mark.ssh
def test_an_unknown_key_and_a_refused_login_are_their_own_checks(
    quiet_sshd: QuietSshd, tmp_path: Path
) -> None:
    new_key(tmp_path / "client")
    with doctor(tmp_path) as one:
        key = one.examine(subject(ssh_hop(quiet_sshd, hostKeys=[])))
        login = one.examine(subject(ssh_hop(quiet_sshd)))
        secret = one.examine(subject(ssh_hop(quiet_sshd, auth={"privateKey": {"file": "nothing"}})))
    assert (of(key, "reach").ok, of(key, "host-key").ok, key.fault) == (True, False, Reason.HOST_KEY)
    assert quiet_sshd.fingerprint in of(key, "host-key").detail
    assert (of(login, "host-key").ok, of(login, "login").ok, login.fault) == (True, False, Reason.AUTH_FAILED)
    assert not_run(login) == ORDER[3:]
    assert (of(secret, "login").ok, secret.fault) == (False, Reason.START_FAILED)


@pytest.mark.ssh
def test_a_jump_host_that_is_not_reached_leaves_everything_behind_it(quiet_sshd: QuietSshd) -> None:
    jump = ssh_hop(quiet_sshd, "bastion-1", hostKeys=[])
    with doctor(quiet_sshd.folder) as one:
        found = one.examine(subject(jump, ssh_hop(quiet_sshd)))
    assert (of(found, "jump bastion-1").ok, found.fault) == (False, Reason.HOST_KEY)
    assert not_run(found) == ORDER


@pytest.mark.ssh
def test_the_advice_follows_what_failed_and_the_way_there(quiet_sshd: QuietSshd, tmp_path: Path) -> None:
    new_key(tmp_path / "stranger")
    shutil.copy(quiet_sshd.client_key, tmp_path / "client")
    barred = ssh_hop(quiet_sshd, "bastion-1", auth={"privateKey": {"file": "stranger"}})
    jump, port = ssh_hop(quiet_sshd, "bastion-2"), free_port()
    with doctor(tmp_path) as one:
        login = of(one.examine(subject(barred, ssh_hop(quiet_sshd))), "jump bastion-1").advice or ""
        behind = of(one.examine(subject(jump, ssh_hop(quiet_sshd, port=port))), "reach").advice or ""
        secret = one.examine(subject(ssh_hop(quiet_sshd, auth={"privateKey": {"file": "nothing"}})))
    # it was reached: what it needs is another key, not another port
    assert "authorized_keys" in login
    assert "bastion-1" in login
    assert "open from" not in login
    # from here its port says nothing
    assert "open from the jump host bastion-2" in behind
    user, host = jump.spec.username, jump.spec.host
    assert f"`ssh -v -J {user}@{host}:{jump.spec.port} -p {port} {user}@{host}`" in behind
    # the account and its authorized_keys have nothing to do with it, and the detail says where to put it
    assert of(secret, "login").advice is None
    assert "put it in a file" in of(secret, "login").detail


@pytest.mark.ssh
def test_silent_servers_are_examined_side_by_side_within_a_bound(
    quiet_sshd: QuietSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_module, "REACH_SECONDS", 1.0)
    with socket.create_server(("", 0), backlog=64) as silent, doctor(quiet_sshd.folder) as one:
        port = silent.getsockname()[1]
        dead = [subject(ssh_hop(quiet_sshd, f"d-{n}", host=f"127.0.4.{n}", port=port)) for n in range(1, 31)]
        found = list(one.examine_all([*dead, subject(ssh_hop(quiet_sshd))]))
    assert sorted(item.well for item in found) == [False] * 30 + [True]
    assert all("does not speak" in of(item, "reach").detail for item in found if not item.well)


@pytest.mark.ssh
def test_a_host_without_a_writable_place_or_a_tool_is_told(
    start_quiet_sshd: Callable[..., QuietSshd], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_quiet_sshd()
    # also root is refused here
    (server.home / ".local").write_text("a file where the folder should be")
    monkeypatch.setattr(inspection, "DURABLE_TOOLS", (*DURABLE_TOOLS, "no-such-tool"))
    with doctor(server.folder) as one:
        durable = one.examine(subject(ssh_hop(server)))
        plain = one.examine(subject(ssh_hop(server, durable=False)))
    assert of(durable, "place").ok is False
    assert ".local" in of(durable, "place").detail
    assert "durable: false" in (of(durable, "place").advice or "")
    assert of(durable, "tools").detail == "missing: no-such-tool"
    assert plain.well, plain
    assert "not needed" in of(plain, "place").detail


@pytest.mark.ssh
def test_a_clock_that_is_wrong_is_told(quiet_sshd: QuietSshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "CLOCK_SECONDS", -1.0)
    with doctor(quiet_sshd.folder) as one:
        found = one.examine(subject(ssh_hop(quiet_sshd)))
    assert of(found, "clock").ok is False
    assert "time server" in (of(found, "clock").advice or "")


@pytest.mark.ssh
def test_a_login_shell_that_starts_nothing_is_no_shell(
    start_quiet_sshd: Callable[..., QuietSshd],
) -> None:
    server = start_quiet_sshd("ForceCommand echo 'This account is not available.'; exit 1")
    with doctor(server.folder) as one:
        found = one.examine(subject(ssh_hop(server)))
    assert of(found, "login").ok
    assert (of(found, "shell").ok, of(found, "shell").detail) == (False, "This account is not available.")
    assert not_run(found) == ORDER[4:]


@pytest.mark.ssh
def test_a_shell_that_hangs_is_left_after_a_while(
    start_quiet_sshd: Callable[..., QuietSshd], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "ANSWER_SECONDS", 0.5)
    server = start_quiet_sshd("ForceCommand sleep 60")
    with doctor(server.folder) as one:
        found = one.examine(subject(ssh_hop(server)))
    assert "no answer within" in of(found, "shell").detail


@pytest.mark.ssh
def test_noise_of_login_shells_and_its_control_characters_do_no_harm(
    start_quiet_sshd: Callable[..., QuietSshd],
) -> None:
    noise = r"printf '\033[2Jwelcome\nreconciler/done\n'; printf 'reconciler/x/shell evil\n'"
    server = start_quiet_sshd(f'ForceCommand {noise}; eval "$SSH_ORIGINAL_COMMAND"')
    with doctor(server.folder) as one:
        found = one.examine(subject(ssh_hop(server)))
    assert found.well, found


@pytest.mark.ssh
@pytest.mark.skipif(shutil.which("sudo") is None or os.geteuid() != 0, reason="needs sudo, as root")
def test_each_account_of_the_tasks_is_tried_through_sudo(quiet_sshd: QuietSshd) -> None:
    with doctor(quiet_sshd.folder) as one:
        found = one.examine(subject(ssh_hop(quiet_sshd), accounts=("nobody", "no-such-account")))
    assert (of(found, "sudo nobody").ok, of(found, "sudo nobody").detail) == (True, "becomes nobody")
    assert of(found, "sudo no-such-account").ok is False
    assert "sudo" in of(found, "sudo no-such-account").detail
    assert "make the account on that host" in (of(found, "sudo no-such-account").advice or "")


def test_this_machine_is_examined_where_that_is_allowed(tmp_path: Path) -> None:
    with doctor(allow_local=True, home=str(tmp_path)) as one:
        found = one.examine(subject(local_hop()))
    assert names(found) == ["reach", "shell", "tools", "clock", "place"]
    assert found.well, found
    assert str(tmp_path) in of(found, "place").detail
    with doctor(allow_local=False) as one:
        found = one.examine(subject(local_hop()))
    assert of(found, "reach").ok is False
    assert "RECONCILER_ALLOW_LOCAL" in (of(found, "reach").advice or "")
    assert not_run(found) == ORDER[3:]


def test_the_tools_looked_for_are_those_that_the_scripts_call() -> None:
    folder = Path(inspection.__file__).parent / "sh"
    lines = [
        line
        for file in folder.glob("*.sh")
        if file.name != "doctor.sh"
        for line in file.read_text().splitlines()
    ]
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    for tool in (*PLAIN_TOOLS, *DURABLE_TOOLS):
        assert re.search(rf"(^|[;&|( ]){tool} ", text, re.MULTILINE), tool
