"""What ``up``, ``controller`` and ``worker`` share: from settings to a process that ends in order."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from reconciler.cli.common import duration_argument, pause_argument, settings_of
from reconciler.cli.console import Console
from reconciler.cli.sources import sources_of
from reconciler.cli.trees import person
from reconciler.clock import Clock, SystemClock

if TYPE_CHECKING:
    from reconciler.cli.live import Live
    from reconciler.cli.reloading import Reloader
    from reconciler.controller.http import Listener
    from reconciler.controller.service import Service
    from reconciler.controller.supervisor import Supervisor


def add_for(parser: argparse.ArgumentParser) -> None:
    """``--for``."""
    parser.add_argument(
        "--for",
        dest="seconds",
        metavar="DURATION",
        type=duration_argument,
        help="end after so long: claim no new slots, finish what is claimed and due, exit 0",
    )


def add_interval(parser: argparse.ArgumentParser) -> None:
    """``--interval``."""
    parser.add_argument(
        "--interval",
        metavar="DURATION",
        type=pause_argument,
        default=30,
        help="look at the manifests at least so often, also when no change was noticed (default: 30s)",
    )


def add_listen(parser: argparse.ArgumentParser) -> None:
    """``--listen``."""
    parser.add_argument(
        "--listen",
        metavar="ADDR",
        help="serve /healthz, /readyz, /metrics and webhooks at host:port; wins over RECONCILER_LISTEN",
    )


def add_write_to(parser: argparse.ArgumentParser) -> None:
    """``--write-to``."""
    parser.add_argument(
        "--write-to",
        metavar="FILE",
        type=Path,
        help="keep the status report in this file, in the form its name ends in: .html .json .md .xml .txt",
    )


def serve(
    args: argparse.Namespace,
    console: Console,
    *,
    paths: list[Path],
    schedule: bool,
    execute: bool,
) -> int:
    """Run until the time is over or a signal comes; 0 when everything that was begun is recorded.

    ``paths`` and what ``args`` say of git are kept applied.
    """
    from reconciler import bootstrap
    from reconciler.cli.live import Live
    from reconciler.cli.loglines import set_up_logging
    from reconciler.cli.reloading import Reloader
    from reconciler.controller.supervisor import Supervisor

    settings = settings_of(args)
    clock = SystemClock()
    supervisor = Supervisor.of(os.environ, os.getpid(), clock)
    set_up_logging(settings.log, console.err)
    live = Live(console, clock, settings.log)
    sources = sources_of(paths, args, settings, clock) if paths or getattr(args, "git", None) else []
    executors = bootstrap.executors(settings, clock) if execute else None
    with bootstrap.database(settings, clock) as db:
        service = bootstrap.service(
            db,
            settings,
            clock,
            person=person(),
            sources=sources,
            interval=float(getattr(args, "interval", 30)),
            schedule=schedule,
            executor=executors,
            on_event=live.event,
            on_report=live.report,
            write_to=getattr(args, "write_to", None),
        )
        port = bootstrap.listener(settings, clock, service, executors)
        reloader = Reloader(args, console, settings, clock, db, service, executors, sources, live)
        with _Signals(service, clock, on_terminal=console.out.isatty()) as signals:
            recorded = _work(service, port, signals, args.seconds, reloader, supervisor, live, clock)
        if executors is not None:
            executors.close()
    return 0 if recorded else 1


def _work(
    service: Service,
    port: Listener | None,
    signals: _Signals,
    seconds: float | None,
    reloader: Reloader,
    supervisor: Supervisor,
    live: Live,
    clock: Clock,
) -> bool:
    """From the start to the end; whether everything that was begun is recorded."""
    from reconciler.controller.supervisor import Pulse

    pulse = Pulse(supervisor, service.health, clock)
    if port is not None:
        live.say(f"listening on http://{port.start()}")
    service.start()
    supervisor.ready()
    pulse.start()
    while signals.wait(seconds):
        supervisor.reloading()
        reloader.reload()
        supervisor.ready()
    if signals.came is not None:
        live.say(f"{signals.came.name}: ending in order")
    supervisor.stopping()
    pulse.stop()
    recorded = signals.stop()
    if port is not None:
        port.stop()
    return recorded


class _Signals:
    """SIGINT and SIGTERM end the process in order, a second one shortens the end.

    SIGHUP reads the settings anew; on a terminal it means that this was closed, and ends the process, too.
    """

    def __init__(self, service: Service, clock: Clock, *, on_terminal: bool) -> None:
        self._service = service
        self._clock = clock
        self._on_terminal = on_terminal
        self._end: float | None = None
        self._reload = False
        self._bell = threading.Event()
        self._before: dict[signal.Signals, object] = {}
        self.came: signal.Signals | None = None

    def __enter__(self) -> _Signals:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP and self._on_terminal:
            number = signal.SIGTERM
        if number == signal.SIGHUP:
            self._reload = True
            self._bell.set()
            return
        if self.came is not None or number == signal.SIGTERM:
            self._service.runtime.hurry()
        if self.came is None or number == signal.SIGTERM:
            self.came = signal.Signals(number)
        self._bell.set()

    def wait(self, seconds: float | None) -> bool:
        """Until settings are to be read anew (True), or it is to end: for a signal, or ``seconds`` after the
        first call.
        """
        now = self._clock.monotonic()
        if self._end is None and seconds is not None:
            self._end = now + seconds
        self._clock.wait(self._bell, None if self._end is None else max(0.0, self._end - now))
        self._bell.clear()
        asked, self._reload = self._reload, False
        return asked and self.came is None

    def stop(self) -> bool:
        """End the service as the signal asks; whether everything that was begun is recorded."""
        from reconciler.controller.runtime import DRAIN_SECONDS, HURRY_SECONDS

        if self.came is signal.SIGTERM:
            return self._service.stop(HURRY_SECONDS, finish=False)
        return self._service.stop(DRAIN_SECONDS)
