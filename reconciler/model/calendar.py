"""Calendars: when the tasks that name them may not run by themselves."""

from __future__ import annotations

import re
from datetime import date, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StrictStr, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from reconciler.model.base import LabelKey, Labels, Model, declared
from reconciler.model.canonical import canonical_json
from reconciler.model.fields import Name, TimeZone

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_NAMES = (*WEEKDAYS, "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
"""All that a weekday may be called, in any case."""
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d|24:00", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d)?", re.ASCII)


def _weekday(text: str) -> str:
    """``mon``, ``Monday`` …: the first three letters."""
    if text.lower() in DAY_NAMES:
        return text.lower()[:3]
    raise ValueError(f"{text!r} is not a weekday: write {', '.join(WEEKDAYS)}")


def _date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(f"{text!r} is not a date: write 2026-12-24") from None


def _in_order(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(values), key=lambda day: WEEKDAYS.index(day) if day in WEEKDAYS else day))


Weekday = Annotated[StrictStr, AfterValidator(_weekday)]
Day = Annotated[StrictStr, AfterValidator(_date)]


class Window(Model):
    """A span of days, some weekdays, or some dates; the last two whole or from one time to another."""

    from_: StrictStr | None = Field(default=None, alias="from", examples=["22:00", "2026-12-24T18:00"])
    """When it begins: a time of day beside `weekdays` or `dates`, else a date, or a date with a time."""
    until: StrictStr | None = Field(default=None, examples=["06:00", "2027-01-02"])
    """When it ends, itself not included; a time of day that is not after `from` is the next day's."""
    weekdays: Annotated[tuple[Weekday, ...], Field(min_length=1), AfterValidator(_in_order)] | None = Field(
        default=None, examples=[["sat", "sun"]]
    )
    """The weekdays on which it begins."""
    dates: Annotated[tuple[Day, ...], Field(min_length=1), AfterValidator(_in_order)] | None = Field(
        default=None, examples=[["2026-12-24"]]
    )
    """The dates on which it begins."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.weekdays is not None and self.dates is not None:
            raise _fault("dates", "weekdays and dates exclude each other: write two windows")
        if (self.from_ is None) != (self.until is None):
            raise _fault(
                "until" if self.until is not None else "from", "from and until go together: add the other one"
            )
        daily = self.weekdays is not None or self.dates is not None
        if self.from_ is None or self.until is None:
            if not daily:
                raise _fault(None, "a window needs weekdays, dates, or from and until: add one of them")
            return self
        for name, text in (("from", self.from_), ("until", self.until)):
            if daily and not _TIME.fullmatch(text):
                hint = "write 22:00; a date belongs in `dates`" if _MOMENT.fullmatch(text) else "write 22:00"
                raise _fault(name, f"{text!r} is not a time of day: {hint}")
            if not daily and _moment(text) is None:
                hint = "write 2026-12-24 or 2026-12-24T18:00"
                if _TIME.fullmatch(text):
                    hint = "a window of every day names its weekdays or dates, too"
                raise _fault(name, f"{text!r} is not a date: {hint}")
        if not daily and moment(self.until) <= moment(self.from_):
            raise _fault("until", "the window ends before it begins: `until` is the later of the two")
        return self


def moment(text: str) -> datetime:
    """A date or a date with a time as a naive local time; raises ValueError for anything else."""
    found = _moment(text)
    if found is None:
        raise ValueError(f"{text!r} is not a date")
    return found


def _moment(text: str) -> datetime | None:
    if not _MOMENT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _fault(field: str | None, message: str) -> PydanticCustomError:
    """What is wrong with a window; ``field`` is the one of its fields that is to blame."""
    return PydanticCustomError("calendar_window", "{message}", {"field": field, "message": message})


class CalendarSpec(Model):
    """When the tasks that name this calendar do not run by themselves."""

    timezone: TimeZone = "UTC"
    """The zone of all its dates and times."""
    deny: tuple[Window, ...] = ()
    """Slots due in any of these do not run."""
    allow: tuple[Window, ...] = ()
    """They do run in these, whatever `deny` says."""


class Calendar(CalendarSpec):
    """A calendar as a task's row keeps it: under its name."""

    name: Name
    """The calendar's name."""


class CalendarMetadata(Model):
    """Which calendar it is."""

    name: Name
    """By which tasks and the project name it."""
    labels: Labels = Field(default_factory=dict)
    """Words, kept for people."""
    annotations: dict[LabelKey, StrictStr] = Field(default_factory=dict)
    """Free text, never interpreted."""


class CalendarDeclaration(Model):
    """Times in which tasks do not run by themselves."""

    api_version: Literal["reconciler/v1"]
    kind: Literal["Calendar"]
    metadata: CalendarMetadata
    spec: CalendarSpec = CalendarSpec()


def read_calendars(value: Any) -> tuple[Calendar, ...]:
    """``spec.calendars`` of a document (None: it has none); raises ValueError for what a hand has spoilt."""
    if not value:
        return ()
    try:
        return _read(canonical_json(value))
    except TypeError as error:
        raise ValueError("the calendars cannot be read") from error


@lru_cache(maxsize=1024)
def _read(text: str) -> tuple[Calendar, ...]:
    return TypeAdapter(tuple[Calendar, ...]).validate_json(text)


def calendar_document(declaration: CalendarDeclaration) -> dict[str, Any]:
    """The calendar as it stands in ``spec.calendars`` of a task's canonical document."""
    return {"name": declaration.metadata.name, **declared(declaration.spec)}
