"""How the ways to a host say that something is not possible; never seen outside this room."""

from __future__ import annotations

from reconciler.model.execution import Reason


class Fault(Exception):
    """Becomes the Outcome's reason and message. The message is one sentence for a person, without secrets."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
