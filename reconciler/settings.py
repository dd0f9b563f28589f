"""What the operator decides: environment first, then ``reconciler.toml``, then defaults.

All problems are reported at once. A ``Settings`` is frozen and knows where each value came from.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from reconciler.errors import SettingsInvalid
from reconciler.model.enums import NotifyOn
from reconciler.model.notification import Target
from reconciler.model.quantity import format_duration, format_size, parse_duration, parse_size

PREFIX = "RECONCILER_"
SECRET_PREFIX = "RECONCILER_SECRET_"
FILE = "reconciler.toml"
DEFAULT_DATABASE = "sqlite:///.reconciler/state.db"
SMALLEST_SPOOL = 16 * 1024 * 1024
_PASSWORD = re.compile(r"(://[^:/@]*:).*@|([?&][a-z_]*passw(?:or)?d=)[^&]*")
"""Before the last @, since a password may hold / and @ as they are; or in the query, as drivers allow."""
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_LONGEST_PREFIX = 800
"""Characters: an archive's whole place has to fit into its row."""


@dataclass(frozen=True, slots=True)
class GitTable:
    """A ``[git.NAME]`` table: how to get into repositories whose URL begins with ``url``."""

    url: str
    username: str = "git"
    password: Mapping[str, str] | None = None
    """A secret's reference, ``{env = "NAME"}``: a token or password for https."""
    ssh_key: Path | None = None
    known_hosts: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything in force. ``origins`` maps a field to ``default``, the variable or the file it came from."""

    database_url: str = DEFAULT_DATABASE
    """SQLAlchemy URL; may hold a password, so it is only ever printed masked."""
    database_pool_size: int = 10
    """Connections kept by one process: schedulers, recorder and takers each need one at a time."""
    database_pool_recycle: int = 1800
    """Seconds after which a pooled connection is renewed: before firewalls forget it."""
    database_pool_ping: bool = True
    """Whether a pooled connection is tested before each use: a round trip against a failed call after each
    restart, failover or idle time."""
    redis_url: str | None = None
    redis_prefix: str = "reconciler"
    allow_local: bool = False
    """Whether ``connection: local`` may run commands here."""
    secrets_dir: Path | None = None
    known_hosts: Path | None = None
    archive: str | None = None
    """A folder or ``s3://bucket/prefix``; None: ``archive`` in the state folder (see `archive_place`)."""
    state_dir: Path = Path(".reconciler")
    """Spool and clones; several processes may share it."""
    spool_size: int = 256 * 1024 * 1024
    """Bytes of records that one process keeps on its disk while the database is away; runs wait beyond."""
    late_after: int = 60
    """Seconds after which a slot counts as missed."""
    workers: int = 32
    """Runs that one process executes at once."""
    log: str = "text"
    providers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Secret providers: name → command; the secret's name is appended as the last argument."""
    notify: Mapping[str, Target] = field(default_factory=dict)
    """[notify.NAME] tables."""
    git: Mapping[str, GitTable] = field(default_factory=dict)
    """[git.NAME] tables."""
    listen: str | None = None
    """``host:port`` of health, metrics and webhooks; None: nothing listens."""
    token: Mapping[str, str] | None = None
    """The reference of the secret that callers from beyond this machine must show."""
    webhook_secret: Mapping[str, str] | None = None
    """The reference of the secret by which webhooks are signed; None: they are refused."""
    secret_names: tuple[str, ...] = ()
    """NAME of every RECONCILER_SECRET_NAME that is set; their values are read when a run needs them."""
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def archive_place(self) -> str:
        """Where whole outputs of tasks with ``output.archive`` go."""
        return self.archive or str(self.state_dir / "archive")


def mask_url(url: str) -> str:
    """The URL with its password replaced by ``***``."""
    return _PASSWORD.sub(lambda found: f"{found[1]}***@" if found[1] else f"{found[2]}***", url)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text is expected")
    return value


def _flag(value: object) -> bool:
    if value in (True, "1", "true"):
        return True
    if value in (False, "0", "false", ""):
        return False
    raise ValueError("1 or 0 is expected")


def _count(value: object) -> int:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= 10_000:
        raise ValueError("a whole number from 1 to 10000 is expected")
    return number


def _duration(value: object) -> int:
    return parse_duration(value)


def _spool_size(value: object) -> int:
    size = parse_size(value)
    if size < SMALLEST_SPOOL:
        raise ValueError(f"at least {format_size(SMALLEST_SPOOL)} is expected: one run may leave as much")
    return size


def _reference(value: object) -> Mapping[str, str]:
    """``env:NAME``, or in the file ``{env = "NAME"}``."""
    if isinstance(value, str):
        provider, _, name = value.partition(":")
        value = {provider: name}
    if isinstance(value, dict) and len(value) == 1:
        ((provider, name),) = value.items()
        if isinstance(name, str) and provider and name:
            return {str(provider): name}
    raise ValueError('the reference of a secret is expected, such as env:NAME or {env = "NAME"}')


