"""SIGHUP: read the settings anew, and go on with those that can be changed while runs go on."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reconciler.cli.common import settings_of
from reconciler.cli.console import Console
from reconciler.cli.live import Live
from reconciler.cli.loglines import set_up_logging
from reconciler.cli.sources import renew_access
from reconciler.clock import Clock
from reconciler.errors import ReconcilerError
from reconciler.settings import Settings, changed_settings

if TYPE_CHECKING:
    from reconciler.controller.service import Service
    from reconciler.controller.sources import TreeSource
    from reconciler.execute.executors import Executors
    from reconciler.store.engine import Database

log = logging.getLogger("reconciler.settings")

LIVE = frozenset(
    {"late_after", "workers", "log", "output_limit", "providers", "secrets_dir", "notify", "git"}
)
"""Settings that a running process can go on with; the others are part of what it has already opened."""
_TOLD_BY = ("notify", "providers", "secrets_dir", "late_after")
"""What telling people depends on."""


class Reloader:
    """Called by one thread. All of the new settings are valid, or the old ones stay as a whole."""

    def __init__(
        self,
        args: argparse.Namespace,
        console: Console,
        settings: Settings,
        clock: Clock,
        db: Database,
        service: Service,
        executors: Executors | None,
        sources: Sequence[TreeSource],
        live: Live,
    ) -> None:
        self._args = args
        self._console = console
        self._settings = settings
        self._clock = clock
        self._db = db
        self._service = service
        self._executors = executors
        self._sources = sources
        self._live = live

    def reload(self) -> None:
        """Read reconciler.toml again (an environment never changes); one line says what came of it."""
        try:
            fresh = settings_of(self._args)
            told = changed_settings(self._settings, fresh)
            self._apply(fresh)
        except ReconcilerError as error:
            log.error("the settings stay as they are: %s", error.message)
            return
        at_once = ", ".join(line for name, line in told.items() if name in LIVE)
        later = ", ".join(line for name, line in told.items() if name not in LIVE)
        words = [f"changed: {at_once}"] if at_once else []
        words += [f"only after a restart: {later}"] if later else []
        log.warning("the settings were read again; %s", "; ".join(words) or "nothing changed")

    def _apply(self, fresh: Settings) -> None:
        from reconciler import bootstrap

        runtime = self._service.runtime
        # first what may refuse, then what changes anything
        renew = renew_access(self._sources, fresh)
        notifying = None
        differs = any(getattr(fresh, name) != getattr(self._settings, name) for name in _TOLD_BY)
        if differs and self._service.notifies:
            notifying = bootstrap.notifying(self._db, fresh, self._clock, runtime)
        renew()
        if notifying is not None:
            self._service.notify_by(notifying)
        runtime.use(fresh)
        if self._executors is not None:
            self._executors.use(fresh)
        set_up_logging(fresh.log, self._console.err)
        self._live.use(fresh.log)
        self._settings = fresh
