"""Hosts that do not answer: how long a run waits for them, what it hears, and when they are asked again."""

from __future__ import annotations

import random
import re
import socket
import threading
import time
from collections.abc import Callable

import paramiko
import pytest

from reconciler.execute.control import Control
from reconciler.execute.executors import Executors
from reconciler.execute.fault import Fault
from reconciler.execute.ssh import connection as connection_module
from reconciler.execute.ssh import pool as pool_module
from reconciler.execute.ssh.faults import Passing
from reconciler.execute.ssh.line import LONGEST_BACKOFF, Line
from reconciler.model.execution import Outcome, Reason, Status
from tests.execute.support import Background, QuietSshd, eventually, make_job, running, ssh_hop
from tests.execute.test_ssh_login import Accounts, password_server
from tests.services.process import free_port
from tests.services.proxy import TcpProxy

pytestmark = pytest.mark.ssh


def run(some: Executors, server: QuietSshd, command: str = "echo ran", **spec: object) -> Outcome:
    return some.run(make_job(ssh_hop(server, **spec), command), Control())


def test_a_restart_of_sshd_between_two_runs_fails_none(start_quiet_sshd: Callable[..., QuietSshd]) -> None:
    server = start_quiet_sshd()
    with running(server.folder) as some:
        assert run(some, server).status is Status.SUCCESS
        server.kill()
        server.drop_connections()
        during = Background(some, make_job(ssh_hop(server), "echo ran"))
        time.sleep(0.5)
        server.start()
        outcome = during.outcome()
    assert (outcome.status, outcome.stdout.text) == (Status.SUCCESS, "ran\n")


def test_a_host_that_one_run_gave_up_costs_the_next_no_time_and_is_asked_again(
    start_quiet_sshd: Callable[..., QuietSshd], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "START_SECONDS", 1.0)
    server = start_quiet_sshd()
    with running(server.folder) as some:
        server.stop()
        first = run(some, server)
        assert (first.reason, first.proven) == (Reason.UNREACHABLE, False)
        assert "Connection refused" in (first.message or "")
        monkeypatch.setattr(pool_module, "START_SECONDS", 30.0)
        begun = time.monotonic()
        second = run(some, server)
        assert time.monotonic() - begun < 20
        # what it says is what was seen, and when
        assert re.search(r"that was \d+ s ago.*it is tried again in \d+ s", second.message or "")
        server.start()
        eventually(lambda: run(some, server).status is Status.SUCCESS, 40)
        assert run(some, server).status is Status.SUCCESS


