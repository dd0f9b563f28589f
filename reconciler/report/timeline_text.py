"""The timeline for a terminal: load per server and hour, then what runs when, rare tasks one by one.

Tasks that run more often than a person wants to read are a line with a count, so the text stays short
however often something runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

from reconciler.model.quantity import counted
from reconciler.report.layout import Cell, Column, Paint, Style, pad, plain, printable, table, width
from reconciler.report.timeline import Fire, Load, Planned, timeline
from reconciler.report.times import stamp, zone_or_utc

OFTEN = 24
"""More runs than this in the range and a task is counted instead of listed."""
MOST_FIRES = 200
MOST_SERVERS = 40
MOST_FREQUENT = 60
_BLOCKS = "▁▂▃▄▅▆▇█"
_STRETCHES = tuple(
    timedelta(hours=hours) for hours in (1, 2, 3, 6, 12, 24, 48, 24 * 7, 24 * 28, 24 * 366, 24 * 366 * 100)
)
_MOST_STRETCHES = 36


def timeline_text(
    planned: Sequence[Planned], start: datetime, end: datetime, paint: Paint = plain
) -> Iterator[str]:
    """The lines of the timeline; ``planned`` in the order of names."""
    load = Load(start, stretch_for(end - start))
    counts = [(item, load.add_planned(item, start, end)) for item in planned]
    counts = [(item, runs) for item, runs in counts if runs]
    total = sum(runs for _, runs in counts)
    tasks, servers = len(counts), load.servers()
    head = f"{counted(total, 'run')} of {counted(tasks, 'task')} on {counted(len(servers), 'server')}"
    yield paint(head, Style.BOLD) + paint(f"  {stamp(start)} – {stamp(end)}", Style.DIM)
    held = [item for item in planned if item.is_suspended_in(start, end)]
    if held:
        yield paint(f"suspended in this time or a part of it: {counted(len(held), 'task')}", Style.WARN)
        yield paint("  `reconciler status` says by whom, why and until when", Style.DIM)
    if not total:
        yield "Nothing runs by itself in this time."
        return
    yield ""
    yield from _load_lines(load, servers, start, end, paint)
    yield from _frequent([pair for pair in counts if pair[1] > OFTEN], start, end, paint)
    yield from _rare([item for item, runs in counts if runs <= OFTEN], start, end, paint)


def stretch_for(length: timedelta) -> timedelta:
    """How long one column of the load is: an hour where that fits a terminal, else more."""
    return next(size for size in _STRETCHES if length <= size * _MOST_STRETCHES)


def _load_lines(
    load: Load, servers: dict[str, dict[int, int]], start: datetime, end: datetime, paint: Paint
) -> Iterator[str]:
    count = max(1, -(-(end - load.start) // load.size))
    yield paint(f"Load per server and {_stretch_word(load.size)} (UTC)", Style.BOLD)
    by_runs = sorted(servers, key=lambda name: (-sum(servers[name].values()), name))
    shown = sorted(by_runs[:MOST_SERVERS])
    names = {name: printable(name) for name in shown}
    size = max(width(name) for name in names.values())
    most = max(max(runs.values()) for runs in servers.values())
    yield paint("  " + " " * size + "  " + _ruler(load, count), Style.DIM)
    for name in shown:
        runs = servers[name]
        bars = "".join(_bar(runs.get(number, 0), most) for number in range(count))
        top = max(runs, key=lambda number: (runs[number], -number))
        busiest = (load.start + top * load.size).strftime(
            "%H:%M" if load.size < timedelta(days=1) else "%Y-%m-%d"
        )
        yield (
            f"  {pad(names[name], size)}  {paint(bars, Style.INFO)}  {sum(runs.values()):>7,} runs"
            + paint(f", most at {busiest}: {runs[top]:,}", Style.DIM)
        )
    if len(servers) > len(shown):
        yield paint(f"  … and {len(servers) - len(shown):,} quieter servers", Style.DIM)


def _bar(runs: int, most: int) -> str:
    return "·" if runs == 0 else _BLOCKS[(runs * len(_BLOCKS) - 1) // most]


def _ruler(load: Load, count: int) -> str:
    """A mark at every sixth column: the hour, or the day of the month."""
    marks = []
    for number in range(0, count, 6):
        at = load.start + number * load.size
        marks.append(at.strftime("%H" if load.size < timedelta(days=1) else "%d.%m"))
    return "".join(pad(mark, 6) for mark in marks).rstrip()


def _stretch_word(size: timedelta) -> str:
    hours = round(size / timedelta(hours=1))
    if hours == 1:
        return "hour"
    return f"{hours} hours" if hours < 24 else "day" if hours == 24 else f"{hours // 24} days"


def _frequent(
    counts: Sequence[tuple[Planned, int]], start: datetime, end: datetime, paint: Paint
) -> Iterator[str]:
    if not counts:
        return
    yield ""
    yield paint(f"Often (more than {OFTEN} times)", Style.BOLD)
    rows: list[list[Cell]] = []
    for item, runs in sorted(counts, key=lambda pair: -pair[1])[:MOST_FREQUENT]:
        first = next(item.fires(start, end))
        rows.append(
            [item.task.address, item.task.schedule or "", item.task.timezone, f"{runs:,}", _clock(first)]
        )
    columns = (
        Column("TASK"),
        Column("SCHEDULE"),
        Column("ZONE"),
        Column("RUNS", right=True),
        Column("FIRST", right=True),
    )
    yield from table(columns, rows, paint, indent="  ")
    if len(counts) > MOST_FREQUENT:
        yield paint(f"  … and {len(counts) - MOST_FREQUENT:,} more tasks", Style.DIM)


def _rare(planned: Sequence[Planned], start: datetime, end: datetime, paint: Paint) -> Iterator[str]:
    fires = list(islice(timeline(planned, start, end), MOST_FIRES + 1))
    if not fires:
        return
    yield ""
    yield paint("Timeline", Style.BOLD)
    rows: list[list[Cell]] = []
    day = None
    for fire in fires[:MOST_FIRES]:
        utc = fire.at.astimezone(UTC)
        rows.append(
            [
                (utc.strftime("%a %d %b") if utc.date() != day else "", Style.BOLD),
                _clock(fire),
                _local(fire),
                fire.task.address,
                (NOTES.get(fire.note or "", ""), Style.WARN),
            ]
        )
        day = utc.date()
    columns = (Column("DAY"), Column("UTC"), Column("LOCAL"), Column("TASK"), Column("NOTE"))
    yield from table(columns, rows, paint, indent="  ")
    if len(fires) > MOST_FIRES:
        first = fires[MOST_FIRES].at
        rest = sum(item.count(first, end) for item in planned)
        more = f"  … and {rest:,} more from {stamp(first)}: narrow --from and --until, or use -o json"
        yield paint(more, Style.DIM)


NOTES = {"dst-gap": "clock goes forward", "dst-repeat": "this local time comes twice"}


def _clock(fire: Fire) -> str:
    return fire.at.astimezone(UTC).strftime("%H:%M:%S" if fire.at.second or fire.at.microsecond else "%H:%M")


def _local(fire: Fire) -> str:
    if fire.task.timezone == "UTC":
        return ""
    local = fire.at.astimezone(zone_or_utc(fire.task.timezone))
    clock = local.strftime("%H:%M:%S" if local.second else "%H:%M")
    return f"{clock} {fire.task.timezone} ({local.strftime('%z')[:3]}:{local.strftime('%z')[3:]})"
