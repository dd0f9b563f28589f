"""What git knows of a tree, with a real git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from reconciler.errors import SourceUnreadable
from reconciler.manifest.load import load_tree
from reconciler.manifest.source import GitTree, git_commit, git_root, git_source, is_ancestor, open_source
from reconciler.model.state import Commit
from tests.manifest.trees import SERVER, briefs, server, task
from tests.services.git import AUTHOR, GitRepository


@pytest.fixture
def repo(git_repo: GitRepository) -> GitRepository:
    repository = git_repo
    repository.write("manifests/servers.yaml", SERVER)
    repository.write("manifests/tasks.yaml", task("server: db-1\nscript: {file: run.sh}"))
    repository.write("manifests/run.sh", "echo one\n")
    repository.write("README.md", "words\n")
    repository.commit("Add the fleet\n\nBecause.")
    return repository


def tree(repo: GitRepository) -> Path:
    return repo.path / "manifests"


def test_the_commit_of_a_folder(repo: GitRepository) -> None:
    assert git_commit(tree(repo)) == Commit(
        hash=repo.head,
        author=AUTHOR,
        author_email="ada@example.org",
        message="Add the fleet\n\nBecause.",
        branch="main",
        dirty=False,
    )
    assert git_root(tree(repo)) == repo.path.resolve()


def test_a_folder_outside_git_has_no_commit(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
    assert git_root(tmp_path) is None
    assert git_source(tmp_path) is None


def test_a_ceiling_for_git_holds_for_us(repo: GitRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(repo.path))
    assert git_commit(tree(repo)) is None


def test_before_the_first_commit_there_is_none(tmp_path: Path) -> None:
    assert git_commit(GitRepository(tmp_path / "new").path) is None


def test_without_a_branch_the_commit_stands_alone(repo: GitRepository) -> None:
    repo.git("checkout", "--quiet", "--detach")
    commit = git_commit(tree(repo))
    assert commit is not None
    assert commit.branch is None


CHANGES = {
    "a changed manifest": ("manifests/servers.yaml", True),
    "a changed script": ("manifests/run.sh", True),
    "an untracked manifest": ("manifests/new/more.yaml", True),
    "an untracked ignore file": ("manifests/.reconcilerignore", True),
    "an ignored manifest": ("manifests/ignored.yaml", True),
    "a manifest in an ignored folder": ("manifests/build/a.yaml", True),
    "an ignored file that is no manifest": ("manifests/ignored.log", False),
    "the program's own state": ("manifests/.reconciler/state.db", False),
    "a file beside the tree": ("README.md", False),
    "an untracked manifest beside the tree": ("other/a.yaml", False),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_tree_is_dirty_if_its_own_files_may_differ_from_the_commit(name: str, repo: GitRepository) -> None:
    repo.write(".gitignore", "ignored.*\nbuild/\n")
    repo.commit()
    path, expected = CHANGES[name]
    repo.write(path, "# changed\n")
    commit = git_commit(tree(repo))
    assert commit is not None
    assert commit.dirty is expected


def test_a_deleted_or_staged_file_makes_a_tree_dirty(repo: GitRepository) -> None:
    (tree(repo) / "tasks.yaml").unlink()
    commit = git_commit(tree(repo))
    assert commit is not None
    assert commit.dirty
    repo.git("add", "--all")
    assert git_commit(tree(repo)) == commit


def test_variables_of_a_hook_do_not_lead_to_another_repository(
    repo: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = GitRepository(tmp_path / "other")
    other.commit()
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.path))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "none"))
    commit = git_commit(tree(repo))
    assert commit is not None
    assert (commit.hash, commit.dirty) == (repo.head, False)


def test_a_persons_configuration_changes_no_answer(
    repo: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = tmp_path / "gitconfig"
    configuration.write_text(
        "[log]\n\tshowSignature = true\n\tdate = relative\n[core]\n\tquotePath = true\n"
        "[status]\n\tshort = true\n\tshowUntrackedFiles = no\n"
        "[color]\n\tui = always\n[format]\n\tpretty = oneline\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(configuration))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    repo.write("manifests/备份.yaml", "# new\n")
    commit = git_commit(tree(repo))
    assert commit is not None
    assert (commit.hash, commit.author, commit.dirty) == (repo.head, AUTHOR, True)


def test_without_git_the_error_says_what_to_do(repo: GitRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SourceUnreadable, match="no `git` on the PATH") as caught:
        git_commit(tree(repo))
    assert "install git" in (caught.value.hint or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository away")
def test_a_repository_that_git_does_not_trust_is_a_clear_error(
    repo: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("SUDO_UID", raising=False)
    for path in (repo.path, repo.path / ".git"):
        os.chown(path, 12345, 12345)
    with pytest.raises(SourceUnreadable, match="someone else owns it") as caught:
        git_commit(tree(repo))
    assert f"--add safe.directory {repo.path.resolve()}" in (caught.value.hint or "")


def test_the_source_is_the_remote_without_credentials_and_the_folder(repo: GitRepository) -> None:
    assert git_source(tree(repo)) is None
    repo.git("remote", "add", "origin", "https://me:hunter2@example.org/ops.git")
    assert git_source(tree(repo)) == "https://example.org/ops.git//manifests"
    assert git_source(repo.path) == "https://example.org/ops.git//"


def test_ancestors(repo: GitRepository) -> None:
    first = repo.head
    second = repo.commit("two")
    assert is_ancestor(repo.path, first, second) is True
    assert is_ancestor(repo.path, second, first) is False
    assert is_ancestor(repo.path, second, second) is False
    assert is_ancestor(repo.path, "0" * 40, second) is None


def test_the_tree_of_a_commit_is_read_from_gits_objects(repo: GitRepository) -> None:
    first = repo.head
    in_folder = load_tree(open_source(tree(repo)))
    repo.write("manifests/run.sh", "echo two\n")
    (tree(repo) / "servers.yaml").unlink()
    repo.commit("two")
    loaded = load_tree(GitTree(repo.path, first[:10], "manifests"))
    state = loaded.valid_state()
    assert loaded.files == in_folder.files
    assert state.servers == in_folder.valid_state().servers
    assert state.tasks == in_folder.valid_state().tasks
    assert state.commit is not None
    assert (state.commit.hash, state.commit.author, state.commit.dirty) == (first, AUTHOR, False)
    assert briefs(load_tree(GitTree(repo.path, "HEAD", "manifests/"))) == ["tasks.yaml:5:11 unknown-server"]


def test_the_same_rules_choose_the_files_of_a_commit_and_of_a_folder(repo: GitRepository) -> None:
    files = {
        ".reconcilerignore": "skip/\n*.tmp.yaml\n",
        "skip/a.yaml": "- no",
        "b.tmp.yaml": "- no",
        ".hidden.yaml": "- no",
        ".hidden/c.yaml": "- no",
        "deep/.reconcilerignore": "!keep.tmp.yaml\n",
        "deep/keep.tmp.yaml": server("deep"),
        "ö.yaml": server("ö"),
        "notes.txt": "x",
    }
    for name, text in files.items():
        repo.write(f"manifests/{name}", text)
    (tree(repo) / "link.yaml").symlink_to(".hidden/../deep/keep.tmp.yaml")
    (tree(repo) / "out.yaml").symlink_to("../README.md")
    repo.commit()
    folder = load_tree(open_source(tree(repo)))
    commit = load_tree(GitTree(repo.path, "HEAD", "manifests"))
    assert commit.files == folder.files
    assert commit.problems == folder.problems
    assert [problem.code for problem in commit.problems] == ["duplicate-name", "outside-tree"]


def test_files_of_a_commit_have_the_same_limits(repo: GitRepository) -> None:
    repo.write("manifests/big.yaml", "# x\n" * (8 * 1024 * 1024 // 4 + 1))
    repo.commit()
    loaded = load_tree(GitTree(repo.path, "main", "manifests"))
    assert briefs(loaded) == ["big.yaml:1:1 file-too-large"]


@pytest.mark.parametrize("revision", ["nothing", "0" * 40, "--all", "HEAD~9", ""])
def test_a_commit_that_is_not_there_is_an_error(revision: str, repo: GitRepository) -> None:
    with pytest.raises(SourceUnreadable):
        GitTree(repo.path, revision, "manifests")


def test_a_folder_that_the_commit_does_not_have_is_an_error(repo: GitRepository) -> None:
    with pytest.raises(SourceUnreadable, match="has no folder 'nowhere'"):
        GitTree(repo.path, "HEAD", "nowhere")


def test_a_reader_leaves_no_process_behind(repo: GitRepository) -> None:
    source = GitTree(repo.path, "HEAD", "manifests")
    load_tree(source)
    assert load_tree(source).state is not None
    children = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True, check=False
    )
    assert "cat-file" not in children.stdout
