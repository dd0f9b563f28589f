"""TLS to a database: taken where it is offered, verified where the URL asks for that, and cheap."""

from __future__ import annotations

import ssl
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from reconciler.clock import SystemClock
from reconciler.errors import DatabaseUnavailable
from reconciler.store.engine import Database
from tests.services.mysql import ExternalMySQL, MySQL


def cipher(url: str) -> str:
    """How the connection is encrypted; empty where it is not."""
    with closing(Database.open(url, SystemClock())) as db, db.read() as connection:
        return str(connection.execute(text("SHOW STATUS LIKE 'Ssl_cipher'")).one()[1])


@pytest.fixture
def own(mysql: MySQL | ExternalMySQL) -> MySQL:
    if isinstance(mysql, ExternalMySQL):
        pytest.skip("the certificates of a server that someone else runs are not here")
    return mysql


@pytest.mark.mysql
def test_offered_tls_is_taken_and_no_connection_reads_certificates_for_it(
    own: MySQL, mysql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("60 ms for each connection, to verify nothing")

    monkeypatch.setattr(ssl, "create_default_context", forbidden)
    assert cipher(mysql_url).startswith(("TLS", "ECDHE"))


@pytest.mark.mariadb
def test_a_server_without_tls_is_reached_without(mariadb_url: str) -> None:
    assert cipher(mariadb_url) == ""


@pytest.mark.mysql
def test_a_certificate_is_verified_where_the_url_names_who_signs(
    own: MySQL, mysql_url: str, tmp_path: Path
) -> None:
    assert cipher(f"{mysql_url}&ssl_ca={own.data}/ca.pem&ssl_check_hostname=false") != ""
    stranger = tmp_path / "stranger.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=stranger", "-days", "2"]
    subprocess.run([*words, "-keyout", "/dev/null", "-out", stranger], check=True, capture_output=True)
    with pytest.raises(DatabaseUnavailable) as refused:
        cipher(f"{mysql_url}&ssl_ca={stranger}&ssl_check_hostname=false")
    assert "is not trusted: " in refused.value.message
    assert "ssl_ca in the database URL" in (refused.value.hint or "")
    assert "certificate verify failed" in str(refused.value.__cause__)
    with pytest.raises(DatabaseUnavailable, match=r"is not trusted: .*(mismatch|not valid)"):
        cipher(f"{mysql_url}&ssl_ca={own.data}/ca.pem&ssl_check_hostname=true")


@pytest.mark.mariadb
@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file or directory"), ("no certificate", "no certificate or crl found")],
)
def test_files_for_tls_that_cannot_be_used_are_told_as_such(
    mariadb_url: str, tmp_path: Path, content: str | None, said: str
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(DatabaseUnavailable) as refused:
        cipher(f"{mariadb_url}&ssl_ca={file}")
    assert refused.value.message.startswith("the files for TLS in the URL of the database at ")
    assert refused.value.message.endswith(f" cannot be used: {said}")
    assert str(file) not in f"{refused.value.message} {refused.value.hint}"


@pytest.mark.mariadb
def test_a_server_without_the_tls_that_the_url_asks_for_is_not_reached(mariadb_url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="offers no TLS, for which its URL asks"):
        cipher(f"{mariadb_url}&ssl_verify_cert=true")
