"""Small trees for tests: files from texts, documents from a few words."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

from reconciler.manifest.load import Loaded, load_tree
from reconciler.manifest.problem import Problem
from reconciler.manifest.source import open_source

SERVER = """\
apiVersion: reconciler/v1
kind: Server
metadata: {name: db-1, labels: {role: db, env: prod}}
spec: {host: 10.0.0.11, username: deploy}
"""


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    """The files in the folder; texts lose their common indentation."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else dedent(content).encode()
        path.write_bytes(data)
    return folder


def load(folder: Path, files: dict[str, str | bytes] | None = None) -> Loaded:
    """What comes of the folder, with these files put into it first."""
    return load_tree(open_source(write(folder, files or {})))


def task(spec: str, name: str = "t") -> str:
    """A Task document; the spec is YAML in block style."""
    head = f"apiVersion: reconciler/v1\nkind: Task\nmetadata: {{name: {name}}}\nspec:\n"
    return head + indent(dedent(spec).strip("\n"), "  ") + "\n"


def server(name: str, rest: str = "", labels: str = "") -> str:
    """A Server document; ``rest`` goes into the spec's braces, ``labels`` into those of the labels."""
    return (
        f"apiVersion: reconciler/v1\nkind: Server\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n"
        f"spec: {{host: h, username: u{', ' if rest else ''}{rest}}}\n"
    )


def project(spec: str, name: str = "billing") -> str:
    """A Project document; the spec is YAML in block style."""
    head = f"apiVersion: reconciler/v1\nkind: Project\nmetadata: {{name: {name}}}\nspec:\n"
    return head + indent(dedent(spec).strip("\n"), "  ") + "\n"


def documents(*texts: str) -> str:
    """One file of several documents."""
    return "---\n".join(texts)


def brief(problem: Problem) -> str:
    """``path:line:column code``."""
    return f"{problem.place} {problem.code}"


def briefs(loaded: Loaded) -> list[str]:
    return [brief(problem) for problem in loaded.problems]


def codes(loaded: Loaded) -> list[str]:
    return [problem.code for problem in loaded.problems]


def marked(folder: Path, problem: Problem) -> str:
    """The characters of the file that the problem marks."""
    line = (folder / problem.path).read_text(encoding="utf-8-sig").splitlines()[problem.line - 1]
    return line[problem.column - 1 : problem.end_column - 1]
