"""A clone of a branch: fetched from real repositories, whatever happens to them or to it."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.clock import SystemClock
from reconciler.errors import SourceUnavailable, SourceUnreadable
from reconciler.manifest.clone import Clone, GitAccess, check_branch, check_url, shown
from reconciler.manifest.tree import read_clone
from tests.services.git import GitRepository
from tests.services.process import free_port

NEVER = threading.Event()

SERVER = """\
apiVersion: reconciler/v1
kind: Server
metadata: {name: here}
spec: {host: localhost, connection: local}
"""


@pytest.fixture
def upstream(git_repo: GitRepository) -> GitRepository:
    git_repo.write("fleet/server.yaml", SERVER)
    git_repo.commit("first")
    return git_repo


def a_clone(tmp_path: Path, upstream: GitRepository, branch: str = "main", url: str = "") -> Clone:
    return Clone(tmp_path / "clone", url or str(upstream.path), branch, SystemClock())


def test_a_branch_is_read_as_it_was_pushed_never_checked_out(tmp_path: Path, upstream: GitRepository) -> None:
    clone = a_clone(tmp_path, upstream)
    first = clone.fetch(NEVER)
    upstream.write("fleet/server.yaml", "nonsense: [")  # not committed, so not there
    assert clone.fetch(NEVER) == first == upstream.head
    desired = read_clone(clone.folder, first, "fleet", "main", "the/place").desired()
    assert list(desired.servers) == ["here"]
    assert (desired.commit and desired.commit.branch, desired.commit and desired.commit.dirty) == (
        "main",
        False,
    )
    assert desired.source == "the/place"
    assert [item.name for item in clone.folder.iterdir()] == [".git"]


def test_new_commits_and_rewritten_history_arrive(tmp_path: Path, upstream: GitRepository) -> None:
    clone = a_clone(tmp_path, upstream)
    first = clone.fetch(NEVER)
    second = upstream.commit("second")
    assert clone.fetch(NEVER) == second
    assert clone.is_ancestor(first, second, NEVER) is True
    upstream.git("reset", "--quiet", "--hard", first)
    assert clone.fetch(NEVER) == first
    assert clone.is_ancestor(first, second, NEVER) is True
    assert clone.is_ancestor(second, first, NEVER) is False


def test_a_shallow_clone_fetches_what_a_question_needs(tmp_path: Path, upstream: GitRepository) -> None:
    first = upstream.head
    for number in range(70):
        upstream.commit(f"{number}")
    clone = a_clone(tmp_path, upstream)
    head = clone.fetch(NEVER)
    assert (clone.folder / ".git" / "shallow").exists()
    assert clone.is_ancestor(first, head, NEVER) is True
    assert clone.is_ancestor(head, first, NEVER) is False
    assert clone.is_ancestor("0" * 40, head, NEVER) is None


def test_a_repository_that_is_gone_and_comes_back(tmp_path: Path, upstream: GitRepository) -> None:
    clone = a_clone(tmp_path, upstream)
    head = clone.fetch(NEVER)
    upstream.path.rename(tmp_path / "away")
    with pytest.raises(SourceUnavailable, match="does not answer"):
        clone.fetch(NEVER)
    (tmp_path / "away").rename(upstream.path)
    assert clone.fetch(NEVER) == head


def test_a_branch_that_is_not_there_is_told_from_a_repository_that_is_not(
    tmp_path: Path, upstream: GitRepository
) -> None:
    with pytest.raises(SourceUnreadable, match="has no branch 'nope'"):
        a_clone(tmp_path, upstream, "nope").fetch(NEVER)


def test_a_damaged_clone_is_made_anew(tmp_path: Path, upstream: GitRepository) -> None:
    clone = a_clone(tmp_path, upstream)
    clone.fetch(NEVER)
    objects = clone.folder / ".git" / "objects"
    shutil.rmtree(objects)
    objects.mkdir()
    head = upstream.commit("more")
    assert clone.fetch(NEVER) == head
    assert read_clone(clone.folder, head, "fleet", "main", "x").desired().servers


def test_many_who_share_a_clone_fetch_one_after_another(tmp_path: Path, upstream: GitRepository) -> None:
    clones = [a_clone(tmp_path, upstream) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(lambda clone: clone.fetch(NEVER), clones)) == {upstream.head}


def test_a_server_that_says_nothing_is_given_up_when_the_process_ends(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        clone = Clone(tmp_path / "clone", f"http://127.0.0.1:{port}/x.git", "main", SystemClock())
        stop = threading.Event()
        threading.Timer(0.3, stop.set).start()
        begun = time.monotonic()
        with pytest.raises(SourceUnavailable, match="this process ends"):
            clone.fetch(stop)
        assert time.monotonic() - begun < 20


def test_credentials_are_on_no_command_line_and_in_no_message(tmp_path: Path) -> None:
    url = f"http://ann:hunter22@127.0.0.1:{free_port()}/x.git"
    clone = Clone(tmp_path / "clone", url, "main", SystemClock())
    assert "hunter22" not in clone.url + repr(clone.access)
    assert clone.access.password == "hunter22"
    with pytest.raises(SourceUnavailable) as caught:
        clone.fetch(NEVER)
    assert "hunter22" not in f"{caught.value} {caught.value.hint}"
    assert shown(url) == url.replace("ann:hunter22@", "")


def test_a_password_reaches_git_through_its_credential_helper(tmp_path: Path) -> None:
    access = GitAccess("bot", "p'a$s\"w%\\ord")
    answer = subprocess.run(
        ["git", *access.options(), "credential", "fill"],
        input="protocol=https\nhost=git.example\n\n",
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **access.environment()},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "username=bot\n" in answer
    assert "password=p'a$s\"w%\\ord\n" in answer
    assert not any("ord" in word for word in access.options() if "password=" not in word)


@pytest.mark.parametrize(
    "url", ["", "-u", "--upload-pack=x", "ext::sh -c id", "a::b", "ftp://x/y", "git://x/y", "a\nb"]
)
def test_what_could_start_a_program_or_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(SourceUnreadable):
        check_url(url)


@pytest.mark.parametrize(
    "url", ["https://h/x.git", "ssh://git@h/x", "git@h:x/y.git", "/srv/x.git", "file:///srv/x", "."]
)
def test_urls_that_git_knows_are_taken(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize("branch", ["", "a..b", "a b", "a~", "a:b", "/a", "a/", "a.lock", "a@{1}", "*"])
def test_what_is_no_branch_is_refused(branch: str) -> None:
    with pytest.raises(SourceUnreadable):
        check_branch(branch)


@pytest.mark.parametrize("branch", ["main", "m", "feature/x-1", "v1.2", "备份"])
def test_branches_are_taken(branch: str) -> None:
    check_branch(branch)
