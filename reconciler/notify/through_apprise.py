"""Chat, mail, paging and a hundred more, through Apprise; the only file that knows it."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from typing import Any

from reconciler.errors import NotDelivered, SettingsInvalid
from reconciler.notify.note import Note


def require() -> None:
    """Raises SettingsInvalid unless Apprise is installed."""
    if importlib.util.find_spec("apprise") is None:
        raise SettingsInvalid(
            "notify: a `url` needs Apprise, which is not installed",
            hint="pip install 'reconciler[notify]', or use `webhook`",
        )


class Apprise:
    """Sends notes as plain text, which Apprise fits to the target. ``url`` is asked for each time."""

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url

    def send(self, note: Note) -> None:
        """Raises NotDelivered, and SecretUnavailable."""
        url = self._url().strip()
        try:
            import apprise
        except ImportError:
            raise NotDelivered("Apprise is not installed: pip install 'reconciler[notify]'") from None
        # its log lines may hold parts of URLs
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        kinds: Any = apprise.NotifyType
        kind = kinds.SUCCESS if note.good else kinds.FAILURE if note.kind == "failure" else kinds.WARNING
        try:
            service = apprise.Apprise()
            if not service.add(url):
                raise NotDelivered("Apprise does not understand its URL")
            taken = service.notify(
                title=note.title, body=note.text, notify_type=kind, body_format=apprise.NotifyFormat.TEXT
            )
        except NotDelivered:
            raise
        except Exception as error:  # plugins let many kinds through, and their words may hold the URL
            raise NotDelivered(f"Apprise failed: {type(error).__name__}") from None
        if not taken:
            raise NotDelivered("Apprise could not deliver it; `apprise -vv URL` by hand says why")
