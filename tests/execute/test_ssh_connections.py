"""Connections between us and a real sshd, and what breaks them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.execute.control import Control
from reconciler.execute.executors import Executors
from reconciler.execute.fault import Fault
from reconciler.execute.ssh import connection as connection_module
from reconciler.execute.ssh import pool as pool_module
from reconciler.execute.ssh import transport as transport_module
from reconciler.execute.ssh.connection import Connection
from reconciler.model.execution import Outcome, Reason, Status
from tests.execute.support import (
    Background,
    QuietSshd,
    connections,
    eventually,
    make_job,
    processes,
    running,
    ssh_hop,
)
from tests.services.process import free_port
from tests.services.proxy import TcpProxy
from tests.services.sshd import new_key

pytestmark = pytest.mark.ssh


def run(some: Executors, server: QuietSshd, command: str = "echo ran", **spec: Any) -> Outcome:
    return some.run(make_job(ssh_hop(server, **spec), command), Control())


# ---- host keys


def test_a_host_whose_key_is_unknown_is_refused_with_its_fingerprint(
    over_ssh: Executors, quiet_sshd: QuietSshd
) -> None:
    outcome = run(over_ssh, quiet_sshd, hostKeys=[])
    assert (outcome.reason, outcome.started_at) == (Reason.HOST_KEY, None)
    assert "is unknown" in (outcome.message or "")
    assert quiet_sshd.fingerprint in (outcome.message or "")
    assert "RECONCILER_KNOWN_HOSTS" in (outcome.message or "")


def test_a_wrong_key_is_refused_and_both_fingerprints_shown(
    over_ssh: Executors, quiet_sshd: QuietSshd, tmp_path: Path
) -> None:
    new_key(tmp_path / "other")
    other = (tmp_path / "other.pub").read_text().strip()
    outcome = run(over_ssh, quiet_sshd, hostKeys=[other])
    assert outcome.reason is Reason.HOST_KEY
    assert "is not the known one" in (outcome.message or "")
    assert quiet_sshd.fingerprint in (outcome.message or "")
    assert (outcome.message or "").count("SHA256:") == 2


def test_a_rotated_key_is_refused_until_it_is_pinned(start_quiet_sshd: Callable[..., QuietSshd]) -> None:
    server = start_quiet_sshd()
    with running(server.folder) as some:
        old = ssh_hop(server)
        assert some.run(make_job(old, "true"), Control()).status is Status.SUCCESS
        server.stop()
        server.new_host_key()
        server.start()
        server.drop_connections()
        eventually(lambda: not any(one.link.is_active() for one in connections(some)))
        assert some.run(make_job(old, "true"), Control()).reason is Reason.HOST_KEY
        assert some.run(make_job(ssh_hop(server), "true"), Control()).status is Status.SUCCESS


def test_known_hosts_is_asked_where_nothing_is_pinned(quiet_sshd: QuietSshd) -> None:
    with running(quiet_sshd.folder, known_hosts=quiet_sshd.known_hosts) as some:
        assert run(some, quiet_sshd, hostKeys=[]).stdout.text == "ran\n"


def test_a_known_hosts_file_that_cannot_be_read_is_named(quiet_sshd: QuietSshd, tmp_path: Path) -> None:
    with running(quiet_sshd.folder, known_hosts=tmp_path / "missing") as some:
        outcome = run(some, quiet_sshd, hostKeys=[])
    assert outcome.reason is Reason.HOST_KEY
    assert f"{tmp_path}/missing cannot be read" in (outcome.message or "")


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "ed25519"])
def test_of_several_keys_the_server_shows_the_one_that_is_pinned(
    start_quiet_sshd: Callable[..., QuietSshd], tmp_path: Path, kind: str
) -> None:
    for each in ("ecdsa", "rsa"):
        new_key(tmp_path / each, "-t", each, *(["-b", "2048"] if each == "rsa" else []))
    server = start_quiet_sshd(f"HostKey {tmp_path}/ecdsa", f"HostKey {tmp_path}/rsa")
    pin = server.host_key if kind == "ed25519" else (tmp_path / f"{kind}.pub").read_text().strip()
    with running(server.folder) as some:
        assert run(some, server, hostKeys=[pin]).stdout.text == "ran\n"


def test_a_server_without_a_key_of_a_pinned_kind_is_refused(
    over_ssh: Executors, quiet_sshd: QuietSshd, tmp_path: Path
) -> None:
    new_key(tmp_path / "other", "-t", "ecdsa")
    outcome = run(over_ssh, quiet_sshd, hostKeys=[(tmp_path / "other.pub").read_text().strip()])
    assert outcome.reason is Reason.HOST_KEY
    assert "no host key of a kind that is known" in (outcome.message or "")


# ---- not reached


def test_a_port_that_refuses_is_unreachable(
    over_ssh: Executors, quiet_sshd: QuietSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "START_SECONDS", 1.0)
    outcome = run(over_ssh, quiet_sshd, port=free_port())
    assert (outcome.reason, outcome.started_at, outcome.proven) == (Reason.UNREACHABLE, None, False)
    assert "Connection refused" in (outcome.message or "")


def test_a_name_that_does_not_exist_is_unreachable(over_ssh: Executors, quiet_sshd: QuietSshd) -> None:
    outcome = run(over_ssh, quiet_sshd, host="no-such-host.invalid")
    assert outcome.reason is Reason.UNREACHABLE
    assert "no-such-host.invalid" in (outcome.message or "")


def test_something_that_is_no_ssh_daemon_is_unreachable(over_ssh: Executors, quiet_sshd: QuietSshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n" * 200)

        threading.Thread(target=answer, daemon=True).start()
        outcome = run(over_ssh, quiet_sshd, port=listener.getsockname()[1])
    assert outcome.reason is Reason.UNREACHABLE


def test_a_silent_host_is_unreachable_in_time_and_a_cancel_does_not_wait_for_it(
    quiet_sshd: QuietSshd, tcp_proxy: Callable[[int], TcpProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = tcp_proxy(quiet_sshd.port)
    proxy.stall()
    with running(quiet_sshd.folder) as some:
        background = Background(some, make_job(ssh_hop(quiet_sshd, port=proxy.port), "true"))
        time.sleep(0.3)
        begun = time.monotonic()
        background.listener.control.cancel("by alice")
        assert background.outcome().reason is Reason.CANCELLED
        assert time.monotonic() - begun < 3
        monkeypatch.setattr(pool_module, "START_SECONDS", 1.0)
        outcome = some.run(make_job(ssh_hop(quiet_sshd, port=proxy.port), "true"), Control())
        assert outcome.reason is Reason.UNREACHABLE
        assert outcome.message == (
            f"db-1 was not reached within 1 s: 127.0.0.1:{proxy.port} is connected, "
            "but its ssh daemon does not speak"
        )


# ---- shared, replaced, closed


def test_all_runs_of_a_server_share_one_connection(
    quiet_sshd: QuietSshd, tcp_proxy: Callable[[int], TcpProxy]
) -> None:
    proxy = tcp_proxy(quiet_sshd.port)
    with running(quiet_sshd.folder) as some:
        hop = ssh_hop(quiet_sshd, port=proxy.port)
        background = [Background(some, make_job(hop, "sleep 0.3; echo ran")) for _ in range(8)]
        assert {one.outcome().stdout.text for one in background} == {"ran\n"}
        assert proxy.connections == 1
    eventually(lambda: proxy.open_connections == 0)


def test_many_servers_at_one_address_dial_in_turn(start_quiet_sshd: Callable[..., QuietSshd]) -> None:
    server = start_quiet_sshd(f"MaxStartups {2 * pool_module.DIALS_PER_HOST}")
    with running(server.folder) as some:
        jobs = [make_job(ssh_hop(server, f"db-{number}"), "true") for number in range(16)]
        background = [Background(some, job) for job in jobs]
        assert {one.outcome().reason for one in background} == {Reason.COMPLETED}
        assert len(connections(some)) == 16


def test_a_server_that_turns_us_away_for_a_moment_is_tried_again(
    start_quiet_sshd: Callable[..., QuietSshd],
) -> None:
    """sshd drops connections beyond MaxStartups, also because of others'."""
    server = start_quiet_sshd("MaxStartups 1", "LoginGraceTime 1")
    with running(server.folder) as some, socket.create_connection((server.host, server.port)):
        assert run(some, server).stdout.text == "ran\n"


