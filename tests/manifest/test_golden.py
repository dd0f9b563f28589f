"""Whole outputs of `validate` for a tree with 20 different mistakes in 6 files.

After a wanted change: ``UPDATE_GOLDEN=1 pytest tests/manifest/test_golden.py``, and read the difference.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from reconciler import __version__
from reconciler.cli.main import main

DATA = Path(__file__).parent / "data"

PLACES = """\
project.yaml:5:49 out-of-range
project.yaml:7:37 unknown-field
servers/database.yaml:8:9 wrong-type
servers/database.yaml:12:18 duplicate-name
servers/database.yaml:15:20 wrong-type
servers/web.yaml:4:53 yaml-boolean
servers/web.yaml:5:31 jump-cycle
servers/web.yaml:8:7 unknown-kind
tasks/backup.yaml:5:11 unknown-server
tasks/backup.yaml:7:22 schedule-invalid
tasks/backup.yaml:14:3 exactly-one
tasks/backup.yaml:16:3 unknown-field
tasks/backup.yaml:20:18 invalid-value
tasks/backup.yaml:21:1 exactly-one
tasks/clean.yaml:7:13 invalid-value
tasks/clean.yaml:9:3 duplicate-key
tasks/clean.yaml:15:26 duplicate-server
tasks/clean.yaml:16:18 script-outside-tree
tasks/clean.yaml:17:18 invalid-value
tasks/poll.yaml:7:13 yaml-syntax
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tree as ``repo/manifests`` of a git work tree, seen from the folder above it."""
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    shutil.copytree(DATA / "twenty", tmp_path / "repo" / "manifests")
    return Path("repo/manifests")


def test_twenty_mistakes_in_six_files_are_twenty_problems_at_their_places(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(tree), "-o", "json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    places = [f"{p['path']}:{p['line']}:{p['column']} {p['code']}\n" for p in shown["problems"]]
    assert "".join(places) == PLACES
    assert shown["resources"] == {"Server": 4, "Task": 5, "Calendar": 0}
    assert len({p["path"] for p in shown["problems"]}) == 6


@pytest.mark.parametrize("form", ["text", "json", "sarif", "github", "gitlab", "junit"])
def test_the_whole_output_is_as_it_was(form: str, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "-o", form, str(tree)]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    shown = out.replace(f'"{__version__}"', '"VERSION"')
    golden = DATA / f"twenty.{form}"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(shown, encoding="utf-8")
    assert shown == golden.read_text(encoding="utf-8")


def test_a_value_that_stands_where_a_secret_is_named_is_never_shown(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for form in ("text", "json", "sarif", "github", "gitlab", "junit"):
        main(["validate", "-o", form, str(tree)])
        out, err = capsys.readouterr()
        assert "hunter2" not in out + err


def test_sarif_has_what_the_standard_requires(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["validate", "-o", "sarif", str(tree)])
    log = json.loads(capsys.readouterr().out)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert run["columnKind"] == "unicodeCodePoints"
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    assert len(run["results"]) == 20
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note", "none")
        assert result["message"]["text"]
        physical = result["locations"][0]["physicalLocation"]
        assert re.fullmatch(r"manifests/[A-Za-z0-9./%-]+", physical["artifactLocation"]["uri"])
        region = physical["region"]
        assert region["startLine"] == region["endLine"] >= 1
        assert 1 <= region["startColumn"] <= region["endColumn"]
    prints = [result["partialFingerprints"]["reconciler/v1"] for result in run["results"]]
    assert len(set(prints)) == 20


def test_gitlab_fingerprints_do_not_depend_on_lines(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fingerprints() -> list[str]:
        main(["validate", "-o", "gitlab", str(tree)])
        return [issue["fingerprint"] for issue in json.loads(capsys.readouterr().out)]

    before = fingerprints()
    for path in (tree / "tasks" / "clean.yaml", tree / "tasks" / "poll.yaml"):
        path.write_text("# a comment\n\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    after = fingerprints()
    # the duplicate key names the line of the first one
    assert len(set(before) ^ set(after)) == 2


def test_junit_is_xml_with_a_failure_for_each_problem(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write = tree / "tasks" / "fine.yaml"
    write.write_text("# nothing\n", encoding="utf-8")
    main(["validate", "-o", "junit", str(tree)])
    suites = ElementTree.fromstring(capsys.readouterr().out)
    assert suites.get("tests") == "21"
    assert suites.get("failures") == "20"
    assert len(suites.findall("./testsuite/testcase/failure")) == 20
    passed = [case.get("name") for case in suites.iter("testcase") if case.find("failure") is None]
    assert passed == ["tasks/fine.yaml"]
