"""One stream of a run on its way in: noise, our own line, then masked output into capture and feed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from reconciler.execute.capture import Capture
from reconciler.execute.control import Archive, Control, Stream
from reconciler.execute.mask import Masker
from reconciler.model.execution import CapturedStream

NOISE_KEPT = 4096
"""Bytes kept of what a login shell prints before our line: enough to explain a start that failed."""
LONGEST_LINE = 256


class Intake:
    """Takes a stream's raw bytes. Everything before the line that begins with ``mark`` is noise.

    ``on_line`` gets the words of that line, before any output behind it goes anywhere.
    """

    def __init__(
        self,
        stream: Stream,
        mark: bytes,
        secrets: Iterable[bytes],
        max_bytes: int,
        control: Control,
        archive: Archive | None,
        on_line: Callable[[list[bytes]], None],
    ) -> None:
        self._stream: Stream = stream
        self._mark = mark
        self._masker = Masker(secrets)
        self._capture = Capture(max_bytes)
        self._control = control
        self._archive = archive
        self._on_line = on_line
        self._waiting: bytes = b""
        self._line_seen = False

    def take(self, data: bytes) -> None:
        """The next bytes from the host."""
        if not self._line_seen:
            data = self._after_line(self._waiting + data)
        if data:
            self._pass(self._masker.feed(data))

    @property
    def noise(self) -> bytes:
        """The end of what came while there was no line of ours."""
        return self._waiting

    def finish(self) -> CapturedStream:
        """The stream has ended."""
        self._pass(self._masker.flush())
        return self._capture.finish()

    def _after_line(self, data: bytes) -> bytes:
        start = data.find(self._mark)
        end = data.find(b"\n", start) if start >= 0 else -1
        if end >= 0:
            self._line_seen = True
            self._waiting = b""
            self._on_line(data[start + len(self._mark) : end].split())
            return data[end + 1 :]
        # keep what may still become the line, and some noise in front of it
        self._waiting = data[-(NOISE_KEPT + LONGEST_LINE) :]
        return b""

    def _pass(self, data: bytes) -> None:
        if not data:
            return
        self._capture.write(data)
        if self._archive is not None:
            self._archive.write(self._stream, data)
        self._control.output(self._stream, data)