def test_runs_that_wait_for_one_dead_host_share_one_dial(
    quiet_sshd: QuietSshd, tcp_proxy: Callable[[int], TcpProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "START_SECONDS", 2.0)
    proxy = tcp_proxy(quiet_sshd.port)
    proxy.stall()
    with running(quiet_sshd.folder) as some:
        hop = ssh_hop(quiet_sshd, port=proxy.port)
        outcomes = [one.outcome() for one in [Background(some, make_job(hop, "true")) for _ in range(6)]]
    assert {outcome.reason for outcome in outcomes} == {Reason.UNREACHABLE}
    assert proxy.connections == 1


def test_a_host_given_up_is_tried_by_one_run_while_the_others_hear_what_is_known(
    quiet_sshd: QuietSshd, tcp_proxy: Callable[[int], TcpProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "START_SECONDS", 0.5)
    monkeypatch.setattr(pool_module, "TRIAL_SECONDS", 60.0)
    proxy = tcp_proxy(quiet_sshd.port)
    proxy.stall()
    with running(quiet_sshd.folder) as some:
        hop = ssh_hop(quiet_sshd, port=proxy.port)
        assert some.run(make_job(hop, "true"), Control()).reason is Reason.UNREACHABLE
        monkeypatch.setattr(pool_module, "START_SECONDS", 60.0)
        trial: list[Background] = []

        def tried() -> bool:
            one = Background(some, make_job(hop, "echo ran"))
            time.sleep(0.2)
            if not one._outcome:
                trial.append(one)
            return bool(trial)

        eventually(tried, 20)
        other = some.run(make_job(hop, "true"), Control())
        assert (other.reason, other.started_at) == (Reason.UNREACHABLE, None)
        assert "it is being tried again" in (other.message or "")
        proxy.resume()
        assert trial[0].outcome().stdout.text == "ran\n"
        assert some.run(make_job(hop, "echo ran"), Control()).stdout.text == "ran\n"


def test_each_silence_has_its_own_words(quiet_sshd: QuietSshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "START_SECONDS", 1.0)
    with (
        running(quiet_sshd.folder) as some,
        socket.create_server(("127.0.0.1", 0), backlog=1) as silent,
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
    ):
        # a full queue drops every further connection, as a firewall does
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        mute = run(some, quiet_sshd, port=silent.getsockname()[1])
        hole = run(some, quiet_sshd, port=full.getsockname()[1])
        closed = run(some, quiet_sshd, port=free_port())
        unknown = run(some, quiet_sshd, host="no-such-host.invalid")
        for filler in fillers:
            filler.close()
    assert {one.reason for one in (mute, hole, closed, unknown)} == {Reason.UNREACHABLE}
    assert "its ssh daemon does not speak" in (mute.message or "")
    assert "did not answer to TCP" in (hole.message or "")
    assert "Connection refused" in (closed.message or "")
    assert "cannot be resolved" in (unknown.message or "")


def test_what_is_no_ssh_daemon_is_not_tried_again_and_again(quiet_sshd: QuietSshd) -> None:
    with running(quiet_sshd.folder) as some, socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 200)

        threading.Thread(target=answer, daemon=True).start()
        outcome = run(some, quiet_sshd, port=listener.getsockname()[1])
    assert outcome.reason is Reason.UNREACHABLE
    assert (outcome.message or "").endswith("what answers there is no ssh daemon")


def test_a_way_that_the_jump_host_forbids_says_what_its_configuration_needs(
    start_quiet_sshd: Callable[..., QuietSshd], quiet_sshd: QuietSshd
) -> None:
    bastion = start_quiet_sshd("AllowTcpForwarding no")
    (bastion.folder / "target").write_bytes(quiet_sshd.client_key.read_bytes())
    with running(bastion.folder) as some:
        target = ssh_hop(quiet_sshd, auth={"privateKey": {"file": "target"}})
        outcome = some.run(make_job(target, "true", jumps=(ssh_hop(bastion, "bastion-1"),)), Control())
    assert outcome.reason is Reason.UNREACHABLE
    assert "AllowTcpForwarding" in (outcome.message or "")


def test_dead_hosts_behind_a_bastion_do_not_hold_back_one_that_answers(quiet_sshd: QuietSshd) -> None:
    jump = ssh_hop(quiet_sshd, "bastion-1")
    with running(quiet_sshd.folder) as some, socket.create_server(("", 0), backlog=128) as silent:
        port = silent.getsockname()[1]
        hops = [ssh_hop(quiet_sshd, f"d-{n}", host=f"127.0.2.{n}", port=port) for n in range(1, 41)]
        dead = [Background(some, make_job(hop, "true", jumps=(jump,))) for hop in hops]
        eventually(lambda: _accepted(silent) >= 40, 25)
        assert some.run(make_job(ssh_hop(quiet_sshd), "echo ran", jumps=(jump,)), Control()).stdout.text
        assert not any(one._outcome for one in dead)
        for one in dead:
            one.listener.control.cancel("the test is over")
        assert {one.outcome().reason for one in dead} == {Reason.CANCELLED}


def _accepted(listener: socket.socket) -> int:
    """Connections that wait in its queue: field rx_queue of a listening socket."""
    port = f":{listener.getsockname()[1]:04X}"
    with open("/proc/net/tcp") as table:
        for line in table:
            words = line.split()
            if words[1].endswith(port) and words[3] == "0A":
                return int(words[4].partition(":")[2], 16)
    return 0


# ---- the memory of one server's dials


def refused() -> Fault:
    return Passing(Reason.UNREACHABLE, "db-1: Connection refused")


def test_pauses_double_up_to_a_limit_and_are_spread() -> None:
    for seed in range(20):
        line, randomness, pauses = Line(), random.Random(seed), []
        for _ in range(12):
            line.failed(refused(), 100.0, 101.0, randomness)
            pauses.append(line.rest_until - 101.0)
        for number, pause in enumerate(pauses):
            whole = min(LONGEST_BACKOFF, 2.0**number)
            assert whole / 2 <= pause <= whole
        assert len(set(pauses)) == len(pauses)


def test_only_what_was_given_up_or_will_not_pass_is_told_without_a_look() -> None:
    line = Line()
    assert line.known(0.0) is None
    line.failed(refused(), 10.0, 11.0, random.Random(1))
    assert not line.hopeless
    line.given_up = True
    assert line.hopeless
    line.failed(refused(), 12.0, 13.0, random.Random(1))
    line.rest_until = 20.0
    known = line.known(15.0)
    assert known is not None
    assert known.message == (
        "db-1: Connection refused; that was 2 s ago, after 2 tries in 3 s; it is tried again in 5 s"
    )
    line.succeeded()
    assert not line.hopeless
    line.failed(Fault(Reason.AUTH_FAILED, "db-1 refused user me"), 30.0, 31.0, random.Random(1))
    assert line.hopeless


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED, "lets this account open no session"),
        (paramiko.OPEN_FAILED_UNKNOWN_CHANNEL_TYPE, "lets this account open no session"),
        # as sshd says at its MaxSessions: that passes, unless we have none there and it goes on
        (paramiko.OPEN_FAILED_CONNECT_FAILED, "does its sshd_config say MaxSessions 0?"),
        (paramiko.OPEN_FAILED_RESOURCE_SHORTAGE, "does its sshd_config say MaxSessions 0?"),
    ],
)
def test_a_refused_channel_says_whether_it_will_pass(
    monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    monkeypatch.setattr(connection_module, "REFUSED_SECONDS", 0.5)
    monkeypatch.setattr(Accounts, "check_channel_request", lambda *_: code)
    with (
        password_server("password") as hop,
        running(environment={"RECONCILER_SECRET_DB": "hunter22"}) as some,
    ):
        outcome = some.run(make_job(hop, "true"), Control())
    assert (outcome.reason, outcome.started_at) == (Reason.START_FAILED, None)
    assert words in (outcome.message or "")
