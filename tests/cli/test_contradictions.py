"""What the tree says and the database cannot follow: shown at the value that causes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import main
from tests.acceptance.driver import documents, write_tree
from tests.manifest.trees import project, server, task
from tests.services.git import GitRepository


@pytest.fixture(autouse=True)
def _fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Project `fleet` has server `edge`, which task `theirs` of project `other` needs, and server `free`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECONCILER_DATABASE_URL", f"sqlite:///{tmp_path}/state.db")
    fleet = documents([project("prune: true", "fleet"), server("edge"), server("free")])
    other = documents([project("prune: true", "other"), task("server: fleet/edge\ncommand: x", "theirs")])
    for name, text in {"fleet": fleet, "other": other}.items():
        write_tree(tmp_path / name, {"all.yaml": text})
        assert main(["apply", name, "--yes"]) == 0


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main([*words, "-o", "json"]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "plan-refused"
    found: list[dict[str, Any]] = error["details"]["problems"]
    return found


def marked(tree: Path, problem: dict[str, Any]) -> str:
    line = (tree / problem["path"]).read_text().splitlines()[problem["line"] - 1]
    return line[problem["column"] - 1 : problem["endColumn"] - 1]


MINE = {
    "its server does not exist": (task("command: x\nserver: fleet/nope"), "spec.server", "fleet/nope"),
    "one of its servers does not exist": (
        task("command: x\nservers: [fleet/free, 'fleet/nope']"), "spec.servers[1]", "'fleet/nope'",
    ),
    "another project has that server": (server("edge"), "metadata.name", "edge"),
    "it was another project's server": (
        server("mine").replace("name: mine", "name: mine, formerly: edge"), "metadata.formerly", "edge",
    ),
    "its jump host does not exist": (server("mine", "jump: fleet/nope"), "spec.jump", "fleet/nope"),
}  # fmt: skip


@pytest.mark.parametrize("case", MINE)
@pytest.mark.parametrize("command", ["plan", "apply"])
def test_a_contradiction_stands_at_its_value(
    case: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, field, value = MINE[case]
    tree = write_tree(tmp_path / "mine", {"deep/x.yaml": documents([project("prune: true", "mine"), text])})
    (problem,) = refused(capsys, command, "mine", *(["--yes"] if command == "apply" else []))
    assert (problem["path"], problem["field"], marked(tree, problem)) == ("deep/x.yaml", field, value)


def test_a_rename_onto_a_deleted_tasks_name_stands_at_formerly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its message calls the task by its whole address."""
    head = [project("prune: true", "mine"), server("local")]
    here = "server: local\ncommand: x"
    for tasks in ([task(here, "old"), task(here, "it's")], [task(here, "old")]):
        write_tree(tmp_path / "mine", {"x.yaml": documents([*head, *tasks])})
        assert main(["apply", "mine", "--yes"]) == 0
    renamed = task(here, "it's").replace("name: it's", "name: it's, formerly: old")
    tree = write_tree(tmp_path / "mine", {"x.yaml": documents([*head, renamed])})
    (problem,) = refused(capsys, "plan", "mine")
    assert problem["code"] == "name-held-by-deleted"
    assert (problem["field"], marked(tree, problem)) == ("metadata.formerly", "old")


def test_what_left_the_tree_has_the_line_it_had(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tree(tmp_path / "fleet", {"all.yaml": documents([project("prune: true", "fleet"), server("free")])})
    (problem,) = refused(capsys, "plan", "fleet")
    assert problem["code"] == "server-needed"
    assert (problem["line"], problem["column"], problem["endColumn"]) == (7, 1, 1)


def test_people_see_the_lines_of_yaml_and_the_error_only_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tree(tmp_path / "mine", {"x.yaml": documents([project("prune: true", "mine"), server("edge")])})
    capsys.readouterr()
    assert main(["plan", "mine"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "x.yaml:9:18: error: server 'edge' belongs to project 'fleet'" in err
    assert "    9 | metadata: {name: edge, labels: {}}\n" in err
    assert err.endswith("error: a contradiction between the manifests and the database; nothing was done\n")


def test_an_older_commit_is_looked_into_as_it_was(
    git_repo: GitRepository, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(git_repo.path, {"m/x.yaml": documents([project("prune: true", "mine"), server("edge")])})
    old = git_repo.commit("wrong")
    write_tree(git_repo.path, {"m/x.yaml": "# nothing\n"})
    git_repo.commit("right")
    monkeypatch.chdir(git_repo.path)
    (problem,) = refused(capsys, "apply", "m", "--yes", "--commit", old)
    assert (problem["line"], problem["column"]) == (9, 18)
