"""A clone of one branch of a repository, kept by this program alone: fetched, never checked out.

Commits are read from its objects (`GitTree`). The git binary does the work and is judged by its exit code.
What it may speak is limited to https, http, ssh and files: a URL can start no program of its own choosing.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from reconciler.clock import Clock
from reconciler.errors import SourceUnavailable, SourceUnreadable
from reconciler.manifest.git import git_command, git_environment, is_ancestor, run_git, try_git

DEPTH = 50
"""Commits that the first fetch brings; later ones bring all that is new, and a question may need more."""
FETCH_SECONDS = 300.0
"""A fetch that takes longer is ended; slow ones are ended sooner, by git itself (http.lowSpeedTime)."""
ASK_SECONDS = 30.0
_POLL_SECONDS = 0.05
_SCHEMES = ("https", "http", "ssh", "file")
_LIMITS = (
    *("-c", "protocol.allow=never"),
    *(word for scheme in _SCHEMES for word in ("-c", f"protocol.{scheme}.allow=always")),
    *("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=30"),
    # nothing of ours works on in the background after we have gone
    *("-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false"),
)
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")
_SCP_LIKE = re.compile(r"[^/:\s]+:(?!//)\S+")


@dataclass(frozen=True, slots=True)
class GitAccess:
    """How to get in where the person's own git configuration and ssh agent do not do. Values are never shown.

    ``ssh_key`` is a private key's file, used alone; ``known_hosts`` the only place host keys are looked up.
    """

    username: str = "git"
    password: str | None = field(default=None, repr=False)
    ssh_key: Path | None = None
    known_hosts: Path | None = None

    def options(self) -> tuple[str, ...]:
        """Words for git; the password itself stays in the environment."""
        if self.password is None:
            return ()
        helper = '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" "$RECONCILER_GIT_USERNAME" '
        return (
            "-c",
            "credential.helper=",
            "-c",
            f'credential.helper={helper}"$RECONCILER_GIT_PASSWORD"; }}; f',
        )

    def environment(self) -> dict[str, str]:
        """Variables for git alone."""
        found: dict[str, str] = {}
        if self.password is not None:
            found |= {"RECONCILER_GIT_USERNAME": self.username, "RECONCILER_GIT_PASSWORD": self.password}
        words = ["ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=20"]
        if self.ssh_key is not None:
            words += ["-i", _quoted(self.ssh_key), "-o", "IdentitiesOnly=yes"]
        if self.known_hosts is not None:
            words += ["-o", f"UserKnownHostsFile={_quoted(self.known_hosts)}"]
        if not {"GIT_SSH", "GIT_SSH_COMMAND"} & os.environ.keys() or self.ssh_key or self.known_hosts:
            found["GIT_SSH_COMMAND"] = " ".join(words)
        return found


def check_url(url: str) -> None:
    """Raise SourceUnreadable for what is no place of a repository that we would ask."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)::?", url)
    local = not scheme or _SCP_LIKE.fullmatch(url) is not None
    if not url or url.startswith("-") or "::" in url or any(ord(letter) < 32 for letter in url):
        raise SourceUnreadable(
            f"{shown(url)!r} is not a git URL", hint="give https://…, ssh://…, host:path or a folder"
        )
    if not local and scheme is not None and scheme[1] not in _SCHEMES:
        raise SourceUnreadable(
            f"{shown(url)!r}: git may not be asked over {scheme[1]!r}",
            hint=f"use one of {', '.join(_SCHEMES)}",
        )


def check_branch(branch: str) -> None:
    """Raise SourceUnreadable for what git would not accept as a branch's name."""
    # a name with a NUL byte could not even be passed to git
    if "\0" in branch or try_git(Path("/"), "check-ref-format", f"refs/heads/{branch}") != 0:
        raise SourceUnreadable(f"{branch!r} is not a branch's name", hint="give its short name, such as main")


def shown(url: str) -> str:
    """The URL without credentials, for people."""
    return _CREDENTIALS.sub("", url)


