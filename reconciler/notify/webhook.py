"""One signed POST, as Standard Webhooks describes it (https://www.standardwebhooks.com, v1).

Straight to the host of the URL: no proxy of the environment, no redirect, TLS verified, ten seconds for all
of it, and of the answer the status alone is read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from reconciler import __version__
from reconciler.clock import Clock
from reconciler.errors import NotDelivered
from reconciler.notify.note import Note
from reconciler.values import check_webhook

SECONDS = 10.0


class Webhook:
    """Posts notes as JSON. ``url`` and ``secret`` are asked for each time, so that both may be replaced."""

    def __init__(self, url: Callable[[], str], secret: Callable[[], str], clock: Clock) -> None:
        self._url = url
        self._secret = secret
        self._clock = clock

    def send(self, note: Note) -> None:
        """Raises NotDelivered, and SecretUnavailable."""
        url, secret = self._url().strip(), self._secret()
        try:
            check_webhook(url)
        except ValueError as error:
            raise NotDelivered(f"its URL is not fit: {error}") from None
        body = json.dumps(
            {
                "type": note.kind if note.kind == "digest" else f"event.{note.kind}",
                "timestamp": note.at.isoformat(),
                "data": {"title": note.title, "text": note.text, **note.data},
            },
            ensure_ascii=False,
        ).encode("utf-8", "replace")
        stamp = str(int(self._clock.now().timestamp()))
        headers = {
            "content-type": "application/json",
            "user-agent": f"reconciler/{__version__}",
            "webhook-id": note.id,
            "webhook-timestamp": stamp,
            "webhook-signature": signature(secret, note.id, stamp, body),
        }
        status = _post(url, body, headers)
        if 300 <= status < 400:
            raise NotDelivered(f"it answered {status}: it redirects, and no redirect is followed")
        if not 200 <= status < 300:
            raise NotDelivered(f"it answered {status} {http.client.responses.get(status, '')}".rstrip())


def signature(secret: str, note_id: str, stamp: str, body: bytes) -> str:
    """``v1,`` and the HMAC-SHA256 in base64 of ``id.timestamp.body``; a secret ``whsec_…`` is base64."""
    key = secret.encode()
    if secret.startswith("whsec_"):
        try:
            key = base64.b64decode(secret[6:], validate=True)
        except binascii.Error:
            raise NotDelivered("its secret begins with whsec_ and is not base64") from None
    digest = hmac.new(key, f"{note_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def _post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """The status of the answer. Raises NotDelivered with nothing of the URL in it."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    link: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        link = http.client.HTTPSConnection(host, port, timeout=SECONDS, context=context)
    else:
        link = http.client.HTTPConnection(host, port, timeout=SECONDS)
    # a timeout of sockets is one of each read: somebody who answers a byte a second would hold us for ever
    over = threading.Event()
    watch = threading.Timer(SECONDS, _cut, [link, over])
    watch.daemon = True
    watch.start()
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        link.request("POST", target, body=body, headers=headers)
        return link.getresponse().status
    except ssl.SSLCertVerificationError as error:
        raise NotDelivered(f"its certificate is not trusted: {error.verify_message}") from None
    except (TimeoutError, socket.gaierror, OSError, http.client.HTTPException, ValueError) as error:
        raise NotDelivered(_words(error, over)) from None
    finally:
        watch.cancel()
        link.close()


def _words(error: Exception, over: threading.Event) -> str:
    if isinstance(error, TimeoutError) or over.is_set():
        return f"it did not answer within {SECONDS:g} s"
    if isinstance(error, socket.gaierror):
        return "its host has no address"
    if isinstance(error, http.client.HTTPException | ValueError):
        return f"what it answered is not HTTP ({type(error).__name__})"
    return f"it cannot be reached: {getattr(error, 'strerror', None) or type(error).__name__}"


def _cut(link: http.client.HTTPConnection, over: threading.Event) -> None:
    over.set()
    sock = link.sock
    if sock is not None:
        try:
            # not the TLS kind: that would wait for the other side
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
        except OSError:
            return
