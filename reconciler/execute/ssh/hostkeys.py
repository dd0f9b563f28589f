"""Which host keys a server may show: those pinned in its manifest, else those of one known_hosts file.

File format: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". Nothing is ever added by itself.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_PORT = 22
# What a key of a type signs with; a plain ssh-rsa signature is SHA-1, which nobody should accept any more.
_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


@dataclass(frozen=True, slots=True)
class Key:
    """A public key: its type, and its blob as RFC 4253 encodes it."""

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """As OpenSSH prints it: ``SHA256:…``."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")
        return f"SHA256:{digest}"

    def __str__(self) -> str:
        return f"{self.kind} {self.fingerprint}"


@dataclass(frozen=True, slots=True)
class Trust:
    """What is known of one server's keys, and from where (a phrase for messages)."""

    keys: tuple[Key, ...]
    source: str
    revoked: tuple[Key, ...] = ()
    authority: bool = False
    """known_hosts has a certificate authority for it, which we do not use."""

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The signature algorithms to negotiate: only those of known keys, so that one of them is shown."""
        kinds = dict.fromkeys(key.kind for key in self.keys)
        return tuple(name for kind in kinds for name in _ALGORITHMS.get(kind, (kind,)))

    def problem(self, shown: Key, server: str) -> str | None:
        """Why a key that the server showed is refused, and what to do; None if it is known."""
        if shown in self.revoked:
            return f"the host key of {server} is revoked in {self.source}: {shown}; give the host a new key"
        if shown in self.keys:
            return None
        if not self.keys:
            hint = "; its @cert-authority line is not used" if self.authority else ""
            return (
                f"the host key of {server} is unknown: it shows {shown}, and {self.source} has none{hint}; "
                "compare it with `ssh-keygen -lf` of the .pub file in /etc/ssh on the host itself, then pin "
                "that file's text in hostKeys of the Server"
            )
        known = ", ".join(map(str, self.keys))
        return (
            f"the host key of {server} is not the known one: it shows {shown}, but {self.source} has "
            f"{known}; either the host was reinstalled or someone is in between: find out on the host "
            "itself, then change hostKeys of the Server (or known_hosts)"
        )


def pinned(texts: Iterable[str]) -> Trust:
    """Trust in the keys of a manifest, each ``type base64``."""
    keys = (parse_key(*text.split(" ")[:2]) for text in texts)
    return Trust(tuple(key for key in keys if key is not None), "hostKeys of the Server")


def parse_key(kind: str, text: str) -> Key | None:
    """None unless the text is base64 of a blob of that type."""
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    size = int.from_bytes(blob[:4], "big")
    if blob[4 : 4 + size] != kind.encode():
        return None
    return Key(kind, blob)


@dataclass(slots=True)
class KnownHosts:
    """One known_hosts file, read again when it changes. ``path`` None: nothing is known."""

    path: Path | None
    _seen: tuple[int, int, int] | None = None
    _lines: tuple[tuple[str, str, Key], ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def trust(self, host: str, port: int) -> Trust:
        """What the file says of ``host`` (or ``[host]:port``). Raises OSError if it cannot be read."""
        if self.path is None:
            return Trust((), "hostKeys is empty, RECONCILER_KNOWN_HOSTS is not set, so our configuration")
        name = host.lower()
        if port != DEFAULT_PORT:
            name = f"[{name}]:{port}"
        with self._lock:
            lines = self._read(self.path)
        found = [(marker, key) for marker, patterns, key in lines if _matches(patterns, name)]
        revoked = tuple(key for marker, key in found if marker == "@revoked")
        return Trust(
            keys=tuple(key for marker, key in found if marker == "" and key not in revoked),
            source=str(self.path),
            revoked=revoked,
            authority=any(marker == "@cert-authority" for marker, _ in found),
        )

    def _read(self, path: Path) -> tuple[tuple[str, str, Key], ...]:
        about = path.stat()
        seen = (about.st_mtime_ns, about.st_size, about.st_ino)
        if seen != self._seen:
            self._lines = tuple(_parse(path.read_text(encoding="utf-8", errors="replace")))
            self._seen = seen
        return self._lines


def _parse(text: str) -> Iterable[tuple[str, str, Key]]:
    """Marker, host patterns and key of each line that has them; others mean nothing, as in OpenSSH."""
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        marker = words.pop(0) if words[0].startswith("@") else ""
        if len(words) >= 3 and (key := parse_key(words[1], words[2])) is not None:
            yield marker, words[0], key


def _matches(patterns: str, name: str) -> bool:
    if patterns.startswith("|"):
        return _matches_hash(patterns, name)
    found = False
    for pattern in patterns.lower().split(","):
        negated = pattern.startswith("!")
        if _matches_glob(pattern.removeprefix("!"), name):
            if negated:
                return False
            found = True
    return found


def _matches_glob(pattern: str, name: str) -> bool:
    # only * and ? are special there: [ begins a host with a port
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def _matches_hash(pattern: str, name: str) -> bool:
    parts = pattern.split("|")
    if len(parts) != 4 or parts[1] != "1":
        return False
    try:
        salt, expected = base64.b64decode(parts[2]), base64.b64decode(parts[3])
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), expected)
