"""What several commands share: settings from the arguments, paths, times."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reconciler.errors import UsageError
from reconciler.model.quantity import parse_duration
from reconciler.settings import Settings, load_settings

DEFAULT_PATH = "manifests"


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings in force; ``--database`` and ``--listen`` win over everything."""
    given = {"database_url": args.database, "listen": getattr(args, "listen", None)}
    if given["database_url"] == "":
        # an unset variable in a script: the default would be another database than the one that is meant
        raise UsageError("--database: a URL is expected, and there is nothing")
    return load_settings(**{name: value for name, value in given.items() if value is not None})


def duration_argument(text: str) -> int:
    """An argparse type: a duration in seconds."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def pause_argument(text: str) -> int:
    """An argparse type: a duration between two looks at something, in seconds, at least one."""
    seconds = duration_argument(text)
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is no pause at all: write 1s or more")
    return seconds


def count_argument(text: str) -> int:
    """An argparse type: a whole number from 1."""
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")


def time_argument(text: str) -> datetime:
    """An argparse type: RFC 3339 with any offset, as UTC."""
    try:
        moment = datetime.fromisoformat(text.upper())  # RFC 3339 takes t and z, too
        utc = None if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        utc = None
    if utc is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an RFC 3339 time: write 2026-03-29T02:30:00Z or 2026-03-29T02:30:00+01:00"
        )
    return utc


def folder_argument(text: str) -> Path:
    """An argparse type: a PATH; nothing at all, as from a variable that is not set, is not this folder."""
    if not text:
        raise argparse.ArgumentTypeError("a path is expected, and there is nothing")
    return Path(text)


def parse_labels(words: list[str]) -> dict[str, str]:
    """``-l key=value`` arguments; raises UsageError."""
    labels: dict[str, Any] = {}
    for word in words:
        for pair in word.split(","):
            key, equals, value = pair.partition("=")
            # no label's key has these: it would silently fit nothing
            if not equals or not key or value.startswith("=") or any(one in " !()" for one in key):
                raise UsageError(f"-l {pair!r}: a label is written key=value")
            if labels.setdefault(key, value) != value:
                raise UsageError(f"-l {key}: it cannot be both {labels[key]!r} and {value!r}")
    return labels
