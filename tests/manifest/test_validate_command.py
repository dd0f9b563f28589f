"""The command `validate`: paths, forms, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.cli.main import main
from tests.manifest.trees import SERVER, documents, server, task, write

BAD = SERVER.replace("host:", "hots:")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["validate", *words])
    out, err = capsys.readouterr()
    return code, out, err


def places(out: str) -> list[str]:
    return [f"{problem['path']}:{problem['line']}" for problem in json.loads(out)["problems"]]


def test_a_good_tree_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"a.yaml": documents(SERVER, server("db-2"), task("servers: [db-1, db-2]\ncommand: x"))})
    assert run(capsys, str(tmp_path)) == (0, "2 servers, 1 task: no problems\n", "")
    code, out, _ = run(capsys, "-o", "json", str(tmp_path))
    assert (code, json.loads(out)) == (
        0,
        {"problems": [], "resources": {"Server": 2, "Task": 1, "Calendar": 0}},
    )


def test_every_field_of_a_problem_is_always_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"a.yaml": "a: [\n", "b.yaml": BAD})
    _, out, _ = run(capsys, "-o", "json", str(tmp_path))
    shapes = {tuple(problem) for problem in json.loads(out)["problems"]}
    assert shapes == {
        ("severity", "code", "message", "path", "line", "column", "endLine", "endColumn", "field", "hint")
    }


def test_the_default_path_is_manifests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys)
    assert code == 1
    assert "there is no folder 'manifests'" in err
    write(tmp_path / "manifests", {"a.yaml": SERVER})
    assert run(capsys)[0] == 0


def test_paths_are_relative_to_the_tree_or_to_the_repository(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"repo/deep/one/a.yaml": BAD, "repo/deep/two/b.yaml": BAD, "repo/.git/HEAD": ""})
    monkeypatch.chdir(tmp_path / "repo" / "deep")
    assert places(run(capsys, "-o", "json", "one")[1]) == ["a.yaml:4", "a.yaml:4"]
    assert places(run(capsys, "-o", "json", "one", "two")[1]) == [
        *("deep/one/a.yaml:4", "deep/one/a.yaml:4", "deep/two/b.yaml:4", "deep/two/b.yaml:4")
    ]
    assert "::error file=deep/one/a.yaml,line=4," in run(capsys, "-o", "github", "one")[1]
    assert '"path": "deep/one/a.yaml"' in run(capsys, "-o", "gitlab", "one")[1]
    assert '"uri": "deep/one/a.yaml"' in run(capsys, "-o", "sarif", "one")[1]
    assert run(capsys, "one")[1].startswith("a.yaml:4:1: error: ")
    assert 'file="a.yaml"' in run(capsys, "-o", "junit", "one")[1]


def test_outside_a_repository_paths_are_relative_to_the_current_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"one/a.yaml": BAD, "here/b.yaml": ""})
    monkeypatch.chdir(tmp_path / "here")
    assert places(run(capsys, "-o", "json", "../one", ".")[1]) == ["../one/a.yaml:4", "../one/a.yaml:4"]
    monkeypatch.chdir(tmp_path / "one")
    assert "::error file=a.yaml,line=4," in run(capsys, "-o", "github", ".")[1]


def test_several_paths_are_separate_trees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        tmp_path, {"one/a.yaml": SERVER, "two/a.yaml": SERVER, "two/t.yaml": task("server: db-1\ncommand: x")}
    )
    code, out, _ = run(capsys, "-o", "json", str(tmp_path / "one"), str(tmp_path / "two"))
    assert (code, json.loads(out)) == (
        0,
        {"problems": [], "resources": {"Server": 2, "Task": 1, "Calendar": 0}},
    )


def test_of_several_paths_one_that_is_not_there_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"one/a.yaml": SERVER})
    code, out, err = run(capsys, "-o", "json", str(tmp_path / "one"), str(tmp_path / "none"))
    assert code == 1
    assert json.loads(out)["error"]["code"] == "source-unreadable"
    assert "there is no folder" in err


def test_warnings_alone_do_not_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files: dict[str, str | bytes] = {
        "a.yaml": documents(SERVER, task("server: db-1\nscript: {file: x.sh}")),
        "x.sh": b"echo\r\n",
    }
    write(tmp_path, files)
    code, out, _ = run(capsys, str(tmp_path))
    assert code == 0
    assert "a.yaml:11:18: warning: " in out
    assert out.endswith("1 warning in 1 file\n")


def test_an_unknown_form_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "-o", "xml")[0] == 64


def test_validating_needs_no_database_and_no_ssh(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": SERVER})
    words = (
        "import sys; from reconciler.cli.main import main; "
        f"code = main(['validate', {str(tmp_path)!r}]); "
        "heavy = {'sqlalchemy', 'paramiko', 'redis', 'watchfiles', 'alembic'} & set(sys.modules); "
        "sys.exit(code or sorted(heavy) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", words],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
