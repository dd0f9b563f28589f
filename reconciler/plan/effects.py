"""The effect of a change in a few lines; the same words for the terminal and for a pull request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from reconciler.model.measured import Suspended
from reconciler.plan.changes import Action, Effect, Plan, Times
from reconciler.plan.groups import Group
from reconciler.plan.words import clock_of, count, day_of, fires, number, printable, some, zone_or_utc

_NOTES = {"dst-gap": "the clock skips a time of it", "dst-repeat": "a time of it comes twice"}
_RUNS: dict[tuple[str, int | None], str] = {
    ("dst-gap", 0): ", which does not run",
    ("dst-gap", 1): ", which runs then",
    ("dst-repeat", 1): " and runs once",
    ("dst-repeat", 2): " and runs twice",
}
_MOST_SHIFTS = 5
_MOST_RUNNING = 5
_MOST_SERVERS = 10


@dataclass(frozen=True, slots=True)
class Note:
    """A label and what it says; ``warns`` where a reviewer should look twice."""

    label: str
    text: str
    warns: bool = False


def notes(group: Group) -> Iterator[Note]:
    """What is worth telling: nothing of what stays as it is, but always what runs now."""
    effects = group.effects
    if not effects:
        return
    first = effects[0]
    yield from _suspended(group, effects)
    yield from _per_day(effects)
    if _moved(first):
        yield from _next_fires(group, first)
        yield from _clock_changes(first)
    yield from _overlap(effects)
    yield from _shifted(first)
    running = [execution for effect in effects for execution in effect.running]
    if running:
        ids = some([str(one) for one in running], _MOST_RUNNING)
        verb = "finishes" if len(running) == 1 else "finish"
        spec = "still" if group.action is Action.DELETE else "under the old generation"
        yield Note("running now", f"{ids}: {verb} {spec}")


def _suspended(group: Group, effects: list[Effect]) -> Iterator[Note]:
    """Who keeps it from running at present, for a plan promises runs that will not be."""
    found = Counter(_pause_words(effect.suspended) for effect in effects if effect.suspended is not None)
    for words, times in found.items():
        many = f"{times:,} of {len(group.members):,}, " if times < len(group.members) else ""
        yield Note("suspended now", many + words, warns=True)


def _pause_words(found: Suspended) -> str:
    what = {"task": "", "project": "with its project, "}.get(found.of, "with everything, ")
    until = "until it is resumed" if found.until is None else f"until {found.until:%Y-%m-%d %H:%M} UTC"
    return printable(f"{what}by {found.by} {until}: {found.reason}")


def _moved(effect: Effect) -> bool:
    before, after = effect.before, effect.after
    return (before.next_fires, before.timezone) != (after.next_fires, after.timezone)


def _per_day(effects: list[Effect]) -> Iterator[Note]:
    before = round(sum(effect.before.runs_per_day for effect in effects), 3)
    after = round(sum(effect.after.runs_per_day for effect in effects), 3)
    if before == after:
        return
    each = ""
    if len(effects) > 1 and len({(one.before.runs_per_day, one.after.runs_per_day) for one in effects}) == 1:
        one = effects[0]
        each = f", {_arrow(one.before.runs_per_day, one.after.runs_per_day)} on each"
    yield Note("runs per day", _arrow(before, after) + each)


def _arrow(before: float, after: float) -> str:
    return f"{number(_plain(before))} → {number(_plain(after))}"


def _plain(value: float) -> float:
    return int(value) if value == int(value) else value


def _next_fires(group: Group, effect: Effect) -> Iterator[Note]:
    where = ""
    if len(group.members) > 1 and group.servers:
        where = f" of {group.addresses[0]}" if group.several_tasks else f" on {group.servers[0]}"
    if effect.before.next_fires:
        yield Note(f"next fires{where}, before", fires(effect.before))
    if effect.after.next_fires:
        after = ", after" if effect.before.next_fires else ""
        yield Note(f"next fires{where}{after}", fires(effect.after))


def _clock_changes(effect: Effect) -> Iterator[Note]:
    if not effect.dst:
        return
    where = zone_or_utc(effect.after.timezone)
    words = []
    for at, note, runs in effect.dst:
        local = at.astimezone(where)
        moment = f"{local:%a} {local.day} {local:%b} {local.year} {clock_of(local)} {local.tzname()}"
        words.append(f"{moment}: {_NOTES.get(note, printable(note))}{_RUNS.get((note, runs), '')}")
    yield Note("clock changes", "; ".join(words))


def _overlap(effects: list[Effect]) -> Iterator[Note]:
    known = [effect.overlap_per_day for effect in effects if effect.overlap_per_day]
    if known:
        amount = number(_plain(round(sum(known), 2)))
        text = f"about {amount} a day come due while an earlier one is in progress, by its average duration"
        yield Note("overlapping runs", text, warns=True)


def _shifted(effect: Effect) -> Iterator[Note]:
    for shift in effect.shifted[:_MOST_SHIFTS]:
        moved = f"{_next(shift.before)} → {_next(shift.after)} (H and jitter follow the server's name)"
        yield Note(f"moves {printable(shift.name)}", moved)
    rest = len(effect.shifted) - _MOST_SHIFTS
    if rest > 0:
        yield Note("moves", f"{count(rest, 'more task')} with H or jitter")


def _next(times: Times) -> str:
    """The next due time on the wall of its zone."""
    if not times.next_fires:
        return "never"
    local = times.next_fires[0].astimezone(zone_or_utc(times.timezone))
    return f"{day_of(local, local)} {clock_of(local)}"


def busiest(plan: Plan) -> list[str]:
    """The busiest minutes of the changed servers, the fullest first; one run at once is no news."""
    found: dict[str, tuple[datetime, int]] = {}
    for one in plan.touched():
        server = one.server if one.server is not None else one.name
        if one.effect is not None and one.effect.busiest_minute is not None:
            found[server] = one.effect.busiest_minute
    crowded = sorted((-runs, server, at) for server, (at, runs) in found.items() if runs > 1)
    lines = [
        f"{printable(server)}: {-runs:,} runs at {at:%H:%M} UTC"
        for runs, server, at in crowded[:_MOST_SERVERS]
    ]
    rest = len(crowded) - len(lines)
    return [*lines, *([f"… and {count(rest, 'more server')}"] if rest > 0 else [])]


def labels_width(found: Iterable[Note]) -> int:
    """The widest label, for alignment."""
    return max((len(note.label) for note in found), default=0)
