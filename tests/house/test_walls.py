"""The import contracts of pyproject.toml stop what they should, tried on a small house of the same rooms."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"][
    "importlinter"
]["contracts"]
ROOMS = [[room.strip(" ()") for room in floor.split("|")] for floor in CONTRACTS[0]["layers"]]

# Importer, imported, and the contract that must speak up.
FORBIDDEN = [
    ("model.task", "reconciler.schedule", "Imports point down"),
    ("errors", "reconciler.model", "Imports point down"),
    ("store.rows", "reconciler.manifest", "Imports point down"),
    ("apply", "reconciler.dispatch", "Imports point down"),
    ("record.writer", "reconciler.report", "Imports point down"),
    ("cli.main", "reconciler.web", "Imports point down"),
    ("execute.local", "reconciler.store", None),
    ("plan.diff", "reconciler.store", "plan sees only schedule, model and errors"),
    ("plan.diff", "reconciler.clock", "plan sees only schedule, model and errors"),
    ("plan.render", "os", "model, schedule and plan are pure"),
    ("model.server", "pathlib", "model, schedule and plan are pure"),
    ("schedule.cron", "time", "model, schedule and plan are pure"),
    ("schedule.cron", "logging", "model, schedule and plan are pure"),
    ("model.task", "yaml", "model, schedule and plan are pure"),
    ("dispatch.claim", "sqlalchemy.exc", "only store knows the database"),
    ("bootstrap", "pymysql", "only store knows the database"),
    ("store.rows", "sqlalchemy", None),
    ("store.migrations.env", "alembic", None),
    ("controller.loop", "redis", "only cache knows Redis"),
    ("cache.client", "redis.exceptions", None),
    ("execute.local", "paramiko", "only execute.ssh knows paramiko"),
    ("execute.ssh.connection", "paramiko", None),
    ("record.archive", "boto3", "only record.bucket knows boto3"),
    ("record.bucket", "boto3", None),
    ("cli.main", "yaml", "only manifest knows YAML"),
    ("manifest.parse", "yaml", None),
    ("cli.main", "croniter", "only schedule knows croniter"),
]


def build(folder: Path, imports: Mapping[str, list[str]]) -> None:
    """A package ``reconciler`` with every room, where module → what it imports."""
    package = folder / "reconciler"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("import reconciler.cli\n")
    modules: dict[str, list[str]] = {room: [] for floor in ROOMS for room in floor} | dict(imports)
    parents = {name.rsplit(".", depth)[0] for name in modules for depth in range(1, name.count(".") + 1)}
    for name, imported in modules.items():
        path = package.joinpath(*name.split("."))
        path = path / "__init__.py" if name in parents else path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"import {module}\n" for module in imported))
    for name in parents:
        package.joinpath(*name.split("."), "__init__.py").touch()


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--config", ROOT / "pyproject.toml", "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def pairs() -> dict[str, list[str]]:
    imports: dict[str, list[str]] = {}
    for importer, imported, _ in FORBIDDEN:
        imports.setdefault(importer, []).append(imported)
    return imports


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says of a house with all the mistakes at once."""
    folder = tmp_path_factory.mktemp("broken")
    build(folder, pairs())
    done = lint(folder)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def said_of(output: str, contract: str) -> str:
    """The part of the report on one broken contract; empty if it was kept."""
    report = output.partition("Broken contracts")[2]
    _, title, rest = report.partition(f"\n{contract}\n{'-' * len(contract)}\n")
    lines = rest.splitlines()
    underlines = [number for number, line in enumerate(lines) if line and not line.strip("-")]
    return title + "\n".join(lines[: underlines[0] - 1] if underlines else lines)


@pytest.mark.parametrize(("importer", "imported", "contract"), FORBIDDEN)
def test_an_import_is_stopped_by_its_wall_or_allowed(
    broken: str, importer: str, imported: str, contract: str | None
) -> None:
    imported = imported if imported.startswith("reconciler") else imported.split(".")[0]
    arrow = f"reconciler.{importer} -> {imported} "
    if contract:
        assert arrow in said_of(broken, contract)
    elif not imported.startswith("reconciler"):
        assert arrow not in broken


def test_a_house_whose_imports_point_down_is_left_in_peace(tmp_path: Path) -> None:
    downwards = {
        upper: [f"reconciler.{lower}" for floor in ROOMS[number + 1 :] for lower in floor]
        for number, floor in enumerate(ROOMS)
        for upper in floor
        if upper != "plan" and number < 7
    }
    downwards["plan"] = [
        "reconciler.schedule",
        "reconciler.model",
        "reconciler.errors",
        "zoneinfo",
        "datetime",
    ]
    downwards = {
        upper: [name for name in lower if name != "reconciler.plan"] for upper, lower in downwards.items()
    }
    build(tmp_path, downwards)
    done = lint(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_room_without_a_place_in_the_layers_is_refused(tmp_path: Path) -> None:
    build(tmp_path, {"shed": []})
    done = lint(tmp_path)
    assert done.returncode == 1
    assert "shed" in done.stdout + done.stderr


def test_the_wall_around_plan_names_every_room_below_it_that_stands() -> None:
    floor = next(number for number, rooms in enumerate(ROOMS) if "plan" in rooms)
    below = {room for rooms in ROOMS[floor + 1 :] for room in rooms} - {"schedule", "model", "errors"}
    standing = {
        room
        for room in below
        if list((ROOT / "reconciler").glob(f"{room}.py")) + list((ROOT / "reconciler" / room).glob("*.py"))
    }
    contract = next(one for one in CONTRACTS if one["name"].startswith("plan sees only"))
    assert set(contract["forbidden_modules"]) >= {f"reconciler.{room}" for room in standing}


def test_every_room_has_a_charter_and_no_code_in_it() -> None:
    import ast

    for init in sorted((ROOT / "reconciler").rglob("__init__.py")):
        tree: Any = ast.parse(init.read_text())
        assert ast.get_docstring(tree), f"{init.relative_to(ROOT)} says nothing about what belongs there"
        if init.parent != ROOT / "reconciler":
            extra = [
                node
                for node in tree.body[1:]
                if not isinstance(node, ast.ImportFrom) or node.module != "__future__"
            ]
            assert not extra, f"{init.relative_to(ROOT)} has code"
