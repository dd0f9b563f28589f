"""The forms of problems, one corner at a time (whole outputs: test_golden)."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from reconciler.manifest.problem import Problem, headline, in_order
from reconciler.manifest.render.hosts import github, gitlab
from reconciler.manifest.render.junit import junit
from reconciler.manifest.render.report import Report
from reconciler.manifest.render.sarif import sarif
from reconciler.manifest.render.text import text, width
from tests.manifest.trees import SERVER, load, task


def report(*problems: Problem) -> Report:
    return Report(problems, tuple({problem.path for problem in problems}), {"Server": 1, "Task": 0})


def problem(**changes: object) -> Problem:
    facts: dict[str, object] = {
        "severity": "error",
        "code": "a-code",
        "message": "wrong",
        "path": "a.yaml",
        "line": 3,
        "column": 5,
        "end_line": 3,
        "end_column": 8,
        "excerpt": "one two three",
    }
    return Problem(**{**facts, **changes})  # type: ignore[arg-type]


def test_carets_stand_below_the_range_also_behind_wide_characters() -> None:
    shown = text(report(problem(excerpt="备份: 数据库 x", column=5, end_column=8)))
    line, carets = shown.splitlines()[1:3]
    start = carets.index("^")
    assert width(line[: line.index("数")]) == start
    assert carets.count("^") == 6


def test_a_very_long_line_is_cut_around_the_range(tmp_path: Path) -> None:
    long = "command: " + "x" * 5000 + "\ntimeout: 5\n"
    text_of = task(f"server: db-1\n{long}")
    loaded = load(tmp_path, {"s.yaml": SERVER, "t.yaml": text_of})
    assert [p.code for p in loaded.problems] == ["wrong-type"]
    flow = "apiVersion: reconciler/v1\nkind: Task\nmetadata: {name: t}\n"
    flow += "spec: {server: db-1, command: " + "x" * 5000 + ", timeout: 5, env: {A: " + "y" * 5000 + "}}\n"
    (found,) = load(tmp_path, {"t.yaml": flow}).problems
    shown = text(report(found)).splitlines()
    assert len(shown[1]) < 250
    assert shown[1].startswith("    4 | …")
    assert shown[1][shown[2].index("^")] == "5"


def test_what_a_terminal_would_obey_is_not_printed() -> None:
    evil = "a \x1b[31m \u202e b"
    shown = text(report(problem(message=evil, hint=evil, excerpt=evil, path="a\x1b.yaml")))
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "\x1b[1;31m" in text(report(problem()), colour=True)


def test_the_summary_counts_errors_and_warnings_apart() -> None:
    warning = problem(severity="warning", path="b.yaml")
    assert headline([problem()]) == "1 problem in 1 file"
    assert headline([problem(), warning, warning]) == "1 problem in 1 file, 2 warnings in 1 file"
    assert headline([warning]) == "1 warning in 1 file"
    assert text(Report((), (), {"Server": 1200, "Task": 1})) == "1,200 servers, 1 task: no problems\n"


def test_github_commands_escape_what_ends_a_property_or_a_line() -> None:
    shown = github(report(problem(path="a,b:c%d.yaml", message="100%\nnext", hint="a::b")))
    command = shown.splitlines()[0]
    assert command.startswith(
        "::error file=a%2Cb%3Ac%25d.yaml,line=3,endLine=3,col=5,endColumn=7,title=a-code::"
    )
    assert command.endswith("::100%25%0Anext%0Ahint: a::b")


def test_sarif_addresses_are_percent_encoded() -> None:
    log = sarif(report(problem(path="Größe/a b#1.yaml")))
    location = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert location["artifactLocation"]["uri"] == "Gr%C3%B6%C3%9Fe/a%20b%231.yaml"


def test_the_same_mistake_twice_has_two_fingerprints() -> None:
    first, second = gitlab(report(problem(), problem(line=9, end_line=9)))
    assert first["fingerprint"] != second["fingerprint"]


def test_junit_is_xml_whatever_a_message_holds() -> None:
    shown = junit(
        report(problem(message='<&"\x00\x1b]]>\ud800', severity="error"), problem(severity="warning"))
    )
    suite = ElementTree.fromstring(shown.encode("utf-8"))
    assert suite.get("failures") == "1"
    assert len(suite.findall(".//system-out")) == 1


def test_problems_are_in_order_of_their_places_and_each_stands_once() -> None:
    later, earlier, other = problem(line=9), problem(line=2), problem(path="Z.yaml")
    assert in_order([later, other, earlier, later]) == (other, earlier, later)


def test_secrets_are_masked_in_the_lines_that_are_shown(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "a.yaml": SERVER.replace(
            "username: deploy", "auth: {password: hunter2, pasword: hunter3}, username: a b"
        ),
        "b.yaml": "password: @hunter4\n",
        "c.yaml": "api_key: hunter5 # {\ntoken: [hunter\n",
        "d.yaml": task("server: db-1\ncommand: x\nsecrets: {A: hunter6, B: {env: 'hunter 7'}, C: [hunter8]}"),
        "e.yaml": task("server: db-1\ncommand: x\nsecrets:\n  A: hunter9\n  B: 12345"),
    }
    loaded = load(tmp_path, files)
    shown = text(report(*loaded.problems))
    assert "hunter" not in shown.replace("hunter\n", "")
    assert "12345" not in shown
    assert "hunter2" not in github(report(*loaded.problems))
