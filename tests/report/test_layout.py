"""Text in columns: wide characters, cutting, and nothing that a terminal would obey."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.report.layout import Column, Style, cut, pad, printable, table, width


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("备份数据库", 10), ("e\u0301", 1), ("", 0), ("ｆｕｌｌ", 8), ("ña", 2)]
)
def test_width_counts_columns_of_a_terminal(text: str, columns: int) -> None:
    assert width(text) == columns


@given(st.text(max_size=30), st.integers(0, 20))
def test_a_cut_text_never_takes_more_columns_than_it_may(text: str, columns: int) -> None:
    assert width(cut(printable(text), columns)) <= max(columns, 0)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
def test_printable_text_is_one_line_without_controls(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert "\x1b" not in shown


def test_a_padded_text_takes_the_columns_asked_for() -> None:
    assert pad("备份", 6) == "备份  "
    assert pad("7", 3, right=True) == "  7"
    assert pad("too long", 3) == "too long"


def test_columns_of_a_table_stand_below_each_other_whatever_the_script() -> None:
    lines = table(
        (Column("TASK"), Column("RUNS", right=True), Column("NOTE")),
        [["备份数据库", "7", "x"], ["short", "1,000", ""]],
    )
    assert lines == [
        "TASK         RUNS  NOTE",
        "备份数据库      7  x",
        "short       1,000",
    ]


def test_a_column_that_is_empty_in_every_row_is_left_out() -> None:
    assert table((Column("A"), Column("B"), Column("C")), [["1", "", "3"]]) == ["A  C", "1  3"]


def test_styles_paint_the_text_and_not_the_space_around_it() -> None:
    lines = table(
        (Column("A"), Column("B")),
        [[("x", Style.BAD), "y"]],
        lambda text, style: f"<{text}>" if style is Style.BAD else text,
    )
    assert lines == ["A  B", "<x>  y"]


def test_a_long_cell_is_cut_and_the_line_not_wrapped() -> None:
    assert table((Column("A", most=5),), [["a long text"]]) == ["A", "a lo…"]


def test_a_name_that_is_part_of_its_own_padding_is_painted_once() -> None:
    lines = table(
        (Column("A"), Column("B")), [[(" ", Style.BAD), "y"], ["abc", "z"]], lambda text, style: f"[{text}]"
    )
    assert lines[1].count("[ ]") == 1
