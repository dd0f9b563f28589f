"""``reconciler settings``: what is in force and where each value came from, secrets masked."""

from __future__ import annotations

import argparse

from reconciler.cli.common import settings_of
from reconciler.cli.console import Console
from reconciler.settings import describe_settings


def configure(parser: argparse.ArgumentParser) -> None:
    """The form of the output."""
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print every setting."""
    rows = describe_settings(settings_of(args))
    if args.output == "json":
        console.print_json({"items": rows})
        return 0
    width = max(len(row["name"]) for row in rows)
    shown = {row["name"]: _shown(row["value"]) for row in rows}
    value_width = max(len(text) for text in shown.values())
    for row in rows:
        console.print(f"{row['name']:<{width}}  {shown[row['name']]:<{value_width}}  {row['origin']}")
    return 0


def _shown(value: object) -> str:
    if value is None or value in ([], {}):
        return "-"
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, dict):
        return ", ".join(f"{name} ({command})" for name, command in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
