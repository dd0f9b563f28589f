"""Servers behind other servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.execute.control import Control
from reconciler.execute.executors import Executors
from reconciler.execute.ssh import connection as connection_module
from reconciler.execute.ssh import pool as pool_module
from reconciler.model.execution import Reason, Status
from tests.execute.support import Background, QuietSshd, connections, eventually, make_job, running, ssh_hop
from tests.services.process import free_port
from tests.services.proxy import TcpProxy

pytestmark = pytest.mark.ssh


def test_a_chain_of_jump_hosts_each_with_its_own_key_and_login(
    start_quiet_sshd: Callable[..., QuietSshd], quiet_sshd: QuietSshd, tmp_path: Path
) -> None:
    outer, inner = start_quiet_sshd(), start_quiet_sshd()
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name, server in (("outer", outer), ("inner", inner), ("target", quiet_sshd)):
        (secrets / name).write_bytes(server.client_key.read_bytes())
    first = ssh_hop(outer, "bastion-1", auth={"privateKey": {"file": "outer"}})
    second = ssh_hop(inner, "bastion-2", auth={"privateKey": {"file": "inner"}})
    target = ssh_hop(quiet_sshd, "db-1", auth={"privateKey": {"file": "target"}})
    with running(secrets) as some:
        job = make_job(target, "echo $SSH_CONNECTION", jumps=(first, second))
        background = [
            Background(some, job),
            Background(some, make_job(target, "true", jumps=(first, second))),
        ]
        assert [one.outcome().status for one in background] == [Status.SUCCESS, Status.SUCCESS]
        assert len(connections(some)) == 3
        # a wrong key of the middle one is told as its own
        wrong = ssh_hop(inner, "bastion-2", auth={"privateKey": {"file": "inner"}}, hostKeys=[outer.host_key])
        outcome = some.run(make_job(target, "true", jumps=(first, wrong)), Control())
        assert outcome.reason is Reason.HOST_KEY
        assert (outcome.message or "").startswith(
            "db-1 is reached through bastion-2, and the host key of bastion-2"
        )
        # when a jump host's connection dies, all that goes through it is dialled again
        outer.drop_connections()
        eventually(lambda: not all(one.link.is_active() for one in connections(some)))
        assert some.run(make_job(target, "echo ran", jumps=(first, second)), Control()).stdout.text == "ran\n"


def test_a_target_that_its_jump_host_cannot_reach_is_unreachable(
    over_ssh: Executors, quiet_sshd: QuietSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "START_SECONDS", 2.0)
    jump = ssh_hop(quiet_sshd, "bastion-1")
    target = ssh_hop(quiet_sshd, "db-1", port=free_port())
    outcome = over_ssh.run(make_job(target, "true", jumps=(jump,)), Control())
    assert outcome.reason is Reason.UNREACHABLE
    assert "cannot be reached from its jump host bastion-1" in (outcome.message or "")


def test_a_jump_host_that_died_unnoticed_is_dialled_again(
    quiet_sshd: QuietSshd,
    start_quiet_sshd: Callable[..., QuietSshd],
    tcp_proxy: Callable[[int], TcpProxy],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_module, "ANSWER_SECONDS", 0.5)
    proxy = tcp_proxy(quiet_sshd.port)
    with running(quiet_sshd.folder) as some:
        jump = ssh_hop(quiet_sshd, "bastion-1", port=proxy.port)
        assert some.run(make_job(jump, "true"), Control()).status is Status.SUCCESS
        proxy.stall()
        background = Background(some, make_job(ssh_hop(quiet_sshd), "echo ran", jumps=(jump,)))
        time.sleep(1.0)
        proxy.resume()
        assert background.outcome().stdout.text == "ran\n"
        assert proxy.connections == 2


def test_runs_behind_a_dead_bastion_share_one_dial_and_hear_of_it(
    quiet_sshd: QuietSshd, tcp_proxy: Callable[[int], TcpProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "START_SECONDS", 2.0)
    proxy = tcp_proxy(quiet_sshd.port)
    proxy.stall()
    with running(quiet_sshd.folder) as some:
        jump = ssh_hop(quiet_sshd, "bastion-1", port=proxy.port)
        behind = [
            Background(some, make_job(ssh_hop(quiet_sshd, f"db-{n}"), "true", jumps=(jump,)))
            for n in range(8)
        ]
        outcomes = [one.outcome() for one in behind]
        assert {outcome.reason for outcome in outcomes} == {Reason.UNREACHABLE}
        assert all(
            (outcome.message or "").startswith(f"db-{n} is reached through bastion-1, and bastion-1")
            for n, outcome in enumerate(outcomes)
        )
        assert proxy.connections == 1
        # what is behind it is not what failed: it is there at once when the bastion is
        proxy.resume()
        job = make_job(ssh_hop(quiet_sshd, "db-1"), "echo ran", jumps=(jump,))
        eventually(lambda: some.run(job, Control()).stdout.text == "ran\n", 40)
