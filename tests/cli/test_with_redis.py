"""Commands beside a Redis: they say that something changed, and never depend on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.cache.link import RedisSignals
from reconciler.cache.place import Place
from reconciler.cache.signals import News
from reconciler.clock import SystemClock
from tests.controller.conftest import eventually
from tests.services.redis import RedisServer

PROGRAM = Path(sys.executable).parent / "reconciler"
TREE = """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: demo}
---
apiVersion: reconciler/v1
kind: Server
metadata: {name: here}
spec: {connection: local, host: localhost}
---
apiVersion: reconciler/v1
kind: Task
metadata: {name: hello}
spec: {server: here, command: echo hello, schedule: "0 2 * * *"}
"""
StartRedis = Callable[..., RedisServer]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "all.yaml").write_text(TREE)
    return tmp_path


def call(folder: Path, *words: str, redis: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RECONCILER_")}
    return subprocess.run(
        [PROGRAM, *words],
        cwd=folder,
        env={**kept, "RECONCILER_REDIS_URL": redis},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.redis
def test_an_apply_that_changes_something_is_told_to_the_others(
    folder: Path, redis_server: RedisServer
) -> None:
    heard: list[News] = []
    with closing(_Ears(redis_server.url, heard)):
        eventually(lambda: any(news.missed for news in heard))
        assert call(folder, "apply", "tree", "--yes", redis=redis_server.url).returncode == 0
        eventually(lambda: any(news.changed for news in heard))
        heard.clear()
        done = call(folder, "apply", "tree", "--yes", redis=redis_server.url)
        assert done.returncode == 0
        assert heard == []


class _Ears:
    def __init__(self, url: str, heard: list[News]) -> None:
        self._signals = RedisSignals(Place(url, "reconciler"), SystemClock(), "ears")
        self._signals.start(heard.append, lambda at: None)

    def close(self) -> None:
        self._signals.close(2)


@pytest.mark.redis
@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_commands_work_while_redis_is_away_and_say_so_once(
    folder: Path, start_redis: StartRedis, fault: str
) -> None:
    server = start_redis()
    getattr(server, fault)()
    url = f"redis://:hunter2@127.0.0.1:{server.port}/0"
    for words in (("apply", "tree", "--yes"), ("status",)):
        done = call(folder, *words, redis=url)
        assert done.returncode == 0, done.stderr
        assert "hunter2" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.count("Redis") <= 1


def test_a_url_that_is_none_is_refused_without_quoting_it(folder: Path) -> None:
    done = call(folder, "status", redis="mysql://u:hunter2@h")
    assert done.returncode == 1
    assert "redis_url (from RECONCILER_REDIS_URL)" in done.stderr
    assert "hunter2" not in done.stderr
    done = call(folder, "controller", "tree", "--for", "1s", redis="redis://:hunter2@h/0?colour=red")
    assert done.returncode == 1
    assert "its options are not ones that the Redis library knows" in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize("words", [["validate", "tree"], ["plan", "tree"]])
def test_a_command_that_has_no_use_for_redis_does_not_load_it(folder: Path, words: list[str]) -> None:
    call(folder, "apply", "tree", "--yes", redis="redis://127.0.0.1:1/0")
    code = (
        "import sys\n"
        "from reconciler.cli.main import main\n"
        "sys.argv = ['reconciler', *sys.argv[1:]]\n"
        "try:\n    code = main()\nexcept SystemExit as end:\n    code = end.code\n"
        "print('loaded' if {'redis', 'hiredis'} & set(sys.modules) else 'not loaded', file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        env={**os.environ, "RECONCILER_REDIS_URL": "redis://127.0.0.1:1/0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == "not loaded", done.stderr
