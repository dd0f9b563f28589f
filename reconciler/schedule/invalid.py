"""The one error of this room."""

from __future__ import annotations

from reconciler.errors import Permanent


class ScheduleInvalid(Permanent, ValueError):
    """The schedule is not understood, or no date ever fits it.

    ``position`` is ``(start, end)`` in characters of the expression as it was given: 0-based, end exclusive,
    around the field (or the item of its list) that is wrong. It is a ``ValueError`` too, so that
    whoever checks values treats it as one.
    """

    code = "schedule-invalid"
    hint: str

    def __init__(self, message: str, *, hint: str, position: tuple[int, int]) -> None:
        super().__init__(message, hint=hint, details={"position": list(position)})
        self.position = position
