"""Fixtures for every room: real services, a clock of one's own, a git repository."""

from __future__ import annotations

import os

import pytest

from tests.services.fixtures import (
    browser,
    database_url,
    fake_clock,
    git_repo,
    mariadb,
    mariadb_url,
    mysql,
    mysql_url,
    redis_server,
    s3_server,
    sqlite_url,
    sshd,
    start_mariadb,
    start_mysql,
    start_redis,
    start_s3,
    start_sshd,
    tcp_proxy,
)
from tests.services.prepared import cache_folder

__all__ = [
    "browser",
    "database_url",
    "fake_clock",
    "git_repo",
    "mariadb",
    "mariadb_url",
    "mysql",
    "mysql_url",
    "redis_server",
    "s3_server",
    "sqlite_url",
    "sshd",
    "start_mariadb",
    "start_mysql",
    "start_redis",
    "start_s3",
    "start_sshd",
    "tcp_proxy",
]


@pytest.fixture(scope="session", autouse=True)
def caches_of_tests_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the program keeps in the user's folder for caches, it keeps elsewhere.

    Prepared folders stay where they are: they are this machine's, and made once for all runs and workers.
    """
    os.environ["RECONCILER_TEST_CACHE"] = str(cache_folder())
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


MARKS = {
    "mariadb": {"mariadb", "mariadb_url", "start_mariadb"},
    "mysql": {"mysql", "mysql_url", "start_mysql"},
    "redis": {"redis_server", "start_redis"},
    "ssh": {"sshd", "start_sshd"},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the services it asks for: ``pytest -m "not mysql"`` leaves those out."""
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        for mark, fixtures in MARKS.items():
            if asked & fixtures:
                item.add_marker(mark)
