"""Single values of settings: from what stands in a variable or a file to what it means.

Each function raises ValueError with words for a person, which quote nothing that may hold a password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from reconciler.model.enums import NotifyOn
from reconciler.model.quantity import format_size, parse_duration, parse_size

SMALLEST_SPOOL = 16 * 1024 * 1024
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_LONGEST_PREFIX = 800
"""Characters: an archive's whole place has to fit into its row."""


def text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text is expected")
    return value


def flag(value: object) -> bool:
    if value in (True, "1", "true"):
        return True
    if value in (False, "0", "false", ""):
        return False
    raise ValueError("1 or 0 is expected")


def switch(value: object) -> bool:
    """``on`` or ``off``, and what a flag may be."""
    if value in ("on", "off"):
        return value == "on"
    try:
        return flag(value)
    except ValueError:
        raise ValueError("on or off is expected") from None


def count(value: object) -> int:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= 10_000:
        raise ValueError("a whole number from 1 to 10000 is expected")
    return number


def duration(value: object) -> int:
    return parse_duration(value)


def spool_size(value: object) -> int:
    size = parse_size(value)
    if size < SMALLEST_SPOOL:
        raise ValueError(f"at least {format_size(SMALLEST_SPOOL)} is expected: one run may leave as much")
    return size


def reference(value: object) -> Mapping[str, str]:
    """``env:NAME``, or in the file ``{env = "NAME"}``."""
    if isinstance(value, str):
        provider, _, name = value.partition(":")
        value = {provider: name}
    if isinstance(value, dict) and len(value) == 1:
        ((provider, name),) = value.items()
        if isinstance(name, str) and provider and name:
            return {str(provider): name}
    raise ValueError('the reference of a secret is expected, such as env:NAME or {env = "NAME"}')


def address(value: object) -> str:
    host, _, port = text(value).rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65_535:
        raise ValueError("an address is expected, such as 127.0.0.1:9187")
    return f"{host}:{port}"


def log(value: object) -> str:
    if value not in ("text", "json"):
        raise ValueError("text or json is expected")
    return str(value)


def path(value: object) -> Path:
    return Path(text(value)).expanduser()


def redis_url(value: object) -> str:
    """Only what can be said without the library; nothing of the value is quoted, it may hold a password."""
    given = text(value)
    try:
        parts = urlsplit(given)
        good = bool(parts.path) if parts.scheme == "unix" else bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("redis://user:password@host:6379/0, rediss:// (TLS) or unix:///path is expected")
    if parts.scheme != "unix" and not re.fullmatch(r"/?|/\d{1,5}", parts.path):
        raise ValueError("the path of a Redis URL is the number of a database, such as /0")
    return given


def redis_prefix(value: object) -> str:
    given = text(value)
    if not re.fullmatch(r"[\w.:/-]{1,100}", given, re.ASCII):
        raise ValueError("letters, digits and . _ : / - are expected, at most 100")
    return given


def archive(value: object) -> str:
    given = text(value)
    scheme, colon, rest = given.partition("://")
    if not colon:
        return str(Path(given).expanduser())
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not _BUCKET.fullmatch(bucket) or len(prefix) > _LONGEST_PREFIX:
        raise ValueError("a folder or s3://bucket/prefix is expected")
    return given.rstrip("/")


def url(value: object) -> str | Mapping[str, str]:
    """As it stands, or a reference to it; nothing of it is quoted, it may hold a token."""
    if not isinstance(value, str):
        return reference(value)
    if not urlsplit(text(value)).scheme:
        raise ValueError('an Apprise URL, such as mailtos://…, or its reference {env = "NAME"} is expected')
    return value


def webhook(value: object) -> str | Mapping[str, str]:
    if not isinstance(value, str):
        return reference(value)
    check_webhook(value)
    return value


def check_webhook(url: str) -> None:
    """Raises ValueError, which quotes nothing of it, unless messages may be posted there."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        # its words quote the URL
        port = 0
    here = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if parts.scheme != "https" and not (parts.scheme == "http" and here):
        raise ValueError("an https:// URL is expected (http:// only for this machine)")
    if not parts.hostname or parts.username is not None or port == 0 or re.search(r"[\s\x00-\x1f]", url):
        raise ValueError("an https:// URL with a host and without a user or blanks is expected")


def names(value: object) -> frozenset[str]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        raise ValueError('a list of names is expected, such as ["billing"]')
    return frozenset(value)


def events(value: object) -> frozenset[NotifyOn]:
    known = {event.value for event in NotifyOn}
    if not isinstance(value, list) or not value or not all(one in known for one in value):
        raise ValueError(f"a list of events is expected: {', '.join(sorted(known))}")
    return frozenset(NotifyOn(one) for one in value)
