"""Text, JSON and Markdown of whole plans."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.measured import Measured
from reconciler.plan.entries import wrapped
from reconciler.plan.json import plan_shape
from reconciler.plan.markdown import LIMIT, code, escape, plan_markdown
from reconciler.plan.text import plan_text
from reconciler.plan.words import difference, fires, printable, value, width
from tests.plan.goldens import FOLDER, FORMS, PLANS, everything
from tests.plan.world import NOW, World, applied, server, task, tree


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", PLANS)
def test_whole_outputs(name: str, form: str) -> None:
    golden = (FOLDER / f"{name}.{form}").read_text(encoding="utf-8")
    assert FORMS[form](PLANS[name]()) == golden, "if it is meant: python -m tests.plan.goldens"


def test_without_colour_there_is_no_escape_and_with_it_the_same_words() -> None:
    plan = everything()
    plain, coloured = plan_text(plan), plan_text(plan, colour=True)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain


def test_no_line_ends_in_spaces() -> None:
    assert [line for line in plan_text(everything()).split("\n") if line != line.rstrip()] == []


def test_the_json_has_every_field_of_the_contract() -> None:
    shape = plan_shape(everything())
    assert {"format", "project", "revision", "digest", "summary", "changes", "guard", "drift"} <= set(shape)
    for change in shape["changes"]:
        assert {"action", "kind", "name", "server", "path", "line", "fields", "reason", "effect"} == set(
            change
        )
        if change["kind"] == "Task":
            assert {
                "runsPerDay", "nextFires", "dst", "overlapPerDay", "busiestMinute", "running",
            } <= set(change["effect"])  # fmt: skip
    assert {"tripped", "deletions", "limit", "percent", "release"} <= set(shape["guard"])
    for drift in shape["drift"]:
        assert {"kind", "name", "server", "fields"} <= set(drift)
    json.dumps(shape, allow_nan=False)


def test_execution_ids_are_text_in_json() -> None:
    world = applied(server("db-1"), task("a"))
    row = world.task_row("a", "db-1")
    plan = world.plan(
        tree(server("db-1"), task("a", timeout="2h")),
        NOW,
        measured=Measured(running={row.id: ((1 << 62) + 1,)}),
    )
    assert plan_shape(plan)["changes"][0]["effect"]["running"] == ["4611686018427387905"]


def test_overlaps_are_a_warning() -> None:
    world = applied(server("db-1"), task("a", schedule="@hourly"))
    row = world.task_row("a", "db-1")
    plan = world.plan(
        tree(server("db-1"), task("a", schedule="*/5 * * * *")), NOW, measured=Measured({row.id: 400.0})
    )
    assert "overlapping runs    about 144 a day come due while an earlier one is in" in plan_text(plan)


def test_what_an_effect_says_fits_eighty_columns() -> None:
    text = plan_text(everything())
    notes = [line for line in text.split("\n") if line.startswith("      ")]
    assert [line for line in notes if len(line) > 80] == []
    dates = [line for line in notes if "Mon 2 Mar 02:00" in line]
    assert all(line.endswith(",") for line in dates), "a date is not broken in two"


@given(st.text("ab ,;", max_size=300), st.integers(1, 60))
def test_broken_lines_have_every_word_in_order(text: str, room: int) -> None:
    assert " ".join(wrapped(text, room)).split() == text.split()


def test_a_changed_list_is_shown_item_by_item_and_a_long_value_whole() -> None:
    keys = [f"ssh-ed25519 {letter * 40}" for letter in "abc"]
    world = applied(server("db-1", hostKeys=keys[:2]), task("a", command="x" * 90))
    text = plan_text(
        world.plan(tree(server("db-1", hostKeys=keys[1:]), task("a", command="x" * 90 + " | evil")))
    )
    assert f"- {keys[0]}\n" in text
    assert f"  {keys[1]}\n" in text
    assert f"+ {keys[2]}\n" in text
    assert f"+ {'x' * 90} | evil\n" in text


def test_a_new_long_script_is_shown_from_its_beginning() -> None:
    script = "".join(f"line {number}\n" for number in range(100))
    text = plan_text(World().plan(tree(server("db-1"), task("a", command=script))))
    assert "+ line 39\n" in text
    assert "… 60 more lines" in text
    assert "line 40" not in text


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("a\nb\n", "a\nc\n", [" a", "-b", "+c"]),
        ("a\n", "a", ["-a", "+a (no line end)"]),
        (None, "a\nb\n", ["+a", "+b"]),
        ("a\nb\n", None, ["-a", "-b"]),
        (["x"], ["x", "y"], [" x", "+y"]),
        ("0\n1\n2\n3\n4\n", "0\n1\n2\n3\n", ["…2 unchanged lines", " 2", " 3", "-4"]),
    ],
)  # fmt: skip
def test_the_difference_of_two_texts(before: object, after: object, shown: list[str]) -> None:
    assert [sign + line for sign, line in difference(before, after)] == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"), ("a\nb", "a\\nb"), ("a\u202eb", "a\\u202eb"), ("备份", "备份"),
        ("\ud800", "\\ud800"),
    ],
)  # fmt: skip
def test_nothing_moves_the_cursor_or_hides(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("item", "shown"),
    [
        (None, "(none)"), ("(none)", '"(none)"'), ("", '""'), (" x", '" x"'), (True, "true"), (2, "2"),
        (["a"], '["a"]'),
    ],
)  # fmt: skip
def test_a_value_is_shown_so_that_it_cannot_be_mistaken(item: object, shown: str) -> None:
    assert value(item) == shown


def test_wide_characters_are_aligned_by_their_columns() -> None:
    lines = plan_text(World().plan(tree(server("库"), server("db-1")))).split("\n")
    places = [line for line in lines if "servers.yaml" in line]
    assert len({width(line[: line.index("servers.yaml")]) for line in places}) == 1


def test_fires_tell_the_offset_where_it_changes() -> None:
    from datetime import UTC, datetime, timedelta

    from reconciler.plan.changes import Times

    first = datetime(2026, 10, 24, 0, 30, tzinfo=UTC)
    times = Times(1, (first, first + timedelta(days=1), first + timedelta(days=1, hours=1)), "Europe/Berlin")
    assert fires(times) == "Sat 24 Oct 02:30, Sun 25 Oct 02:30, 02:30 CET (Europe/Berlin)"


def test_equal_changes_on_many_servers_are_one_entry() -> None:
    servers = [server(f"web-{number:02}") for number in range(20)]
    tasks = [task("rotate", one.name) for one in servers]
    text = plan_text(World().plan(tree(*servers, *tasks)))
    assert "+ create  Task rotate on 20 servers" in text
    assert "on web-00, web-01, web-02, web-03, web-04, web-05, web-06, web-07 and 12 more" in text


def big(count: int, command: str = "echo") -> str:
    objects = [
        server("db-1"),
        *[task(f"task-{number:05}", command=f"{command} {number}") for number in range(count)],
    ]
    return plan_markdown(World().plan(tree(*objects)))


@pytest.mark.parametrize("count", [1, 100, 1_000, 5_000])
@pytest.mark.parametrize("command", ["echo", "x" * 3_000, "line\n" * 200, "`" * 500])
def test_markdown_is_never_too_long_and_counts_the_rest(count: int, command: str) -> None:
    text = big(count, command)
    assert len(text) < LIMIT
    shown = len(re.findall(r"^\+  create  Task", text, flags=re.MULTILINE))
    rest = re.search(r"^… ([\d,]+) (?:more )?rows?;", text, flags=re.MULTILINE)
    assert shown + (int(rest[1].replace(",", "")) if rest else 0) == count
    assert text.count("<details") == text.count("</details>")


def test_deletions_come_first_in_markdown() -> None:
    text = plan_markdown(everything())
    assert text.index("Deletions (2)") < text.index("Servers (2)")
    assert text.index("CAUTION") < text.index("Deletions (2)")


@pytest.mark.parametrize("evil", ["```\n# big", "</details><script>", "@everyone", "````` x"])
def test_nothing_of_a_manifest_gets_out_of_its_fence(evil: str) -> None:
    text = plan_markdown(World().plan(tree(server("db-1"), task("a", command=evil, env={"A": evil}))))
    outside: list[str] = []
    fence = ""
    for line in text.split("\n"):
        found = re.match(r"`{3,}", line)
        if not fence and found:
            fence = found[0]
        elif fence and line == fence:
            fence = ""
        elif not fence:
            outside.append(line)
    assert not fence
    assert "script" not in "\n".join(outside)
    assert "everyone" not in "\n".join(outside)
    assert "# big" not in "\n".join(outside)


def test_code_spans_and_escapes_hold() -> None:
    assert code("a`b") == "``a`b``"
    assert code("`") == "`` ` ``"
    assert code("") == ""
    assert escape("a@b <x> *y* #1") == r"a&#64;b &lt;x&gt; \*y\* \#1"
