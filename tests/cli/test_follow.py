"""What is shown of a run that is followed: every byte once, in order, and what is missing is said."""

from __future__ import annotations

import hashlib
from io import BytesIO, StringIO, TextIOWrapper
from types import SimpleNamespace
from typing import Any

import pytest

from reconciler.cli.console import Console
from reconciler.cli.follow import LiveRun
from reconciler.cli.logtext import Labelled, Output
from reconciler.errors import ArchiveUnavailable, DatabaseUnavailable
from reconciler.execute.capture import Capture
from reconciler.execute.control import Stream
from reconciler.report.output import StoredStream, stored_streams
from reconciler.store.live import STDERR, STDOUT, LivePiece, LiveState
from reconciler.store.views import OutputView
from tests.services.clock import FakeClock

OUT = b"".join(b"line %d\n" % number for number in range(1000))


class Passing(FakeClock):
    """Sleeping makes the time pass."""

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)


class Script:
    """A follower that sees what it is told to: pieces (stream, start, data), or an error."""

    def __init__(self) -> None:
        self.pieces: list[LivePiece | Exception] = []
        self.status = 0

    def comes(self, stream: int, start: int, data: bytes) -> None:
        self.pieces.append(LivePiece(1, stream, start, data))

    def look(self, _: int) -> LiveState:
        if not self.pieces:
            return LiveState(self.status, True, ())
        first = self.pieces.pop(0)
        if isinstance(first, Exception):
            raise first
        return LiveState(self.status, True, (first,))


class Shown:
    """A followed run, and what is on its two streams."""

    def __init__(self, label: str = "", **options: Any) -> None:
        self.bytes = BytesIO()
        self.err = StringIO()
        self.console = Console(TextIOWrapper(self.bytes, "utf-8"), self.err)
        self.clock = Passing()
        self.script = Script()
        output = Output(self.console)
        shown = Labelled(output, label) if label else output
        self.run = LiveRun(1, self.script, shown, self.console, self.clock, **options)  # type: ignore[arg-type]

    @property
    def out(self) -> bytes:
        return self.bytes.getvalue()

    def end(
        self,
        out: bytes = b"",
        err: bytes = b"",
        message: str = "",
        place: str | None = None,
        limit: int = 1024,
    ) -> None:
        """The run ends, having written that; the row keeps ``limit`` bytes."""
        view = SimpleNamespace(
            output_bytes=len(out),
            error_bytes=len(err),
            exit_code=None if message else 0,
            status=2 if message else 1,
            archive=place,
        )
        texts = []
        for data in (out, err):
            capture = Capture(limit)
            capture.write(data)
            texts.append(capture.finish().text)
        if message:
            texts[1] = f"{message}\n{texts[1]}" if texts[1] else message
        hashes = (hashlib.sha256(out).hexdigest(), hashlib.sha256(err).hexdigest())
        both = stored_streams(view, OutputView(*texts), hashes)  # type: ignore[arg-type]
        streams: dict[Stream, StoredStream] = {"stdout": both[0], "stderr": both[1]}

        def archives() -> Any:
            raise ArchiveUnavailable(f"the archive {place} is gone")

        self.run.finish(view, streams, archives)  # type: ignore[arg-type]


def test_pieces_are_shown_as_they_come_and_the_rest_from_the_row() -> None:
    shown = Shown()
    shown.script.comes(STDOUT, 0, b"one\ntw")
    shown.run.step()
    assert shown.out == b"one\ntw"
    shown.script.comes(STDOUT, 6, b"o\n")
    shown.run.step()
    shown.end(b"one\ntwo\nthree\n", b"oops\n")
    assert shown.out == b"one\ntwo\nthree\noops\n"
    assert shown.err.getvalue() == ""


def test_a_new_owner_begins_again_and_nothing_is_shown_twice() -> None:
    shown = Shown()
    for start, data in ((0, b"one\ntwo\n"), (0, b"one\n"), (4, b"two\nthr"), (11, b"ee\n"), (0, b"one\n")):
        shown.script.comes(STDOUT, start, data)
    shown.run.step()
    shown.end(b"one\ntwo\nthree\n")
    assert shown.out == b"one\ntwo\nthree\n"


def test_what_was_too_fast_is_counted() -> None:
    shown = Shown()
    shown.script.comes(STDOUT, 0, b"begin\n")
    shown.script.comes(STDOUT, 1_000_006, b"later\n")
    shown.run.step()
    assert shown.out == b"begin\nlater\n"
    assert "[… 1,000,000 bytes of stdout not shown live]" in shown.err.getvalue()


