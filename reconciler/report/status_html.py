"""The status report as one page that needs nothing else: readable on a phone at 03:00, in the dark too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from reconciler.model.condition import Health
from reconciler.model.enums import Kind
from reconciler.model.execution import State
from reconciler.report.layout import printable
from reconciler.report.status import ObjectStatus, StatusReport
from reconciler.report.status_text import (
    attention,
    counts_line,
    headline,
    healthy_rows,
    name_of,
    next_words,
    place_of,
    project_lines,
    reasons,
)
from reconciler.report.times import stamp

if TYPE_CHECKING:
    from jinja2 import Template

RUNS = 30
"""How many runs a task's strip shows."""
MOST_LISTED = 2_000
"""Tasks in one list; the rest is counted. A page of more is slow on a phone."""
_BAR, _GAP, _HEIGHT = 4, 2, 16
# not by colour alone: what did not run is low, what failed hangs from the top to below the line
_SHAPES = {
    State.SUCCESS: ("ok", 4, 12),
    State.FAILED: ("bad", 0, 16),
    State.SKIPPED: ("off", 12, 4),
    State.RUNNING: ("now", 8, 8),
    State.WAITING: ("off", 12, 4),
}


@dataclass(frozen=True, slots=True)
class Strip:
    """The newest runs as paths of an SVG, by class, and the same in words."""

    paths: tuple[tuple[str, str], ...]
    width: int
    words: str


def status_html(report: StatusReport, strips: Mapping[int, Sequence[State]]) -> str:
    """The page. ``strips``: by task id, how its newest runs ended, the oldest first."""
    tasks = report.of(Kind.TASK)
    troubled = attention(report)
    groups = (
        ("Suspended", [item for item in tasks if item.health is Health.SUSPENDED]),
        ("Not run yet", [item for item in tasks if item.health is Health.UNKNOWN and item.last is None]),
        ("Healthy", [item for item in tasks if item.health is Health.HEALTHY]),
    )
    return _template().render(
        well=not troubled,
        headline=headline(report),
        counts=counts_line(report),
        projects=list(project_lines(report)),
        stamp=stamp(report.generated_at),
        fleet=[(item.health.lower(), _cell_words(item, report)) for item in _by_server(report)],
        troubled=[_card(item, report, strips) for item in troubled[:MOST_LISTED]],
        more=max(0, len(troubled) - MOST_LISTED),
        groups=[
            (title, len(items), _rows(items[:MOST_LISTED], report, strips))
            for title, items in groups
            if items
        ],
        servers=[
            (item.health.lower(), item.name, _server_words(item, report)) for item in report.of(Kind.SERVER)
        ],
        height=_HEIGHT,
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    text = resources.files("reconciler.report").joinpath("status.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text)


def _by_server(report: StatusReport) -> list[ObjectStatus]:
    """The tasks so that those of one server stand together: a dead server is a block, not a sprinkle."""
    return sorted(report.of(Kind.TASK), key=lambda item: (item.server or "", item.name))


def _cell_words(item: ObjectStatus, report: StatusReport) -> str:
    return printable(f"{name_of(item, report)}: {item.health.lower()}")


def _card(
    item: ObjectStatus, report: StatusReport, strips: Mapping[int, Sequence[State]]
) -> dict[str, object]:
    return {
        "health": item.health.lower(),
        "word": "unverified" if item.unverified else item.health.lower(),
        "name": printable(name_of(item, report)),
        "place": printable(place_of(item)),
        "reasons": reasons(item, report.generated_at),
        "next": next_words(item, report.generated_at),
        "lines": item.error_lines,
        "strip": strip_of(strips.get(item.task_id or 0, ())),
    }


def _rows(
    items: Sequence[ObjectStatus], report: StatusReport, strips: Mapping[int, Sequence[State]]
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for item, cells in zip(items, healthy_rows(items, report), strict=True):
        _, last, took, following = (cell if isinstance(cell, str) else cell[0] for cell in cells)
        rows.append(
            {
                "name": printable(name_of(item, report)),
                "last": last,
                "took": took,
                "next": following,
                "note": "; ".join(reasons(item, report.generated_at)),
                "strip": strip_of(strips.get(item.task_id or 0, ())),
            }
        )
    return rows


def _server_words(item: ObjectStatus, report: StatusReport) -> str:
    return "; ".join(reasons(item, report.generated_at)) or item.health.value


def strip_of(states: Sequence[State]) -> Strip | None:
    """The drawing of these runs, the newest at the right; None without any."""
    if not states:
        return None
    paths: dict[str, list[str]] = {}
    for place, state in enumerate(states[-RUNS:]):
        name, top, height = _SHAPES[state]
        paths.setdefault(name, []).append(f"M{place * (_BAR + _GAP)} {top}h{_BAR}v{height}h-{_BAR}z")
    counts = [(state, sum(1 for one in states[-RUNS:] if one is state)) for state in State]
    words = ", ".join(f"{count} {state.value}" for state, count in counts if count)
    width = len(states[-RUNS:]) * (_BAR + _GAP) - _GAP
    return Strip(tuple((name, "".join(parts)) for name, parts in paths.items()), width, f"last runs: {words}")
