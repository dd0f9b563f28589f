"""What all forms are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from reconciler.manifest.problem import Problem, count, headline


@dataclass(frozen=True, slots=True)
class Report:
    """The problems of one or several trees, the files looked at, and the objects counted by kind."""

    problems: tuple[Problem, ...]
    files: tuple[str, ...]
    resources: Mapping[str, int]

    def below(self, prefix: str) -> Report:
        """The same with every path below ``prefix``."""
        if not prefix:
            return self
        moved = tuple(replace(problem, path=_join(prefix, problem.path)) for problem in self.problems)
        return Report(moved, tuple(_join(prefix, path) for path in self.files), self.resources)


def merged(reports: list[Report]) -> Report:
    """One report of several trees, in their order."""
    kinds = dict.fromkeys(kind for report in reports for kind in report.resources)
    return Report(
        tuple(problem for report in reports for problem in report.problems),
        tuple(path for report in reports for path in report.files),
        {kind: sum(report.resources.get(kind, 0) for report in reports) for kind in kinds},
    )


def summary(report: Report) -> str:
    """The last line: ``20 problems in 6 files`` or ``8 servers, 30 tasks: no problems``."""
    if report.problems:
        return headline(report.problems)
    counted = ", ".join(
        count(number, kind.lower())
        for kind, number in report.resources.items()
        if number or kind != "Calendar"
    )
    return f"{counted}: no problems"


def _join(prefix: str, path: str) -> str:
    return prefix if path == "." else f"{prefix.rstrip('/')}/{path}"
