"""Which machine this is: a run with ``connection: local`` can be attached to nowhere else."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import os
import re
import socket
from pathlib import Path

_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_LONGEST = 60


def machine_name() -> str:
    """``account@host/digest``: equal for two processes if each sees the other's runs, folders and processes.

    The digest is of the machine's id, its host name, the space of process numbers, the account and its home.
    Clones of one image differ by name, machines of one name by id, containers on one host by their processes;
    a container that was started anew is another machine, which is true: nothing in the old one lives on.
    """
    host = socket.gethostname()
    home = os.path.realpath(os.path.expanduser("~"))
    parts = (_machine_id(), host, _processes(), str(os.geteuid()), home)
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return f"{_plain(_account())}@{_plain(host)}/{digest}"


def _machine_id() -> str:
    for name in _IDS:
        with contextlib.suppress(OSError, ValueError):
            found = Path(name).read_text().strip()
            if found:
                return found
    return ""


def _processes() -> str:
    """The namespace of process numbers: the same for all outside of containers."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())


def _plain(text: str) -> str:
    return re.sub(r"[^\w.-]", "-", text)[:_LONGEST]