def test_streams_are_chosen_and_never_share_a_line() -> None:
    for streams, out in (
        (("stdout", "stderr"), b"progress 1\noops\n progress 2\n"),
        (("stdout",), b"progress 1 progress 2\n"),
        (("stderr",), b"oops\n"),
    ):
        shown = Shown(streams=streams)
        shown.script.comes(STDOUT, 0, b"progress 1")
        shown.script.comes(STDERR, 0, b"oops\n")
        shown.run.step()
        shown.end(b"progress 1 progress 2\n", b"oops\n")
        assert shown.out == out


@pytest.mark.parametrize(("lines", "begins"), [(1, 999), (3, 997), (5000, 0)])
def test_a_tail_begins_with_the_last_lines_that_are_there(lines: int, begins: int) -> None:
    shown = Shown(tail=lines)
    shown.script.comes(STDOUT, 0, OUT[:5000])
    shown.script.comes(STDOUT, 5000, OUT[5000:])
    shown.run.step()
    shown.script.comes(STDOUT, len(OUT), b"more\n")
    shown.run.step()
    shown.end(OUT + b"more\nlast\n")
    assert shown.out == OUT[OUT.index(b"line %d\n" % begins) :] + b"more\nlast\n"
    assert shown.err.getvalue() == ""


@pytest.mark.parametrize("seen", [0, 100, 600, 5000, len(OUT) - 100, len(OUT)])
def test_a_truncated_row_gives_what_it_has_behind_what_was_seen(seen: int) -> None:
    shown = Shown()
    shown.script.comes(STDOUT, 0, OUT[:seen])
    shown.run.step()
    shown.end(OUT)
    assert shown.out[:seen] == OUT[:seen]
    assert shown.out.endswith(b"line 999\n")
    assert shown.out.count(b"line 999\n") == 1
    told = shown.err.getvalue()
    missing = len(OUT) - len(shown.out)
    assert (f"[… {missing:,} bytes of stdout not kept]" in told) is (missing > 0)


def test_without_its_archive_the_row_is_used_and_that_is_said() -> None:
    shown = Shown()
    shown.script.comes(STDOUT, 0, OUT[:100])
    shown.run.step()
    shown.end(OUT, place="/archive/1")
    assert "the archive /archive/1 is gone; what follows is from the row" in shown.err.getvalue()
    assert shown.out.endswith(b"line 999\n")


def test_bytes_that_are_no_text_are_shown_as_they_are_and_once() -> None:
    data = b"caf\xe9 \xff\xfe\n" * 20
    shown = Shown()
    shown.script.comes(STDOUT, 0, data[:63])
    shown.run.step()
    shown.end(data)
    assert shown.out == data[:63] + data[63:].decode("utf-8", "replace").encode()


def test_the_programs_own_sentence_ends_the_output() -> None:
    shown = Shown()
    shown.script.comes(STDERR, 0, b"working\n")
    shown.run.step()
    shown.end(b"", b"working\nstill\n", message="timed out after 1h")
    assert shown.out == b"working\nstill\ntimed out after 1h\n"
    alone = Shown()
    alone.end(message="the host did not answer")
    assert alone.out == b"the host did not answer\n"


def test_several_runs_are_told_apart_by_whole_lines() -> None:
    shown = Shown(label="a@web-1 | ")
    shown.script.comes(STDOUT, 0, b"one\ntw")
    shown.run.step()
    assert shown.out == b"a@web-1 | one\n"
    shown.end(b"one\ntwo")
    assert shown.out == b"a@web-1 | one\na@web-1 | two\n"


def test_a_database_that_is_away_is_borne_for_a_while() -> None:
    shown = Shown()
    away = DatabaseUnavailable("the database db:3306/x does not answer")
    shown.script.pieces = [LivePiece(1, STDOUT, 0, b"one\n"), away, away]
    assert shown.run.step() is None
    assert shown.out == b"one\n"
    assert shown.run.step() is None
    assert shown.err.getvalue().count("does not answer; trying again") == 1
    shown.script.comes(STDOUT, 4, b"two\n")
    assert shown.run.step() is not None
    shown.script.pieces = [away, away]
    shown.run.step()
    shown.clock.advance(31)
    with pytest.raises(DatabaseUnavailable):
        shown.run.step()
