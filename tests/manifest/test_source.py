"""Folders as sources: what is read, what is skipped, what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.errors import SourceUnreadable
from reconciler.manifest import source as source_module
from reconciler.manifest.source import MAX_FILE, open_source
from tests.manifest.trees import SERVER, briefs, codes, load, server, write


def listed(folder: Path) -> list[str]:
    return [path for path, _ in open_source(folder).manifests()]


def test_manifests_are_read_at_any_depth_in_path_order(tmp_path: Path) -> None:
    names = ["b.yaml", "a/z.yml", "a/b/c.yaml", "a-b.yaml", "A.yaml", "notes.txt", "x.yaml.bak", "y.YAML"]
    write(tmp_path, dict.fromkeys(names, ""))
    assert listed(tmp_path) == ["A.yaml", "a-b.yaml", "a/b/c.yaml", "a/z.yml", "b.yaml"]


def test_hidden_files_and_folders_are_skipped(tmp_path: Path) -> None:
    write(tmp_path, dict.fromkeys([".a.yaml", ".git/b.yaml", "c/.d/e.yaml", "f.yaml"], "- broken"))
    assert listed(tmp_path) == ["f.yaml"]


def test_what_reconcilerignore_names_is_skipped(tmp_path: Path) -> None:
    files = {
        ".reconcilerignore": """\
            # generated
            charts/
            *.tmp.yaml
            !keep.tmp.yaml
            /top.yaml
            docs/**/example.yaml
        """,
        "charts/a.yaml": "",
        "sub/charts/b.yaml": "",
        "c.tmp.yaml": "",
        "keep.tmp.yaml": "",
        "top.yaml": "",
        "sub/top.yaml": "",
        "docs/x/y/example.yaml": "",
        "inner/.reconcilerignore": "*.yaml\n!only.yaml\n",
        "inner/d.yaml": "",
        "inner/only.yaml": "",
        "inner/deep/e.yaml": "",
        "other/f.yaml": "",
    }
    write(tmp_path, files)
    assert listed(tmp_path) == ["inner/only.yaml", "keep.tmp.yaml", "other/f.yaml", "sub/top.yaml"]


def test_a_reconcilerignore_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    assert briefs(load(tmp_path, {".reconcilerignore": b"\xff\n", "a.yaml": SERVER})) == [
        ".reconcilerignore:1:1 ignore-file"
    ]


def test_a_path_that_is_not_there_is_an_error_and_not_an_empty_tree(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="there is no folder"):
        open_source(tmp_path / "none")


def test_a_file_is_no_tree(tmp_path: Path) -> None:
    path = write(tmp_path, {"a.yaml": SERVER}) / "a.yaml"
    with pytest.raises(SourceUnreadable, match="is a file, not a folder") as caught:
        open_source(path)
    assert "folder it is in" in (caught.value.hint or "")


def test_a_link_to_a_file_of_the_tree_is_read(tmp_path: Path) -> None:
    write(tmp_path, {"..data/a.yaml": SERVER})
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    assert list(load(tmp_path).valid_state().servers) == ["db-1"]


def test_links_out_of_the_tree_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"secret.yaml": "password: hunter2\n", "elsewhere/b.yaml": SERVER})
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.yaml").symlink_to("../secret.yaml")
    (tree / "folder").symlink_to("../elsewhere")
    (tree / "here").symlink_to(".")
    (tree / "lost.yaml").symlink_to("nowhere.yaml")
    (tree / "round.yaml").symlink_to("round.yaml")
    loaded = load(tree)
    assert briefs(loaded) == [
        "a.yaml:1:1 outside-tree",
        "folder:1:1 symlink",
        "here:1:1 symlink",
        "lost.yaml:1:1 no-such-file",
        "round.yaml:1:1 unreadable",
    ]
    assert "hunter2" not in str(loaded.problems)


def test_a_tree_may_itself_be_reached_by_a_link(tmp_path: Path) -> None:
    write(tmp_path / "real", {"a.yaml": SERVER, "t.yaml": ""})
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "b.yaml").symlink_to("t.yaml")
    assert load(tmp_path / "link").state is not None


def test_a_pipe_named_like_a_manifest_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    assert codes(load(tmp_path)) == ["not-a-file"]


def test_a_folder_named_like_a_manifest_is_a_folder(tmp_path: Path) -> None:
    assert load(tmp_path, {"a.yaml/b.yaml": SERVER}).state is not None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_a_problem(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": SERVER, "b/c.yaml": SERVER})
    (tmp_path / "a.yaml").chmod(0)
    (tmp_path / "b").chmod(0)
    try:
        assert briefs(load(tmp_path)) == ["a.yaml:1:1 unreadable", "b:1:1 unreadable"]
    finally:
        (tmp_path / "b").chmod(0o700)


def test_a_file_over_the_size_limit_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path, {"a.yaml": SERVER, "big.yaml": ""}) / "big.yaml"
    os.truncate(path, MAX_FILE + 1)
    loaded = load(tmp_path)
    assert briefs(loaded) == ["big.yaml:1:1 file-too-large"]


def test_a_file_that_grows_while_it_is_read_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, {"a.yaml": "# x\n" * 10}) / "a.yaml"
    real = os.read
    grown: list[bool] = []

    def read(descriptor: int, size: int) -> bytes:
        data = real(descriptor, size)
        if not grown:
            grown.append(True)
            os.truncate(path, MAX_FILE + 10)
        return data

    monkeypatch.setattr(source_module.os, "read", read)
    assert codes(load(tmp_path)) == ["file-too-large"]


def test_a_name_that_is_not_utf_8_is_a_problem(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/b\xff.yaml"
    with open(name, "w") as file:
        file.write(SERVER)
    loaded = load(tmp_path)
    assert codes(loaded) == ["file-name"]
    loaded.problems[0].path.encode("utf-8")


def test_a_tree_of_too_many_bytes_is_not_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.manifest.load.MAX_TREE", 400)
    files = {f"{number}.yaml": server(f"s{number}") for number in range(5)}
    loaded = load(tmp_path, files)
    assert set(codes(loaded)) == {"tree-too-large"}
    assert loaded.problems[0].path == "3.yaml"
