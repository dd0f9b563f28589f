"""What is kept of one stream: head and tail, how much there was, and its hash, in bounded memory."""

from __future__ import annotations

import hashlib
import re

from reconciler.model.execution import CapturedStream

_ESCAPED = re.compile("[\udc80-\udcff]")


class Capture:
    """Takes a stream's masked bytes; ``max_bytes`` bounds the UTF-8 text that `finish` makes of it.

    Holds at most three times ``max_bytes``, whatever the stream's size.
    """

    __slots__ = ("_head", "_max", "_sha", "_tail", "total")

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._sha = hashlib.sha256()
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0
        """Bytes taken so far."""

    def write(self, data: bytes) -> None:
        """The next piece."""
        self.total += len(data)
        self._sha.update(data)
        room = self._max - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if len(data) >= self._max:
            self._tail[:] = data[-self._max :]
        elif data:
            self._tail += data
            if len(self._tail) > 2 * self._max:
                del self._tail[: -self._max]

    def finish(self) -> CapturedStream:
        """The stream as it is stored: whole if it fits, else head, a line about what is missing, tail."""
        text, truncated = self._text()
        return CapturedStream(text, self.total, self._sha.hexdigest(), truncated)

    def _text(self) -> tuple[str, bool]:
        if self.total <= self._max:
            whole = _repaired(_decoded(self._head))
            if len(whole.encode()) <= self._max:
                return whole, False
        # The count has at most as many digits as the total, so the budget holds before it is known.
        budget = self._max - len(_marker(self.total))
        head, head_bytes = _first(self._head, budget // 2)
        rest = self._tail if len(self._tail) >= self._max else self._head + self._tail
        tail, tail_bytes = _last(rest[-self._max :], budget - budget // 2)
        return head + _marker(self.total - head_bytes - tail_bytes) + tail, True


def _marker(missing: int) -> str:
    return f"\n[{missing} bytes left out]\n"


def _decoded(data: bytes | bytearray) -> str:
    # every invalid byte becomes one lone surrogate, so characters and bytes can be counted against each other
    return data.decode("utf-8", "surrogateescape")


def _repaired(text: str) -> str:
    return _ESCAPED.sub("\N{REPLACEMENT CHARACTER}", text)


def _first(data: bytes | bytearray, budget: int) -> tuple[str, int]:
    """The longest beginning whose repaired text fits into ``budget``, and how many bytes it was."""
    text = _decoded(data[: budget + 4])
    repaired = _repaired(text).encode()
    kept = repaired[:budget].decode("utf-8", "ignore")
    return kept, len(text[: len(kept)].encode("utf-8", "surrogateescape"))


def _last(data: bytes | bytearray, budget: int) -> tuple[str, int]:
    """The same for the end."""
    text = _decoded(data[-(budget + 4) :] if len(data) > budget + 4 else data)
    repaired = _repaired(text).encode()
    kept = repaired[max(0, len(repaired) - budget) :].decode("utf-8", "ignore")
    taken = text[len(text) - len(kept) :] if kept else ""
    return kept, len(taken.encode("utf-8", "surrogateescape"))
