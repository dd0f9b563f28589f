"""What the tree says and the database cannot follow, in the shape of ``validate``'s problems."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from reconciler.errors import PlanRefused
from reconciler.model.state import Origin


@dataclass(frozen=True, slots=True)
class Contradiction:
    """One thing that cannot be applied; ``origin`` is the declaration that causes it.

    ``owner`` is the other project where the contradiction is about ownership.
    """

    code: str
    message: str
    origin: Origin
    field: str
    hint: str
    owner: str | None = None


def contradiction_list(problems: Iterable[Contradiction]) -> list[dict[str, Any]]:
    """JSON-ready; a plan knows the lines of documents, ``manifest.places`` those of the values."""
    return [
        {
            "severity": "error",
            "code": problem.code,
            "message": problem.message,
            "path": problem.origin.path,
            "line": problem.origin.line,
            "column": 1,
            "endLine": problem.origin.line,
            "endColumn": 1,
            "field": problem.field,
            "hint": problem.hint,
        }
        for problem in problems
    ]


def in_order(problems: Iterable[Contradiction]) -> list[Contradiction]:
    """By path, line and text; the same one once (all rows of one declaration may meet it)."""
    unique = {(one.origin.path, one.origin.line, one.code, one.message): one for one in problems}
    return [unique[key] for key in sorted(unique)]


def refusal(problems: Iterable[Contradiction]) -> PlanRefused:
    """The error for contradictions between the tree and the database; all of them are in it."""
    ordered = in_order(problems)
    details = {"problems": contradiction_list(ordered)}
    if len(ordered) == 1:
        return PlanRefused(_line(ordered[0]), hint=ordered[0].hint, details=details)
    lines = "".join(f"\n  {_line(one)}" for one in ordered[:20])
    more = f"\n  … and {len(ordered) - 20} more" if len(ordered) > 20 else ""
    hints = list(dict.fromkeys(one.hint for one in ordered))
    return PlanRefused(
        f"{len(ordered)} contradictions between the manifests and the database:{lines}{more}",
        hint="; ".join(hints[:3]),
        details=details,
    )


def _line(problem: Contradiction) -> str:
    return f"{problem.origin.path}:{problem.origin.line}: {problem.message}"


def some(names: Sequence[str], limit: int = 10) -> str:
    """The first few of many names."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """``did you mean 'db-1'?``, where one of ``known`` is near."""
    near = get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else None
