"""Who signed a commit: git's SSH signatures, judged by git's exit code and status letters, never by its text.

``git verify-commit`` prints "Good signature" also where it exits 1, for a key that nobody allowed. A commit
is trusted when it exits 0, ``%G?`` is G and ``%GS`` names a signer.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

from reconciler.errors import SourceUnreadable, SourceUntrusted
from reconciler.manifest.git import run_git, try_git


class Distrust(StrEnum):
    """Why a commit is not trusted; the reasons of the condition ``SourceVerified``."""

    UNSIGNED = "Unsigned"
    UNKNOWN_SIGNER = "UnknownSigner"
    EXPIRED = "Expired"
    REVOKED = "Revoked"
    BAD_SIGNATURE = "BadSignature"


_WORDS = {
    Distrust.UNSIGNED: "has no signature",
    Distrust.UNKNOWN_SIGNER: "is signed by a key that no allowed signer has",
    Distrust.EXPIRED: "is signed by a key outside its time of validity",
    Distrust.REVOKED: "is signed by a revoked key",
    Distrust.BAD_SIGNATURE: "has a signature that does not fit it",
}


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose signatures count: an allowed-signers file (see ssh-keygen(1)) and, where there is one, a file of
    revoked keys, a KRL or a list of public keys."""

    signers: Path
    revoked: Path | None = None

    def check(self) -> None:
        """Raise SourceUnreadable for a file that is absent, unreadable or (signers) allows nobody."""
        for path in (self.signers, self.revoked):
            if path is not None:
                _read(path)
        if not list(_keys(_read(self.signers))):
            raise SourceUnreadable(
                f"{self.signers} allows no signer",
                hint="a line is `ann@example.org ssh-ed25519 AAAA…`; see ALLOWED SIGNERS in ssh-keygen(1)",
            )

    def verify(self, repository: Path, commit: str) -> str:
        """The signer of the commit, as the allowed-signers file calls them; raises SourceUntrusted."""
        done, status, signer, fingerprint = self._ask(repository, commit, self.revoked)
        if done == 0 and status == "G" and signer:
            return signer
        distrust = self._why(repository, commit, status, fingerprint)
        raise SourceUntrusted(
            f"commit {commit[:12]} {_WORDS[distrust]}",
            hint=f"who may sign stands in {self.signers}; what was applied last goes on",
            details={"commit": commit, "reason": distrust.value, "key": fingerprint or None},
        )

    def _why(self, repository: Path, commit: str, status: str, fingerprint: str) -> Distrust:
        if status == "N":
            return Distrust.UNSIGNED
        if status == "B":
            if self.revoked is not None and self._ask(repository, commit, Path("/dev/null"))[1] in ("G", "U"):
                return Distrust.REVOKED
            return Distrust.BAD_SIGNATURE
        if fingerprint in _keys(_read(self.signers)):
            return Distrust.EXPIRED
        return Distrust.UNKNOWN_SIGNER

    def _ask(self, repository: Path, commit: str, revoked: Path | None) -> tuple[int, str, str, str]:
        """Exit code, status letter, signer, fingerprint of the key."""
        options = [
            *("-c", "gpg.format=ssh"),
            *("-c", f"gpg.ssh.allowedSignersFile={self.signers.resolve()}"),
            # a signature of another kind must not pass by somebody's keyring
            *(
                word
                for name in ("gpg", "gpg.openpgp", "gpg.x509")
                for word in ("-c", f"{name}.program=false")
            ),
        ]
        if revoked is not None:
            options += ["-c", f"gpg.ssh.revocationFile={revoked.resolve()}"]
        code = try_git(repository, *options, "verify-commit", "--", commit)
        words = run_git(repository, *options, "log", "-1", "--format=%G?%x00%GS%x00%GK", commit, "--")
        status, signer, fingerprint = words.decode("utf-8", "replace").strip("\n").split("\0")
        return code, status, signer, fingerprint


def _keys(text: str) -> Iterator[str]:
    """The fingerprints (``SHA256:…``) of all keys in an allowed-signers file."""
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        for kind, key in pairwise(words):
            if kind.startswith(("ssh-", "ecdsa-", "sk-")):
                try:
                    digest = hashlib.sha256(base64.b64decode(key, validate=True)).digest()
                except binascii.Error:
                    continue
                yield "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SourceUnreadable(
            f"the file {str(path)!r} cannot be read: {error.strerror}", hint="check the path and its rights"
        ) from error
