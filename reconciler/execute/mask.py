"""Secrets out of a byte stream, also where a read ends in the middle of one."""

from __future__ import annotations

import re
from collections.abc import Iterable

REPLACEMENT = b"***"
MIN_BYTES = 4
"""Shorter secrets occur by chance in any output: replacing them would tell more than it hides."""
MIN_LINE_BYTES = 8
"""Lines of a multi-line secret (a key, a JSON document) are masked alone too, from this length on."""


def maskable(secret: bytes) -> bool:
    """Whether a secret is long enough to be masked."""
    return len(secret.strip(b"\r\n")) >= MIN_BYTES


def needles(secrets: Iterable[bytes]) -> tuple[bytes, ...]:
    """What to look for, longest first: secrets without line ends around them, and lines of longer ones."""
    found: set[bytes] = set()
    for secret in secrets:
        if not maskable(secret):
            continue
        whole = secret.strip(b"\r\n")
        found.add(whole)
        if b"\n" in whole:
            # programs also write the lines with another line end, an indent or a prefix
            lines = (line.strip() for line in whole.split(b"\n"))
            found.update(line for line in lines if len(line) >= MIN_LINE_BYTES)
    return tuple(sorted(found, key=lambda needle: (-len(needle), needle)))


class Withholder:
    """Stands in for a `Masker` where a secret's value is not known: nothing of the stream is passed on."""

    __slots__ = ()

    def feed(self, _data: bytes) -> bytes:
        return b""

    def flush(self) -> bytes:
        return b""


class Masker:
    """One stream's masker. `feed` holds back what may be the beginning of a secret, `flush` gives the rest.

    Where secrets overlap in the output, the whole stretch becomes one ``***``: no end of any stays visible.
    What is held back is always shorter than the longest secret.
    """

    __slots__ = ("_covered", "_held", "_longest", "_needles", "_pattern", "_starts")

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._needles = needles(secrets)
        self._longest = len(self._needles[0]) if self._needles else 0
        # Lookaheads find matches at every position, so overlapping ones too; longest first in each.
        self._pattern = _anywhere(self._needles)
        self._starts = _anywhere({needle[:2] for needle in self._needles})
        self._held = b""
        self._covered = 0
        """How many of the held bytes lie in a stretch whose ``***`` is out already."""

    def feed(self, data: bytes) -> bytes:
        """The masked bytes that are certain by now."""
        if not self._needles:
            return data
        data = self._held + data if self._held else data
        return self._give(data, self._undecided(data))

    def flush(self) -> bytes:
        """The end of the stream: what was held back, masked."""
        return self._give(self._held, len(self._held))

    def _give(self, data: bytes, keep: int) -> bytes:
        """The masked form of ``data[:keep]``; the rest is held."""
        pieces: list[bytes] = []
        at = covered = 0
        for start, end in self._spans(data):
            stars_are_out = start == 0 and self._covered > 0
            if start >= keep and not stars_are_out:
                break
            pieces.append(data[at:start])
            if not stars_are_out:
                pieces.append(REPLACEMENT)
            at = min(end, keep)
            covered = max(0, end - keep)
        pieces.append(data[at:keep])
        self._held, self._covered = data[keep:], covered
        return b"".join(pieces) if len(pieces) > 1 else pieces[0]

    def _undecided(self, data: bytes) -> int:
        """Where the first beginning of a secret starts that the data's end cuts off; its length if none."""
        size = len(data)
        for match in self._starts.finditer(data, max(0, size - self._longest + 1)):
            tail = data[match.start() :]
            if any(len(needle) > len(tail) and needle.startswith(tail) for needle in self._needles):
                return match.start()
        # a single last byte is shorter than the two that are searched for
        last = data[-1:]
        if last and any(needle.startswith(last) for needle in self._needles):
            return size - 1
        return size

    def _spans(self, data: bytes) -> list[tuple[int, int]]:
        """The stretches to replace, in order, overlapping ones merged."""
        spans = [(0, self._covered)] if self._covered else []
        # bytes.find is fast; the pattern is tried only where there is something to find
        if any(needle in data for needle in self._needles):
            for match in self._pattern.finditer(data):
                start, end = match.start(), match.end(1)
                if spans and start < spans[-1][1]:
                    spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
                else:
                    spans.append((start, end))
        return spans


def _anywhere(texts: Iterable[bytes]) -> re.Pattern[bytes]:
    return re.compile(b"(?=(" + b"|".join(map(re.escape, texts)) + b"))", re.DOTALL)


def mask(text: str, secrets: Iterable[bytes]) -> str:
    """A whole text at once, for messages."""
    masker = Masker(secrets)
    data = text.encode("utf-8", "surrogateescape")
    return (masker.feed(data) + masker.flush()).decode("utf-8", "replace")
