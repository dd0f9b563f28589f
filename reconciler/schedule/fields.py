"""Reading the five fields: every item of every list, with its place, in one canonical spelling.

croniter says neither where an error is nor means the same as cron everywhere, so items are read here
first and handed to it (``expand``) in a spelling that leaves nothing to interpretation. Where it would
have gone its own way:

- a reversed range (``5-1``) it wraps around; cron and this program refuse it (but ``fri-sun`` ends on day 7);
- a range of one value (``1-1``) it reads as the whole field; here it is that value;
- day or month 0 it reads as 1; here they are out of range;
- ``W``, ``R`` and a sixth field it knows; the design refuses them;
- ``@daily`` and its like it hashes as soon as it has a key; the design never does;
- ``H`` it takes from one CRC-32 for all fields, so minute and hour go together; see ``stable``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from reconciler.schedule.invalid import ScheduleInvalid
from reconciler.schedule.stable import draw

MONTHS = {
    "JAN": 1, "FEB": 2, "MAR": 3, "APR": 4, "MAY": 5, "JUN": 6,
    "JUL": 7, "AUG": 8, "SEP": 9, "OCT": 10, "NOV": 11, "DEC": 12,
}  # fmt: skip
WEEKDAYS = {"SUN": 0, "MON": 1, "TUE": 2, "WED": 3, "THU": 4, "FRI": 5, "SAT": 6}

_VALUE = r"(\d+|[A-Z]+)"
_STAR = re.compile(r"\*(?:/(\d+))?", re.ASCII)
_RANGE = re.compile(rf"{_VALUE}(?:-{_VALUE})?(?:/(\d+))?", re.ASCII)
_HASH = re.compile(r"H(?:\((\d+)-(\d+)\))?(?:/(\d+))?", re.ASCII)
_RANDOM = re.compile(r"R(?:\(.*\))?(?:/.*)?", re.ASCII)
_NEAREST = re.compile(r"\d*W\d*|LW|WL", re.ASCII)
_LAST = re.compile(r"L(\d+)", re.ASCII)
_NTH = re.compile(rf"{_VALUE}(?:-{_VALUE})?#(\d+)", re.ASCII)
_ZERO_STEP = re.compile(r".*/0+", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One of the five: its place (as croniter counts), its name for people, its bounds and names."""

    index: int
    name: str
    low: int
    high: int
    names: dict[str, int]
    hash_high: int
    """The highest value that a bare ``H`` takes. Day 28, so that every month has it."""

    @property
    def hint(self) -> str:
        """What may stand in this field."""
        names = f" or {', '.join(list(self.names)[:2]).lower()} …" if self.names else ""
        return f"write {self.low}-{self.high}{names}, a range a-b, a step a-b/n or */n, a list a,b, or *"


MINUTE = Field(0, "minute", 0, 59, {}, 59)
HOUR = Field(1, "hour", 0, 23, {}, 23)
DAY = Field(2, "day of month", 1, 31, {}, 28)
MONTH = Field(3, "month", 1, 12, MONTHS, 12)
WEEKDAY = Field(4, "day of week", 0, 7, WEEKDAYS, 6)
FIELDS = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)


@dataclass(frozen=True, slots=True)
class Hashed:
    """An ``H`` item: one value of ``low``–``high``, or every ``step``-th from a first one."""

    field: Field
    low: int
    high: int
    step: int | None

    @property
    def choices(self) -> int:
        """How many different outcomes it has."""
        span = self.high - self.low + 1
        return min(self.step, span) if self.step else span

    def at(self, choice: int) -> str:
        """The plain item for one of the choices, ``0 <= choice < choices``."""
        first = self.low + choice
        if self.step is None or first + self.step > self.high:
            return str(first % 7 if self.field is WEEKDAY else first)
        return f"{first}-{self.high}/{self.step}"

    def resolve(self, key: str) -> str:
        """The plain item for a task's key, ``name@server``."""
        return self.at(draw(key, self.field.name, self.choices))


Item = str | Hashed


