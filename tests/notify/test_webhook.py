"""The signed webhook, against a receiver that behaves in every bad way."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reconciler.clock import SystemClock
from reconciler.controller.webhook import signed
from reconciler.errors import NotDelivered
from reconciler.notify import webhook as module
from reconciler.notify.note import Note
from reconciler.notify.webhook import Webhook
from tests.notify.conftest import Receiver

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOTE = Note("msg_1_2", "failure", "FAILED backup@db-1", "it failed 备份", AT, {"project": "shop"})


def post(url: str, secret: str = "s3cr3t") -> None:
    Webhook(lambda: url, lambda: secret, SystemClock()).send(NOTE)


@pytest.mark.parametrize("secret", ["s3cr3t", "whsec_" + base64.b64encode(b"\x00\xffkey").decode()])
def test_a_message_is_signed_as_standard_webhooks_are(receiver: Receiver, secret: str) -> None:
    post(receiver.url, secret)
    (got,) = receiver.got
    headers = got["headers"]
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{got['body']}".encode()
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert (headers["webhook-id"], headers["content-type"]) == ("msg_1_2", "application/json")
    assert receiver.bodies == [
        {
            "type": "event.failure",
            "timestamp": "2026-03-01T12:00:00+00:00",
            "data": {"title": NOTE.title, "text": "it failed 备份", "project": "shop"},
        }
    ]
    # the other end of this program believes it, too
    now = SystemClock().now().timestamp()
    assert signed(headers, got["body"].encode(), secret.encode(), now)
    assert not signed(headers, got["body"].encode() + b" ", secret.encode(), now)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("500", "it answered 500 Internal Server Error"),
        ("410", "it answered 410 Gone"),
        ("302", "it redirects, and no redirect is followed"),
        ("307", "it redirects, and no redirect is followed"),
        ("close", "it cannot be reached|what it answered is not HTTP"),
        ("nonsense", "what it answered is not HTTP"),
        ("slow", "it did not answer within"),
        ("trickle", "it did not answer within"),
    ],
)
def test_what_is_not_taken_is_an_error_without_a_secret(
    receiver: Receiver, mode: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS", 1.0)
    receiver.behave(mode)
    with pytest.raises(NotDelivered, match=words) as caught:
        post(receiver.url)
    assert "S3CRET" not in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert [one["path"] for one in receiver.got] == ["/hook?token=S3CRET"]


def test_no_proxy_of_the_environment_gets_it(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    post(receiver.url)
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:9/", "it cannot be reached"),
        ("https://nowhere.invalid/x", "its host has no address"),
        ("http://example.net/T0K3N", "an https:// URL is expected"),
        ("https://u:T0K3N@example.net/", "without a user"),
        ("https://example.net:T0K3N/", "an https:// URL with a host"),
        ("https://example.net/T0K3N\r\nx: y", "an https:// URL with a host"),
    ],
)
def test_a_url_that_leads_nowhere_is_not_quoted(url: str, words: str) -> None:
    with pytest.raises(NotDelivered, match=words) as caught:
        post(url)
    assert "T0K3N" not in str(caught.value)


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "both.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.handle_request, daemon=True)
    thread.start()
    with pytest.raises(NotDelivered, match="its certificate is not trusted: self-signed"):
        post(f"https://localhost:{server.server_address[1]}/")
    thread.join(10)
    server.server_close()
