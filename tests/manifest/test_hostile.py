"""Hostile files end in one clear problem, in bounded time and memory: each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from reconciler.manifest.source import MAX_FILE
from tests.manifest.trees import load

MEGABYTES = 200
SECONDS = 8
"""Far above the one second that each takes: the machine may be busy; without limits it would be minutes."""

_MEASURED = """
import contextlib, io, json, sys, time
from reconciler.cli.main import main
for folder in sys.argv[1:]:
    begun = time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        main(["validate", "-o", "json", folder])
    seconds = time.monotonic() - begun
    with open("/proc/self/status") as status:
        peak = next(line for line in status if line.startswith("VmHWM"))
    megabytes = int(peak.split()[1]) // 1024
    problems = json.loads(shown.getvalue())["problems"]
    codes = [problem["code"] for problem in problems]
    found = {"folder": folder, "codes": codes, "seconds": seconds, "megabytes": megabytes}
    print(json.dumps(found), flush=True)
"""

TASK = b"apiVersion: reconciler/v1\nkind: Task\nmetadata: {name: a}\nspec:\n"


def _laughs(opening: bytes, closing: bytes, join: bytes) -> bytes:
    lines = [b"a0: &a0 {k: v}"]
    for level in range(1, 40):
        aliases = join.join([b"*a%d" % (level - 1)] * 9)
        lines.append(b"a%d: &a%d %s%s%s" % (level, level, opening, aliases, closing))
    return b"\n".join(lines)


def _full(piece: bytes) -> bytes:
    return piece * (MAX_FILE // len(piece))


HOSTILE: dict[str, tuple[bytes, str]] = {
    "billion laughs": (_laughs(b"[", b"]", b","), "yaml-size"),
    "billion laughs by merging": (_laughs(b"{<<: [", b"]}", b","), "yaml-size"),
    "a chain of aliases": (
        b"\n".join([b"a0: &a0 [x]"] + [b"a%d: &a%d [*a%d]" % (n, n, n - 1) for n in range(1, 20_000)]),
        "yaml-depth",
    ),
    "a long list named very often": (
        b"a: &a [" + b"x," * 1000 + b"]\nb: [" + b"*a," * 200_000 + b"]",
        "yaml-size",
    ),
    "an alias inside its anchor": (b"spec: &a [*a]", "yaml-alias"),
    "a mapping merged into itself": (b"&a {<<: *a}", "yaml-alias"),
    "deep brackets": (_full(b"["), "yaml-depth"),
    "deep braces": (_full(b"{a: "), "yaml-depth"),
    "deep dashes": (_full(b"- "), "yaml-depth"),
    "deep question marks": (_full(b"? "), "yaml-depth"),
    "deep indentation": (b"".join(b" " * n + b"a:\n" for n in range(2000)), "yaml-depth"),
    "a list without end": (b"[" + _full(b"a,")[:-2], "yaml-size"),
    "a mapping without end": (b"{" + _full(b"a,")[:-2], "yaml-size"),
    "many unknown fields": (TASK + b"".join(b"  k%d: 1\n" % n for n in range(90_000)), "yaml-size"),
    "many anchors": (b"".join(b"k%d: &a%d x\n" % (n, n) for n in range(90_000)), "yaml-size"),
    "a million equal keys": (_full(b"a: 1\n"), "yaml-size"),
    "many empty documents": (_full(b"---\n"), "too-many-documents"),
    "many documents": (_full(b"--- {a: b}\n"), "too-many-documents"),
    "many wrong tasks": (_full(TASK + b"  x: 1\n---\n"), "too-many-documents"),
    "many tag directives": (
        b"".join(b"%%TAG !a%d! x\n" % n for n in range(100_000)) + b"--- a",
        "yaml-tag",
    ),
    "a line of 8 MB": (b'"' + b"x" * (MAX_FILE - 2) + b'"', "not-a-mapping"),
    "a NUL": (TASK + b"\0", "yaml-character"),
    "random bytes": (os.urandom(1_000_000) + b"\xff", "not-utf-8"),
    "too large by a byte": (b"#" * (MAX_FILE + 1), "file-too-large"),
}


def _validate(*folders: Path) -> list[dict[str, Any]]:
    """What `validate` says of each, the seconds it took, and the most memory the process has had so far."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *map(str, folders)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_hostile_file_is_one_clear_problem_soon_and_in_little_memory(tmp_path: Path) -> None:
    folders = {name: tmp_path / name.replace(" ", "-") for name in HOSTILE}
    for name, folder in folders.items():
        folder.mkdir()
        (folder / "x.yaml").write_bytes(HOSTILE[name][0])
    found = _validate(*folders.values())
    assert {name: each["codes"] for name, each in zip(HOSTILE, found, strict=True)} == {
        name: [code] for name, (_, code) in HOSTILE.items()
    }
    assert [each["folder"] for each in found if each["seconds"] > SECONDS] == []
    assert [each["folder"] for each in found if each["megabytes"] > MEGABYTES] == []


def test_a_file_of_100_megabytes_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "x.yaml", "wb") as file:
        file.truncate(100 * 1024 * 1024)
    (found,) = _validate(tmp_path)
    assert found["codes"] == ["file-too-large"]
    assert found["megabytes"] < 90


def test_of_very_many_problems_the_first_thousand_of_a_file_are_listed(tmp_path: Path) -> None:
    fields = b"".join(b"  k%d: 1\n" % number for number in range(9_000))
    codes = [
        problem.code for problem in load(tmp_path, {"x.yaml": TASK + b"  command: x\n" + fields}).problems
    ]
    assert codes.count("unknown-field") == 1000
    assert codes.count("too-many-problems") == 1
    assert len(codes) == 1001