@dataclass(slots=True)
class Clone:
    """One branch of the repository at ``url``, in ``folder``. Several processes may share the folder."""

    folder: Path
    url: str
    branch: str
    clock: Clock
    access: GitAccess = field(default_factory=GitAccess)
    _login: tuple[str, str] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        check_url(self.url)
        check_branch(self.branch)
        parts = urlsplit(self.url) if self.url.startswith(("https://", "http://")) else None
        if parts is not None and parts.password is not None:
            # on a command line everybody on this machine could read it
            self._login = unquote(parts.username or ""), unquote(parts.password)
            self.url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        self.use(self.access)

    def use(self, access: GitAccess) -> None:
        """Get in this way from the next question on; a login that stood in the URL stays."""
        if self._login is not None:
            access = replace(access, username=self._login[0], password=self._login[1])
        self.access = access

    @property
    def ref(self) -> str:
        """Where the branch's head stands in the clone."""
        return f"refs/reconciler/{self.branch}"

    def fetch(self, stop: threading.Event) -> str:
        """Bring what is new; the whole hash of the branch's head. Given up once ``stop`` is set.

        Raises SourceUnavailable where the repository does not answer, SourceUnreadable where it has no such
        branch or git is missing.
        """
        with self._alone(stop):
            self._prepare()
            first = not self._has(self.ref)
            words = [] if not first else [f"--depth={DEPTH}"]
            error = self._bring(f"+refs/heads/{self.branch}:{self.ref}", *words, stop=stop)
            if error is not None and not self._healthy():
                # a clone is only a copy: a damaged one (full disk, power cut) is made anew
                shutil.rmtree(self.folder, ignore_errors=True)
                self._prepare()
                error = self._bring(f"+refs/heads/{self.branch}:{self.ref}", f"--depth={DEPTH}", stop=stop)
            if error is not None:
                raise self._why(error, stop)
        return run_git(self.folder, "rev-parse", "--verify", f"{self.ref}^{{commit}}").decode().strip()

    def is_ancestor(self, older: str, newer: str, stop: threading.Event) -> bool | None:
        """Whether ``older`` comes before ``newer``; None where the repository has not both any more.

        A shallow clone can prove that one comes before the other, never that it does not: then the rest of
        the history is fetched.
        """
        with self._alone(stop):
            for commit in (older, newer):
                if not self._has(commit):
                    self._bring(commit, stop=stop, seconds=ASK_SECONDS)
            answer = is_ancestor(self.folder, older, newer)
            if answer is False and self._shallow and not is_ancestor(self.folder, newer, older):
                self._bring(f"+refs/heads/{self.branch}:{self.ref}", "--unshallow", stop=stop)
                answer = is_ancestor(self.folder, older, newer)
            return answer

    # -- git ------------------------------------------------------------------------------------

    @property
    def _shallow(self) -> bool:
        return (self.folder / ".git" / "shallow").exists()

    def _prepare(self) -> None:
        if (self.folder / ".git" / "HEAD").is_file():
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise SourceUnavailable(
                f"there is no place for a clone at {self.folder}: {error.strerror}",
                hint="check RECONCILER_STATE_DIR, its rights and the free space",
            ) from error
        run_git(self.folder, "init", "--quiet", "--initial-branch=reconciler", "--template=", ".")

    def _has(self, revision: str) -> bool:
        found = run_git(
            self.folder,
            *("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"),
            accept=(0, 1, 128),
        )
        return bool(found)

    def _healthy(self) -> bool:
        """Whether what was fetched before can still be read."""
        try:
            listing = run_git(self.folder, "for-each-ref", "--format=%(objectname)", "refs/reconciler")
            for name in listing.decode().split():
                run_git(self.folder, "ls-tree", "-r", "--name-only", name)
        except SourceUnreadable:
            return False
        return True

    def _bring(
        self, what: str, *words: str, stop: threading.Event, seconds: float = FETCH_SECONDS
    ) -> str | None:
        """Fetch; None when done, else git's own words, without credentials."""
        return self._run(
            (
                "fetch",
                "--quiet",
                "--force",
                "--no-tags",
                "--no-write-fetch-head",
                *words,
                "--",
                self.url,
                what,
            ),
            stop,
            seconds,
        )[1]

    def _why(self, error: str, stop: threading.Event) -> SourceUnavailable | SourceUnreadable:
        """What a failed fetch means, told by git's exit codes."""
        asked = ("ls-remote", "--exit-code", "--heads", "--", self.url, f"refs/heads/{self.branch}")
        code, words = self._run(asked, stop, ASK_SECONDS)
        place = shown(self.url)
        if code == 2:
            return SourceUnreadable(
                f"the repository {place} has no branch {self.branch!r}",
                hint="give --branch, or push the branch",
            )
        return SourceUnavailable(
            f"the repository {place} does not answer: {words or error}",
            hint="try `git ls-remote` with that URL as the same account on this machine",
        )

    def _run(self, words: tuple[str, ...], stop: threading.Event, seconds: float) -> tuple[int, str | None]:
        """Exit code and, unless that is 0, what git said last. The whole process group ends with us."""
        try:
            process = subprocess.Popen(
                git_command(*_LIMITS, *self.access.options(), *words),
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise SourceUnreadable(
                f"git cannot be started: {error.strerror}", hint="install git, or check the PATH"
            ) from error
        said: list[bytes] = []
        reader = threading.Thread(target=_read, args=(process, said), daemon=True)
        reader.start()
        deadline = self.clock.monotonic() + seconds
        ended = None
        while process.poll() is None:
            if stop.is_set() or self.clock.monotonic() > deadline:
                ended = (
                    "given up, because this process ends" if stop.is_set() else f"no end after {seconds:g} s"
                )
                _kill(process)
                process.wait()
                break
            self.clock.wait(stop, _POLL_SECONDS)
        reader.join(5.0)
        if process.returncode == 0:
            return 0, None
        return process.returncode, ended or self._last_line(b"".join(said), process.returncode)

    def _environment(self) -> Mapping[str, str]:
        return {**git_environment(), **self.access.environment()}

    def _last_line(self, said: bytes, code: int) -> str:
        lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
        fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
        text = (fatal or lines or [f"git's exit code was {code}"])[0 if fatal else -1]
        text = _CREDENTIALS.sub("", text)
        if self.access.password:
            text = text.replace(self.access.password, "***")
        return "".join(letter if letter.isprintable() else "?" for letter in text)[:300]

    @contextmanager
    def _alone(self, stop: threading.Event) -> Iterator[None]:
        """Only one process writes into the clone at a time."""
        self.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(f"{self.folder}.lock", "w", encoding="ascii") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if self.clock.wait(stop, _POLL_SECONDS):
                        raise SourceUnavailable("given up, because this process ends") from None
            yield


def _read(process: subprocess.Popen[bytes], said: list[bytes]) -> None:
    """All of stderr, the first 64 KiB kept: a server may say very much."""
    assert process.stderr is not None
    kept = 0
    with process.stderr as stream:
        while data := stream.read1(8192):  # type: ignore[attr-defined]
            if kept < 65_536:
                said.append(data)
                kept += len(data)


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()


def _quoted(path: Path) -> str:
    """As one word of the command that git hands to a shell."""
    return "'" + str(path.resolve()).replace("'", "'\\''") + "'"
