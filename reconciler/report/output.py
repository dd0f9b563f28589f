"""What a row keeps of a run's two streams, and how much of them that is."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from reconciler.model.execution import Status
from reconciler.store.views import ExecutionView, OutputView

_MARKER = re.compile(rb"\n\[(\d{1,20}) bytes left out\]\n")


@dataclass(frozen=True, slots=True)
class StoredStream:
    """One stream as its row has it.

    ``message`` is the program's own sentence about a run without an exit code (it stands in front of the
    error output). ``data`` is what the command wrote, as far as it is kept; ``whole``: byte for byte all of
    it; else its middle is missing (``left_out`` bytes behind the first ``head``), or bytes that were no UTF-8
    were replaced (``left_out`` is 0).
    """

    message: bytes = b""
    data: bytes = b""
    total: int = 0
    whole: bool = True
    head: int = 0
    left_out: int = 0

    @property
    def text(self) -> bytes:
        """All of it, as it is shown."""
        return self.message + self.data


def stored_streams(
    view: ExecutionView, output: OutputView, hashes: tuple[str | None, str | None]
) -> tuple[StoredStream, StoredStream]:
    """Output and error of an execution that has ended; ``hashes`` are those of the whole streams."""
    return (
        _stream(b"", _bytes(output.output), view.output_bytes, hashes[0]),
        _error(view, _bytes(output.error), hashes[1]),
    )


def _error(view: ExecutionView, data: bytes, sha256: str | None) -> StoredStream:
    total = view.error_bytes
    if view.exit_code is not None or view.status != Status.FAILED or (total and _same(data, sha256, total)):
        return _stream(b"", data, total, sha256)
    if not total:
        return StoredStream(data)
    message, newline, rest = data.partition(b"\n")
    return _stream(message + newline, rest, total, sha256)


def _stream(message: bytes, data: bytes, total: int, sha256: str | None) -> StoredStream:
    if not total or _same(data, sha256, total):
        return StoredStream(message, data, total)
    for found in _MARKER.finditer(data):
        if found.start() + int(found[1]) + len(data) - found.end() == total:
            return StoredStream(message, data, total, False, found.start(), int(found[1]))
    return StoredStream(message, data, total, False)


def _same(data: bytes, sha256: str | None, total: int) -> bool:
    if sha256 is None:
        return len(data) == total
    return hashlib.sha256(data).hexdigest() == sha256


def _bytes(text: str | None) -> bytes:
    return (text or "").encode("utf-8", "replace")