def _address(value: object) -> str:
    host, _, port = _text(value).rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65_535:
        raise ValueError("an address is expected, such as 127.0.0.1:9187")
    return f"{host}:{port}"


def _log(value: object) -> str:
    if value not in ("text", "json"):
        raise ValueError("text or json is expected")
    return str(value)


def _path(value: object) -> Path:
    return Path(_text(value)).expanduser()


def _redis_url(value: object) -> str:
    """Only what can be said without the library; nothing of the value is quoted, it may hold a password."""
    text = _text(value)
    try:
        parts = urlsplit(text)
        good = bool(parts.path) if parts.scheme == "unix" else bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("redis://user:password@host:6379/0, rediss:// (TLS) or unix:///path is expected")
    if parts.scheme != "unix" and not re.fullmatch(r"/?|/\d{1,5}", parts.path):
        raise ValueError("the path of a Redis URL is the number of a database, such as /0")
    return text


def _redis_prefix(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(r"[\w.:/-]{1,100}", text, re.ASCII):
        raise ValueError("letters, digits and . _ : / - are expected, at most 100")
    return text


def _archive(value: object) -> str:
    text = _text(value)
    scheme, colon, rest = text.partition("://")
    if not colon:
        return str(Path(text).expanduser())
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not _BUCKET.fullmatch(bucket) or len(prefix) > _LONGEST_PREFIX:
        raise ValueError("a folder or s3://bucket/prefix is expected")
    return text.rstrip("/")


_PARSERS: dict[str, Callable[[object], Any]] = {
    "database_url": _text,
    "database_pool_size": _count,
    "database_pool_recycle": _duration,
    "database_pool_ping": _flag,
    "redis_url": _redis_url,
    "redis_prefix": _redis_prefix,
    "allow_local": _flag,
    "secrets_dir": _path,
    "known_hosts": _path,
    "archive": _archive,
    "state_dir": _path,
    "spool_size": _spool_size,
    "late_after": _duration,
    "workers": _count,
    "log": _log,
    "listen": _address,
    "token": _reference,
    "webhook_secret": _reference,
}


_TABLES = frozenset({"providers", "notify", "git"})
"""What only the file can hold."""


def load_settings(
    environment: Mapping[str, str] | None = None, folder: Path | None = None, **overrides: str
) -> Settings:
    """Read the environment, then ``reconciler.toml`` in ``folder`` (the current one by default).

    ``overrides`` are values of the command line by field name; they win. Raises SettingsInvalid
    with every problem: a value that cannot be read, an unknown key of the file, a broken file.
    """
    environment = os.environ if environment is None else environment
    path = (folder or Path()) / FILE
    problems: list[str] = []
    table = _read_file(path, problems)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, parse in _PARSERS.items():
        variable = PREFIX + name.upper()
        if name in overrides:
            raw, origin = overrides[name], "command line"
        elif variable in environment:
            raw, origin = environment[variable], variable
        elif name in table:
            raw, origin = table[name], str(path)
        else:
            origins[name] = "default"
            continue
        try:
            values[name] = parse(raw)
            origins[name] = origin
        except ValueError as error:
            problems.append(f"{name} (from {origin}): {error}")
    for name in _TABLES:
        origins[name] = str(path) if name in table else "default"
    values["providers"] = _providers(table.get("providers", {}), problems)
    values["notify"] = _targets(table.get("notify", {}), problems)
    values["git"] = _git_tables(table.get("git", {}), problems)
    values["secret_names"] = tuple(
        sorted(name.removeprefix(SECRET_PREFIX) for name in environment if name.startswith(SECRET_PREFIX))
    )
    known = _PARSERS.keys() | _TABLES
    problems += [f"{path}: unknown setting {key!r}" for key in table if key not in known]
    if problems:
        raise SettingsInvalid(
            "the settings have problems: " + "; ".join(problems),
            hint="`reconciler settings` lists what may be set",
            details={"problems": problems},
        )
    return Settings(**values, origins=origins)


def _read_file(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problems.append(f"{path} cannot be read: {error}")
        return {}


def _providers(table: object, problems: list[str]) -> dict[str, tuple[str, ...]]:
    """``[providers] vault = ["vault-get", "--field"]``: a command as a list, never a shell line."""
    found: dict[str, tuple[str, ...]] = {}
    for name, command in table.items() if isinstance(table, dict) else ():
        if isinstance(command, list) and command and all(isinstance(word, str) for word in command):
            found[name] = tuple(command)
        else:
            problems.append(f"providers.{name}: a list of words is expected, such as ['vault-get']")
    return found


def _url(value: object) -> str | Mapping[str, str]:
    """As it stands, or a reference to it; nothing of it is quoted, it may hold a token."""
    if not isinstance(value, str):
        return _reference(value)
    if not urlsplit(_text(value)).scheme:
        raise ValueError('an Apprise URL, such as mailtos://…, or its reference {env = "NAME"} is expected')
    return value


def _webhook(value: object) -> str | Mapping[str, str]:
    if not isinstance(value, str):
        return _reference(value)
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


def _names(value: object) -> frozenset[str]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        raise ValueError('a list of names is expected, such as ["billing"]')
    return frozenset(value)


def _events(value: object) -> frozenset[NotifyOn]:
    known = {event.value for event in NotifyOn}
    if not isinstance(value, list) or not value or not all(one in known for one in value):
        raise ValueError(f"a list of events is expected: {', '.join(sorted(known))}")
    return frozenset(NotifyOn(one) for one in value)


_TARGET_PARSERS: dict[str, Callable[[object], Any]] = {
    "url": _url,
    "webhook": _webhook,
    "secret": _reference,
    "events": _events,
    "projects": _names,
}


def _targets(table: object, problems: list[str]) -> dict[str, Target]:
    if not isinstance(table, dict) or not all(isinstance(value, dict) for value in table.values()):
        problems.append("notify: tables such as [notify.ops] are expected")
        return {}
    found: dict[str, Target] = {}
    for name, given in table.items():
        values = _table(f"notify.{name}", given, _TARGET_PARSERS, problems)
        if not name.strip() or len(name) > 100:
            problems.append(f"notify.{name[:40]}: a name has 1 to 100 characters")
        elif ("url" in given) == ("webhook" in given):
            problems.append(f"notify.{name}: one of `url` and `webhook` is expected")
        elif ("webhook" in given) != ("secret" in given):
            problems.append(f"notify.{name}: `secret` signs a `webhook`: both or neither are expected")
        elif "projects" in given and "events" not in given:
            problems.append(f"notify.{name}: `projects` says whose `events` are told: those are missing")
        else:
            found[name] = Target(**values)
    return found


def _table(
    name: str, given: Mapping[str, Any], parsers: Mapping[str, Callable[[object], Any]], problems: list[str]
) -> dict[str, Any]:
    """The values of one table of the file that can be read."""
    values: dict[str, Any] = {}
    for key, raw in given.items():
        try:
            values[key] = parsers[key](raw)
        except KeyError:
            problems.append(f"{name}: unknown setting {key!r}; known are {', '.join(parsers)}")
        except ValueError as error:
            problems.append(f"{name}.{key}: {error}")
    return values


_GIT_PARSERS: dict[str, Callable[[object], Any]] = {
    "url": _text,
    "username": _text,
    "password": _reference,
    "ssh_key": _path,
    "known_hosts": _path,
}


def _git_tables(table: object, problems: list[str]) -> dict[str, GitTable]:
    found: dict[str, GitTable] = {}
    for name, given in table.items() if isinstance(table, dict) else ():
        values = _table(f"git.{name}", given if isinstance(given, dict) else {}, _GIT_PARSERS, problems)
        if "url" in values:
            found[name] = GitTable(**values)
        else:
            problems.append(f"git.{name}: `url` is missing, such as 'https://git.example/ops/'")
    return found


def describe_settings(settings: Settings) -> list[dict[str, Any]]:
    """What is in force and where it came from, secrets masked: name, variable, value, origin."""
    rows = []
    for item in fields(settings):
        if item.name in ("origins", "secret_names"):
            continue
        value = getattr(settings, item.name)
        rows.append(
            {
                "name": item.name,
                "variable": PREFIX + item.name.upper() if item.name in _PARSERS else None,
                "value": _shown(item.name, value),
                "origin": settings.origins.get(item.name, "default"),
            }
        )
    rows += [
        {
            "name": f"secret {name}",
            "variable": SECRET_PREFIX + name,
            "value": "***",
            "origin": SECRET_PREFIX + name,
        }
        for name in settings.secret_names
    ]
    return rows


def _shown(name: str, value: Any) -> Any:
    if name in ("database_pool_recycle", "late_after"):
        return format_duration(value)
    if name == "spool_size":
        return format_size(value)
    if name in ("database_url", "redis_url", "archive") and value is not None:
        return mask_url(value)
    if name in ("token", "webhook_secret") and value is not None:
        return ":".join(*value.items())
    if name in ("notify", "git"):
        # a table may hold URLs with tokens: only its names are shown
        return sorted(value)
    if name == "providers":
        return {key: command[0] for key, command in value.items()}
    return str(value) if isinstance(value, Path) else value