def test_a_cut_during_a_run_is_lost_and_the_host_ends_what_ran(
    quiet_sshd: QuietSshd, tcp_proxy: Callable[[int], TcpProxy]
) -> None:
    proxy = tcp_proxy(quiet_sshd.port)
    with running(quiet_sshd.folder) as some:
        hop = ssh_hop(quiet_sshd, port=proxy.port, durable=False)
        background = Background(some, make_job(hop, "setsid sleep 300 & echo ready; wait", killGrace="1s"))
        background.listener.until(b"ready\n")
        proxy.cut()
        outcome = background.outcome()
        assert (outcome.reason, outcome.exit_code, outcome.proven) == (Reason.LOST, None, False)
        assert outcome.started_at == background.listener.started_at
        assert outcome.stdout.text == "ready\n"
        assert "the connection to db-1 broke off" in (outcome.message or "")
        eventually(lambda: not processes(background.job))
        # the next run dials anew
        assert some.run(make_job(hop, "echo ran"), Control()).stdout.text == "ran\n"
        assert proxy.connections == 2


@pytest.mark.parametrize("bytes_through", [3000, 5000, 40_000])
def test_a_cut_at_any_point_is_an_outcome(
    quiet_sshd: QuietSshd, tcp_proxy: Callable[[int], TcpProxy], bytes_through: int
) -> None:
    proxy = tcp_proxy(quiet_sshd.port)
    proxy.cut_after(bytes_through)
    with running(quiet_sshd.folder) as some:
        outcome = some.run(make_job(ssh_hop(quiet_sshd, port=proxy.port, durable=False), "yes"), Control())
    assert outcome.reason in (Reason.LOST, Reason.UNREACHABLE)
    assert (outcome.started_at is None) or outcome.reason is Reason.LOST


