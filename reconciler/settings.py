"""What the operator decides: environment first, then ``reconciler.toml``, then defaults.

All problems are reported at once. A ``Settings`` is frozen and knows where each value came from.
"""

from __future__ import annotations

import contextlib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from reconciler import values as read
from reconciler.errors import SettingsInvalid
from reconciler.model.notification import Target
from reconciler.model.quantity import format_duration, format_size, parse_size

PREFIX = "RECONCILER_"
SECRET_PREFIX = "RECONCILER_SECRET_"
FILE = "reconciler.toml"
STATE_FOLDER = ".reconciler"
DEFAULT_DATABASE = f"sqlite:///{STATE_FOLDER}/state.db"
OUTPUT_LIMIT = 1024**3
_PASSWORD = re.compile(r"(://[^:/@]*:).*@|([?&][a-z_]*passw(?:or)?d=)[^&]*")
"""Before the last @, since a password may hold / and @ as they are; or in the query, as drivers allow."""


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
    state_dir: Path = Path(STATE_FOLDER)
    """Spool and clones; several processes may share it."""
    spool_size: int = 256 * 1024 * 1024
    """Bytes of records that one process keeps on its disk while the database is away; runs wait beyond."""
    output_limit: int = OUTPUT_LIMIT
    """Bytes of output, both streams together, after which a run is ended."""
    late_after: int = 60
    """Seconds after which a slot counts as missed."""
    workers: int = 32
    """Runs that one process executes at once."""
    log: str = "text"
    cache: bool = True
    """Whether it is remembered, in the user's folder for caches, what unchanged manifests mean."""
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


_PARSERS: dict[str, Callable[[object], Any]] = {
    "database_url": read.text,
    "database_pool_size": read.count,
    "database_pool_recycle": read.duration,
    "database_pool_ping": read.flag,
    "redis_url": read.redis_url,
    "redis_prefix": read.redis_prefix,
    "allow_local": read.flag,
    "secrets_dir": read.path,
    "known_hosts": read.path,
    "archive": read.archive,
    "state_dir": read.path,
    "spool_size": read.spool_size,
    "output_limit": parse_size,
    "late_after": read.duration,
    "workers": read.count,
    "log": read.log,
    "cache": read.switch,
    "listen": read.address,
    "token": read.reference,
    "webhook_secret": read.reference,
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
    known = [*_PARSERS, *sorted(_TABLES)]
    strange = [f"{path}: unknown setting {key!r}" for key in table if key not in known]
    if problems or strange:
        # `reconciler settings` cannot tell: it reads these settings, too
        raise SettingsInvalid(
            "the settings have problems: " + "; ".join([*problems, *strange]),
            hint=f"known are {', '.join(known)}"
            if strange
            else "each says where it comes from, and what is expected there",
            details={"problems": [*problems, *strange]},
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


_TARGET_PARSERS: dict[str, Callable[[object], Any]] = {
    "url": read.url,
    "webhook": read.webhook,
    "secret": read.reference,
    "events": read.events,
    "projects": read.names,
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
    "url": read.text,
    "username": read.text,
    "password": read.reference,
    "ssh_key": read.path,
    "known_hosts": read.path,
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


def changed_settings(before: Settings, after: Settings) -> dict[str, str]:
    """Name → what became of it, secrets masked, of each setting that differs."""
    found = {}
    for item in fields(before):
        old, new = getattr(before, item.name), getattr(after, item.name)
        if item.name in ("origins", "secret_names") or old == new:
            continue
        one, other = _shown(item.name, old), _shown(item.name, new)
        # of tables that hold secrets only the names are shown, and those may be the same
        found[item.name] = item.name if one == other else f"{item.name} {one} → {other}"
    return found


def _shown(name: str, value: Any) -> Any:
    if name in ("database_pool_recycle", "late_after"):
        return format_duration(value)
    if name in ("spool_size", "output_limit"):
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


def make_state_folder(folder: Path) -> None:
    """Make it with its parents, its owner's alone. Raises OSError.

    The one of the defaults stands in the current folder, which is often a git work tree: it hides itself
    there, so that ``git add`` takes no outputs along and ``git stash`` does not turn the ledger back.
    """
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    if folder.name == STATE_FOLDER:
        with contextlib.suppress(OSError), (folder / ".gitignore").open("x", encoding="ascii") as file:
            file.write("# made by reconciler\n*\n")
