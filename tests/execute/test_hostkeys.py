from __future__ import annotations

import base64
import hmac
import os
from pathlib import Path

import pytest

from reconciler.execute.ssh.hostkeys import Key, KnownHosts, parse_key, pinned

ED = "AAAAC3NzaC1lZDI1NTE5AAAAIJyVdlQ8EKEl0CJ6z4XTI8RqJhIz0ITVJ+n0YGGFCzFF"
OTHER = "AAAAC3NzaC1lZDI1NTE5AAAAIAnRhUGZWcXeGBvTLNHwDnHEM2qFXJ6oJDtJl7ibFUS/"
LINE = f"ssh-ed25519 {ED}"


def key(text: str) -> Key:
    found = parse_key("ssh-ed25519", text)
    assert found is not None
    return found


def hashed(name: str) -> str:
    salt = os.urandom(20)
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("line", "host", "port", "known"),
    [
        (f"db-1 {LINE}", "db-1", 22, True),
        (f"db-1 {LINE} a comment", "DB-1", 22, True),
        (f"db-2,db-1,10.0.0.1 {LINE}", "10.0.0.1", 22, True),
        (f"db-1 {LINE}", "db-2", 22, False),
        # the port belongs to the name
        (f"db-1 {LINE}", "db-1", 2222, False),
        (f"[db-1]:2222 {LINE}", "db-1", 2222, True),
        (f"[db-1]:2222 {LINE}", "db-1", 22, False),
        # patterns
        (f"db-? {LINE}", "db-1", 22, True),
        (f"*.example.net,!bad.example.net {LINE}", "good.example.net", 22, True),
        (f"*.example.net,!bad.example.net {LINE}", "bad.example.net", 22, False),
        (f"[*]:2222 {LINE}", "db-1", 2222, True),
        (f"[db]-1 {LINE}", "d-1", 22, False),
        # hashed
        (f"{hashed('db-1')} {LINE}", "db-1", 22, True),
        (f"{hashed('[db-1]:2222')} {LINE}", "db-1", 2222, True),
        (f"{hashed('db-1')} {LINE}", "db-2", 22, False),
        (f"|1|x {LINE}", "db-1", 22, False),
        (f"|1|????|???? {LINE}", "db-1", 22, False),
        # not keys
        (f"@cert-authority db-1 {LINE}", "db-1", 22, False),
        (f"@revoked db-1 {LINE}", "db-1", 22, False),
        (f"@something db-1 {LINE}", "db-1", 22, False),
        (f"# db-1 {LINE}", "db-1", 22, False),
        ("db-1", "db-1", 22, False),
        ("db-1 ssh-ed25519 not/base64", "db-1", 22, False),
        (f"db-1 ssh-rsa {ED}", "db-1", 22, False),
        ("", "db-1", 22, False),
    ],
)
def test_known_hosts_is_read_as_openssh_reads_it(
    tmp_path: Path, line: str, host: str, port: int, known: bool
) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"\n# comment\n{line}\n")
    trust = KnownHosts(file).trust(host, port)
    assert trust.keys == ((key(ED),) if known else ())
    assert (trust.problem(key(ED), "db-1") is None) is known


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"db-1 {LINE}\n")
    hosts = KnownHosts(file)
    assert hosts.trust("db-1", 22).keys == (key(ED),)
    file.write_text(f"db-1 ssh-ed25519 {OTHER}\n\n")
    assert hosts.trust("db-1", 22).keys == (key(OTHER),)


def test_a_revoked_key_is_refused_though_another_line_knows_it(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"db-1 {LINE}\n@revoked * {LINE}\ndb-1 ssh-ed25519 {OTHER}\n")
    trust = KnownHosts(file).trust("db-1", 22)
    assert "is revoked" in (trust.problem(key(ED), "db-1") or "")
    assert trust.problem(key(OTHER), "db-1") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("is unknown", "SHA256:", "has none", "ssh-keygen -lf", "pin that file's text in hostKeys")),
        (f"@cert-authority db-1 {LINE}\n", ("is unknown", "its @cert-authority line is not used")),
        (
            f"db-1 ssh-ed25519 {OTHER}\n",
            ("is not the known one", key(ED).fingerprint, key(OTHER).fingerprint),
        ),
    ],
)
def test_a_refusal_shows_fingerprints_and_what_to_do(
    tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(text)
    problem = KnownHosts(file).trust("db-1", 22).problem(key(ED), "db-1 (db-1:22)")
    assert problem is not None
    assert [word for word in words if word not in problem] == []


def test_without_any_file_nothing_is_known_and_the_message_says_so() -> None:
    trust = KnownHosts(None).trust("db-1", 22)
    assert "RECONCILER_KNOWN_HOSTS is not set" in (trust.problem(key(ED), "db-1") or "")


@pytest.mark.parametrize(
    ("kinds", "algorithms"),
    [
        (["ssh-ed25519"], ("ssh-ed25519",)),
        (["ssh-rsa", "ssh-ed25519"], ("rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519")),
    ],
)
def test_only_algorithms_of_known_keys_are_negotiated(kinds: list[str], algorithms: tuple[str, ...]) -> None:
    texts = []
    for kind in kinds:
        blob = len(kind).to_bytes(4, "big") + kind.encode() + b"rest"
        texts.append(f"{kind} {base64.b64encode(blob).decode()}")
    assert pinned(texts).algorithms == algorithms


def test_fingerprints_are_those_of_openssh() -> None:
    assert key(ED).fingerprint.startswith("SHA256:")
    assert len(key(ED).fingerprint) == 50
