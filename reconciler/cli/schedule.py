"""``reconciler schedule``: what will run when, and how much of it on each server in each hour."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from reconciler.cli.common import settings_of, time_argument
from reconciler.cli.console import Console
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.report.timeline import Planned

DEFAULT_RANGE = timedelta(hours=24)
_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
_LATEST = datetime(9990, 1, 1, tzinfo=UTC)
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def configure(parser: argparse.ArgumentParser) -> None:
    """The range."""
    add = parser.add_argument
    add("--from", dest="start", metavar="TIME", type=time_argument, help="RFC 3339; default: now")
    add(
        "--until",
        metavar="TIME",
        type=time_argument,
        help="RFC 3339, not included; default: 24 h after --from",
    )
    add("-o", "--output", choices=("text", "json"), default="text")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the timeline: of the past, what the present state would have done."""
    from reconciler.bootstrap import database
    from reconciler.cli.tables import painter, print_lines
    from reconciler.clock import SystemClock
    from reconciler.report.build import planned_tasks
    from reconciler.report.timeline_text import timeline_text

    start, end = time_range(args.start, args.until, SystemClock().now())
    with database(settings_of(args)) as db:
        planned = planned_tasks(db, start)
    if args.output == "json":
        for text in _json(planned, start, end):
            console.out.write(text)
    else:
        print_lines(console, timeline_text(planned, start, end, painter(console)))
    return 0


def time_range(start: datetime | None, until: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    """From and until, either by default; raises UsageError for a range that is empty or out of all bounds."""
    start = now if start is None else start
    if any(not _EARLIEST <= moment <= _LATEST for moment in (start, until or start)):
        raise UsageError("--from and --until are times from 1970-01-02 to 9990-01-01")
    end = start + DEFAULT_RANGE if until is None else until
    if end <= start:
        raise UsageError(
            f"--until {end.isoformat()} is not after --from {start.isoformat()}",
            hint="without --from the range begins now",
        )
    return start, end


def _json(planned: list[Planned], start: datetime, end: datetime) -> Iterator[str]:
    """The shape of `schedule`, item by item: a day of many ``@every 1s`` is never held in memory."""
    from reconciler.model.instant import rfc3339
    from reconciler.report.timeline import Load, fire_json, timeline

    load = Load(start)
    yield f'{{\n  "from": {_encode(rfc3339(start))},\n  "until": {_encode(rfc3339(end))},\n  "items": ['
    separator = "\n    "
    for fire in timeline(planned, start, end):
        load.add(fire.task.server, fire.at)
        yield separator + _encode(fire_json(fire))
        separator = ",\n    "
    yield ("\n  ]" if separator[0] == "," else "]") + ',\n  "load": ['
    separator = "\n    "
    for entry in load.json():
        yield separator + _encode(entry)
        separator = ",\n    "
    yield ("\n  ]" if separator[0] == "," else "]") + "\n}\n"
