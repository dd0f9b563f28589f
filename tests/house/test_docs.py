from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler import errors

ROOT = Path(__file__).resolve().parents[2]
ROOMS = sorted(path.name for path in (ROOT / "reconciler").iterdir() if path.is_dir() and path.name[0] != "_")
NAMED = re.compile(rf"`((?:{'|'.join(ROOMS)})(?:\.\w+)+)`")
YAML = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
SERVER = """\
apiVersion: reconciler/v1
kind: Server
metadata: {name: db-1}
spec: {host: 10.0.0.1, username: deploy}
"""
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


@pytest.mark.parametrize("name", sorted(set(NAMED.findall((ROOT / "docs/flow.md").read_text()))))
def test_what_the_flow_names_exists(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert hasattr(importlib.import_module(f"reconciler.{module}"), attribute)


@pytest.mark.parametrize(
    "path", [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], ids=lambda path: path.name
)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    missing = [link for link in LINK.findall(path.read_text()) if not (path.parent / link).exists()]
    assert missing == []


def test_the_manifest_reference_is_what_the_models_say() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/manifest_reference.py", "--check"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "docs/flow.md"], ids=lambda path: path.name)
def test_manifests_in_documents_are_valid(path: Path, tmp_path: Path) -> None:
    from reconciler.manifest.load import load_tree
    from reconciler.manifest.source import open_source

    blocks = [block for block in YAML.findall(path.read_text()) if "apiVersion" in block]
    assert blocks
    for number, block in enumerate(blocks):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "block.yaml").write_text(block)
        if "kind: Server" not in block:
            (folder / "server.yaml").write_text(SERVER)
        assert load_tree(open_source(folder)).problems == ()


def test_every_exit_code_of_the_program_stands_in_the_readme() -> None:
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)}
    assert told == codes | {0}
