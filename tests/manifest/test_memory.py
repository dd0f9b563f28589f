"""A remembered tree reads exactly as one that is parsed, and whatever happens to the memory is a miss."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.cli.main import main
from reconciler.manifest import load as loading
from reconciler.manifest import memory as remembering
from reconciler.manifest.load import Loaded, load_tree
from reconciler.manifest.memory import Memory, own_folder
from reconciler.manifest.source import open_source
from reconciler.manifest.tree import read_commit, read_tree
from tests.manifest.trees import codes, documents, project, server, task, write
from tests.services.git import GitRepository

PROJECT = project(
    """\
    defaults:
      task: {timezone: Europe/Berlin, env: {PORT: 8080}}
      server: {environment: prod}
    """
)
CALENDAR = """\
apiVersion: reconciler/v1
kind: Calendar
metadata: {name: freeze}
spec: {deny: [{dates: ["2026-12-24"]}]}
"""
TREE: dict[str, str | bytes] = {
    "project.yaml": PROJECT,
    "calendar.yaml": CALENDAR,
    "servers.yaml": documents(server("db-1", labels="role: db"), server("db-2", "jump: db-1", "role: db")),
    "tasks/a.yaml": documents(
        task("selector: {matchLabels: {role: db}}\ncommand: x\nschedule: '@daily'\ncalendars: [freeze]", "a"),
        task("server: db-1\nscript: {file: run.sh}\nafter: [a]", "b"),
    ),
    "tasks/c.yaml": task("servers: [db-2, other/web]\ncommand: y\ntimezone: Asia/Tokyo", "c"),
    "empty.yaml": "# nothing yet\n",
    "run.sh": "echo 1\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write(tmp_path / "tree", TREE)


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "cache" / "reconciler", "/there")


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of all files that are parsed from now on, in order."""
    paths: list[str] = []
    parse = loading.parse

    def noticed(text: loading.SourceText, report: Callable[..., None]) -> Iterator[loading.RawDocument]:
        paths.append(text.path)
        return parse(text, report)

    monkeypatch.setattr(loading, "parse", noticed)
    return paths


def read(tree: Path, memory: Memory | None = None) -> Loaded:
    return load_tree(open_source(tree), memory)


def file_of(memory: Memory) -> Path:
    (file,) = memory.folder.iterdir()
    return file


# ---------------------------------------------------------------------------------------- the same result


def test_what_is_remembered_is_what_was_read(tree: Path, memory: Memory, parsed: list[str]) -> None:
    fresh = read(tree)
    assert fresh.problems == ()
    assert read(tree, memory) == fresh
    parsed.clear()
    assert read(tree, memory) == fresh
    assert parsed == []


def test_one_edited_file_of_many_is_the_only_one_that_is_parsed(
    tree: Path, memory: Memory, parsed: list[str]
) -> None:
    read(tree, memory)
    write(
        tree,
        {
            "tasks/c.yaml": task("server: db-2\ncommand: z", "c"),
            "tasks/d.yaml": task("server: db-1\ncommand: d", "d"),
        },
    )
    (tree / "empty.yaml").unlink()
    parsed.clear()
    edited = read(tree, memory)
    assert parsed == ["tasks/c.yaml", "tasks/d.yaml"]
    parsed.clear()
    assert read(tree, memory) == edited
    assert parsed == []
    assert edited == read(tree)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("project.yaml", PROJECT.replace("8080", "8081")),
        ("calendar.yaml", CALENDAR.replace("24", "25")),
        ("run.sh", "echo 2\n"),
        ("run.sh", ""),
        ("run.sh", "echo 1\r\n"),
        ("servers.yaml", server("db-1", labels="role: web")),
        ("tasks/c.yaml", "a: ["),
        ("tasks/d.yaml", b"\xff"),
        (".reconcilerignore", "["),
        ("project.yaml", "kind: Project"),
    ],
)
def test_what_else_decides_what_a_file_means_is_noticed(
    tree: Path, memory: Memory, path: str, content: str | bytes
) -> None:
    read(tree, memory)
    write(tree, {path: content})
    for _ in range(2):
        assert read(tree, memory) == read(tree)


