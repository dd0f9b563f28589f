"""What systemd is told of this process (sd_notify(3)): that it is ready, how it is, and that it still lives.

Nothing is told where nobody asks for it, and nothing ever waits for systemd.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, MutableMapping

from reconciler.clock import Clock
from reconciler.controller.health import Health

LOOK_SECONDS = 5.0
_LONGEST_STATUS = 200


class Supervisor:
    """The socket in ``NOTIFY_SOCKET``: a path or (after @) an abstract name. Without one nothing is done.

    ``watchdog``: seconds within which systemd wants to hear from us, None where it does not.
    """

    def __init__(self, place: str | None, watchdog: float | None, clock: Clock) -> None:
        self._place = place if place is not None and place[:1] in ("/", "@") else None
        self.watchdog = watchdog
        self._clock = clock

    @classmethod
    def of(cls, environment: MutableMapping[str, str], pid: int, clock: Clock) -> Supervisor:
        """What ``environment`` says; it is removed there, for what we start is not meant."""
        place = environment.pop("NOTIFY_SOCKET", None)
        microseconds = environment.pop("WATCHDOG_USEC", "")
        meant = environment.pop("WATCHDOG_PID", str(pid)) == str(pid)
        counts = meant and microseconds.isascii() and microseconds.isdigit() and int(microseconds) > 0
        return cls(place, int(microseconds) / 1e6 if counts else None, clock)

    @property
    def listens(self) -> bool:
        """Whether anybody is told."""
        return self._place is not None

    def ready(self) -> None:
        """Everything was started, or settings were read anew."""
        self._say({"READY": "1"})

    def reloading(self) -> None:
        """Settings are being read anew; ``ready`` follows."""
        self._say({"RELOADING": "1", "MONOTONIC_USEC": str(int(self._clock.monotonic() * 1e6))})

    def stopping(self) -> None:
        """The process ends in order."""
        self._say({"STOPPING": "1", "STATUS": "ending in order"})

    def alive(self) -> None:
        """Every loop steps."""
        self._say({"WATCHDOG": "1"})

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._say({"STATUS": text.replace("\n", " ")[:_LONGEST_STATUS]})

    def _say(self, words: Mapping[str, str]) -> None:
        if self._place is None:
            return
        address = "\0" + self._place[1:] if self._place.startswith("@") else self._place
        text = "\n".join(f"{name}={value}" for name, value in words.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto(text.encode(), address)
        except OSError:
            # a supervisor that is restarted hears the next word; one that is gone is none of our business
            return


class Pulse:
    """A thread that tells a supervisor how the process is, and that it lives as long as every loop steps."""

    def __init__(self, supervisor: Supervisor, health: Health, clock: Clock) -> None:
        self._supervisor = supervisor
        self._health = health
        self._clock = clock
        self._end = threading.Event()
        self._told: str | None = None
        # a third: two words may be lost
        watchdog = supervisor.watchdog
        self._pause = LOOK_SECONDS if watchdog is None else min(LOOK_SECONDS, watchdog / 3)
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        """Begin, where anybody listens."""
        if self._supervisor.listens:
            self._thread.start()

    def stop(self) -> None:
        """Say no more."""
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join(1.0)

    def _run(self) -> None:
        while not self._end.is_set():
            if self._supervisor.watchdog is not None and not self._health.stuck():
                self._supervisor.alive()
            troubles = [one.message for one in self._health.troubles()]
            text = f"not ready: {'; '.join(troubles)}" if troubles else "ready"
            # its seconds count up: only the kind of trouble is news
            kind = ",".join(sorted(one.code for one in self._health.troubles()))
            if kind != self._told:
                self._told = kind
                self._supervisor.status(text)
            self._clock.wait(self._end, self._pause)
