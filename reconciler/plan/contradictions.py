"""What the tree says and the database cannot follow, in the shape of ``validate``'s problems."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from reconciler.model.state import Origin


@dataclass(frozen=True, slots=True)
class Contradiction:
    """One thing that cannot be applied; ``origin`` is the declaration that causes it."""

    code: str
    message: str
    origin: Origin
    field: str
    hint: str

    @property
    def path(self) -> str:
        return self.origin.path

    @property
    def line(self) -> int:
        return self.origin.line


def contradiction_list(problems: Iterable[Contradiction]) -> list[dict[str, Any]]:
    """JSON-ready; columns are those of the line's beginning, the plan knows no more."""
    return [
        {
            "severity": "error",
            "code": problem.code,
            "message": problem.message,
            "path": problem.path,
            "line": problem.line,
            "column": 1,
            "endLine": problem.line,
            "endColumn": 1,
            "field": problem.field,
            "hint": problem.hint,
        }
        for problem in problems
    ]
