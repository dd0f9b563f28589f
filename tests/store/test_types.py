"""What goes into a column comes out of it, on all three databases, or is refused before it is stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, func, select, text

from reconciler.clock import SystemClock
from reconciler.errors import DatabaseRejected
from reconciler.model.canonical import canonical_json, document_hash
from reconciler.store.engine import Database
from reconciler.store.tables import SERVER_TABLE
from reconciler.store.types import Json, Key, LongText, MediumText, UtcDateTime
from tests.store.conftest import DIALECTS, Migrated

SCRATCH = Table(
    "scratch",
    MetaData(),
    Column("id", Key, primary_key=True),
    Column("time", UtcDateTime()),
    Column("json", Json()),
    Column("long", LongText),
    Column("medium", MediumText),
    Column("n", Integer),
    **SERVER_TABLE,
)

TEXTS = {
    "empty": "",
    "Chinese": "备份数据库",
    "an emoji of four bytes": "🦊 done ✅",
    "a family of seven code points": "👨‍👩‍👧‍👦",
    "a rare Han character": "𠜎𪚥",
    "right to left": "نسخ احتياطي",
    "a letter and its accent apart": "e\u0301 is not é",
    "spaces at both ends": "  trailing spaces stay   ",
    "line ends": "a\r\nb\nc\rd\tе",
    "NUL and controls": "a\0b\x01\x1b[31m\x7f",
    "quotes": "it's \"quoted\" `back` \\ \\' %s %(x)s ? :name --",
    "the last code point": "\U0010ffff\ufffd\ufeff",
    "more than 64 KiB": "数" * 70_000,
    "more than a megabyte": "0123456789abcde\n" * 70_000,
}
TIMES = [
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2026, 11, 24, 2, 30, 0, 1, tzinfo=UTC),
    datetime(2026, 3, 29, 1, 30, tzinfo=UTC),  # the hour that Berlin skips and repeats
    datetime(2026, 10, 25, 0, 30, 0, 123_456, tzinfo=UTC),
    datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),  # one more than 31 bits of seconds
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]


@pytest.fixture(scope="module", params=DIALECTS)
def scratch(
    request: pytest.FixtureRequest, migrated: Migrated, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    url = migrated.url(request.param, tmp_path_factory.mktemp("types") / "state.db")
    with closing(Database.open(url, SystemClock())) as db:
        with db.write() as connection:
            SCRATCH.create(connection)
        yield db
        with db.write() as connection:
            SCRATCH.drop(connection)


def stored(db: Database, column: str, value: Any) -> Any:
    """The value after a way into the database and back, on another transaction."""
    with db.write() as connection:
        key = connection.execute(SCRATCH.insert().values({column: value})).inserted_primary_key[0]
    with db.read() as connection:
        return connection.execute(select(SCRATCH.c[column]).where(SCRATCH.c.id == key)).scalar_one()


@pytest.mark.parametrize("moment", TIMES, ids=str)
def test_a_time_keeps_its_microseconds_and_comes_back_in_utc(scratch: Database, moment: datetime) -> None:
    back = stored(scratch, "time", moment)
    assert back == moment
    assert back.tzinfo is UTC


def test_no_time_is_no_time(scratch: Database) -> None:
    assert stored(scratch, "time", None) is None


@pytest.mark.parametrize(
    "zone", [ZoneInfo("UTC"), timezone(timedelta(0)), ZoneInfo("Africa/Abidjan")], ids=str
)
def test_utc_by_another_name_is_utc(scratch: Database, zone: Any) -> None:
    assert stored(scratch, "time", datetime(2026, 7, 1, 12, tzinfo=zone)) == datetime(
        2026, 7, 1, 12, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "wrong",
    [
        datetime(2026, 7, 1, 12),  # noqa: DTZ001  # that is the point
        datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2))),
        datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(microseconds=1))),
    ],
    ids=["naive", "+02:00", "Berlin", "a microsecond off"],
)
def test_a_time_that_is_not_utc_is_refused_and_nothing_is_stored(scratch: Database, wrong: datetime) -> None:
    count = select(func.count()).select_from(SCRATCH)
    with scratch.read() as connection:
        before = connection.execute(count).scalar_one()
    with pytest.raises(DatabaseRejected, match="must be aware and in UTC"), scratch.write() as connection:
        connection.execute(SCRATCH.insert().values(time=datetime(2026, 1, 1, tzinfo=UTC)))
        connection.execute(SCRATCH.insert().values(time=wrong))
    with pytest.raises(DatabaseRejected, match="must be aware and in UTC"), scratch.read() as connection:
        connection.execute(select(SCRATCH.c.id).where(SCRATCH.c.time < wrong))
    with scratch.read() as connection:
        assert connection.execute(count).scalar_one() == before


def test_times_are_compared_and_sorted_to_the_microsecond(scratch: Database) -> None:
    base = datetime(2031, 5, 5, 5, 5, 5, tzinfo=UTC)
    moments = [base + timedelta(microseconds=step) for step in (0, 1, 2, 999_999, 1_000_000)]
    with scratch.write() as connection:
        connection.execute(SCRATCH.insert(), [{"time": moment} for moment in reversed(moments)])
    with scratch.read() as connection:
        query = select(SCRATCH.c.time).where(SCRATCH.c.time.between(moments[1], moments[4])).order_by("time")
        assert list(connection.scalars(query)) == moments[1:]


@pytest.mark.parametrize("column", ["long", "medium"])
@pytest.mark.parametrize("what", TEXTS)
def test_a_text_comes_back_to_the_last_character(scratch: Database, column: str, what: str) -> None:
    assert stored(scratch, column, TEXTS[what]) == TEXTS[what]


def test_texts_are_compared_by_their_characters_and_nothing_else(scratch: Database) -> None:
    words = ["Task", "task", "tásk", "ta\u0301sk", "ＴＡＳＫ", "ß", "ss", "备份", "備份"]
    with scratch.write() as connection:
        connection.execute(SCRATCH.delete())
        connection.execute(SCRATCH.insert(), [{"long": word, "n": n} for n, word in enumerate(words)])
    with scratch.read() as connection:
        for n, word in enumerate(words):
            query = select(SCRATCH.c.n).where(SCRATCH.c.long == word)
            assert connection.scalars(query).all() == [n]
        assert connection.scalars(select(SCRATCH.c.long).order_by(SCRATCH.c.long)).all() == sorted(words)


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"b": 1, "a": {"z": [1, 2.0, 2.5, -0.0], "y": None}, "备份": "🦊"},
        {"big": 2**63 + 1, "huge": 10**40, "small": 1e-300, "float": 0.1},
        [True, False, None, 0, 1, "", "\u0000"],
        {"long": "x" * 100_000},
        "just a text",
        12,
        False,
    ],
    ids=lambda value: str(value)[:30],
)
def test_json_is_stored_as_the_text_that_is_hashed(scratch: Database, value: Any) -> None:
    back = stored(scratch, "json", value)
    assert back == value
    assert canonical_json(back) == canonical_json(value)
    with scratch.read() as connection:
        raw = connection.execute(text("SELECT json FROM scratch ORDER BY id DESC LIMIT 1")).scalar_one()
    assert raw == canonical_json(value)


def test_no_json_is_null_and_not_the_word(scratch: Database) -> None:
    assert stored(scratch, "json", None) is None
    with scratch.read() as connection:
        latest = text("SELECT json IS NULL FROM scratch ORDER BY id DESC LIMIT 1")
        assert connection.execute(latest).scalar_one() == 1


documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=st.dictionaries(st.sampled_from(["spec", "metadata", "a", "Z"]), documents))
def test_any_document_keeps_its_hash(scratch: Database, document: dict[str, Any]) -> None:
    assert document_hash(stored(scratch, "json", document)) == document_hash(document)


def test_what_is_no_json_is_refused(scratch: Database) -> None:
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(DatabaseRejected), scratch.write() as connection:
            connection.execute(SCRATCH.insert().values(json={"n": wrong}))


def test_a_lone_surrogate_is_refused_with_words(scratch: Database) -> None:
    with pytest.raises(DatabaseRejected, match="no valid Unicode"), scratch.write() as connection:
        connection.execute(SCRATCH.insert().values(long="\ud800 from a broken file name"))


def test_sqlite_counts_its_keys_up_and_json_is_plain_text_there(sqlite_url: str) -> None:
    with closing(Database.open(sqlite_url, SystemClock())) as db, db.write() as connection:
        SCRATCH.create(connection)
        connection.execute(SCRATCH.insert(), [{"json": {"a": 1}}, {"json": {"a": 2}}])
        rows = connection.execute(text("SELECT id, json, typeof(json), typeof(id) FROM scratch")).all()
    assert [tuple(row) for row in rows] == [
        (1, '{"a":1}', "text", "integer"),
        (2, '{"a":2}', "text", "integer"),
    ]
    assert json.loads(rows[0][1]) == {"a": 1}
