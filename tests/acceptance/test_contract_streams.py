"""Results on standard output, all about the work on standard error; what pipes and settings do to them."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.acceptance.driver import Program, documents, write_tree
from tests.manifest.trees import project, server, task


@pytest.fixture
def reconciler(program: Callable[..., Program]) -> Program:
    """In a folder with a good tree ``manifests`` of 300 tasks, not applied yet."""
    made = program()
    tasks = [task("server: s0\ncommand: x\nschedule: 0 3 * * *", f"t{number}") for number in range(300)]
    write_tree(made.folder, {"manifests/all.yaml": documents([project("prune: true"), server("s0"), *tasks])})
    return made


def test_the_default_path_is_manifests_and_the_default_database_a_file_here(reconciler: Program) -> None:
    assert reconciler("apply", "--yes").ok().err == ""
    assert (reconciler.folder / ".reconciler/state.db").stat().st_mode & 0o077 == 0
    assert reconciler("plan", "--exit-code").ok().err == ""


def test_the_database_stands_before_or_after_the_command_and_wins_over_the_environment(
    reconciler: Program,
) -> None:
    reconciler.environment["RECONCILER_DATABASE_URL"] = "sqlite:///environment.db"
    reconciler("--database", "sqlite:///before.db", "apply", "--yes").ok()
    reconciler("apply", "--yes", "--database", "sqlite:///after.db").ok()
    assert sorted(path.name for path in reconciler.folder.glob("*.db")) == ["after.db", "before.db"]
    reconciler("get", "tasks").ok()
    assert (reconciler.folder / "environment.db").exists()


def test_without_a_terminal_nothing_is_asked_and_nothing_is_coloured(reconciler: Program) -> None:
    for stdin in ("", "yes\n"):
        said = reconciler("apply", stdin=stdin)
        assert said.code == 1
        assert "stdin is no terminal" in said.err
        assert "\x1b" not in said.out + said.err
    assert reconciler.json("get", "revisions")["items"] == []


def without_a_reader(reconciler: Program, *words: str, reads: int = 10) -> tuple[int, bytes]:
    """The exit code and standard error of a command whose reader goes away after so many bytes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "reconciler", *words],
        cwd=reconciler.folder,
        env=reconciler.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    if reads:
        process.stdout.read(reads)
    process.stdout.close()
    return process.wait(60), process.stderr.read()


@pytest.mark.parametrize("words", ["plan -o json", "schedule -o json"])
def test_a_reader_that_goes_away_is_no_fault(words: str, reconciler: Program) -> None:
    reconciler("apply", "--yes").ok()
    (reconciler.folder / "manifests/all.yaml").write_text(
        (reconciler.folder / "manifests/all.yaml").read_text().replace("command: x", "command: y")
    )
    assert without_a_reader(reconciler, *words.split()) == (0, b"")


def test_what_came_of_it_does_not_depend_on_a_reader(reconciler: Program) -> None:
    """`apply --yes | head` said 0 with nothing applied where the plan was longer than a pipe holds."""
    assert without_a_reader(reconciler, "plan", "--exit-code", "-o", "json")[0] == 2
    assert without_a_reader(reconciler, "apply", "--yes") == (0, b"")
    assert reconciler("plan", "--exit-code").ok().err == ""
    broken = documents(
        [server("s0", "hots: x"), *(task("server: s1\ncommand: x", f"t{n}") for n in range(900))]
    )
    write_tree(reconciler.folder, {"broken/all.yaml": broken})
    assert without_a_reader(reconciler, "validate", "broken") == (1, b"")


@pytest.mark.parametrize(("words", "code"), [("plan nowhere", 1), ("get nothing", 64)])
def test_an_error_is_told_on_standard_error_without_a_reader_of_the_json(
    words: str, code: int, reconciler: Program
) -> None:
    ended, said = without_a_reader(reconciler, *words.split(), "-o", "json", reads=0)
    assert ended == code
    assert said.startswith(b"error: ")
    assert b"Traceback" not in said


def test_streams_may_be_closed(reconciler: Program) -> None:
    for words, closed, code in (
        ("version", ">&-", 0),
        ("get nothing", "2>&-", 64),
        ("version", ">&- 2>&-", 0),
    ):
        done = subprocess.run(
            ["sh", "-c", f"{sys.executable} -m reconciler {words} {closed}"],
            cwd=reconciler.folder,
            env=reconciler.environment,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


INTERRUPT = b"\x03"


def on_a_terminal(program: Program, answer: bytes, *words: str, **more: str) -> tuple[int, str]:
    """Run with a terminal as all three streams; what is typed comes when the question has been asked.

    ^C comes again until it is heard: Python may lose one that comes just before it waits for a line.
    """
    environment = {**program.environment, "TERM": "xterm", **more}
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - another process
        os.chdir(program.folder)
        os.execve(sys.executable, [sys.executable, "-m", "reconciler", *words], environment)
    seen, asked = b"", False
    while True:
        if asked and answer == INTERRUPT and not select.select([terminal], [], [], 2)[0]:
            os.write(terminal, answer)
            continue
        try:
            read = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            break
        if not read:
            break
        seen += read
        if not asked and b"'yes'" in seen:
            asked = True
            os.write(terminal, answer)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode()


@pytest.mark.parametrize(("answer", "code"), [(b"yes\n", 0), (b"y\n", 1), (b"\x04", 1)])
def test_on_a_terminal_it_asks_and_takes_yes_only(answer: bytes, code: int, reconciler: Program) -> None:
    ended, seen = on_a_terminal(reconciler, answer, "apply")
    assert ended == code, seen
    assert len(reconciler.json("get", "revisions")["items"]) == (code == 0)
    assert "\x1b[" in seen


def test_no_color_is_honoured_and_an_interrupt_leaves_nothing_behind(reconciler: Program) -> None:
    ended, seen = on_a_terminal(reconciler, INTERRUPT, "apply", NO_COLOR="1")
    assert ended == 128 + signal.SIGINT
    assert re.search(r"\x1b\[\d", seen) is None
    assert "Traceback" not in seen
    assert reconciler.json("get", "revisions")["items"] == []


def test_names_of_all_scripts_pass_through_any_locale(program: Callable[..., Program]) -> None:
    made = program(LC_ALL="C", LANG="C", PYTHONIOENCODING="")
    name = "备份数据库 " + "🛠" * 94
    write_tree(
        made.folder, {"manifests/a.yaml": documents([server("s0"), task("server: s0\ncommand: x", name)])}
    )
    made("apply", "--yes").ok()
    assert made.json("get", "tasks", name)["items"][0]["name"] == name
    assert name[:40] in made("get", "tasks").ok().out
