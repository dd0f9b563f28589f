"""Every mistake has its place, its reason and a hint; nothing else comes out."""

from __future__ import annotations

import inspect

import croniter as croniter_package
import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import Permanent
from reconciler.schedule import expand
from reconciler.schedule.expression import parse
from reconciler.schedule.invalid import ScheduleInvalid

# expression, the part that the position marks, a piece of the message, a piece of the hint
WRONG = [
    ("", "", "is empty", "five fields"),
    ("   ", "   ", "is empty", "five fields"),
    ("0 0 * *", "0 0 * *", "4 fields instead of 5", "five fields"),
    (" noon ", "noon", "1 field instead of 5", "five fields"),
    ("0 30 2 * * *", "*", "6 fields instead of 5", "@every 10s"),
    ("0 0 * * * 2026 x", "2026 x", "7 fields instead of 5", "seconds or years"),
    ("0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19 * * * *", "* * * *", "more than 50", "ranges"),
    ("@reboot", "@reboot", "'@reboot'", "boot is not a time"),
    ("@fortnightly", "@fortnightly", "'@fortnightly'", "@hourly"),
    ("@daily 5", "5", "nothing may follow @daily", "alone"),
    ("@every", "@every", "takes one duration", "from 1s to 31d"),
    ("@every 10 s", "10 s", "takes one duration", "10s"),
    ("@every 10", "10", "'10' is not a duration", "90s"),
    ("@every 1.5h", "1.5h", "'1.5h' is not a duration", "1h30m"),
    ("@every 0s", "0s", "out of range 1s to 31d", "31d"),
    ("@every 32d", "32d", "out of range 1s to 31d", "31d"),
    ("@every H", "H", "is not a duration", "10s"),
    ("60 * * * *", "60", "minute field of the schedule: 60 is out of range 0-59", "0-59"),
    ("0 24 * * *", "24", "hour field of the schedule: 24 is out of range 0-23", "0-23"),
    ("0 0 0 * *", "0", "day of month field of the schedule: 0 is out of range 1-31", "1-31"),
    ("0 0 32 * *", "32", "32 is out of range 1-31", "1-31"),
    ("0 0 * 13 *", "13", "month field of the schedule: 13 is out of range 1-12", "jan"),
    ("0 0 * 0 *", "0", "0 is out of range 1-12", "jan"),
    ("0 0 * * 8", "8", "day of week field of the schedule: 8 is out of range 0-7", "sun"),
    ("0,15,75 * * * *", "75", "75 is out of range", "0-59"),
    ("0-75 * * * *", "0-75", "75 is out of range", "0-59"),
    ("-5 * * * *", "-5", "'-5' is not understood", "0-59"),
    ("0 9-17-20 * * *", "9-17-20", "'9-17-20' is not understood", "a-b"),
    ("0 0 * foo *", "foo", "'foo' names no month", "jan, feb"),
    ("0 0 * * Monday", "Monday", "'monday' names no day of week", "sun, mon"),
    ("0 noon * * *", "noon", "'noon' names no hour", "0-23"),
    ("0 17-9 * * *", "17-9", "'17-9' runs backwards", "17-23,0-9"),
    ("0 0 * nov-feb *", "nov-feb", "runs backwards", "11-12,1-2"),
    ("0 0 * * 5-0", "5-0", "runs backwards", "write 7"),
    ("0 0 * * 7-2", "7-2", "runs backwards", "0-2"),
    ("*/0 * * * *", "*/0", "step of 0", "1 or more"),
    ("0 0-6/0 * * *", "0-6/0", "step of 0", "1 or more"),
    ("H/0 * * * *", "H/0", "step of 0", "1 or more"),
    ("*/x * * * *", "*/x", "'*/x' is not understood", "*/n"),
    ("*/ * * * *", "*/", "'*/' is not understood", "*/n"),
    ("*-5 * * * *", "*-5", "is not understood", "a-b"),
    ("1,,2 * * * *", "1,,2", "empty item", "a,b,c"),
    ("1, * * * *", "1,", "empty item", "a,b,c"),
    ("? * * * *", "?", "? stands only for the day", "write *"),
    ("0 0 ?,5 * *", "?,5", "? stands alone", "without the ?"),
    ("R * * * *", "R", "R (a random time) is not supported", "H"),
    ("0 R(1-5) * * *", "R(1-5)", "R (a random time) is not supported", "H"),
    ("0 0 15W * *", "15W", "W (the nearest working day) is not supported", "mon-fri"),
    ("0 0 LW * *", "LW", "W (the nearest working day) is not supported", "mon-fri"),
    ("0 0 5#2 * *", "5#2", "# stands only in the day of week", "fri#2"),
    ("0 0 * * 5#6", "5#6", "#6 is out of range", "#1 to #5"),
    ("0 0 * * 5#0", "5#0", "#0 is out of range", "#1 to #5"),
    ("0 0 * * 8#1", "8#1", "8 is out of range", "0-7"),
    ("0 0 * * 5#x", "5#x", "'5#x' is not understood", "0-7"),
    ("0 0 * * L", "L", "L needs a day here", "L5"),
    ("0 0 * * 5L", "5L", "'5L' is not understood", "L5"),
    ("0 0 * * LFRI", "LFRI", "'LFRI' is not understood", "L5"),
    ("0 0 * * L8", "L8", "8 is out of range", "0-7"),
    ("0 0 L5 * *", "L5", "'L5' is not understood", "day of week"),
    ("0 0 L-3 * *", "L-3", "'l' names no day of month", "1-31"),
    ("0 L * * *", "L", "L stands only in the day of month", "L5"),
    ("H(40-20) * * * *", "H(40-20)", "40-20 runs backwards", "H(20-40)"),
    ("H(0-60) * * * *", "H(0-60)", "60 is out of range 0-59", "0-59"),
    ("0 0 * * H(0-7)", "H(0-7)", "Sunday twice", "H"),
    ("H(5) * * * *", "H(5)", "is not understood", "0-59"),
    ("HH * * * *", "HH", "'hh' names no minute", "0-59"),
    ("0 0 30 2 *", "30 2", "no date ever fits", "L is its last day"),
    ("0 0 31 4,6 *", "31 4,6", "no date ever fits", "L is its last day"),
    ("0 0 31 feb-feb ?", "31 feb-feb", "no date ever fits", "L"),
    ("0 0 */31 * 5#2", "*/31 * 5#2", "no date ever fits", "L"),
    ("0 0 H(29-31) 2 *", "H(29-31) 2", "no date ever fits", "L"),
    ("0 0 30 H(1-2) *", "30 H(1-2)", "no date ever fits", "L"),
    ("0 0 1١ * *", "1١", "'1١' is not understood", "1-31"),
    ("0 0 * ſep *", "ſep", "'ſep' is not understood", "jan"),
    ("0\u00a00 * * * *", "0\u00a00", "is not understood", "0-59"),
    ("; rm -rf * *", ";", "';' is not understood", "0-59"),
]


