"""Execution ids: 63 bits, made by the program, ascending in time, unique without a round trip.

42 bits of milliseconds since the epoch (until 2109), 9 bits of a node number that is leased in
``leases``, 12 bits of sequence: 4,096 ids a millisecond and node. Never backwards: when the clock
jumps back, or a millisecond is used up, the time of the last id goes on.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from reconciler.clock import Clock

NODE_BITS = 9
SEQUENCE_BITS = 12
NODES = 1 << NODE_BITS
_SEQUENCES = 1 << SEQUENCE_BITS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class ExecutionIds:
    """A thread-safe source of ids for one node number."""

    def __init__(self, node: int, clock: Clock) -> None:
        if not 0 <= node < NODES:
            raise ValueError(f"a node number is from 0 to {NODES - 1}, not {node}")
        self._node = node
        self._clock = clock
        self._lock = threading.Lock()
        self._last = -1
        """Milliseconds and sequence of the last id, as one number."""

    def take(self, count: int) -> list[int]:
        """``count`` new ids, ascending."""
        floor = (self._clock.now() - _EPOCH) // _MILLISECOND << SEQUENCE_BITS
        with self._lock:
            first = max(floor, self._last + 1)
            self._last = first + count - 1
        return [self._id(number) for number in range(first, first + count)]

    def one(self) -> int:
        """A new id."""
        return self.take(1)[0]

    def _id(self, number: int) -> int:
        milliseconds, sequence = number >> SEQUENCE_BITS, number & (_SEQUENCES - 1)
        return (milliseconds << NODE_BITS | self._node) << SEQUENCE_BITS | sequence


def made_at(execution_id: int) -> datetime:
    """The time inside an id, UTC, to the millisecond (never before the id was made by its clock)."""
    return _EPOCH + _MILLISECOND * (execution_id >> (NODE_BITS + SEQUENCE_BITS))


def first_id_at(moment: datetime) -> int:
    """The smallest id that could be made at ``moment``: a bound for lists by time."""
    return ((moment - _EPOCH) // _MILLISECOND) << (NODE_BITS + SEQUENCE_BITS)
