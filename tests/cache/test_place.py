"""Where Redis is, and how one logs in there."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reconciler.cache.place import Place
from reconciler.cache.signals import Kind
from reconciler.errors import SettingsInvalid
from tests.cache.conftest import Process
from tests.controller.conftest import eventually
from tests.services.process import free_port
from tests.services.redis import RedisServer

StartRedis = Callable[..., RedisServer]
Start = Callable[..., Process]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h", "h:6379"),
        ("redis://u:hunter2@h:7/3", "h:7"),
        ("redis://:hunter2@[::1]:7/3", "[::1]:7"),
        ("rediss://u:hunter2@h/0", "h:6379"),
        ("unix:///run/redis.sock?password=hunter2", "/run/redis.sock"),
    ],
)
def test_only_host_and_port_are_shown(url: str, shown: str) -> None:
    place = Place(url, "p")
    assert place.shown == shown
    assert "hunter2" not in repr(place)


@pytest.mark.parametrize("query", ["colour=red", "db=one", "socket_timeout=hunter2", "max_connections=x"])
def test_options_that_there_are_not_are_one_clear_error(query: str) -> None:
    with pytest.raises(SettingsInvalid, match="redis_url") as caught:
        Place(f"redis://:hunter2@h/0?{query}", "p").client()
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
    assert caught.value.__cause__ is None


def test_the_keys_are_those_of_the_design() -> None:
    place = Place("redis://h", "reconciler")
    assert place.due_key == "reconciler:task:next_run"
    assert place.state_key(42) == "reconciler:task:execution:42"
    assert place.channel == "reconciler:events"


RIGHTS = "+@connection +@pubsub +@read +@write +@transaction +@scripting"
"""As docs/operations.md writes them."""


@pytest.mark.redis
def test_a_user_with_the_documented_rights_can_do_everything(
    start_redis: StartRedis, process: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_redis()
    admin = Place(server.url, "p").client()
    rights = f"~reconciler:* &reconciler:* {RIGHTS}"
    admin.execute_command("ACL", "SETUSER", "app", "on", ">p@ss/w", *rights.split())
    url = f"redis://app:p%40ss%2Fw@127.0.0.1:{server.port}/0"
    one, other = process(url), process(url)
    eventually(lambda: one.listens() and other.listens())
    at = datetime.datetime(2031, 1, 1, tzinfo=datetime.UTC)
    one.signals.rebuild([(1, at)])
    eventually(lambda: at in one.due)
    one.signals.tell(Kind.CHANGED)
    eventually(lambda: any(news.changed for news in other.heard))
    assert caplog.records == []


def test_the_documented_rights_are_those_of_this_test() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs/operations.md").read_text()
    assert f"~reconciler:* &reconciler:* {RIGHTS}" in text


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate that signs itself for 127.0.0.1, and its key."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


@pytest.mark.redis
def test_tls_verifies_the_server(
    start_redis: StartRedis, process: Start, certificate: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = certificate
    server = start_redis()
    client = Place(server.url, "p").client()
    # a port for TLS beside the plain one, which the fixture asks whether the server is there
    tls_port = free_port()
    client.config_set(
        "tls-cert-file", str(cert), "tls-key-file", str(key), "tls-ca-cert-file", str(cert),
        "tls-auth-clients", "no",
    )  # fmt: skip
    client.config_set("tls-port", str(tls_port))
    url = f"rediss://127.0.0.1:{tls_port}/0"
    one, other = (process(f"{url}?ssl_ca_certs={cert}") for _ in range(2))
    eventually(lambda: one.listens() and other.listens())
    one.signals.tell(Kind.CHANGED)
    eventually(lambda: any(news.changed for news in other.heard))
    assert caplog.records == []
    stranger = process(url)
    eventually(lambda: stranger.signals.tell(Kind.CHANGED) or caplog.records)
    assert "cannot be reached by TLS" in caplog.text
