"""What git knows of a folder: its commit, whether it differs from that, and what descends from what.

The git binary does the work: it alone knows packs, worktrees, submodules and the person's configuration. It
is judged by its exit code; its words are only shown, in English (LC_ALL=C). Variables that would point it at
another repository (a hook sets some) are taken away, those that hold configuration stay.
"""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
from pathlib import Path

from reconciler.errors import SourceUnreadable
from reconciler.manifest.selection import IGNORE_FILE, is_hidden, is_manifest
from reconciler.model.state import Commit

_KEPT = re.compile(
    r"GIT_(CONFIG_(GLOBAL|SYSTEM|NOSYSTEM|COUNT|KEY_\d+|VALUE_\d+)|CEILING_DIRECTORIES"
    r"|DISCOVERY_ACROSS_FILESYSTEM|EXEC_PATH|SSH|SSH_COMMAND|ASKPASS)"
)
_OPTIONS = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=false", "-c", "log.showSignature=false")
_FORMAT = "%H%x00%an%x00%ae%x00%B"
_CREDENTIALS = re.compile(r"(?<=://)[^/@]*@")
_LINK = "120000"
_MAX_LINKS = 10


def git_root(path: Path) -> Path | None:
    """The root of the work tree that ``path`` is in, found without running git; None outside any."""
    here = Path(os.path.realpath(path))
    for folder in (here, *here.parents):
        if (folder / ".git").exists():
            return folder
    return None


def git_commit(path: Path) -> Commit | None:
    """HEAD of the work tree that holds the folder ``path``; None outside git and before the first commit.

    ``dirty`` is about ``path`` alone: something in it is changed, added, removed, or a manifest that
    git does not track. Raises SourceUnreadable where git is missing or refuses.
    """
    prefix = _prefix(path)
    return None if prefix is None else _head(path, prefix)


def git_source(path: Path) -> str | None:
    """Where the tree comes from, ``url//folder``: the remote's URL without credentials, and the folder in it.

    None outside git and without a remote called ``origin``. Raises SourceUnreadable as ``git_commit``.
    """
    prefix = _prefix(path)
    return None if prefix is None else _remote(path, prefix)


def git_origin(path: Path) -> tuple[str | None, Commit | None]:
    """``git_source`` and ``git_commit`` together: each process of git that is not started saves time."""
    prefix = _prefix(path)
    return (None, None) if prefix is None else (_remote(path, prefix), _head(path, prefix))


def _head(path: Path, prefix: str) -> Commit | None:
    if run_git(path, "rev-parse", "--verify", "--quiet", "HEAD", accept=(0, 1)) == b"":
        return None
    branch = run_git(path, "symbolic-ref", "--quiet", "--short", "HEAD", accept=(0, 1)).decode(
        "utf-8", "replace"
    )
    return describe_commit(path, "HEAD", branch.strip() or None, dirty=_is_dirty(path, prefix))


def _remote(path: Path, prefix: str) -> str | None:
    url = (
        run_git(path, "config", "--get", "remote.origin.url", accept=(0, 1))
        .decode("utf-8", "replace")
        .strip()
    )
    return f"{_CREDENTIALS.sub('', url)}//{prefix.strip('/')}" if url else None


def is_ancestor(path: Path, older: str, newer: str) -> bool | None:
    """Whether ``older`` comes before ``newer`` (and is not the same); None if the repository lacks one."""
    for commit in (older, newer):
        if not run_git(
            path,
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            f"{commit}^{{commit}}",
            accept=(0, 1),
        ):
            return None
    if _resolve(path, older) == _resolve(path, newer):
        return False
    done = _git(path, "merge-base", "--is-ancestor", older, newer)
    if done.returncode not in (0, 1):
        raise _failure(path, done)
    return done.returncode == 0


def _prefix(path: Path) -> str | None:
    """The folder's place in its work tree, ``a/b/`` or nothing for the root; None where git finds none.

    Git itself is asked: it may be told not to look that far up.
    """
    if git_root(path) is None:
        return None
    done = _git(path, "rev-parse", "--show-prefix")
    if done.returncode == 0:
        return done.stdout.decode("utf-8", "replace").strip("\n")
    if b"not a git repository" in done.stderr:
        return None
    raise _failure(path, done)


def _resolve(path: Path, revision: str) -> str:
    return (
        run_git(path, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
    )


def describe_commit(path: Path, revision: str, branch: str | None, *, dirty: bool) -> Commit:
    text = run_git(
        path, "log", "-1", "--no-show-signature", "--encoding=UTF-8", f"--format={_FORMAT}", revision, "--"
    )
    commit, name, email, message = text.decode("utf-8", "replace").split("\0", 3)
    return Commit(
        hash=commit,
        author=f"{name} <{email}>",
        author_email=email,
        message=message.strip(),
        branch=branch,
        dirty=dirty,
    )


def _is_dirty(path: Path, prefix: str) -> bool:
    """Whether what a reader finds in the folder may differ from what HEAD has there."""
    listing = run_git(
        path,
        "status",
        "--porcelain=v1",
        "-z",
        "--no-renames",
        "--untracked-files=all",
        "--ignored=matching",
        "--",
        ".",
    )
    for entry in listing.decode("utf-8", "replace").split("\0"):
        state, name = entry[:2], entry[3:].removeprefix(prefix)
        hidden = any(is_hidden(part) for part in name.split("/"))
        if state == "!!":
            # an ignored folder is listed as one entry: look inside for what we would read
            if not hidden and _holds_manifest(path / name):
                return True
        elif state == "??":
            if not hidden or posixpath.basename(name) == IGNORE_FILE:
                return True
        elif state:
            return True
    return False


def _holds_manifest(path: Path) -> bool:
    if not path.is_dir():
        return is_manifest(path.name)
    return any(is_manifest(name) for _, _, names in os.walk(path) for name in names)


def git_command(*words: str) -> list[str]:
    return ["git", "--no-pager", "--no-replace-objects", *_OPTIONS, *words]


def git_environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or _KEPT.fullmatch(name)
    }
    return {**kept, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}


def _git(path: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            git_command(*words),
            cwd=path,
            env=git_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        if not path.is_dir():
            raise SourceUnreadable(f"there is no folder {str(path)!r}", hint="check the path") from error
        raise SourceUnreadable(
            f"{str(path)!r} is a git work tree, and there is no `git` on the PATH",
            hint="install git: the commit is recorded with everything it changes",
        ) from error
    except OSError as error:
        raise SourceUnreadable(f"git cannot be started: {error.strerror}", hint="check its rights") from error


def run_git(path: Path, *words: str, accept: tuple[int, ...] = (0,)) -> bytes:
    done = _git(path, *words)
    if done.returncode not in accept:
        raise _failure(path, done)
    return done.stdout


def try_git(path: Path, *words: str) -> int:
    """Only the exit code; what git prints is dropped."""
    return _git(path, *words).returncode


def _failure(path: Path, done: subprocess.CompletedProcess[bytes]) -> SourceUnreadable:
    words = done.stderr.decode("utf-8", "replace").strip()
    if "dubious ownership" in words:
        return SourceUnreadable(
            f"git refuses to read the repository of {str(path)!r}, because someone else owns it",
            hint=f"if you trust it: git config --global --add safe.directory {git_root(path)}",
        )
    line = _CREDENTIALS.sub("", words.splitlines()[0] if words else f"exit code {done.returncode}")
    return SourceUnreadable(
        f"git cannot read the repository of {str(path)!r}: {line}",
        hint="try the same git command there by hand",
    )
