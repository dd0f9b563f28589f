"""What systemd hears, by a real datagram socket: paths and abstract names, and silence where a loop hangs."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.clock import SystemClock
from reconciler.controller.health import Trouble
from reconciler.controller.supervisor import Pulse, Supervisor
from tests.services.clock import FakeClock


class Heard:
    """systemd's end of the socket."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + place[1:] if place.startswith("@") else place)
        self._socket.settimeout(10)

    def next(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines())

    def until(self, name: str) -> str:
        while name not in (said := self.next()):
            pass
        return said[name]

    def silent(self) -> bool:
        self._socket.settimeout(0.3)
        try:
            self._socket.recv(4096)
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(10)
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Heard]:
    place = str(tmp_path / "notify") if request.param == "path" else f"@reconciler-test-{uuid.uuid4().hex}"
    one = Heard(place)
    yield one
    one.close()


class Body:
    """How a process is, as a test wants it."""

    def __init__(self) -> None:
        self.hangs: list[tuple[str, float]] = []
        self.wrong: list[Trouble] = []

    def stuck(self) -> list[tuple[str, float]]:
        return self.hangs

    def troubles(self) -> list[Trouble]:
        return self.wrong


def test_each_word_arrives_as_systemd_reads_it(heard: Heard, fake_clock: FakeClock) -> None:
    environment = {"NOTIFY_SOCKET": heard.place, "WATCHDOG_USEC": "9000000", "WATCHDOG_PID": "7", "HOME": "/"}
    one = Supervisor.of(environment, 7, fake_clock)
    assert environment == {"HOME": "/"}
    assert one.watchdog == 9.0
    one.ready()
    assert heard.next() == {"READY": "1"}
    one.reloading()
    assert heard.next() == {"RELOADING": "1", "MONOTONIC_USEC": str(int(fake_clock.monotonic() * 1e6))}
    one.alive()
    assert heard.next() == {"WATCHDOG": "1"}
    one.status("two\nlines")
    assert heard.next() == {"STATUS": "two lines"}
    one.stopping()
    assert heard.next() == {"STOPPING": "1", "STATUS": "ending in order"}


def test_the_watchdog_of_another_process_or_none_asks_nothing_of_us(fake_clock: FakeClock) -> None:
    for given in ({"WATCHDOG_USEC": "9", "WATCHDOG_PID": "8"}, {"WATCHDOG_USEC": "x"}, {}):
        one = Supervisor.of(dict(given), 7, fake_clock)
        assert one.watchdog is None
        assert not one.listens
        one.ready()
    assert not Supervisor.of({"NOTIFY_SOCKET": "vsock:2:1"}, 7, fake_clock).listens


def test_a_supervisor_that_is_gone_or_does_not_read_stops_nobody(
    tmp_path: Path, fake_clock: FakeClock
) -> None:
    Supervisor(str(tmp_path / "nowhere"), None, fake_clock).ready()
    full = Heard(str(tmp_path / "full"))
    one = Supervisor(full.place, None, fake_clock)
    for _ in range(2_000):
        one.alive()
    full.close()


def test_the_pulse_goes_on_while_the_loops_step_and_only_then(heard: Heard) -> None:
    body = Body()
    pulse = Pulse(Supervisor(heard.place, 0.15, SystemClock()), body, SystemClock())  # type: ignore[arg-type]
    pulse.start()
    try:
        assert heard.until("STATUS") == "ready"
        assert heard.until("WATCHDOG") == "1"
        body.wrong = [Trouble("database", "the database has not answered for 3 s")]
        assert heard.until("STATUS") == "not ready: the database has not answered for 3 s"
        # an outage is survived: the process is not to be killed for it
        assert heard.until("WATCHDOG") == "1"
        body.hangs = [("take", 200.0)]
        body.wrong = [Trouble("stuck", "the take loop does not step")]
        assert heard.until("STATUS") == "not ready: the take loop does not step"
        assert heard.silent()
    finally:
        pulse.stop()
