"""A document in the words of a manifest: block YAML that could be pasted back into one.

Written by hand, because only the manifest room knows YAML's library, and because all it takes is mappings,
lists and scalars: every text that is not plainly a word is in double quotes, as JSON, which YAML reads alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.report.layout import printable

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./+-]*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def spec_lines(document: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """The lines of a mapping; texts of several lines as a block, everything else on one line."""
    for key, value in document.items():
        name = _scalar(str(key))
        if isinstance(value, Mapping) and value:
            yield f"{indent}{name}:"
            yield from spec_lines(value, indent + "  ")
        elif isinstance(value, list | tuple) and any(isinstance(item, Mapping | list) for item in value):
            yield f"{indent}{name}:"
            for item in value:
                yield f"{indent}  - {_flow(item)}"
        elif isinstance(value, str) and _fits_block(value):
            yield f"{indent}{name}: {'|' if value.endswith(chr(10)) else '|-'}"
            for line in value.removesuffix("\n").split("\n"):
                yield f"{indent}  {line}".rstrip()
        else:
            yield f"{indent}{name}: {_flow(value)}"


def one_line(value: Any) -> str:
    """A value on one line, as it could stand in a manifest."""
    return _flow(value)


def _fits_block(text: str) -> bool:
    """Whether a block shows exactly this text: several lines, no odd characters, no spaces at odd places."""
    lines = text.removesuffix("\n").split("\n")
    return (
        len(lines) > 1
        and not text.endswith("\n\n")
        and not lines[0].startswith(" ")
        and lines[0] != ""
        and all(line == line.rstrip() and printable(line) == line for line in lines)
    )


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(str(key))}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) is not None and value.lower() not in _WORDS
        return value if plain else _quoted(value)
    return json.dumps(value)


def _quoted(text: str) -> str:
    # what JSON leaves as it is and a terminal would not, in escapes that YAML reads too
    return printable(json.dumps(text, ensure_ascii=False))