@dataclass(frozen=True, slots=True)
class FieldText:
    """A field as written: its place in the expression and its items in canonical spelling."""

    field: Field
    start: int
    end: int
    items: tuple[Item, ...]

    @property
    def hashed(self) -> bool:
        """Whether any item is an ``H``."""
        return any(isinstance(item, Hashed) for item in self.items)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an item stands; raising from here puts the position in."""

    field: Field
    text: str
    start: int
    end: int

    def refuse(self, reason: str, hint: str | None = None) -> NoReturn:
        raise ScheduleInvalid(
            f"{self.field.name} field of the schedule: {reason}",
            hint=hint or self.field.hint,
            position=(self.start, self.end),
        )


def read_field(field: Field, text: str, start: int) -> FieldText:
    """The items of one field that begins at ``start``; raises ScheduleInvalid at the first wrong one."""
    items: list[Item] = []
    end = start + len(text)
    at = start
    for part in text.split(","):
        if not part:
            _Place(field, text, start, end).refuse(
                f"{text!r} has an empty item", "a list is a,b,c without gaps"
            )
        items += _read_item(_Place(field, part, at, at + len(part)))
        at += len(part) + 1
    if "?" in items and len(items) > 1:
        _Place(field, text, start, end).refuse("? stands alone", "write * or the list without the ?")
    return FieldText(field, start, end, tuple(items))


def _read_item(place: _Place) -> list[Item]:
    if not place.text.isascii():
        place.refuse(f"{place.text!r} is not understood")
    text, field = place.text.upper(), place.field
    if text == "?":
        if field not in (DAY, WEEKDAY):
            place.refuse("? stands only for the day of month or the day of week", "write *")
        return ["?"]
    if _ZERO_STEP.fullmatch(text):
        place.refuse(f"{place.text!r} has a step of 0", "a step is 1 or more")
    if match := _STAR.fullmatch(text):
        return [f"*/{int(match[1])}" if match[1] else "*"]
    if match := _HASH.fullmatch(text):
        return [_hashed(place, match)]
    _refuse_foreign(place, text)
    if field is WEEKDAY and (match := _LAST.fullmatch(text)):
        return [f"L{_value(place, match[1]) % 7}"]
    if field is WEEKDAY and (match := _NTH.fullmatch(text)):
        return _nth(place, match)
    if field is DAY and text == "L":
        return ["L"]
    match = _RANGE.fullmatch(text)
    if match is None:
        place.refuse(f"{place.text!r} is not understood")
    return [_plain(place, match)]


def _refuse_foreign(place: _Place, text: str) -> None:
    """What other programs' cron dialects know and this one refuses on purpose."""
    field = place.field
    if _RANDOM.fullmatch(text):
        place.refuse("R (a random time) is not supported", "write H: spread over the tasks, and stable")
    if field is not MONTH and _NEAREST.fullmatch(text):
        place.refuse(
            "W (the nearest working day) is not supported", "name a day, or days of the week such as mon-fri"
        )
    if "#" in text and field is not WEEKDAY:
        place.refuse("# stands only in the day of week", "fri#2 there is the second Friday of a month")
    if field is WEEKDAY and text == "L":
        place.refuse(
            "L needs a day here", "L5 is a month's last Friday; L in the day of month is its last day"
        )
    if _LAST.fullmatch(text) and field is not WEEKDAY:
        place.refuse(
            f"{place.text!r} is not understood", "L5 stands in the day of week: a month's last Friday"
        )
    if field is WEEKDAY and re.fullmatch(r"(\d|[A-Z]{3})L|L[A-Z]{3}", text, re.ASCII):
        place.refuse(f"{place.text!r} is not understood", "the last Friday of a month is written L5")
    if text == "L" and field is not DAY:
        place.refuse(
            "L stands only in the day of month", "or as L5 in the day of week: a month's last Friday"
        )


def _hashed(place: _Place, match: re.Match[str]) -> Hashed:
    field = place.field
    low, high = field.low, field.hash_high
    if match[1]:
        low, high = _value(place, match[1]), _value(place, match[2])
        if low > high:
            place.refuse(f"the range {low}-{high} runs backwards", f"write H({high}-{low})")
        if field is WEEKDAY and high == 7 and low == 0:
            place.refuse("0-7 has Sunday twice", "write H(0-6), or H")
    return Hashed(field, low, high, int(match[3]) if match[3] else None)


def _nth(place: _Place, match: re.Match[str]) -> list[Item]:
    low, high = _bounds(place, match[1], match[2])
    if not 1 <= int(match[3]) <= 5:
        place.refuse(f"#{match[3]} is out of range", "a month has a weekday at most five times: #1 to #5")
    return [f"{weekday % 7}#{int(match[3])}" for weekday in range(low, high + 1)]


def _plain(place: _Place, match: re.Match[str]) -> str:
    field = place.field
    if field is DAY and match[2] == "L":  # 15-L: to the last day of any month
        low, high = _value(place, match[1]), field.high
    else:
        low, high = _bounds(place, match[1], match[2])
    step = int(match[3]) if match[3] else None
    if step and not match[2]:
        high = max(low, 6 if field is WEEKDAY else field.high)  # 10/5 is 10-59/5; Sunday is not counted twice
    if low == high:
        return str(low % 7 if field is WEEKDAY else low)
    return f"{low}-{high}/{step}" if step and step > 1 else f"{low}-{high}"


def _bounds(place: _Place, first: str, second: str | None) -> tuple[int, int]:
    low = _value(place, first)
    high = low if second is None else _value(place, second)
    if second == "SUN" and low > 0 and place.field is WEEKDAY:
        high = 7  # fri-sun: at the end of a range Sunday is day 7
    if low > high:
        sunday = place.field is WEEKDAY and high == 0
        place.refuse(
            f"the range {place.text!r} runs backwards",
            "write 7 for a Sunday at the end of a range"
            if sunday
            else f"write two items: {_wrapped(place.field, low, high)}",
        )
    return low, high


def _wrapped(field: Field, low: int, high: int) -> str:
    top = 6 if field is WEEKDAY else field.high
    return f"{low}-{top},{field.low}-{high}"


def _value(place: _Place, text: str) -> int:
    field = place.field
    if not text.isdigit():
        if text not in field.names:
            hint = None
            if field.names:
                hint = f"the names are {', '.join(field.names).lower()}"
            place.refuse(f"{text.lower()!r} names no {field.name}", hint)
        return field.names[text]
    if not field.low <= int(text) <= field.high:
        place.refuse(f"{text} is out of range {field.low}-{field.high}")
    return int(text)
