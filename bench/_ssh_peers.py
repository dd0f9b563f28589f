"""Everyone else who runs `true` on an sshd, 20 at a time: the engines of `bench/ssh.py` that are not ours."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko

from tests.execute.support import QuietSshd

PARALLEL = 20
Engine = Callable[[int], None]
"""Runs so many commands and returns when all have ended well."""


def spread(work: Callable[[], None], count: int) -> None:
    """Do it ``count`` times in 20 threads."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        for done in [pool.submit(work) for _ in range(count)]:
            done.result()


def openssh(sshd: QuietSshd, *options: str) -> list[str]:
    """The words of OpenSSH's client."""
    known = [
        "-o",
        f"UserKnownHostsFile={sshd.known_hosts}",
        "-o",
        "BatchMode=yes",
        "-o",
        "IdentitiesOnly=yes",
    ]
    way = ["-i", str(sshd.client_key), "-p", str(sshd.port), *options, f"{sshd.user}@{sshd.host}"]
    return ["ssh", "-F", "none", *known, *way]


def call(words: list[str], **environment: str) -> None:
    """Run a client to its end."""
    known = {**os.environ, **environment}
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True, env=known)


def floor(sshd: QuietSshd) -> Engine:
    """One session whose shell starts all commands itself: what the machine could do with nothing between."""
    return lambda count: call([*openssh(sshd), f"seq {count} | xargs -n 1 -P {PARALLEL} sh -c true"])


def new_connection(sshd: QuietSshd) -> Engine:
    """OpenSSH's client, which logs in for each command."""
    return lambda count: spread(lambda: call([*openssh(sshd), "true"]), count)


@contextlib.contextmanager
def control_master(sshd: QuietSshd) -> Iterator[Engine]:
    """OpenSSH's client on a connection that is open already."""
    path = sshd.folder / "cm"
    master = subprocess.Popen(openssh(sshd, "-M", "-N", "-S", str(path)), stdin=subprocess.DEVNULL)
    try:
        while not path.exists():
            time.sleep(0.02)
        yield lambda count: spread(lambda: call([*openssh(sshd, "-S", str(path)), "true"]), count)
    finally:
        master.terminate()
        master.wait()


@contextlib.contextmanager
def bare_paramiko(sshd: QuietSshd) -> Iterator[Engine]:
    """Our own library with nothing around it: no loop on one connection is faster, whoever writes it.

    No environment, no stdin, no stderr, no clock; all on one connection.
    """
    transport = paramiko.Transport((sshd.host, sshd.port))
    key = paramiko.Ed25519Key.from_private_key_file(str(sshd.client_key))
    transport.connect(username=sshd.user, pkey=key)

    def one() -> None:
        channel = transport.open_session()
        channel.exec_command("true")
        while channel.recv(65536):
            pass
        assert channel.recv_exit_status() == 0
        # without it 20 threads kill the connection
        channel.close()

    try:
        yield lambda count: spread(one, count)
    finally:
        transport.close()


def fabric(sshd: QuietSshd) -> Engine:
    """A connection for each of 20 threads, kept open."""
    from fabric import Config, Connection

    local = threading.local()

    def one() -> None:
        if not hasattr(local, "connection"):
            keys = {"key_filename": str(sshd.client_key), "allow_agent": False, "look_for_keys": False}
            config = Config(overrides={"load_ssh_configs": False})
            local.connection = Connection(sshd.host, sshd.user, sshd.port, config=config, connect_kwargs=keys)
        local.connection.run("true", hide=True, in_stream=False)

    pool = ThreadPoolExecutor(PARALLEL)

    def run(count: int) -> None:
        for done in [pool.submit(one) for _ in range(count)]:
            done.result()

    return run


def parallel_ssh(sshd: QuietSshd) -> Engine:
    """It shares no connection between commands at once: it keeps 20, and runs each command on all."""
    from pssh.clients import ParallelSSHClient

    way = {"user": sshd.user, "port": sshd.port, "pkey": str(sshd.client_key)}
    client = ParallelSSHClient([sshd.host] * PARALLEL, pool_size=PARALLEL, **way)

    def run(count: int) -> None:
        for _ in range(count // PARALLEL):
            output = client.run_command("true")
            client.join(output)
            assert all(one.exit_code == 0 for one in output)

    return run


def ansible_command() -> str | None:
    """Where it is: beside this Python, or on the PATH."""
    beside = Path(sys.executable).with_name("ansible")
    return str(beside) if beside.exists() else shutil.which("ansible")


def ansible(sshd: QuietSshd, module: str) -> Engine:
    """Twenty names of one host, all at once. It keeps a connection open for each by ControlPersist."""
    command = ansible_command()
    assert command is not None
    hosts = sshd.folder / "hosts"
    name = f"ansible_host={sshd.host} ansible_port={sshd.port} ansible_user={sshd.user}"
    key = f"ansible_ssh_private_key_file={sshd.client_key} ansible_python_interpreter={sys.executable}"
    common = f"ansible_ssh_common_args='-F none -o UserKnownHostsFile={sshd.known_hosts}'"
    hosts.write_text("".join(f"h{number} {name} {key} {common}\n" for number in range(PARALLEL)))
    words = [command, "all", "-i", str(hosts), "-f", str(PARALLEL), "-m", module, "-a", "true"]

    def run(count: int) -> None:
        for _ in range(max(1, count // PARALLEL)):
            call(words, ANSIBLE_HOME=str(sshd.folder / "ansible"))

    return run


def missing() -> list[str]:
    """The peers that are not installed."""
    absent = [
        name
        for name, module in (("Fabric", "fabric"), ("parallel-ssh", "pssh"))
        if importlib.util.find_spec(module) is None
    ]
    if ansible_command() is None:
        absent += ["Ansible raw", "Ansible shell"]
    return absent
