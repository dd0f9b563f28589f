"""A git repository for one test, deaf to the configuration of whoever runs it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.services.process import find_binary

AUTHOR = "Ada Lovelace <ada@example.org>"
DATE = "2026-03-01T12:00:00+00:00"


class GitRepository:
    """A work tree on branch ``main``. Commits have a fixed author and date unless told otherwise."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")

    @property
    def environment(self) -> dict[str, str]:
        """This process's, without any of git's own variables."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
        return {**kept, **alone}

    def git(self, *words: str, **extra: str) -> str:
        """What ``git WORDS`` prints, without the last newline. Failing, it raises with stderr as a note."""
        done = subprocess.run(
            [find_binary("git"), *words],
            cwd=self.path,
            env={**self.environment, **extra},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            error = subprocess.CalledProcessError(done.returncode, ["git", *words], done.stdout, done.stderr)
            error.add_note(done.stderr)
            raise error
        return done.stdout.removesuffix("\n")

    def write(self, name: str, text: str) -> Path:
        """A file of the work tree, with its folders."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def commit(self, message: str = "change", *, author: str = AUTHOR, date: str = DATE) -> str:
        """Commit everything, also nothing. Returns the whole hash."""
        name, _, rest = author.partition(" <")
        email = rest.rstrip(">")
        self.git("add", "--all")
        self.git(
            *("commit", "--quiet", "--allow-empty", "--no-verify", "--message", message),
            GIT_AUTHOR_NAME=name,
            GIT_AUTHOR_EMAIL=email,
            GIT_AUTHOR_DATE=date,
            GIT_COMMITTER_NAME=name,
            GIT_COMMITTER_EMAIL=email,
            GIT_COMMITTER_DATE=date,
        )
        return self.head

    @property
    def head(self) -> str:
        """The whole hash of HEAD."""
        return self.git("rev-parse", "HEAD")
