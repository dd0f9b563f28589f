"""What processes tell each other beside the database, and the stand-in for where there is no Redis.

A signal never carries a decision: whoever hears one looks at the database, as it would a second later anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

Message = dict[str, Any]
"""JSON: camelCase keys, ``kind`` is one of ``Kind`` or of the controller's events."""


class Kind(StrEnum):
    """``changed``: something was applied or asked for, the change counter moved. ``waiting``: there are rows
    to take."""

    CHANGED = "changed"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class News:
    """What was heard at once, from other processes. ``ended``: runs ended, so limits may have room.

    ``missed``: the subscription begins (again), and anything may have happened before.
    """

    changed: bool = False
    waiting: bool = False
    ended: bool = False
    missed: bool = False


@dataclass(frozen=True, slots=True)
class LiveState:
    """The current or last execution of a task, for its HASH: all values as text.

    ``progress`` grows during an execution's life (0 waiting, 1 running, 2 ended, 3 ended for good): an older
    state that arrives late is thrown away.
    """

    task_id: int
    execution_id: int
    progress: int
    fields: dict[str, str]


class Signals(Protocol):
    """None of these waits for Redis, and none raises."""

    def start(self, hear: Callable[[News], None], next_due: Callable[[datetime], None]) -> None:
        """Begin to write and to listen. ``hear`` is called by a thread of its own, and so is ``next_due``,
        with the earliest due time after now that the ZSET knows."""
        ...

    def tell(self, kind: Kind) -> None:
        """Wake the others."""
        ...

    def happened(self, message: Message, state: LiveState | None) -> None:
        """One thing that happened to an execution, for live views, and what its task's HASH is to say."""
        ...

    def still(self, state: LiveState) -> None:
        """What was told of a run that goes on, again: states that have not ended are soon forgotten."""
        ...

    def due(self, times: Iterable[tuple[int, datetime | None]]) -> None:
        """These tasks are due next then; None: never."""
        ...

    def wants_due_times(self) -> bool:
        """Whether the ZSET should be rebuilt from the database: at first, after an outage, when emptied."""
        ...

    def rebuild(self, times: Iterable[tuple[int, datetime]]) -> None:
        """These are the due times of all tasks."""
        ...

    def close(self, seconds: float) -> None:
        """Write what is pending within so many seconds, then end."""
        ...


class Silent:
    """Where no Redis is configured: nobody hears anything."""

    def start(self, hear: Callable[[News], None], next_due: Callable[[datetime], None]) -> None:
        pass

    def tell(self, kind: Kind) -> None:
        pass

    def happened(self, message: Message, state: LiveState | None) -> None:
        pass

    def still(self, state: LiveState) -> None:
        pass

    def due(self, times: Iterable[tuple[int, datetime | None]]) -> None:
        pass

    def wants_due_times(self) -> bool:
        return False

    def rebuild(self, times: Iterable[tuple[int, datetime]]) -> None:
        pass

    def close(self, seconds: float) -> None:
        pass
