"""``POST /hooks/git``: a forge says that something was pushed, so its source is looked at now.

A hook can cause nothing but that look, and the look reads the repository itself: a forged or repeated one
gains nothing. All the same it is believed only with a signature of the shared secret, compared in constant
time, and the same message wakes nobody twice.

Signatures, as the forges document them: GitHub and Gitea ``X-Hub-Signature-256``, Gitea ``X-Gitea-Signature``
(HMAC-SHA256 of the body), GitLab ``X-Gitlab-Token`` (the secret itself) or, like other senders of Standard
Webhooks, ``webhook-signature`` (of id, time and body).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from reconciler.clock import Clock
from reconciler.controller.http import Request, Response, json_response, refusal

REMEMBERED = 4096
"""Messages whose repetition is noticed."""
SKEW_SECONDS = 300
"""By how much the time in a signed message may differ from ours."""
_HEADS = "refs/heads/"
_URL_FIELDS = (
    "clone_url",
    "ssh_url",
    "git_url",
    "git_http_url",
    "git_ssh_url",
    "html_url",
    "url",
    "homepage",
)
_PUSHES = frozenset({"push", "push hook", "system hook", ""})


@dataclass(frozen=True, slots=True)
class Push:
    """What was pushed: the repository by all its names (see `normal`), and the branch; None: not told."""

    repositories: frozenset[str]
    branch: str | None


class Webhooks:
    """Answers the forge; ``pushed`` wakes the sources concerned and names them."""

    def __init__(self, secret: str, clock: Clock, pushed: Callable[[Push], Sequence[str]]) -> None:
        self._secret = secret.encode()
        self._clock = clock
        self._pushed = pushed
        self._lock = threading.Lock()
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def handle(self, request: Request) -> Response:
        """202 with the sources that are looked at; 200 where nothing is to do; 4xx for what is refused."""
        headers = request.headers
        if not signed(headers, request.body, self._secret, self._clock.now().timestamp()):
            return refusal(HTTPStatus.UNAUTHORIZED, "the signature is missing or is not of the shared secret")
        if self._repeated(headers, request.body):
            return json_response(HTTPStatus.OK, {"sources": [], "note": "this message was received before"})
        event = next(
            (
                headers[name]
                for name in ("x-github-event", "x-gitea-event", "x-gitlab-event")
                if name in headers
            ),
            "",
        )
        if event.lower() not in _PUSHES:
            return json_response(HTTPStatus.OK, {"sources": [], "note": f"{event!r} changes no branch"})
        try:
            push = read_push(headers.get("content-type", ""), request.body)
        except ValueError as error:
            return refusal(HTTPStatus.BAD_REQUEST, f"the message cannot be read: {error}")
        woken = list(self._pushed(push))
        note = None if woken else "no source here is that branch of that repository"
        status = HTTPStatus.ACCEPTED if woken else HTTPStatus.OK
        return json_response(status, {"sources": woken, "note": note})

    def _repeated(self, headers: Mapping[str, str], body: bytes) -> bool:
        # of what is signed only: anybody could change the delivery's number in a header
        signed_id = headers.get("webhook-id", "") if "webhook-signature" in headers else ""
        key = hashlib.sha256(signed_id.encode() + b"\0" + body).digest()
        with self._lock:
            if key in self._seen:
                return True
            self._seen[key] = None
            while len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        return False


def signed(headers: Mapping[str, str], body: bytes, secret: bytes, now: float) -> bool:
    """Whether any signature in the headers is of ``secret``. ``now``: seconds since the epoch."""
    expected = hmac.new(secret, body, hashlib.sha256).hexdigest()
    given = headers.get("x-hub-signature-256", "").removeprefix("sha256=") or headers.get(
        "x-gitea-signature", ""
    )
    if given:
        return _same(given, expected)
    if "webhook-signature" in headers:
        return _standard(headers, body, secret, now)
    return "x-gitlab-token" in headers and _same(headers["x-gitlab-token"], secret.decode())


def _standard(headers: Mapping[str, str], body: bytes, secret: bytes, now: float) -> bool:
    """Standard Webhooks: HMAC-SHA256 in base64 of ``id.time.body``, several after another with spaces."""
    stamp = headers.get("webhook-timestamp", "")
    if not stamp.isascii() or not stamp.isdigit() or abs(now - int(stamp)) > SKEW_SECONDS:
        return False
    try:
        key = base64.b64decode(secret[6:], validate=True) if secret.startswith(b"whsec_") else secret
    except binascii.Error:
        key = secret
    content = f"{headers.get('webhook-id', '')}.{stamp}.".encode() + body
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    # every one is compared, so that the time tells nothing
    matches = [_same(word.partition(",")[2], expected) for word in headers["webhook-signature"].split()]
    return any(matches)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def read_push(content_type: str, body: bytes) -> Push:
    """The push in a message, JSON or a form with JSON in ``payload``. Raises ValueError."""
    text = body.decode("utf-8")
    if content_type.startswith("application/x-www-form-urlencoded"):
        text = parse_qs(text).get("payload", [""])[0]
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(message, dict):
        raise ValueError("it is not a JSON object")
    repositories = frozenset(normal(url) for url in _urls(message))
    if not repositories:
        raise ValueError("it names no repository")
    ref = message.get("ref")
    branch = ref.removeprefix(_HEADS) if isinstance(ref, str) and ref.startswith(_HEADS) else None
    if isinstance(ref, str) and branch is None:
        # a tag
        return Push(frozenset(), None)
    return Push(repositories, branch)


def _urls(message: Mapping[str, Any]) -> Iterator[str]:
    for part in (message.get("repository"), message.get("project")):
        if isinstance(part, dict):
            yield from (part[name] for name in _URL_FIELDS if isinstance(part.get(name), str))


def normal(url: str) -> str:
    """What all URLs of one repository share: ``host/path`` in lower case, without port and ``.git``."""
    scp = re.fullmatch(r"(?:[^@/]+@)?([^/:]+):(?!//)(.+)", url)
    if scp is not None:
        host, path = scp[1], scp[2]
    else:
        parts = urlsplit(url)
        host, path = parts.hostname or "", parts.path
    return f"{host}/{path.strip('/')}".removesuffix(".git").lower()
