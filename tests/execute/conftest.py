"""An sshd for this room, and executors that may log in to it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from reconciler.execute.executors import Executors
from tests.execute.support import QuietSshd, running
from tests.services.fixtures import in_ci
from tests.services.process import ServiceMissing


def _start(server: QuietSshd) -> QuietSshd:
    try:
        server.start()
    except ServiceMissing as missing:
        server.close()
        if in_ci():
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
    return server


@pytest.fixture(scope="session")
def quiet_sshd() -> Iterator[QuietSshd]:
    """Shared by the tests that leave it as it was."""
    with contextlib.closing(_start(QuietSshd())) as server:
        yield server


@pytest.fixture
def start_quiet_sshd() -> Iterator[Callable[..., QuietSshd]]:
    """Makes private ones: ``start_quiet_sshd(*lines of sshd_config)``."""
    with contextlib.ExitStack() as stack:
        yield lambda *options: stack.enter_context(contextlib.closing(_start(QuietSshd(*options))))


@pytest.fixture
def over_ssh(quiet_sshd: QuietSshd) -> Iterator[Executors]:
    """Executors whose secrets folder has the client key of `quiet_sshd`."""
    with running(quiet_sshd.folder) as found:
        yield found
