"""Signed commits: whose signature counts, and what is said of those that do not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from reconciler.errors import SourceUnreadable, SourceUntrusted
from reconciler.manifest.signature import Trust
from tests.services.git import GitRepository


class Signing:
    """A repository whose commits are signed with keys made here."""

    def __init__(self, repository: GitRepository, folder: Path) -> None:
        self.repository = repository
        self.folder = folder
        self.signers = folder / "allowed"
        repository.git("config", "gpg.format", "ssh")

    def key(self, name: str) -> str:
        """The public key; made on first use."""
        path = self.folder / name
        if not path.exists():
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)], check=True
            )
        return Path(f"{path}.pub").read_text().strip()

    def commit(self, name: str) -> str:
        """A commit signed by the key of that name."""
        self.key(name)
        self.repository.git("config", "user.signingkey", str(self.folder / name))
        self.repository.git("config", "commit.gpgsign", "true")
        try:
            return self.repository.commit(f"by {name}")
        finally:
            self.repository.git("config", "commit.gpgsign", "false")

    def allow(self, *lines: str) -> Trust:
        self.signers.write_text("".join(f"{line}\n" for line in lines))
        return Trust(self.signers)


@pytest.fixture
def signing(git_repo: GitRepository, tmp_path: Path) -> Signing:
    folder = tmp_path / "keys"
    folder.mkdir()
    return Signing(git_repo, folder)


def why(trust: Trust, signing: Signing, commit: str) -> str:
    with pytest.raises(SourceUntrusted) as caught:
        trust.verify(signing.repository.path, commit)
    assert commit[:12] in caught.value.message
    return str(caught.value.details["reason"])


def test_an_allowed_signer_is_named(signing: Signing) -> None:
    commit = signing.commit("ann")
    trust = signing.allow("# people", f"ann@example.org {signing.key('ann')}")
    trust.check()
    assert trust.verify(signing.repository.path, commit) == "ann@example.org"


def test_an_unsigned_commit_is_refused(signing: Signing) -> None:
    trust = signing.allow(f"ann@example.org {signing.key('ann')}")
    assert why(trust, signing, signing.repository.commit("unsigned")) == "Unsigned"


def test_the_key_of_nobody_is_refused_although_git_calls_its_signature_good(signing: Signing) -> None:
    trust = signing.allow(f"ann@example.org {signing.key('ann')}")
    assert why(trust, signing, signing.commit("mallory")) == "UnknownSigner"


@pytest.mark.parametrize("validity", ['valid-before="20200101"', 'valid-after="20400101"'])
def test_a_key_outside_its_time_is_refused(signing: Signing, validity: str) -> None:
    trust = signing.allow(f"ann@example.org {validity} {signing.key('ann')}")
    assert why(trust, signing, signing.commit("ann")) == "Expired"


@pytest.mark.parametrize("form", ["krl", "list"])
def test_a_revoked_key_is_refused(signing: Signing, form: str) -> None:
    commit = signing.commit("ann")
    trust = signing.allow(f"ann@example.org {signing.key('ann')}")
    revoked = signing.folder / "revoked"
    if form == "krl":
        key = str(signing.folder / "ann.pub")
        subprocess.run(["ssh-keygen", "-q", "-k", "-f", str(revoked), key], check=True)
    else:
        revoked.write_text(signing.key("ann") + "\n")
    assert why(Trust(trust.signers, revoked), signing, commit) == "Revoked"
    other = signing.folder / "others"
    other.write_text(signing.key("bob") + "\n")
    assert Trust(trust.signers, other).verify(signing.repository.path, commit) == "ann@example.org"


def test_a_commit_changed_after_it_was_signed_is_refused(signing: Signing) -> None:
    signed = signing.repository.git("cat-file", "commit", signing.commit("ann"))
    forged = signing.folder / "forged"
    forged.write_text(signed.replace("by ann", "by eve") + "\n")
    commit = signing.repository.git("hash-object", "-t", "commit", "-w", str(forged))
    trust = signing.allow(f"ann@example.org {signing.key('ann')}")
    assert why(trust, signing, commit) == "BadSignature"


def test_a_file_that_allows_nobody_is_an_error_at_once(signing: Signing) -> None:
    with pytest.raises(SourceUnreadable, match="allows no signer"):
        signing.allow("# nobody").check()
    with pytest.raises(SourceUnreadable, match="cannot be read"):
        Trust(signing.folder / "absent").check()
    with pytest.raises(SourceUnreadable, match="cannot be read"):
        Trust(signing.signers, signing.folder / "absent").check()