def test_a_zone_that_the_machine_lost_is_noticed(
    tree: Path, memory: Memory, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read(tree, memory)
    zone = remembering.zone

    def without_tokyo(name: str) -> object:
        if name == "Asia/Tokyo":
            raise ValueError(name)
        return zone(name)

    monkeypatch.setattr(remembering, "zone", without_tokyo)
    parsed.clear()
    read(tree, memory)
    assert parsed == ["tasks/c.yaml"]


def test_a_tree_with_a_warning_is_never_remembered(tree: Path, memory: Memory) -> None:
    write(tree, {"run.sh": "echo 1\r\n"})
    loaded = read(tree, memory)
    assert codes(loaded) == ["script-line-ends"]
    assert loaded.state is not None
    assert not memory.folder.exists()
    assert read(tree, memory) == loaded


_NAMES = st.sampled_from(["a", "b", "c", "db-1", "备份"])
_SERVERS = st.builds(
    server,
    _NAMES,
    st.sampled_from(["", "jump: a", "port: 2222", "hots: x"]),
    st.sampled_from(["", "role: db", "role: web", "role: 1"]),
)
_TASKS = st.builds(
    task,
    st.builds(
        "{}\n{}\n{}".format,
        st.sampled_from(
            ["server: a", "server: x/y", "servers: [a, b]", "selector: {matchLabels: {role: db}}",
             "selector: {matchExpressions: [{key: role, operator: Exists}]}"]
        ),
        st.sampled_from(["command: x", "command: |\n  a", "script: {file: run.sh}", "script: {file: no}"]),
        st.sampled_from(
            ["", "after: [a]", "timezone: Asia/Tokyo", "timezone: Nowhere", "calendars: [freeze]",
             "env: {A: 1}", "schedule: '0 2 * * *'", "schedule: 'x'", "retries: {limit: 2, factor: 1.5}"]
        ),
    ),
    _NAMES,
)  # fmt: skip
_CONTENTS = st.one_of(
    st.lists(
        st.one_of(_SERVERS, _TASKS, _SERVERS, _TASKS, st.sampled_from([PROJECT, CALENDAR])), max_size=3
    ).map(lambda texts: documents(*texts)),
    st.sampled_from(["a: [", "# nothing", "kind: Task\n---\nkind: Tusk", PROJECT.replace("Berlin", "Paris")]),
)
_PATHS = st.sampled_from(["a.yaml", "b.yaml", "c/d.yaml", "e.yaml"])
_EDITS = st.lists(
    st.one_of(
        st.tuples(_PATHS, st.one_of(_CONTENTS, st.none())),
        st.tuples(st.just("run.sh"), st.sampled_from(["echo 1", "echo 2", "", "a\r\n"])),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(_EDITS)
def test_after_any_edits_a_remembered_tree_reads_as_one_that_is_parsed(
    edits: list[tuple[str, str | None]],
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder, memory = Path(place) / "tree", Memory(Path(place) / "cache", "/there")
        # servers that most tasks find, so that many of the trees are right
        write(
            folder,
            {"servers.yaml": server("a", labels="role: db") + "---\n" + server("b"), "run.sh": "echo 1"},
        )
        write(folder, {"calendar.yaml": CALENDAR})
        for path, content in edits:
            if content is None:
                (folder / path).unlink(missing_ok=True)
            else:
                write(folder, {path: content})
            fresh = read(folder)
            for _ in range(2):
                assert read(folder, memory) == fresh


def test_problems_are_shown_alike_with_and_without(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path)
    (tree / "tasks" / "c.yaml").unlink()
    database = f"--database=sqlite:///{tmp_path}/state.db"
    plans = []
    for _ in range(2):
        assert main(["plan", str(tree), database, "-o", "json"]) == 0
        plans.append(capsys.readouterr())
    assert plans[0] == plans[1]
    assert len(list((tmp_path / "own" / "reconciler").iterdir())) == 1
    data = Path(__file__).parent / "data" / "twenty"
    shutil.copytree(data, tree, dirs_exist_ok=True)
    shown = []
    for switch in ("on", "off"):
        monkeypatch.setenv("RECONCILER_CACHE", switch)
        assert main(["plan", str(tree), database]) == 1
        shown.append(capsys.readouterr())
    assert shown[0] == shown[1]


def test_a_commit_is_remembered_for_the_next_one(
    git_repo: GitRepository, tmp_path: Path, parsed: list[str]
) -> None:
    write(git_repo.path, {f"manifests/{name}": content for name, content in TREE.items()})
    git_repo.commit("first")
    cache = tmp_path / "own-cache"
    manifests = git_repo.path / "manifests"
    read_commit(manifests, "HEAD", cache)
    write(manifests, {"tasks/c.yaml": task("server: db-2\ncommand: z", "c")})
    git_repo.commit("second")
    parsed.clear()
    again = read_commit(manifests, "HEAD", cache)
    assert parsed == ["tasks/c.yaml"]
    assert again.desired() == read_commit(manifests, "HEAD").desired()


def test_two_folders_share_nothing(tree: Path, tmp_path: Path, parsed: list[str]) -> None:
    cache, other = tmp_path / "own", write(tmp_path / "other", TREE)
    read_tree(tree, cache)
    parsed.clear()
    read_tree(other, cache)
    assert len(parsed) == 6


# -------------------------------------------------------------------------------------------- a miss


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def _swap_for_link(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def _replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _replace_by_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda file: os.truncate(file, file.stat().st_size // 2),
    "one bit": _flip,
    "empty": lambda file: os.truncate(file, 0),
    "something else": lambda file: file.write_bytes(b"\xff" * 100),
    "too large": lambda file: os.truncate(file, remembering.LARGEST + 1000),
    "a link": _swap_for_link,
    "a folder": _replace_by_folder,
    "a pipe": _replace_by_pipe,
    "writable by others": lambda file: file.chmod(0o666),
    "in a folder that others write to": lambda file: file.parent.chmod(0o777),
    "in a folder as git makes it": lambda file: file.parent.chmod(0o755),
    "gone": lambda file: file.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_memory_is_a_miss(
    tree: Path, memory: Memory, damage: Callable[[Path], object], parsed: list[str]
) -> None:
    fresh = read(tree, memory)
    damage(file_of(memory))
    parsed.clear()
    assert read(tree, memory) == fresh
    assert len(parsed) == 6


def test_another_version_of_the_program_forgets(
    tree: Path, memory: Memory, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read(tree, memory)
    monkeypatch.setattr(remembering, "__version__", "0")
    parsed.clear()
    assert read(tree, memory).problems == ()
    assert len(parsed) == 6
    parsed.clear()
    read(tree, memory)
    assert parsed == []


def test_a_place_that_cannot_be_written_changes_nothing(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    memory = Memory(tmp_path / "file" / "reconciler", "/there")
    assert read(tree, memory) == read(tree, memory) == read(tree)


def test_a_full_disk_changes_nothing_and_leaves_nothing(tree: Path, memory: Memory) -> None:
    memory.folder.mkdir(parents=True, mode=0o700)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores SIGXFSZ: a write beyond is an OSError, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        loaded = read(tree, memory)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert loaded == read(tree)
    assert list(memory.folder.iterdir()) == []


def test_what_is_too_large_is_not_kept(tree: Path, memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "LARGEST", 1000)
    read(tree, memory)
    assert not memory.folder.exists()


def test_it_is_its_owners_alone(tree: Path, memory: Memory) -> None:
    read(tree, memory)
    assert memory.folder.stat().st_mode & 0o777 == 0o700
    assert file_of(memory).stat().st_mode & 0o777 == 0o600


def test_many_readers_and_writers_see_whole_memories(tree: Path, memory: Memory, tmp_path: Path) -> None:
    other = write(tmp_path / "other", {**TREE, "tasks/c.yaml": task("server: db-1\ncommand: other", "c")})
    right = {folder: read(folder) for folder in (tree, other)}
    wrong: list[Loaded] = []

    def work(folder: Path) -> None:
        for _ in range(10):
            loaded = read(folder, memory)
            if loaded != right[folder]:
                wrong.append(loaded)

    # both under one name: each finds what the other left, and replaces it
    threads = [threading.Thread(target=work, args=(folder,)) for folder in (tree, other) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(list(memory.folder.iterdir())) == 1


# --------------------------------------------------------------------------------------- place and bounds


def test_what_nobody_used_for_long_goes_and_so_do_leftovers(tree: Path, memory: Memory) -> None:
    memory.folder.mkdir(parents=True, mode=0o700)
    ages = {"used.tree": 29 * 86_400, "unused.tree": 31 * 86_400, "dead.12-ab": 7200, "writing.13-cd": 60}
    now = tree.stat().st_mtime
    for name, age in ages.items():
        (memory.folder / name).write_bytes(b"x")
        os.utime(memory.folder / name, (now - age, now - age))
    read(tree, memory)
    left = {path.name for path in memory.folder.iterdir()}
    assert left & ages.keys() == {"used.tree", "writing.13-cd"}


def test_all_of_them_together_are_bounded(
    tree: Path, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembering, "ALL", 10_000)
    memory.folder.mkdir(parents=True, mode=0o700)
    now = tree.stat().st_mtime
    for age in range(1, 6):
        file = memory.folder / f"{age}.tree"
        file.write_bytes(b"x" * 3000)
        os.utime(file, (now - age * 100, now - age * 100))
    read(tree, memory)
    assert sum(path.stat().st_size for path in memory.folder.iterdir()) <= 10_000
    assert (memory.folder / "1.tree").exists()
    assert not (memory.folder / "5.tree").exists()


def test_one_that_is_used_stays_young(tree: Path, memory: Memory) -> None:
    read(tree, memory)
    os.utime(file_of(memory), (1, 1))
    read(tree, memory)
    assert file_of(memory).stat().st_mtime > 1


def test_the_place_is_the_users_and_never_one_that_a_repository_could_fill(tmp_path: Path) -> None:
    home = str(tmp_path)
    assert own_folder({"HOME": home}) == tmp_path / ".cache" / "reconciler"
    assert own_folder({"HOME": "/x", "XDG_CACHE_HOME": home}) == tmp_path / "reconciler"
    assert own_folder({"HOME": home, "XDG_CACHE_HOME": "here"}) == tmp_path / ".cache" / "reconciler"
    assert own_folder({"XDG_CACHE_HOME": "here"}) is None
    assert own_folder({"HOME": "."}) is None
    assert own_folder({}) is None
    (tmp_path / ".git").mkdir()
    assert own_folder({"HOME": home}) is None
    assert own_folder({"HOME": home, "XDG_CACHE_HOME": str(tmp_path / "below")}) is None
    (tmp_path / "link").symlink_to(tmp_path / "below")
    assert own_folder({"XDG_CACHE_HOME": str(tmp_path / "link")}) is None


def test_another_users_home_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    somebody_else = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody_else)
    assert own_folder({"HOME": str(tmp_path)}) is None


def test_off_reads_and_writes_nothing(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    monkeypatch.setenv("RECONCILER_CACHE", "off")
    (tree / "tasks" / "c.yaml").unlink()
    assert main(["plan", str(tree), f"--database=sqlite:///{tmp_path}/state.db"]) == 0
    assert not (tmp_path / "own").exists()
    capsys.readouterr()
    monkeypatch.setenv("RECONCILER_CACHE", "perhaps")
    assert main(["plan", str(tree)]) == 1
    assert "cache (from RECONCILER_CACHE): on or off is expected" in capsys.readouterr().err
