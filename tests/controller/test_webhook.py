"""Hooks of forges: who is believed, what they say, and that repeating them does nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import urllib.parse
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler.controller.http import Request
from reconciler.controller.webhook import Push, Webhooks, normal, read_push
from tests.services.clock import FakeClock

SECRET = "s3cret-of-the-hook"
NOW = datetime(2026, 3, 1, 2, tzinfo=UTC)
GITHUB = {"ref": "refs/heads/main", "repository": {"clone_url": "https://forge.example/Ops/Fleet.git"}}
GITLAB = {"ref": "refs/heads/main", "project": {"git_ssh_url": "git@forge.example:ops/fleet.git"}}


def digest(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Forge:
    """Sends messages to the receiver and remembers what it woke."""

    def __init__(self) -> None:
        self.pushes: list[Push] = []
        self._hooks = Webhooks(SECRET, FakeClock(NOW), self._pushed)

    def _pushed(self, push: Push) -> Sequence[str]:
        self.pushes.append(push)
        return ["fleet"] if "forge.example/ops/fleet" in push.repositories else []

    def send(self, message: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self._hooks.handle(Request("POST", "/hooks/git", named, body))
        return response.status.value, json.loads(response.body)


@pytest.fixture
def forge() -> Forge:
    return Forge()


def standard(body: bytes, *, at: datetime = NOW, key: str = SECRET, id: str = "m1") -> dict[str, str]:
    stamp = str(int(at.timestamp()))
    raw = base64.b64decode(key[6:]) if key.startswith("whsec_") else key.encode()
    mac = hmac.new(raw, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = "v1,AAAA v1," + base64.b64encode(mac).decode()
    return {"webhook_id": id, "webhook_timestamp": stamp, "webhook_signature": signature}


def signatures(body: bytes) -> dict[str, dict[str, str]]:
    return {
        "GitHub": {"x_hub_signature_256": f"sha256={digest(body)}", "x_github_event": "push"},
        "Gitea": {"x_gitea_signature": digest(body), "x_gitea_event": "push"},
        "GitLab": {"x_gitlab_token": SECRET, "x_gitlab_event": "Push Hook"},
        "Standard Webhooks": standard(body),
    }


@pytest.mark.parametrize("kind", ["GitHub", "Gitea", "GitLab", "Standard Webhooks"])
def test_every_forge_is_believed_by_its_own_signature(forge: Forge, kind: str) -> None:
    message = GITLAB if kind == "GitLab" else GITHUB
    assert forge.send(message, **signatures(json.dumps(message).encode())[kind]) == (
        202,
        {"sources": ["fleet"], "note": None},
    )
    assert forge.pushes == [Push(frozenset({"forge.example/ops/fleet"}), "main")]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x_hub_signature_256": "sha256=" + "0" * 64},
        {"x_hub_signature_256": "sha1=abc"},
        {"x_hub_signature_256": "sha256=é"},
        {"x_gitea_signature": "nonsense"},
        {"x_gitlab_token": "wrong"},
        {"x_gitlab_token": ""},
        {"webhook_signature": "v1,AAAA", "webhook_timestamp": str(int(NOW.timestamp()))},
        {"webhook_signature": "", "webhook_timestamp": "now"},
        standard(json.dumps(GITHUB).encode(), at=NOW.replace(hour=1)),
        standard(json.dumps(GITHUB).encode(), key="whsec_" + base64.b64encode(b"other").decode()),
        {"x_hub_signature_256": "sha256=" + digest(b"another body"), "x_gitlab_token": SECRET},
    ],
)
def test_what_is_not_signed_with_the_secret_wakes_nobody(forge: Forge, headers: dict[str, str]) -> None:
    status, answer = forge.send(GITHUB, **headers)
    assert (status, forge.pushes) == (401, [])
    assert SECRET not in json.dumps(answer)


def test_the_same_message_wakes_nobody_twice_whatever_its_unsigned_headers_say(forge: Forge) -> None:
    body = json.dumps(GITHUB).encode()
    signed = signatures(body)["GitHub"]
    assert forge.send(body, **signed, x_github_delivery="1")[0] == 202
    status, answer = forge.send(body, **signed, x_github_delivery="2")
    assert (status, answer["note"]) == (200, "this message was received before")
    assert len(forge.pushes) == 1


def test_what_is_no_push_is_thanked_for(forge: Forge) -> None:
    body = json.dumps({"zen": "x", "repository": GITHUB["repository"]}).encode()
    headers = {"x_hub_signature_256": f"sha256={digest(body)}", "x_github_event": "ping"}
    assert forge.send(body, **headers)[1]["note"] == "'ping' changes no branch"
    tag = {**GITHUB, "ref": "refs/tags/v1"}
    status, answer = forge.send(tag, **signatures(json.dumps(tag).encode())["GitHub"])
    assert (status, answer["sources"]) == (200, [])


def test_another_repository_is_told_apart(forge: Forge) -> None:
    other = {"ref": "refs/heads/main", "repository": {"clone_url": "https://forge.example/ops/other.git"}}
    status, answer = forge.send(other, **signatures(json.dumps(other).encode())["GitHub"])
    assert (status, answer["note"]) == (200, "no source here is that branch of that repository")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff", b'{"ref": 1}', b"[" * 100_000, b'{"repository": 1}']
)
def test_what_cannot_be_read_is_a_clear_refusal(forge: Forge, body: bytes) -> None:
    status, answer = forge.send(body, **signatures(body)["GitHub"])
    assert (status, answer["error"]["code"]) == (400, "bad-request")


def test_a_form_is_read_too() -> None:
    form = urllib.parse.urlencode({"payload": json.dumps(GITHUB)}).encode()
    assert read_push("application/x-www-form-urlencoded", form).branch == "main"


@pytest.mark.parametrize(
    "url",
    [
        "https://forge.example/ops/fleet.git",
        "https://token@forge.example/ops/fleet",
        "ssh://git@Forge.example:2222/ops/fleet.git",
        "git@forge.example:ops/fleet.git",
        "forge.example:ops/fleet",
        "https://forge.example/ops/fleet/",
    ],
)
def test_one_repository_has_one_name(url: str) -> None:
    assert normal(url) == "forge.example/ops/fleet"
