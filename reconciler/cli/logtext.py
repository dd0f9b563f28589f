"""Lines of output on standard output, from wherever they are kept, a piece at a time."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from typing import Protocol

from reconciler.cli.console import Console

LONGEST_LINE = 65_536
"""Bytes of a line that wait for its end where several runs are shown."""


class Text(Protocol):
    """What can be paged through: a row's text, or an archive (`record.seekable.Seekable`)."""

    @property
    def lines(self) -> int:
        """How many there are; the last one may lack its newline."""
        ...

    def lines_between(self, first: int, last: int) -> Iterator[bytes]:
        """Lines ``first`` ≤ n < ``last``, counted from 0, in pieces."""
        ...


class Whole:
    """A text in memory. Lines end with newlines only: other characters that break lines are the run's own."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.lines = data.count(b"\n") + (0 if data.endswith(b"\n") or not data else 1)

    def lines_between(self, first: int, last: int) -> Iterator[bytes]:
        """See `Text`."""
        start = _line_start(self._data, 0, first)
        end = _line_start(self._data, start, last - first)
        if start < end:
            yield self._data[start:end]


class Output:
    """Standard output as bytes, exactly, where it can take them; else as text, what is no UTF-8 replaced."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bytes = getattr(console.out, "buffer", None)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.ended = True
        """Whether the last line has its newline."""
        console.out.flush()

    def write(self, data: bytes) -> None:
        """More of it."""
        if not data:
            return
        if self._bytes is not None:
            self._bytes.write(data)
        else:
            self._console.out.write(self._decoder.decode(data))
        self.ended = data.endswith(b"\n")

    def end_line(self) -> None:
        """Make sure that what comes next begins a line."""
        if not self.ended:
            self.write(b"\n")

    def flush(self) -> None:
        """Show it now."""
        (self._bytes if self._bytes is not None else self._console.out).flush()


class Labelled:
    """The same for one of several runs: whole lines only, each behind the run's name."""

    def __init__(self, output: Output, label: str) -> None:
        self._output = output
        self._label = label.encode("utf-8", "replace")
        self._held = b""

    def write(self, data: bytes) -> None:
        """More of it; the beginning of a line waits for its end."""
        *lines, self._held = (self._held + data).split(b"\n")
        for line in lines:
            self._output.write(self._label + line + b"\n")
        if len(self._held) > LONGEST_LINE:
            self.end_line()

    def end_line(self) -> None:
        """What comes next begins a line."""
        if self._held:
            self._output.write(self._label + self._held + b"\n")
            self._held = b""

    def flush(self) -> None:
        """Show it now."""
        self._output.flush()


def print_all(texts: Sequence[Text], output: Output, *, terminal: bool) -> None:
    """One after the other, as they are; each begins a line, and on a terminal the last one ends it."""
    for index, text in enumerate(texts):
        for piece in text.lines_between(0, text.lines):
            output.write(piece)
        if index + 1 < len(texts) or terminal:
            output.end_line()


def print_lines(texts: Sequence[Text], first: int, last: int, output: Output) -> None:
    """Lines ``first`` ≤ n < ``last`` of all texts together, every one with its newline."""
    before = 0
    for text in texts:
        begin, end = max(first - before, 0), min(last - before, text.lines)
        if begin < end:
            for piece in text.lines_between(begin, end):
                output.write(piece)
            output.end_line()
        before += text.lines


def _line_start(data: bytes, at: int, lines: int) -> int:
    """Where the line begins that is ``lines`` lines after ``at``; the end if there are not so many."""
    for _ in range(lines):
        found = data.find(b"\n", at)
        if found < 0:
            return len(data)
        at = found + 1
    return at
