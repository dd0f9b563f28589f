"""Fields of the language whose behaviour is still to come: refused, never silently ignored.

An entry says which values are refused: any but the default, or only those named. When a room brings
the behaviour, its entry goes; when the last one has gone, so does this file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ANY = frozenset[str]()

NOT_YET: Mapping[str, Mapping[tuple[str, ...], frozenset[str]]] = {
    "Project": {},
    "Server": {},
    "Task": {
        ("notify",): ANY,
    },
}
"""Kind → path below ``spec`` → refused values; an empty set: all but the default."""


def not_yet(kind: str, spec: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """What of a canonical ``spec`` (defaults left out) is not supported yet.

    Gives paths below ``spec``, each with the setting as people write it.
    """
    entries = NOT_YET[kind]
    if not any(path[0] in spec for path in entries):
        return
    for path, refused in entries.items():
        value: Any = spec
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is not None and (not refused or value in refused):
            name = ".".join(path)
            yield path, f"{name}: {value}" if refused else name
