"""``reconciler schema``: the JSON Schemas of the manifests, for editors."""

from __future__ import annotations

import argparse
from pathlib import Path

from reconciler.cli.console import Console
from reconciler.errors import EXIT_FAILED, ReconcilerError

FOLDER = "schemas"


def configure(parser: argparse.ArgumentParser) -> None:
    """Where to, and whether only to look."""
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path(FOLDER),
        help=f"folder of the schemas (default: {FOLDER})",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if a schema there is not current"
    )
    parser.epilog = (
        "In an editor with yaml-language-server begin a manifest with "
        "`# yaml-language-server: $schema=…/reconciler.json`, or map the folder to it in the settings."
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Write the schemas, or say which are not current."""
    from reconciler.manifest.schema import render, schemas

    texts = {args.output / name: render(schema) for name, schema in schemas().items()}
    stale = [path for path, text in texts.items() if _content(path) != text]
    if args.check:
        for path in stale:
            console.print(f"{path} is not current")
        if stale:
            console.note("hint: run `reconciler schema` and commit what it writes")
        return EXIT_FAILED if stale else 0
    for path in stale:
        _write(path, texts[path])
    for path in texts:
        console.print(f"{path}{' (written)' if path in stale else ''}")
    return 0


def _content(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReconcilerError(
            f"{str(path)!r} cannot be written: {error.strerror}", hint="name another folder with --output"
        ) from error
