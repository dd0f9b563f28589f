"""Write docs/manifest.md from the models: `make docs`. A test says that it is current."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from reconciler.manifest.docs import field_docs
from reconciler.model.calendar import CalendarMetadata, CalendarSpec, Window
from reconciler.model.metadata import Metadata, ProjectMetadata
from reconciler.model.project import Defaults, Guard, History, ProjectSpec
from reconciler.model.server import Auth, ServerSpec
from reconciler.model.task import Notify, Output, Requirement, Retries, Script, Selector, TaskDeclarationSpec

TARGET = Path(__file__).resolve().parents[1] / "docs/manifest.md"

HEAD = """\
# The manifest language

<!-- Written by `make docs` from the models in reconciler/model/; do not edit by hand. -->

YAML, one or many documents a file, `*.yaml` and `*.yml`, read recursively. Hidden files and what
`.reconcilerignore` names are left out. Every document has `apiVersion: reconciler/v1`, a `kind`, `metadata`
and `spec`. Unknown fields are errors. Durations are written `90s`, `5m`, `1h30m`, `2d`, sizes `64KiB`,
`1MiB`. `reconciler validate` tells every problem at once, with its line.

Schedules have five fields with names, ranges, steps, lists, `L` (last day; `L5` in the weekday field: last
Friday), `#` (`TUE#2`: second Tuesday), `?` and `H` (a stable hash of `name@server`, so that a fleet does
not run at the same minute); or they are `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`, or `@every
10s` (1s to 31d, aligned to the epoch). What happens in the nights when clocks change is said by `dst` and
explained in [ADR 0002](adr/0002-dst-rules.md).
"""

SECTIONS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("Project", "`metadata` of a Project", ProjectMetadata),
    ("", "`spec` of a Project", ProjectSpec),
    ("", "`guard`", Guard),
    ("", "`history`", History),
    ("", "`defaults`", Defaults),
    ("Calendar", "`metadata` of a Calendar", CalendarMetadata),
    ("", "`spec` of a Calendar", CalendarSpec),
    ("", "`deny`, `allow`", Window),
    ("Server and Task: metadata", "`metadata` of a Server or a Task", Metadata),
    ("Server", "`spec` of a Server", ServerSpec),
    ("", "`auth`", Auth),
    ("Task", "`spec` of a Task", TaskDeclarationSpec),
    ("", "`script`", Script),
    ("", "`selector`", Selector),
    ("", "`matchExpressions`", Requirement),
    ("", "`retries`", Retries),
    ("", "`output`", Output),
    ("", "`notify`", Notify),
)


def reference() -> str:
    """The whole document."""
    parts = [HEAD]
    for title, caption, model in SECTIONS:
        if title:
            parts.append(f"## {title}\n")
        parts.append(f"{caption}:\n\n{_table(model)}")
    return "\n".join(parts)


def _table(model: type[BaseModel]) -> str:
    shown = model.model_construct().model_dump(mode="json", by_alias=True, warnings=False)
    rows = ["| field | default | meaning |", "|---|---|---|"]
    docs = field_docs(model)
    for name, info in model.model_fields.items():
        alias = info.alias or name
        default = info.get_default(call_default_factory=True)
        text = "required" if default is PydanticUndefined else _default(shown.get(alias))
        rows.append(f"| `{alias}` | {text} | {' '.join(docs.get(name, '').split())} |")
    return "\n".join(rows) + "\n"


def _default(value: Any) -> str:
    if value in (None, [], {}, ""):
        return ""
    if isinstance(value, dict):
        return "see below"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(
            0 if TARGET.read_text() == reference() else "docs/manifest.md is not current: run `make docs`"
        )
    TARGET.write_text(reference())
