"""A run's output on its way in: noise, our own lines, then masked output into capture and feed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial

from reconciler.execute.capture import Capture
from reconciler.execute.control import Archive, Control, Stream
from reconciler.execute.mask import Masker, Withholder, mask
from reconciler.execute.verdict import Verdict
from reconciler.model.execution import CapturedStream, Job, Outcome

NOISE_KEPT = 4096
"""Bytes kept of what a login shell prints before our line: enough to explain a start that failed."""
LONGEST_LINE = 512
SAID_CHARACTERS = 500


class Intake:
    """Takes a stream's raw bytes. Everything before the line that begins with ``mark`` is noise.

    ``on_line`` gets the words of that line, before any output behind it goes anywhere. After `reopen` the
    stream goes on in another shell, whose lines begin with a mark of its own wherever they are in its output:
    ``on_line`` gets all of them, each after the output before it went where it belongs.
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
        withheld: bool = False,
    ) -> None:
        self._stream: Stream = stream
        self._mark = mark
        self._masker = Withholder() if withheld else Masker(secrets)
        self._capture = Capture(max_bytes)
        self._control = control
        self._archive = archive
        self._on_line = on_line
        self._waiting: bytes = b""
        self._line_seen = False
        self._framed = False
        self._unsure: bytes = b""
        """The end of what came, where it may be the beginning of a line of ours."""
        self.offset = 0
        """Bytes of the command's own output that were taken."""

    def reopen(self, mark: bytes) -> None:
        """From now on the bytes are another shell's, which continues at `offset`."""
        self._mark = mark
        self._framed = True
        self._line_seen = False
        self._waiting = self._unsure = b""

    def take(self, data: bytes) -> None:
        """The next bytes from the host."""
        if not self._line_seen:
            data = self._after_line(self._waiting + data)
        if self._framed and data:
            data = self._after_lines(self._unsure + data)
        self._feed(data)

    @property
    def noise(self) -> bytes:
        """The end of what came while there was no line of ours."""
        return self._waiting

    def finish(self) -> CapturedStream:
        """The stream has ended."""
        self._feed(self._unsure)
        self._unsure = b""
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

    def _after_lines(self, data: bytes) -> bytes:
        """What is behind the last whole line of ours; what is before and between them is passed on."""
        while (start := data.find(self._mark)) >= 0:
            end = data.find(b"\n", start)
            self._feed(data[:start])
            if end < 0:
                self._unsure = data[start:]
                return b""
            self._on_line(data[start + len(self._mark) : end].split())
            data = data[end + 1 :]
        sure = len(data)
        for length in range(min(len(self._mark) - 1, sure), 0, -1):
            if data.endswith(self._mark[:length]):
                sure -= length
                break
        self._unsure = data[sure:]
        return data[:sure]

    def _feed(self, data: bytes) -> None:
        if data:
            self.offset += len(data)
            self._pass(self._masker.feed(data))

    def _pass(self, data: bytes) -> None:
        if not data:
            return
        self._capture.write(data)
        if self._archive is not None:
            self._archive.write(self._stream, data)
        self._control.output(self._stream, data)


class Intakes:
    """Both streams of one run. ``on_line`` gets the stream and the words of each line of ours.

    ``withheld`` says why none of the output may be kept, which the record then tells; None: it may.
    """

    def __init__(
        self,
        job: Job,
        mark: bytes,
        secrets: Mapping[str, bytes],
        control: Control,
        archive: Archive | None,
        on_line: Callable[[Stream, list[bytes]], None],
        withheld: str | None = None,
    ) -> None:
        self._job = job
        self._withheld = withheld
        self._secrets = tuple(secrets.values())
        self._archive = archive

        def intake(stream: Stream) -> Intake:
            limit = job.spec.output.max_bytes
            told = partial(on_line, stream)
            return Intake(stream, mark, self._secrets, limit, control, archive, told, withheld is not None)

        self.stdout = intake("stdout")
        self.stderr = intake("stderr")

    def take(self, stream: Stream, data: bytes) -> None:
        """See `Intake.take`."""
        (self.stdout if stream == "stdout" else self.stderr).take(data)

    def reopen(self, mark: bytes) -> None:
        """See `Intake.reopen`."""
        self.stdout.reopen(mark)
        self.stderr.reopen(mark)

    def said(self) -> str:
        """The last lines that the host printed in place of a line of ours, in one."""
        for intake in (self.stderr, self.stdout):
            lines = [line.strip() for line in intake.noise.decode("utf-8", "replace").splitlines()]
            text = "; ".join([line for line in lines if line][-3:])
            if text:
                text = "".join(character if character.isprintable() else "?" for character in text)
                return text[-SAID_CHARACTERS:]
        return ""

    def outcome(self, verdict: Verdict, started_at: datetime | None, finished_at: datetime) -> Outcome:
        """Both streams are at their ends: what is recorded of the run."""
        stdout, stderr = self.stdout.finish(), self.stderr.finish()
        message = None if verdict.message is None else mask(verdict.message, self._secrets)
        if self._withheld is not None and self._withheld != message:
            message = "; ".join(
                [*([message] if message else []), f"its output is not kept: {self._withheld}"]
            )
        return Outcome(
            execution_id=self._job.execution_id,
            status=verdict.status,
            reason=verdict.reason,
            finished_at=finished_at,
            started_at=started_at,
            exit_code=verdict.exit_code,
            stdout=stdout,
            stderr=stderr,
            message=message,
            archive=None if self._archive is None else self._archive.finish(),
        )
