"""What ``up``, ``controller`` and ``worker`` share: from settings to a process that ends in order."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from reconciler.cli.common import duration_argument, settings_of
from reconciler.cli.console import Console
from reconciler.cli.sources import sources_of
from reconciler.cli.trees import person
from reconciler.clock import SystemClock

if TYPE_CHECKING:
    from reconciler.controller.service import Service


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
        type=duration_argument,
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

    settings = settings_of(args)
    clock = SystemClock()
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
        with _Signals(service) as signals:
            if port is not None:
                live.say(f"listening on http://{port.start()}")
            service.start()
            signals.wait(args.seconds)
            if signals.came is not None:
                live.say(f"{signals.came.name}: ending in order")
            recorded = signals.stop()
            if port is not None:
                port.stop()
        if executors is not None:
            executors.close()
    return 0 if recorded else 1


class _Signals:
    """SIGINT and SIGTERM end the process in order; a second one shortens the end."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._bell = threading.Event()
        self._before: dict[signal.Signals, object] = {}
        self.came: signal.Signals | None = None

    def __enter__(self) -> _Signals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.came is not None or number == signal.SIGTERM:
            self._service.runtime.hurry()
        if self.came is None or number == signal.SIGTERM:
            self.came = signal.Signals(number)
        self._bell.set()

    def wait(self, seconds: float | None) -> None:
        """Until a signal comes or the time is over."""
        self._bell.wait(seconds)

    def stop(self) -> bool:
        """End the service as the signal asks; whether everything that was begun is recorded."""
        from reconciler.controller.runtime import DRAIN_SECONDS, HURRY_SECONDS

        if self.came is signal.SIGTERM:
            return self._service.stop(HURRY_SECONDS, finish=False)
        return self._service.stop(DRAIN_SECONDS)
