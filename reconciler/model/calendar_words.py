"""Calendars as short words, for people: one line for each window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reconciler.model.calendar import WEEKDAYS, Calendar, Window, read_calendars


def calendar_lines(value: Any) -> list[str] | None:
    """``nights: deny mon–fri 22:00–06:00 Europe/Berlin`` for each window of ``spec.calendars`` of a document.

    A calendar without windows is a line of its own. None for a value that a hand has spoilt.
    """
    try:
        return [line for calendar in read_calendars(value) for line in lines_of(calendar)]
    except ValueError:
        return None


def lines_of(calendar: Calendar) -> list[str]:
    """A calendar's windows, those that forbid first."""
    said = [("deny", window) for window in calendar.deny] + [("allow", window) for window in calendar.allow]
    if not said:
        return [f"{calendar.name}: no windows"]
    return [f"{calendar.name}: {word} {window_words(window)} {calendar.timezone}" for word, window in said]


def window_words(window: Window) -> str:
    """``daily 22:00–06:00``, ``sat, sun``, ``2026-12-24, 2026-12-26``, ``2026-12-24 to 2027-01-02``."""
    if window.weekdays is None and window.dates is None:
        return f"{window.from_} to {window.until}"
    days = ", ".join(window.dates) if window.dates is not None else weekday_words(window.weekdays or ())
    return days if window.from_ is None else f"{days} {window.from_}–{window.until}"


def weekday_words(days: Sequence[str]) -> str:
    """``daily``, ``mon–fri``, ``mon, wed, sat, sun``: three and more in a row are one word."""
    if len(days) == len(WEEKDAYS):
        return "daily"
    rows: list[list[str]] = []
    for day in days:
        if rows and WEEKDAYS.index(rows[-1][-1]) + 1 == WEEKDAYS.index(day):
            rows[-1].append(day)
        else:
            rows.append([day])
    return ", ".join(f"{row[0]}–{row[-1]}" if len(row) > 2 else ", ".join(row) for row in rows)