@pytest.mark.parametrize(("expression", "part", "message", "hint"), WRONG)
def test_each_mistake_is_refused_at_its_place_with_a_reason_and_a_hint(expression, part, message, hint):
    with pytest.raises(ScheduleInvalid) as caught:
        parse(expression, "backup@db-1")
    error = caught.value
    start, end = error.position
    assert expression[start:end] == part
    assert message in error.message
    assert hint in error.hint
    assert "\n" not in error.message
    assert error.details == {"position": [start, end]}
    assert isinstance(error, Permanent)
    assert isinstance(error, ValueError)


RIGHT = [
    "0 0 29 2 *",
    "0 0 30 2 1",  # by the rule of "or": every Monday of February
    "0 0 * 2 1#5",  # in leap years that begin so
    "0 0 31 4,5 *",
    "0 0 H 2 *",
    "0 0 31 * L5",
]


@pytest.mark.parametrize("expression", RIGHT)
def test_rare_dates_are_not_impossible_ones(expression):
    assert parse(expression, "backup@db-1")


def test_an_impossible_choice_of_h_is_refused_for_every_task_alike():
    for number in range(40):
        with pytest.raises(ScheduleInvalid):
            parse("0 0 30 H(1-2) *", f"t@{number}")


def test_whatever_croniter_raises_becomes_one_error_with_a_place(monkeypatch):
    library = [
        error
        for _, error in inspect.getmembers(croniter_package.croniter, inspect.isclass)
        if issubclass(error, Exception) and error.__module__.startswith("croniter")
    ] or [getattr(croniter_package, name) for name in dir(croniter_package) if name.endswith("Error")]
    assert len(library) >= 5
    for error in [*library, TypeError, KeyError]:

        def refuse(*_args, error=error, **_kwargs):
            raise error("the library's own reason")

        expand.expand_item.cache_clear()
        with monkeypatch.context() as patch, pytest.raises(ScheduleInvalid) as caught:
            patch.setattr(croniter, "expand", refuse)
            parse(f"{library.index(error) if error in library else 30} 23 1-30/29 * *", "t@s")
        assert "the library's own reason" in caught.value.message
        assert caught.value.position[0] == 0
    expand.expand_item.cache_clear()


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet="0123456789*/,-#?LWHR()@ adefijmnorsuy", max_size=30))
def test_any_text_is_a_schedule_or_a_well_placed_error(text):
    check(text)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(alphabet="0123456789*/,-#?LWHR()", min_size=1, max_size=7), min_size=5, max_size=5))
def test_any_five_fields_are_a_schedule_or_a_well_placed_error(fields):
    check(" ".join(fields))


def check(text: str) -> None:
    refused = None
    try:
        schedule = parse(text, "t@s")
    except ScheduleInvalid as error:
        refused = error
    if refused is None:
        again = schedule.resolved
        assert len(again) > 50 or parse(again, "other@s").resolved == again
    else:
        start, end = refused.position
        assert 0 <= start <= end <= len(text)
        assert refused.hint
