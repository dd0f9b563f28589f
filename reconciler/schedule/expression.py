"""The text of a schedule to a ``Schedule``: the front door of this room."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from reconciler.model.quantity import format_duration, parse_duration
from reconciler.schedule.base import Schedule
from reconciler.schedule.cron import CronSchedule
from reconciler.schedule.days import DayFields, DaySet
from reconciler.schedule.every import LONGEST, SHORTEST, EverySchedule
from reconciler.schedule.expand import expand_field
from reconciler.schedule.fields import FIELDS, FieldText, Hashed, read_field
from reconciler.schedule.invalid import ScheduleInvalid

MAX_LENGTH = 50

_ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_WORD = re.compile(r"\S+", re.ASCII)  # as cron: a no-break space separates nothing
_FORMS = (
    "write five fields (minute, hour, day of month, month, day of week), @hourly … @yearly, or @every 90s"
)

Words = list[tuple[int, str]]


def parse(expression: str, hash_key: str) -> Schedule:
    """The schedule that ``expression`` means for the task ``hash_key`` (``name@server``).

    Memoised: by the expression alone, or with the key when it holds an ``H``. Schedules that come to
    the same fields are one object. Raises ScheduleInvalid with the place of the first mistake.
    """
    template = _template(expression)
    return _resolve(template, hash_key) if isinstance(template, _Template) else template


@dataclass(frozen=True, slots=True, eq=False)
class _Template:
    """An expression with ``H``: a schedule for each key."""

    fields: tuple[FieldText, ...]


@lru_cache(maxsize=16_384)
def _template(expression: str) -> Schedule | _Template:
    words = [(match.start(), match[0]) for match in _WORD.finditer(expression)]
    _check_shape(expression, words)
    if words[0][1].startswith("@"):
        return _at_word(words)
    fields = tuple(read_field(field, text, start) for field, (start, text) in zip(FIELDS, words, strict=True))
    if not any(field.hashed for field in fields):
        return _build(fields, lambda item: item.at(0))
    _check_every_choice(fields)
    return _Template(fields)


@lru_cache(maxsize=131_072)
def _resolve(template: _Template, key: str) -> Schedule:
    return _build(template.fields, lambda item: item.resolve(key))


def _check_shape(expression: str, words: Words) -> None:
    if not words:
        raise ScheduleInvalid("the schedule is empty", hint=_FORMS, position=(0, len(expression)))
    if len(expression) > MAX_LENGTH:
        raise ScheduleInvalid(
            f"the schedule has {len(expression)} characters, more than {MAX_LENGTH}",
            hint="use ranges and steps, or two tasks",
            position=(MAX_LENGTH, len(expression)),
        )
    if words[0][1].startswith("@"):
        return
    if len(words) > 5:
        extra = words[5][0]
        raise ScheduleInvalid(
            f"the schedule has {len(words)} fields instead of 5",
            hint="there is no field for seconds or years; `@every 10s` runs more often than each minute",
            position=(extra, words[-1][0] + len(words[-1][1])),
        )
    if len(words) < 5:
        last = words[-1]
        raise ScheduleInvalid(
            f"the schedule has {len(words)} field{'s' if len(words) > 1 else ''} instead of 5",
            hint=_FORMS,
            position=(words[0][0], last[0] + len(last[1])),
        )


def _at_word(words: Words) -> Schedule:
    (start, text), *rest = words
    word = text.lower()
    if word == "@every":
        return _every(words)
    if word in _ALIASES and not rest:
        return _cron(*_ALIASES[word].split())
    if word in _ALIASES:
        after, last = rest[0][0], rest[-1]
        raise ScheduleInvalid(
            f"nothing may follow {text}", hint=f"write {word} alone", position=(after, last[0] + len(last[1]))
        )
    hint = _FORMS
    if word == "@reboot":
        hint = "a server's boot is not a time; let the server start it, or write a time"
    raise ScheduleInvalid(
        f"{text!r} is not a schedule of this program", hint=hint, position=(start, start + len(text))
    )


def _every(words: Words) -> EverySchedule:
    start = words[1][0] if len(words) > 1 else words[0][0]
    position = (start, words[-1][0] + len(words[-1][1]))
    hint = "write a duration from 1s to 31d after @every, such as 10s, 90s or 1h30m"
    if len(words) != 2:
        raise ScheduleInvalid("@every takes one duration", hint=hint, position=position)
    try:
        seconds = parse_duration(words[1][1])
    except ValueError:
        raise ScheduleInvalid(f"{words[1][1]!r} is not a duration", hint=hint, position=position) from None
    if not SHORTEST <= seconds <= LONGEST:
        bounds = f"{format_duration(SHORTEST)} to {format_duration(LONGEST)}"
        raise ScheduleInvalid(f"@every {words[1][1]} is out of range {bounds}", hint=hint, position=position)
    return EverySchedule(seconds)


def _build(fields: Iterable[FieldText], choose: Callable[[Hashed], str]) -> CronSchedule:
    fields = tuple(fields)
    texts = []
    for field in fields:
        items = [choose(item) if isinstance(item, Hashed) else item for item in field.items]
        texts.append(",".join(items))
        try:
            expand_field(field.field.index, texts[-1])
        except ValueError as error:
            raise ScheduleInvalid(
                f"{field.field.name} field of the schedule: {texts[-1]!r} is not understood ({error})",
                hint=field.field.hint,
                position=(field.start, field.end),
            ) from error
    schedule = _cron(*texts)
    if not _possible(schedule.days.fields):
        _, _, day, month, weekday = fields
        end = month.end if schedule.days.fields.weekdays == 0b1111111 else weekday.end
        raise ScheduleInvalid(
            "no date ever fits the day of month, month and day of week of the schedule",
            hint="choose a day that the month has; L is its last day",
            position=(day.start, end),
        )
    return schedule


def _check_every_choice(fields: tuple[FieldText, ...]) -> None:
    """An ``H`` that names an impossible date for some task is wrong for all, not by luck of a name."""
    for month in range(12 if fields[3].hashed else 1):

        def choose(item: Hashed, month: int = month) -> str:
            # the day's last choice is the one a month may lack
            return item.at(month % item.choices if item.field.name == "month" else item.choices - 1)

        _build(fields, choose)


@lru_cache(maxsize=16_384)
def _cron(minute: str, hour: str, day: str, month: str, weekday: str) -> CronSchedule:
    """One object for all expressions that come to the same fields."""
    return CronSchedule(
        text=f"{minute} {hour} {day} {month} {weekday}",
        times=_times(expand_field(0, minute).bits, expand_field(1, hour).bits),
        days=_days(day, month, weekday),
        # Debian cron looks at the first character only: `*/15` is a wildcard, `0-59` is not
        wildcard=minute.startswith("*") or hour.startswith("*"),
    )


@lru_cache(maxsize=4096)
def _times(minutes: int, hours: int) -> tuple[int, ...]:
    """Seconds of the day, sorted."""
    return tuple(
        hour * 3600 + minute * 60
        for hour in range(24)
        if hours >> hour & 1
        for minute in range(60)
        if minutes >> minute & 1
    )


@lru_cache(maxsize=4096)
def _days(day: str, month: str, weekday: str) -> DaySet:
    days, months, weekdays = (
        expand_field(2, _star(day)),
        expand_field(3, month),
        expand_field(4, _star(weekday)),
    )
    fields = DayFields(
        days=days.bits,
        months=months.bits,
        weekdays=weekdays.bits,
        nth=weekdays.nth,
        last_weekdays=weekdays.last_weekdays,
        last_day=days.last_day,
        # crontab(5): the two are joined by "or" unless either begins with a star
        both=day[0] in "*?" or weekday[0] in "*?",
    )
    every = fields.days == 0xFFFFFFFE and fields.months == 0x1FFE and fields.weekdays == 0x7F
    return DaySet(fields, every)


@lru_cache(maxsize=4096)
def _possible(fields: DayFields) -> bool:
    return fields.possible()


def _star(text: str) -> str:
    return "*" if text == "?" else text
