"""A private sshd: own host key, own client key, this user, nothing of the machine's own configuration."""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.services import guard
from tests.services.process import HOST, MARKER, Service, accepts, find_binary


class Sshd(Service):
    """An sshd for the user who runs the tests, by key only.

    ``options`` are further lines of sshd_config; they come first, and sshd takes the first value it sees.
    What is not set here is sshd's default (MaxSessions 10, MaxStartups 10:30:100), as on real servers.
    """

    name = "sshd"

    def __init__(self, *options: str) -> None:
        super().__init__()
        self.options: Sequence[str] = options
        self.user = _user()
        self.client_key = self.folder / "client"
        self.host_key_file = self.folder / "host"
        self.known_hosts = self.folder / "known_hosts"
        self.authorized_keys = self.folder / "authorized_keys"
        self.home = self.folder / "home"
        """Of its sessions: what runs leave there goes with it, no rc file of this account costs time."""
        self.home.mkdir(parents=True, exist_ok=True)

    @property
    def host_key(self) -> str:
        """The public half, as ``ssh-ed25519 AAAA…``."""
        return " ".join(self.host_key_file.with_suffix(".pub").read_text().split()[:2])

    @property
    def fingerprint(self) -> str:
        """As OpenSSH prints it: ``SHA256:…``."""
        listed = subprocess.run(
            [find_binary("ssh-keygen"), "-lf", str(self.host_key_file)],
            capture_output=True,
            text=True,
            check=True,
        )
        return listed.stdout.split()[1]

    @property
    def known_hosts_line(self) -> str:
        """What a known_hosts file needs for this server."""
        return f"[{self.host}]:{self.port} {self.host_key}"

    @property
    def url(self) -> str:
        return f"ssh://{self.user}@{self.host}:{self.port}"

    def prepare(self) -> None:
        self.binary = find_binary("sshd")
        if os.geteuid() == 0:
            # Compiled into Debian's sshd and made by its service, which is never started here.
            with contextlib.suppress(OSError):
                Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.new_host_key()
        new_key(self.client_key)
        shutil.copy(self.client_key.with_suffix(".pub"), self.authorized_keys)

    def new_host_key(self) -> None:
        """Another identity from the next start on, as after a reinstallation; known_hosts keeps the old."""
        first = not self.host_key_file.exists()
        new_key(self.host_key_file)
        if first:
            self.write_known_hosts()

    def write_known_hosts(self) -> None:
        """Let known_hosts name the present port and key."""
        self.known_hosts.write_text(self.known_hosts_line + "\n")

    def before_start(self) -> None:
        (self.folder / "sshd_config").write_text("\n".join([*self.options, *self._configuration(), ""]))
        if str(self.port) not in self.known_hosts.read_text():
            self.write_known_hosts()

    def _configuration(self) -> list[str]:
        marker, _, value = self.marker.partition("=")
        assert marker == MARKER
        return [
            f"Port {self.port}",
            f"ListenAddress {HOST}",
            f"HostKey {self.host_key_file}",
            f"AuthorizedKeysFile {self.authorized_keys}",
            f"PidFile {self.folder / 'pid'}",
            # Debian's bash reads ~/.bashrc under sshd unless it thinks itself nested; /etc/bash.bashrc too.
            f"SetEnv {MARKER}={value} HOME={self.home} SHLVL=9",
            f"AllowUsers {self.user}",
            # The folder lies below /tmp, which everyone may write to; strict modes refuse that.
            "StrictModes no",
            # A locked account ("!" in shadow) may only come in through PAM.
            f"UsePAM {'yes' if _locked(self.user) else 'no'}",
            "PubkeyAuthentication yes",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "PermitUserRC no",
            "PrintMotd no",
            "UseDNS no",
            "LogLevel VERBOSE",
            f"Subsystem sftp {_sftp_server()}",
        ]

    def command(self) -> list[str]:
        return [self.binary, "-D", "-e", "-f", str(self.folder / "sshd_config")]

    def answers(self) -> bool:
        return accepts(self.port, b"SSH-2.0-")

    def members(self) -> list[int]:
        """The listener and the processes of its connections; the commands they started are not sshd."""
        return [*super().members(), *self.connections()]

    def connections(self) -> list[int]:
        """The pids that serve connections now."""
        if not self.running:
            return []
        return [pid for pid in guard.descendants(self.pid) if _command_name(pid).startswith("sshd")]

    def drop_connections(self) -> None:
        """Cut every connection; the listener stays, and so do commands that do not notice."""
        self._signal(self.connections(), signal.SIGKILL)

    def commands(self) -> list[int]:
        """The pids of commands that came in here and still run, also those that called setsid."""
        own = set(self.members())
        return [pid for pid in guard.marked([self.marker]) if pid not in own]

    def ssh(self, command: str, *, timeout: float = 20.0) -> subprocess.CompletedProcess[str]:
        """Run ``command`` with OpenSSH's client, to see what the program under test should see."""
        options = {
            "IdentityFile": self.client_key,
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.known_hosts,
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
            "Port": self.port,
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return subprocess.run(
            [find_binary("ssh"), "-F", "none", *words, f"{self.user}@{self.host}", command],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )


def new_key(path: Path, *options: str) -> None:
    """An ed25519 pair at ``path`` and ``path.pub``, without a passphrase unless ``options`` say so."""
    for old in (path, path.with_suffix(".pub")):
        old.unlink(missing_ok=True)
    passphrase = [] if "-N" in options else ["-N", ""]
    kind = [] if "-t" in options else ["-t", "ed25519"]
    words = ["-q", *kind, *passphrase, "-C", "reconciler test", "-f", str(path), *options]
    subprocess.run([find_binary("ssh-keygen"), *words], check=True, capture_output=True)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return getpass.getuser()


def _locked(user: str) -> bool:
    with contextlib.suppress(OSError):
        for line in Path("/etc/shadow").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == user:
                return rest.startswith("!")
    return False


def _sftp_server() -> str:
    for folder in ("/usr/lib/openssh", "/usr/libexec/openssh", "/usr/lib/ssh"):
        if os.access(f"{folder}/sftp-server", os.X_OK):
            return f"{folder}/sftp-server"
    return "internal-sftp"


def _command_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
