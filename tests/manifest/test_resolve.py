"""Defaults, scripts, and what a valid tree becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.manifest.resolve import with_defaults
from reconciler.model.state import Origin
from tests.manifest.trees import (
    SERVER,
    briefs,
    codes,
    documents,
    load,
    marked,
    project,
    server,
    task,
)

MERGES: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "what is absent is filled in": (
        "Task",
        {"timeout": "1h"},
        {"command": "x"},
        {"timeout": "1h", "command": "x"},
    ),
    "the object wins": ("Task", {"timeout": "1h"}, {"timeout": "2h"}, {"timeout": "2h"}),
    "nothing said wins too": ("Task", {"schedule": "@daily"}, {"schedule": None}, {"schedule": None}),
    "mappings merge key by key": (
        "Task",
        {"env": {"A": "1", "B": "1"}, "retries": {"limit": 2}},
        {"env": {"B": "2"}, "retries": {"backoff": "1m"}},
        {"env": {"A": "1", "B": "2"}, "retries": {"limit": 2, "backoff": "1m"}},
    ),
    "lists are replaced": ("Task", {"after": ["a"]}, {"after": ["b"]}, {"after": ["b"]}),
    "a script displaces a command": (
        "Task",
        {"command": "x"},
        {"script": {"file": "f"}},
        {"script": {"file": "f"}},
    ),
    "scripts merge": (
        "Task",
        {"script": {"interpreter": "/bin/bash"}},
        {"script": {"file": "f"}},
        {"script": {"file": "f", "interpreter": "/bin/bash"}},
    ),
    "servers displace a selector": (
        "Task",
        {"selector": {"matchLabels": {"a": "b"}}},
        {"servers": ["s"]},
        {"servers": ["s"]},
    ),
    "a server that is null displaces nothing": (
        "Task",
        {"selector": {"matchLabels": {"a": "b"}}},
        {"server": None},
        {"server": None, "selector": {"matchLabels": {"a": "b"}}},
    ),
    "a password displaces a key and its passphrase": (
        "Server",
        {"auth": {"privateKey": {"file": "k"}, "passphrase": {"env": "P"}}},
        {"auth": {"password": {"env": "W"}}},
        {"auth": {"password": {"env": "W"}}},
    ),
    "a key displaces a password": (
        "Server",
        {"auth": {"password": {"env": "W"}}},
        {"auth": {"privateKey": {"file": "k"}}},
        {"auth": {"privateKey": {"file": "k"}}},
    ),
    "a secret's source is one value": (
        "Task",
        {"secrets": {"A": {"env": "X"}, "B": {"env": "Y"}}},
        {"secrets": {"A": {"file": "x"}}},
        {"secrets": {"A": {"file": "x"}, "B": {"env": "Y"}}},
    ),
}


@pytest.mark.parametrize("name", MERGES)
def test_defaults_are_below_the_object(name: str) -> None:
    kind, defaults, spec, expected = MERGES[name]
    assert with_defaults(kind, defaults, spec) == expected


def test_defaults_reach_every_object_wherever_the_project_is_declared(tmp_path: Path) -> None:
    defaults = """\
    defaults:
      task: {timezone: Europe/Berlin, env: {PORT: 8080, DEBUG: yes}, server: db-1}
      server: {username: deploy, port: 2222}
    """
    files = {
        "a.yaml": "apiVersion: reconciler/v1\nkind: Server\nmetadata: {name: db-1}\nspec: {host: h}\n",
        "b.yaml": task("command: x\nenv: {DEBUG: no}"),
        "z.yaml": project(defaults),
    }
    state = load(tmp_path, files).valid_state()
    assert state.project == "billing"
    assert state.origin == Origin("z.yaml", 1)
    assert state.servers["db-1"].definition.document["spec"] == {
        "host": "h",
        "username": "deploy",
        "port": 2222,
    }
    assert state.tasks["t", "db-1"].definition.document["spec"] == {
        "command": "x",
        "timezone": "Europe/Berlin",
        "env": {"PORT": "8080", "DEBUG": "no"},
    }


def test_a_mistake_in_defaults_is_reported_once_in_the_project(tmp_path: Path) -> None:
    defaults = """\
    defaults:
      task:
        timezone: Europe/Berln
        timout: 1h
        schedule: "61 * * * *"
        server: db-2
        history: {maxCount: 0}
        script: {file: none.sh}
      server: {port: "22", usrname: deploy}
    """
    tasks = documents(*(task("enabled: true", f"t{number}") for number in range(20)))
    loaded = load(tmp_path, {"p.yaml": project(defaults), "s.yaml": SERVER, "t.yaml": tasks})
    assert briefs(loaded) == [
        "p.yaml:7:17 invalid-value",
        "p.yaml:8:7 unknown-field",
        "p.yaml:9:18 schedule-invalid",
        "p.yaml:10:15 unknown-server",
        "p.yaml:11:27 out-of-range",
        "p.yaml:12:22 script-no-such-file",
        "p.yaml:13:20 wrong-type",
        "p.yaml:13:26 unknown-field",
    ]
    assert loaded.problems[0].field == "spec.defaults.task.timezone"
    assert loaded.problems[1].hint == "did you mean `timeout`?"


def test_a_mistake_in_defaults_is_reported_without_any_object(tmp_path: Path) -> None:
    defaults = 'defaults:\n  task: {shedule: x, schedule: "x", server: a, servers: [b]}\n  server: [a]\n'
    loaded = load(tmp_path, {"p.yaml": project(defaults)})
    assert briefs(loaded) == [
        "p.yaml:6:12 unknown-field",
        "p.yaml:6:35 schedule-invalid",
        "p.yaml:6:50 exactly-one",
        "p.yaml:7:13 wrong-type",
    ]


def test_what_is_missing_in_defaults_is_missed_in_the_object(tmp_path: Path) -> None:
    defaults = (
        "defaults:\n  task: {script: {interpreter: /bin/bash}}\n  server: {auth: {passphrase: {env: P}}}\n"
    )
    files = {
        "p.yaml": project(defaults),
        "s.yaml": server("db-1", "auth: {privateKey: {file: k}}"),
        "t.yaml": task("server: db-1"),
    }
    loaded = load(tmp_path, files)
    assert briefs(loaded) == ["t.yaml:4:1 missing-field"]
    assert loaded.problems[0].field == "spec.script.file"


def test_a_script_is_its_text(tmp_path: Path) -> None:
    files = {
        "s.yaml": SERVER,
        "t.yaml": documents(
            task("server: db-1\nscript: {file: scripts/./a.sh, interpreter: /bin/bash}"),
            task("server: db-1\nscript: {file: .hidden/b}", "u"),
        ),
        "scripts/a.sh": b"#!/bin/bash\necho 1\n",
        ".hidden/b": "echo 备份\n",
    }
    state = load(tmp_path, files).valid_state()
    assert state.tasks["t", "db-1"].definition.document["spec"] == {
        "command": "#!/bin/bash\necho 1\n",
        "script": {"file": "scripts/./a.sh", "interpreter": "/bin/bash"},
    }
    assert state.tasks["u", "db-1"].definition.document["spec"]["command"] == "echo 备份\n"
    before = state.tasks["t", "db-1"].definition.hash
    files["scripts/a.sh"] = "echo 2\n"
    assert load(tmp_path, files).valid_state().tasks["t", "db-1"].definition.hash != before


SCRIPTS: dict[str, tuple[str, bytes | None, str]] = {
    "absent": ("a.sh", None, "script-no-such-file"),
    "above the tree": ("../a.sh", b"x", "script-outside-tree"),
    "above the tree inside": ("b/../../a.sh", b"x", "script-outside-tree"),
    "absolute": ("/etc/passwd", None, "script-outside-tree"),
    "a folder": ("sub", None, "script-not-a-file"),
    "empty": ("e.sh", b" \n", "script-empty"),
    "not UTF-8": ("l.sh", b"a\nb\xff", "script-not-utf-8"),
    "a program": ("n.sh", b"\x7fELF\0\0", "script-nul"),
    "too large": ("h.sh", b"x" * (1024 * 1024 + 1), "script-file-too-large"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_that_cannot_be_sent_is_a_problem_where_it_is_named(name: str, tmp_path: Path) -> None:
    file, content, code = SCRIPTS[name]
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    if content is not None:
        (tree / file).resolve().write_bytes(content)
    loaded = load(tree, {"s.yaml": SERVER, "t.yaml": task(f"server: db-1\nscript: {{file: {file}}}")})
    assert codes(loaded) == [code]
    assert marked(tree, loaded.problems[0]) == file


def test_a_script_behind_a_link_out_of_the_tree_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.sh").symlink_to("../secret")
    (tree / "inside.sh").write_text("echo\n")
    (tree / "b.sh").symlink_to("inside.sh")
    tasks = documents(
        task("server: db-1\nscript: {file: a.sh}"), task("server: db-1\nscript: {file: b.sh}", "u")
    )
    assert briefs(load(tree, {"s.yaml": SERVER, "t.yaml": tasks})) == ["t.yaml:6:18 script-outside-tree"]


def test_windows_line_ends_in_a_script_are_a_warning(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "s.yaml": SERVER,
        "t.yaml": task("server: db-1\nscript: {file: a.sh}"),
        "a.sh": b"echo\r\n",
    }
    loaded = load(tmp_path, files)
    assert loaded.state is not None
    assert [(p.severity, p.code) for p in loaded.problems] == [("warning", "script-line-ends")]


def test_a_tree_without_a_project_is_called_default(tmp_path: Path) -> None:
    state = load(tmp_path, {"s.yaml": SERVER}).valid_state()
    assert state.project == "default"
    assert state.spec.guard.max_deletions == 10


def test_writing_a_default_changes_no_hash(tmp_path: Path) -> None:
    plain = load(tmp_path, {"s.yaml": SERVER, "t.yaml": task("server: db-1\ncommand: x")}).valid_state()
    explicit = "schedule: ~\ntimeout: 60m\nretries: {limit: 0, factor: 2.0}\noutput: {maxBytes: 64KiB}"
    written = task(f"server: db-1\ncommand: x\n{explicit}")
    spelled = load(tmp_path, {"t.yaml": written}).valid_state()
    key = ("t", "db-1")
    assert spelled.tasks[key].definition == plain.tasks[key].definition
