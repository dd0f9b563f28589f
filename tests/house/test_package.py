"""What is installed: locked requirements, and a wheel with all that the program reads of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = sorted(ROOT.glob("requirements*.txt"))
IMAGE_EXTRAS = ("metrics", "notify", "s3")
PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==[^ ]+", re.MULTILINE)


def plain(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=~!; ]", name)[0]).lower()


def pinned(lock: Path) -> set[str]:
    return {plain(name) for name in PINNED.findall(lock.read_text())}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_names_no_index_and_no_host(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE), "an option of pip"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_package_of_a_lock_has_an_exact_version_and_hashes(lock: Path) -> None:
    lines = [line for line in lock.read_text().splitlines() if line and not line.lstrip().startswith("#")]
    for number, line in enumerate(lines):
        if not line.startswith(" "):
            assert PINNED.match(line), line
            assert lines[number + 1].strip().startswith("--hash=sha256:"), line


def test_the_locks_hold_what_pyproject_asks_for() -> None:
    project = PROJECT["project"]
    groups = PROJECT["dependency-groups"]
    wanted = {
        "requirements.txt": project["dependencies"],
        "requirements-image.txt": project["dependencies"]
        + [one for extra in IMAGE_EXTRAS for one in project["optional-dependencies"][extra]],
        "requirements-build.txt": groups["build"],
        "requirements-dev.txt": project["dependencies"]
        + [one for one in groups["dev"] if isinstance(one, str)]
        + groups["build"],
        "requirements-bench.txt": project["dependencies"] + project["optional-dependencies"]["bench"],
    }
    assert {lock.name for lock in LOCKS} == set(wanted)
    for lock in LOCKS:
        missing = {plain(name) for name in wanted[lock.name]} - pinned(lock)
        assert not missing, f"{lock.name} lacks {missing}: make lock"


def test_every_extra_of_the_program_is_in_the_image() -> None:
    assert {*IMAGE_EXTRAS, "bench"} == set(PROJECT["project"]["optional-dependencies"])
    assert "requirements-image.txt" in (ROOT / "Dockerfile").read_text()


def test_what_several_locks_hold_has_one_version() -> None:
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for line in lock.read_text().splitlines():
            if PINNED.match(line):
                name, _, version = line.removesuffix("\\").strip().partition("==")
                versions.setdefault(plain(name), set()).add(version)
    several = {name: found for name, found in versions.items() if len(found) > 1}
    # one package may have several versions where Pythons differ, but then in all locks the same ones
    assert {name: found for name, found in several.items() if not all(";" in one for one in found)} == {}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in the wheel, built as the container image builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        return set(archive.namelist())


def test_the_wheel_has_every_file_of_the_package(wheel: set[str]) -> None:
    files = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "reconciler").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files <= wheel
    assert {name.split("/")[0] for name in wheel if ".dist-info/" not in name} == {"reconciler"}


def test_the_wheel_has_the_licence_and_the_command(wheel: set[str]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)
    assert any(name.endswith(".dist-info/entry_points.txt") for name in wheel)
