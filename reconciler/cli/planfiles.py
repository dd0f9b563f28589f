"""Saved plans as files: written whole or not at all, readable by their owner only."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from reconciler.errors import SourceUnreadable

LARGEST = 256 * 1024 * 1024
"""Bytes of a plan that is read: 100,000 creations have about 100 MB."""


def write_plan_file(path: Path, plan: dict[str, Any]) -> None:
    """Replace ``path`` with the plan; raises SourceUnreadable when that cannot be done."""
    text = _text(plan)
    try:
        # beside the target, so that the rename is atomic; commands and hosts are nobody else's business
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise SourceUnreadable(
            f"the plan cannot be written to {path}: {error.strerror}",
            hint="check the folder and its free space",
        ) from error


def _text(plan: dict[str, Any]) -> str:
    """One line for each part of a plan, and for each item of its lists.

    Python indents with an encoder of its own that is five times slower than the compiled one, and the blanks
    were a quarter of the file of a large plan.
    """
    encode = json.JSONEncoder(ensure_ascii=False).encode
    parts = []
    for name, value in plan.items():
        items = ",\n".join(map(encode, value)) if isinstance(value, list) and value else None
        parts.append(f"{encode(name)}: " + (encode(value) if items is None else f"[\n{items}\n]"))
    return "{\n" + ",\n".join(parts) + "\n}\n"


def read_plan_file(path: Path) -> Any:
    """The JSON value of a file; raises SourceUnreadable for anything that is none."""
    try:
        if path.stat().st_size > LARGEST:
            raise SourceUnreadable(f"{path} is too large to be a saved plan")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceUnreadable(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SourceUnreadable(
            f"{path} is not a saved plan",
            hint="give a folder with manifests, or a file that `plan --out` wrote",
        ) from error
