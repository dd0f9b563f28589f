"""A wrong document made right enough to be checked further.

A model stops at the first layer of mistakes: its own rules run only when all fields are well. So what is
wrong is taken out or, where something must stand, replaced by a stand-in that no later check complains of.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic_core import ErrorDetails

from reconciler.model.task import Selector

STAND_IN = "stand-in\u2063"
"""An invisible separator ends it, so nobody's own name is taken for it."""

NEEDED: dict[str, dict[str, Any]] = {
    "Project": {},
    "Calendar": {},
    "Server": {"host": "stand-in", "username": "stand-in"},
    "Task": {"command": "stand-in", "server": STAND_IN},
}
"""The least that a spec of each kind needs."""

_FREE_KEYS = ("labels", "annotations", "env", "secrets", "defaults")
"""Mappings whose entries do not depend on each other: only the wrong one goes."""

_REPLACEMENTS: dict[str, dict[str, Any]] = {
    "Project": {},
    "Calendar": {},
    "Server": NEEDED["Server"],
    "Task": {
        **NEEDED["Task"],
        "script": {"file": STAND_IN},
        "servers": [STAND_IN],
        "selector": {"matchLabels": {STAND_IN: STAND_IN}},
    },
}


def is_stand_in(value: object) -> bool:
    """Whether a name, a script's path or a selector is one of ours."""
    return value == STAND_IN or (isinstance(value, Selector) and STAND_IN in value.match_labels)


def repaired(kind: str, value: dict[str, Any], errors: Iterable[ErrorDetails]) -> dict[str, Any]:
    """A copy of the document without what these errors are about."""
    metadata = value.get("metadata")
    spec = value.get("spec")
    fixed: dict[str, Any] = {
        "apiVersion": "reconciler/v1",
        "kind": kind,
        "metadata": dict(metadata) if isinstance(metadata, dict) else {"name": STAND_IN},
        "spec": dict(spec) if isinstance(spec, dict) else dict(NEEDED[kind]),
    }
    for error in errors:
        loc = error["loc"]
        if len(loc) > 2 and loc[1] in _FREE_KEYS and isinstance(fixed[str(loc[0])].get(loc[1]), dict):
            part = fixed[str(loc[0])]
            part[loc[1]] = {key: item for key, item in part[loc[1]].items() if key != loc[2]}
        elif loc[:1] == ("metadata",) and len(loc) > 1:
            fixed["metadata"].pop(loc[1], None)
            if loc[1] == "name":
                fixed["metadata"]["name"] = STAND_IN
        elif loc[:1] == ("spec",) and len(loc) > 1:
            _replace(kind, fixed["spec"], loc[1])
        elif loc[:1] == ("spec",):
            _settle(kind, fixed["spec"], error)
    return fixed


def _replace(kind: str, spec: dict[str, Any], name: str | int) -> None:
    spec.pop(str(name), None)
    if name in _REPLACEMENTS[kind]:
        spec[str(name)] = _REPLACEMENTS[kind][str(name)]


def _settle(kind: str, spec: dict[str, Any], error: ErrorDetails) -> None:
    """After a mistake that several fields make together."""
    context: dict[str, Any] = error.get("ctx", {})
    match error["type"]:
        case "exactly_one":
            given = [name for name in spec if name in context["given"]]
            for name in given[1:]:
                del spec[name]
            if not given:
                missing = "command" if "command" in context["names"] else "server"
                spec[missing] = NEEDED[kind][missing]
        case "missing_username":
            spec["username"] = NEEDED[kind]["username"]
        case "env_and_secret":
            spec["secrets"] = {
                name: item for name, item in spec["secrets"].items() if name != context["name"]
            }
