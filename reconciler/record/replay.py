"""The spool's records on their way to the database, file by file."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from reconciler.record.batch import Ended, Record, key_of, size_of
from reconciler.record.pending import Pending
from reconciler.record.spool import Batch, Spool


class Replay:
    """Used by the recorder's thread only. Raises SpoolFull where a file cannot be read."""

    def __init__(self, spool: Spool, pending: Pending) -> None:
        self._spool = spool
        self._pending = pending
        self._file: Batch | None = None
        self._left: OrderedDict[tuple[int, bool], Record] = OrderedDict()

    @property
    def waits(self) -> bool:
        """Whether there is anything to replay."""
        return self._file is not None or self._spool.waits

    def batch(self, rows: int, room: int) -> list[Record]:
        """The next records, at most so many rows and bytes (one at least); none where all are known to be
        written. They stay until ``written``.
        """
        if self._file is None:
            self._open()
        found: list[Record] = []
        for record in self._left.values():
            if isinstance(record, Ended):
                room -= size_of(record.outcome)
            if found and (len(found) >= rows or room < 0):
                break
            found.append(record)
        if not found:
            self._finish()
        return found

    def written(self, records: Iterable[Record]) -> None:
        """The database has these, or they are kept for people."""
        for record in records:
            self._left.pop(key_of(record), None)
        if not self._left:
            self._finish()

    def postpone(self, records: Sequence[Record]) -> None:
        """Others go first."""
        for record in records:
            self._left.move_to_end(key_of(record))

    def _open(self) -> None:
        self._file = self._spool.oldest()
        if self._file is None:
            return
        for record in self._file.records:
            if self._pending.is_written(record):
                continue
            known = self._left.get(key_of(record))
            # one transaction takes one end of an execution; of two the one that the host vouches for
            if known is None or (isinstance(record, Ended) and record.outcome.proven):
                self._left[key_of(record)] = record

    def _finish(self) -> None:
        if self._file is not None:
            self._spool.written(self._file)
            self._file = None
