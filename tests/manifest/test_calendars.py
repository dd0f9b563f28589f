"""Calendars in a tree: read, checked, and part of what each task that names them is."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import pytest

from reconciler.model.state import task_spec
from tests.manifest.trees import SERVER, briefs, codes, documents, load, marked, project, task

NIGHTS = 'deny: [{weekdays: [sun, mon], from: "22:00", until: 06:00}]'
TASK = "server: db-1\ncommand: x\n"


def calendar(spec: str, name: str = "nights") -> str:
    """A Calendar document; the spec is YAML in block style."""
    head = f"apiVersion: reconciler/v1\nkind: Calendar\nmetadata: {{name: {name}}}\nspec:\n"
    return head + indent(spec.strip("\n"), "  ") + "\n"


def test_a_tasks_document_holds_what_the_calendars_say_the_projects_first_and_none_twice(
    tmp_path: Path,
) -> None:
    text = documents(
        project("calendars: [holidays]"),
        calendar("timezone: Europe/Berlin\ndeny: [{dates: [2026-12-24]}]", "holidays"),
        calendar(NIGHTS),
        SERVER,
        task(TASK + "calendars: [nights, holidays]", "own"),
        task(TASK, "plain"),
    )
    loaded = load(tmp_path, {"a.yaml": text})
    assert loaded.resources == {"Server": 1, "Task": 2, "Calendar": 2}
    tasks = loaded.valid_state().tasks
    holidays = {"name": "holidays", "timezone": "Europe/Berlin", "deny": [{"dates": ["2026-12-24"]}]}
    nights = {"name": "nights", "deny": [{"weekdays": ["mon", "sun"], "from": "22:00", "until": "06:00"}]}
    assert tasks["plain", "db-1"].definition.document["spec"]["calendars"] == [holidays]
    document = tasks["own", "db-1"].definition.document
    assert document["spec"]["calendars"] == [holidays, nights]
    assert [item.name for item in task_spec(document).calendars] == ["holidays", "nights"]


def test_a_default_names_calendars_and_a_tasks_own_list_replaces_it(tmp_path: Path) -> None:
    text = documents(
        project("defaults: {task: {calendars: [nights]}}"),
        calendar(NIGHTS),
        calendar("deny: []", "empty"),
        SERVER,
        task(TASK, "default"),
        task(TASK + "calendars: [empty]", "own"),
        task(TASK + "calendars: []", "none"),
    )
    tasks = load(tmp_path, {"a.yaml": text}).valid_state().tasks
    names = {
        name: [item["name"] for item in row.definition.document["spec"].get("calendars", [])]
        for (name, _), row in tasks.items()
    }
    assert names == {"default": ["nights"], "own": ["empty"], "none": []}


def test_a_task_without_calendars_has_the_document_it_had_before(tmp_path: Path) -> None:
    without = load(tmp_path / "1", {"a.yaml": documents(SERVER, task(TASK))}).valid_state()
    beside = documents(SERVER, task(TASK + "calendars: []"), calendar(NIGHTS))
    with_one = load(tmp_path / "2", {"a.yaml": beside}).valid_state()
    assert without.tasks["t", "db-1"].definition == with_one.tasks["t", "db-1"].definition


def test_where_a_calendar_stands_does_not_matter(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "a.yaml": documents(SERVER, task(TASK + "calendars: [nights]")),
        "z.yaml": calendar(NIGHTS),
    }
    assert load(tmp_path, files).valid_state().tasks["t", "db-1"].definition.document["spec"]["calendars"]


def test_unknown_and_repeated_names_are_told_where_they_stand(tmp_path: Path) -> None:
    text = documents(
        project("calendars: [nigths]\ndefaults:\n  task: {calendars: [day]}"),
        calendar(NIGHTS),
        calendar(NIGHTS),
        SERVER,
        task(TASK + "calendars: [nights, xyz, nights]"),
        task(TASK, "other"),
    )
    loaded = load(tmp_path, {"a.yaml": text})
    assert [(problem.code, problem.field) for problem in loaded.problems] == [
        ("unknown-calendar", "spec.calendars[0]"),
        ("unknown-calendar", "spec.defaults.task.calendars[0]"),
        ("duplicate-name", "metadata.name"),
        ("unknown-calendar", "spec.calendars[1]"),
        ("duplicate-calendar", "spec.calendars[2]"),
    ]
    assert marked(tmp_path, loaded.problems[0]) == "nigths"
    assert loaded.problems[0].hint == "did you mean `nights`?"
    assert loaded.problems[3].hint == "declare it (kind: Calendar), or remove it here"


def test_a_calendar_may_be_declared_where_the_tree_could_not_be_read(tmp_path: Path) -> None:
    text = documents(SERVER, task(TASK + "calendars: [nights]"), calendar(NIGHTS).replace("spec:", "spec: ["))
    assert "unknown-calendar" not in codes(load(tmp_path, {"a.yaml": text}))


@pytest.mark.parametrize(
    ("window", "expected", "at"),
    [
        ("{weekdays: [mon], from: 22:00, until: 06:00}", "yaml-ambiguous", "22:00"),
        ('{from: "22:00", until: "06:00"}', "calendar-window", '"22:00"'),
        ("{from: 2026-12-24, until: 2026-12-20}", "calendar-window", "2026-12-20"),
        ('{dates: [2026-12-24], from: 2026-12-24, until: "06:00"}', "calendar-window", "2026-12-24"),
        ("{dates: [2026-12-24], weekdays: [mon]}", "calendar-window", "[2026-12-24]"),
        ("{dates: [24.12.2026]}", "invalid-value", "24.12.2026"),
        ("{weekdays: [moon]}", "invalid-value", "moon"),
        ("{weekdays: mon}", "wrong-type", "mon"),
        ("{start: 2026-12-24, dates: [2026-12-24]}", "unknown-field", "start"),
        ("{until: 2026-12-24}", "calendar-window", "2026-12-24"),
    ],
)
def test_what_is_wrong_with_a_window_is_told_at_its_field(
    tmp_path: Path, window: str, expected: str, at: str
) -> None:
    loaded = load(tmp_path, {"a.yaml": calendar(f"deny:\n  - {window}")})
    (problem,) = loaded.problems
    assert problem.code == expected, briefs(loaded)
    assert marked(tmp_path, problem) == at
    assert problem.hint