def test_a_connection_that_died_unnoticed_is_replaced_without_harm(
    quiet_sshd: QuietSshd, tcp_proxy: Callable[[int], TcpProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "OPEN_SECONDS", 0.5)
    proxy = tcp_proxy(quiet_sshd.port)
    with running(quiet_sshd.folder) as some:
        hop = ssh_hop(quiet_sshd, port=proxy.port)
        assert some.run(make_job(hop, "true"), Control()).status is Status.SUCCESS
        proxy.stall()
        background = Background(some, make_job(hop, "echo ran"))
        time.sleep(1.0)
        proxy.resume()
        assert background.outcome().stdout.text == "ran\n"


def test_a_connection_that_falls_silent_is_given_up(
    quiet_sshd: QuietSshd, tcp_proxy: Callable[[int], TcpProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "KEEPER_SECONDS", 0.2)
    monkeypatch.setattr(connection_module, "SILENT_SECONDS", 3.0)
    monkeypatch.setattr(transport_module, "KEEPALIVE_SECONDS", 1)
    proxy = tcp_proxy(quiet_sshd.port)
    with running(quiet_sshd.folder) as some:
        hop = ssh_hop(quiet_sshd, port=proxy.port, durable=False)
        background = Background(some, make_job(hop, "echo ready; sleep 300"))
        background.listener.until(b"ready\n")
        # a quiet run alone is no silence: the host answers our questions
        time.sleep(4.0)
        assert not background._outcome
        proxy.stall()
        outcome = background.outcome()
        assert outcome.reason is Reason.LOST
        assert "was silent for 3 s" in (outcome.message or "")


def test_an_idle_connection_is_closed_and_its_keeper_ends(
    quiet_sshd: QuietSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "KEEPER_SECONDS", 0.1)
    monkeypatch.setattr(connection_module, "IDLE_SECONDS", 0.3)
    threads = threading.active_count()
    with running(quiet_sshd.folder) as some:
        assert run(some, quiet_sshd).status is Status.SUCCESS
        eventually(lambda: not connections(some) and threading.active_count() == threads)
        assert run(some, quiet_sshd).status is Status.SUCCESS


def test_a_connection_is_renewed_before_paramiko_has_seen_too_many_channels(
    quiet_sshd: QuietSshd, tcp_proxy: Callable[[int], TcpProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "MAX_CHANNELS", 5)
    proxy = tcp_proxy(quiet_sshd.port)
    with running(quiet_sshd.folder) as some:
        for _ in range(12):
            hop = ssh_hop(quiet_sshd, port=proxy.port)
            assert some.run(make_job(hop, "true"), Control()).status is Status.SUCCESS
    assert proxy.connections == 3


def test_a_server_that_refuses_all_sessions_is_a_failed_start(
    start_quiet_sshd: Callable[..., QuietSshd], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "REFUSED_SECONDS", 0.3)
    server = start_quiet_sshd("MaxSessions 0")
    with running(server.folder) as some:
        outcome = run(some, server)
    assert outcome.reason is Reason.START_FAILED
    assert "MaxSessions 0" in (outcome.message or "")


def test_runs_wait_for_a_session_as_long_as_it_takes_and_can_be_cancelled(
    start_quiet_sshd: Callable[..., QuietSshd], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "REFUSED_SECONDS", 0.3)
    server = start_quiet_sshd("MaxSessions 1")
    with running(server.folder) as some:
        first = Background(some, make_job(ssh_hop(server), "echo ready; sleep 1"))
        first.listener.until(b"ready\n")
        second = Background(some, make_job(ssh_hop(server), "echo ran"))
        third = Background(some, make_job(ssh_hop(server), "echo ran"))
        time.sleep(0.2)
        third.listener.control.cancel("by alice")
        assert third.outcome(2).reason is Reason.CANCELLED
        assert first.outcome().status is Status.SUCCESS
        assert second.outcome().stdout.text == "ran\n"


def test_who_ends_a_run_does_not_wait_in_line_for_a_session(
    start_quiet_sshd: Callable[..., QuietSshd],
) -> None:
    server = start_quiet_sshd("MaxSessions 1")
    with running(server.folder) as some:
        job = make_job(
            ssh_hop(server), "echo ready; setsid sleep 300 & sleep 301", timeout="1s", killGrace="1s"
        )
        outcome = some.run(job, Control())
        assert outcome.message == "timed out after 1s; ended on TERM, nothing of it is left"
        assert not processes(job)
        eventually(lambda: len([one for one in connections(some) if one.link.is_active()]) == 1)


def test_a_run_ends_also_where_nobody_else_can_come_in(
    quiet_sshd: QuietSshd, tcp_proxy: Callable[[int], TcpProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watcher beside the command ends it when its stdin does; the verdict says that nobody looked."""

    def no_shell(*_: object) -> None:
        raise Fault(Reason.UNREACHABLE, "db-1 lets nobody in")

    with running(quiet_sshd.folder) as some:
        job = make_job(
            ssh_hop(quiet_sshd, durable=False),
            "echo ready; setsid sleep 300 & sleep 301",
            timeout="1s",
            killGrace="1s",
        )
        monkeypatch.setattr(Connection, "open_shell_now", no_shell)
        outcome = some.run(job, Control())
    assert outcome.reason is Reason.TIMED_OUT
    assert "nobody could look what it left behind (db-1 lets nobody in)" in (outcome.message or "")
    eventually(lambda: not processes(job))


def test_a_server_without_the_cipher_that_we_ask_for_first_is_spoken_to_in_another(
    start_quiet_sshd: Callable[..., QuietSshd], over_ssh: Executors, quiet_sshd: QuietSshd
) -> None:
    assert run(over_ssh, quiet_sshd).status is Status.SUCCESS
    assert {one.link.local_cipher for one in connections(over_ssh)} == {transport_module.CIPHER}
    server = start_quiet_sshd("Ciphers aes256-ctr", "MACs hmac-sha2-512-etm@openssh.com")
    with running(server.folder) as some:
        assert run(some, server, "seq 100000 | tail -n 1").stdout.text == "100000\n"
        assert {one.link.local_cipher for one in connections(some)} == {"aes256-ctr"}


def test_what_is_read_ahead_of_packets_comes_in_the_pieces_that_were_asked_for() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ahead = transport_module.ReadAhead(ours)
        theirs.sendall(b"0123456789" * 5000)
        theirs.shutdown(socket.SHUT_WR)
        pieces = [ahead.recv(count) for count in (4, 3, 0)]
        while piece := ahead.recv(30_000):
            pieces.append(piece)
        assert pieces[:3] == [b"0123", b"456", b""]
        assert b"".join(pieces) == b"0123456789" * 5000
        assert ahead.recv(1) == b""
        ahead.settimeout(0.01)
        assert ours.gettimeout() == 0.01


def test_closing_ends_all_connections(quiet_sshd: QuietSshd, tcp_proxy: Callable[[int], TcpProxy]) -> None:
    proxy = tcp_proxy(quiet_sshd.port)
    with running(quiet_sshd.folder) as some:
        background = Background(
            some, make_job(ssh_hop(quiet_sshd, port=proxy.port, durable=False), "echo ready; sleep 300")
        )
        background.listener.until(b"ready\n")
        some.close()
        outcome = background.outcome()
    assert outcome.reason is Reason.LOST
    assert "reconciler is shutting down" in (outcome.message or "")
    eventually(lambda: proxy.open_connections == 0 and not processes(background.job))
